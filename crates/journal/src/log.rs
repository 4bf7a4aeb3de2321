use std::fmt;

use crate::segments::each;
use crate::{AppendError, Entry, ReadError};

/// The place of an entry in the log: 1, 2, 3, ... without gaps. 0 stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The one before; 0 stays.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a log tells whoever waits for stable storage. Called from the log's own thread: return soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Everything up to and with this sequence is on stable storage.
    Synced(Sequence),
    /// A write or a sync failed. Nothing after the last `Synced` will ever be confirmed.
    Failed(String),
}

/// How a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It takes what comes.
    Open,
    /// It takes what comes, and the next segment cannot be reserved: soon it will have no room.
    Low {
        /// What the system says.
        reason: String,
        /// Bytes that can still be taken.
        bytes_left: u64,
    },
    /// It has no room and refuses; it heals by itself once there is.
    Full {
        /// What the system says.
        reason: String,
    },
    /// A write or a sync failed; final until the next start.
    Failed {
        /// What the system says.
        reason: String,
    },
}

/// An ordered, durable log. [`crate::LocalLog`] keeps it on one disk; a replicated stream is the next that implements it.
pub trait Log: Send + Sync {
    /// Appends a batch behind everything that is there and returns the sequence of its last entry. It is on stable storage once
    /// the listener given at the opening was told so. May wait while far more is unsynced than the log allows.
    ///
    /// # Errors
    /// [`AppendError`]: nothing of the batch is in the log.
    fn append(&self, batch: &[Entry]) -> Result<Sequence, AppendError>;

    /// The sum of [`Entry::bytes_max`] that one batch may have. A single entry is never larger.
    fn append_bytes_max(&self) -> usize;

    /// Shows the entries from `from` on, in order and in batches (the sequence of the first, and all of them), up to the last that
    /// is on stable storage; returns the sequence after it.
    ///
    /// # Errors
    /// [`ReadError`] when they are damaged or removed; what was shown before is right.
    fn read_batches(&self, from: Sequence, visit: &mut dyn FnMut(Sequence, &[Entry])) -> Result<Sequence, ReadError>;

    /// The same, one by one.
    ///
    /// # Errors
    /// As [`Self::read_batches`].
    fn read(&self, from: Sequence, visit: &mut dyn FnMut(Sequence, Entry)) -> Result<Sequence, ReadError> {
        self.read_batches(from, &mut each(visit))
    }

    /// The last sequence on stable storage.
    fn synced(&self) -> Sequence;

    /// Whether it takes batches now.
    fn status(&self) -> Status;

    /// Brings everything appended to stable storage and ends. Later appends are refused.
    fn stop(&self);
}
