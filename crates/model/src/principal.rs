use crate::words::words;
use crate::{OrganisationName, PrincipalName};

words! {
    /// What a principal may do.
    Role, "role",
    /// Sees the units of its scope.
    Viewer = "viewer",
    /// Sees, and changes statuses and assignments in its scope.
    Dispatcher = "dispatcher",
    /// A dispatcher who may also break the glass.
    Commander = "commander",
    /// Changes units, organisations and tokens. Sees all.
    Administrator = "administrator",
    /// Reads the audit, and no place of any unit. Never an administrator too.
    Auditor = "auditor",
    /// Brings in reports; sees nothing.
    Gateway = "gateway",
}

/// Who asks: a person or a program that has logged on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its name: in the audit, and the holder of tokens.
    pub name: PrincipalName,
    /// What it may do.
    pub role: Role,
    /// Whose units it sees; `None` sees all.
    pub organisation: Option<OrganisationName>,
}

impl Principal {
    /// Who asks where nobody logs on: a program on this machine, which may do everything.
    #[must_use]
    pub fn local() -> Self {
        let name = PrincipalName::new("local").expect("a word is a name");
        Self { name, role: Role::Administrator, organisation: None }
    }
}
