use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::Refusal;

/// Why the store did not do what was asked. Nothing of it is stored, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The caller's fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file cannot be made, opened or written. The operator's affair.
    #[error("cannot use {}: {error}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A newer Muster wrote the file. The operator's affair: start that one.
    #[error("{} has layout {found}, and this Muster knows layouts up to {known}: a newer Muster wrote it", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The layout found.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// The file is not what was written. A person decides; `muster restore` takes a backup.
    #[error("{} is damaged: {problem}; `muster restore` takes a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The disk has no room: nothing is changed that could not be audited. Heals by itself once there is room.
    #[error("the disk of the store is full: no change is taken, because none could be audited")]
    Full,
    /// Another process held the store for longer than [`model::limits::STORE_BUSY_TIMEOUT`]. Try again.
    #[error("another process holds the store: try again")]
    Busy,
    /// What SQLite says beyond that. Ours, or the disk's.
    #[error("the store failed: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    /// Names the file in errors that are about the whole of it.
    pub(crate) fn at(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path: path.to_owned(), problem: error.to_string() }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Unusable { path: path.to_owned(), error: io::Error::other(error.to_string()) }
            }
            _ => error.into(),
        }
    }
}
