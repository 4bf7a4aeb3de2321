use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::{Disk, DiskFile};

/// The file whose lock says that a server uses the folder.
const LOCK: &str = "lock";

/// A folder of the machine, held by one process at a time.
#[derive(Debug)]
pub struct FolderDisk {
    folder: PathBuf,
    /// For syncing names.
    handle: File,
    _lock: Option<File>,
}

/// Why a folder cannot be used. The operator's affair.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Another process has it.
    #[error("{} is in use by another server: stop it, or choose another folder with --data", folder.display())]
    InUse {
        /// Which.
        folder: PathBuf,
    },
    /// It cannot be made or opened.
    #[error("cannot use {} for data: {error}", folder.display())]
    Unusable {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl FolderDisk {
    /// Takes the folder for this process, and makes it when it is not there.
    ///
    /// # Errors
    /// [`FolderError`] says what to do.
    pub fn take(folder: &Path) -> Result<Self, FolderError> {
        let unusable = |error| FolderError::Unusable { folder: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let lock = File::create(folder.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        Ok(Self { _lock: Some(lock), ..Self::look_at(folder).map_err(unusable)? })
    }

    /// Opens the folder without taking it: for tools that only read, beside a running server too.
    ///
    /// # Errors
    /// What the system says.
    pub fn look_at(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_owned(), handle: File::open(folder)?, _lock: None })
    }
}

impl Disk for FolderDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let options = OpenOptions::new().read(true).write(true).create_new(true).open(self.folder.join(name))?;
        Ok(Box::new(FolderFile(options)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).open(&path).or_else(|error| match error.kind() {
            // A backup may lie where nothing can be written.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            _ => Err(error),
        })?;
        Ok(Box::new(FolderFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

struct FolderFile(File);

impl DiskFile for FolderFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(&self.0, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
