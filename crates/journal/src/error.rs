use std::io;

use crate::Sequence;
pub use crate::codec::Malformed;

/// Bytes that were on stable storage are not what was written. Nothing of the file is served; a person decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file} is damaged at byte {offset}: {problem}; `muster journal verify` shows all damage, `muster restore` takes a backup"
)]
pub struct Damage {
    /// Which file.
    pub file: String,
    /// Where the first wrong thing starts.
    pub offset: u64,
    /// What is wrong.
    pub problem: &'static str,
}

impl Damage {
    pub(crate) fn new(file: &str, offset: usize, problem: &'static str) -> Self {
        Self { file: file.to_owned(), offset: offset as u64, problem }
    }
}

/// Why a log cannot be opened or read. Ours, or the disk's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The disk refused.
    #[error("{file}: {error}")]
    Disk {
        /// Which file, or the folder.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// What was stored is not there any more.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The entries asked for were removed by retention.
    #[error("sequence {from} is no longer in the log; it starts at {first}")]
    Expired {
        /// From where reading was asked for.
        from: Sequence,
        /// The first that is there.
        first: Sequence,
    },
}

impl ReadError {
    pub(crate) fn of(file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |error| Self::Disk { file, error }
    }
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// There is no room for the next segment. Heals by itself once there is.
    #[error("the journal has no room: {reason}")]
    Full {
        /// What the system says.
        reason: String,
    },
    /// A write or a sync failed; final until the next start.
    #[error("the journal has failed: {reason}")]
    Failed {
        /// What the system says.
        reason: String,
    },
    /// The log was stopped.
    #[error("the journal is stopped")]
    Stopped,
}
