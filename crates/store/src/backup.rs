use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

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
        let unusable = |error| StoreError::Unusable { path: path.clone(), error };
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(unusable)?;
        let mut names = vec![FILE.to_owned()];
        // The head first: all that it covers is in the copy then. A head that is evidence is copied as it is.
        if let Some(head) = &self.head {
            names.extend(head.copy_to(folder)?);
        }
        let at = StoreError::at(&path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(&path, flags).map_err(&at)?;
        self.read_apart(|connection| {
            let backup = Backup::new(connection, &mut copy)?;
            // All in one step: other processes that write would make several steps begin again.
            for _ in 0..TRIES {
                if backup.step(-1)? == StepResult::Done {
                    return Ok(());
                }
                std::thread::sleep(AGAIN_AFTER);
            }
            Err(StoreError::Busy)
        })?;
        copy.close().map_err(|(_, error)| at(error))?;
        let synced = || -> io::Result<()> {
            File::open(&path)?.sync_all()?;
            File::open(folder)?.sync_all()
        };
        synced().map_err(unusable)?;
        Ok(names)
    }
}
