use model::Timestamp;

use crate::IfMatch;

/// Why a change was refused. The caller's fault; nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing of that name.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// Unit, organisation, token, ...
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It is not as the caller believes.
    #[error("{what} `{name}` is at {found}, and the change expects {expected}")]
    Changed {
        /// Unit or organisation.
        what: &'static str,
        /// Its name.
        name: String,
        /// The version that is there.
        found: Found,
        /// What the caller expects.
        expected: IfMatch,
    },
    /// A value cannot be taken.
    #[error("{what} `{name}`: {field}: {problem}")]
    Invalid {
        /// Unit, organisation, token, ...
        what: &'static str,
        /// Its name.
        name: String,
        /// Which part.
        field: &'static str,
        /// What is wrong with which value.
        problem: String,
    },
    /// An organisation would be above itself.
    #[error("organisation `{organisation}` cannot be under `{under}`, which is under it")]
    Cycle {
        /// Which.
        organisation: String,
        /// Under whom it was to be.
        under: String,
    },
    /// Something depends on it.
    #[error("{what} `{name}` has {count} {dependents}, for example `{example}`")]
    InUse {
        /// Unit or organisation.
        what: &'static str,
        /// Its name.
        name: String,
        /// How many.
        count: u64,
        /// What depends on it.
        dependents: &'static str,
        /// One of them.
        example: String,
    },
    /// One device would have two units, or one person two vehicles, at a time.
    #[error("{what} `{name}` would be with `{first}` and with `{second}` at {at}")]
    Overlap {
        /// Device or unit.
        what: &'static str,
        /// Its name.
        name: String,
        /// With whom.
        first: String,
        /// With whom else.
        second: String,
        /// The first instant of both.
        at: Timestamp,
    },
    /// There are as many as there may be: one must end first.
    #[error("there are {limit} of these already: a {what} must end first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Nobody may be administrator and auditor.
    #[error("`{principal}` has a token as {has}: nobody may be administrator and auditor")]
    TwoPowers {
        /// Who.
        principal: String,
        /// The role that is there.
        has: &'static str,
    },
    /// The one-time token may only make the first lasting token of an administrator.
    #[error("the one-time token may only create a token with the role administrator, for all organisations")]
    OneTime,
    /// A reason longer than [`model::limits::REASON_BYTES_MAX`].
    #[error("the reason has {bytes} bytes, the limit is {}", model::limits::REASON_BYTES_MAX)]
    ReasonTooLong {
        /// How long it is.
        bytes: usize,
    },
}

/// What a conditional change found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is there, in this version.
    Version(u64),
    /// It is not there.
    Nothing,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::Nothing => f.write_str("no version, as it is not there"),
        }
    }
}

impl IfMatch {
    /// Refuses a change that expects something else than `found`.
    pub(crate) fn check(self, what: &'static str, name: &str, found: Option<u64>) -> Result<(), Refusal> {
        let holds = match self {
            Self::Always => true,
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Version(version) => found == Some(version),
        };
        if holds {
            return Ok(());
        }
        let found = found.map_or(Found::Nothing, Found::Version);
        Err(Refusal::Changed { what, name: name.to_owned(), found, expected: self })
    }
}
