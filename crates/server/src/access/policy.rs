use model::Role;

use super::Asker;
use super::provider::BadToken;

/// What an operation does, as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Says nothing about any unit; open to everyone.
    Open,
    /// Reads places of units.
    Look,
    /// Brings in reports.
    Report,
    /// Says what a unit does: its status, its assignment. Asks standing queries about it.
    Direct,
    /// Sees beyond its scope for a time, with a reason.
    BreakGlass,
    /// Adds, changes and removes units and their devices.
    Enrol,
    /// Makes, lists and revokes tokens.
    Issue,
    /// Reads figures of the whole server.
    Operate,
}

/// Why a request is refused. The caller's fault, but for [`Self::Unavailable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// No token, or none that holds.
    #[error("send `Authorization: Bearer TOKEN` with a token that holds, or log on with POST /v1/session")]
    Unknown,
    /// A signed token that opens nothing.
    #[error("{0}")]
    Token(#[from] BadToken),
    /// The role lacks the right.
    #[error("role {role} may not do this")]
    Role {
        /// Of the caller.
        role: Role,
    },
    /// The one-time token does one thing only.
    #[error("the one-time token may only make the first lasting token of an administrator: POST /v1/tokens")]
    OneTime,
    /// Too many sessions are open.
    #[error("too many sessions are open: ask again later, or send the token with each request")]
    Full,
    /// Too many requests in a second.
    #[error("too many requests in a second: ask again later")]
    Pace,
    /// Tokens or the audit cannot be read or written: the door stays shut.
    #[error("tokens or the audit cannot be reached: see the log of the server")]
    Unavailable,
}

impl Action {
    /// Who may. One row an action: nothing else in the server asks for a role.
    const fn roles(self) -> &'static [Role] {
        use Role::{Administrator, Commander, Dispatcher, Gateway, Viewer};
        match self {
            Self::Open => Role::ALL,
            Self::Look => &[Viewer, Dispatcher, Commander, Administrator],
            Self::Report => &[Gateway, Administrator],
            Self::Direct => &[Dispatcher, Commander, Administrator],
            Self::BreakGlass => &[Commander],
            Self::Enrol | Self::Issue | Self::Operate => &[Administrator],
        }
    }
}

/// Whether `asker` may do `action` at all; on what, its scope says. What belongs to the whole server is not for those who see a
/// part of it.
pub(crate) fn authorize(asker: &Asker, action: Action) -> Result<(), Denied> {
    let role = asker.principal.role;
    let is_of_the_whole = matches!(action, Action::Issue | Action::Operate);
    if asker.grant.as_ref().is_some_and(|grant| grant.is_one_time) && action != Action::Issue {
        return Err(Denied::OneTime);
    }
    if action.roles().contains(&role) && (asker.is_of_the_whole() || !is_of_the_whole) {
        return Ok(());
    }
    Err(Denied::Role { role })
}
