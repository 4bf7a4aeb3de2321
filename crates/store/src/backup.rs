use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::events::{Events, FILE as EVENTS_FILE};
use crate::sqlite::FILE;
use crate::{Store, StoreError};

/// A copy that cannot begin because the file is locked is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// And no more often than this.
const TRIES: u32 = 100;

impl Store {
    /// Copies the store as it is at one moment to `folder`, where none is, also while it is written; returns the names of the
    /// files, which are on stable storage. Writers are not held up.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the target cannot be written, or is there already; [`StoreError::Full`].
    pub fn backup(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        let path = folder.join(FILE);
        make(&path)?;
        let mut names = vec![FILE.to_owned()];
        // The head first: all that it covers is in the copy then. A head that is evidence is copied as it is.
        if let Some(head) = &self.head {
            names.extend(head.copy_to(folder)?);
        }
        self.read_apart(|connection| copy(connection, &path))?;
        sync(&path, folder)?;
        Ok(names)
    }
}

impl Events {
    /// Copies the events to `folder` as [`Store::backup`] does; returns the name of the file.
    ///
    /// # Errors
    /// As [`Store::backup`].
    pub fn backup(&self, folder: &Path) -> Result<String, StoreError> {
        let path = folder.join(EVENTS_FILE);
        make(&path)?;
        self.read(|connection| copy(connection, &path))?;
        sync(&path, folder)?;
        Ok(EVENTS_FILE.to_owned())
    }
}

/// An empty file of ours alone.
fn make(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| StoreError::Unusable { path: path.to_owned(), error })
}

fn copy(from: &Connection, path: &Path) -> Result<(), StoreError> {
    let at = StoreError::at(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut to = Connection::open_with_flags(path, flags).map_err(&at)?;
    let mut is_done = false;
    let backup = Backup::new(from, &mut to)?;
    // All in one step: other processes that write would make several steps begin again.
    for _ in 0..TRIES {
        is_done = backup.step(-1)? == StepResult::Done;
        if is_done {
            break;
        }
        std::thread::sleep(AGAIN_AFTER);
    }
    drop(backup);
    to.close().map_err(|(_, error)| at(error))?;
    if is_done { Ok(()) } else { Err(StoreError::Busy) }
}

fn sync(path: &Path, folder: &Path) -> Result<(), StoreError> {
    let synced = || -> io::Result<()> {
        File::open(path)?.sync_all()?;
        File::open(folder)?.sync_all()
    };
    synced().map_err(|error| StoreError::Unusable { path: path.to_owned(), error })
}
