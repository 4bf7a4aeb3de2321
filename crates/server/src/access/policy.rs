use model::{Principal, Role};

/// What an operation does, as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Says nothing about any unit; open to everyone.
    Open,
    /// Reads places of units.
    Look,
    /// Brings in reports.
    Report,
    /// Adds, changes and removes units, devices, organisations.
    Enrol,
    /// Reads figures of the whole server.
    Operate,
}

/// Why a request is refused. The caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No token, or none that holds.
    #[expect(dead_code, reason = "log-on comes with the store of tokens")]
    Unknown,
    /// The role lacks the right.
    Role { role: Role, action: Action },
}

impl Action {
    /// Who may. One row an action: nothing else in the server asks for a role.
    const fn roles(self) -> &'static [Role] {
        use Role::{Administrator, Commander, Dispatcher, Gateway, Viewer};
        match self {
            Self::Open => Role::ALL,
            Self::Look => &[Viewer, Dispatcher, Commander, Administrator],
            Self::Report => &[Gateway, Administrator],
            Self::Enrol | Self::Operate => &[Administrator],
        }
    }
}

/// Whether `principal` may do `action` at all; on what, its scope says.
pub(crate) fn authorize(principal: &Principal, action: Action) -> Result<(), Denied> {
    let role = principal.role;
    if action.roles().contains(&role) { Ok(()) } else { Err(Denied::Role { role, action }) }
}
