use std::io;

/// One folder of files, as durable storage sees it. A trait, so that a simulated disk can lose, tear and
/// reorder what was not synced, and a seed can repeat it.
///
/// Names are plain file names without folders. A name that was created, renamed or removed is durable only
/// after [`Disk::sync_folder`]; bytes and length are durable only after [`DiskFile::sync`].
pub trait Disk: Send + Sync {
    /// The names of all files, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new empty file, readable and writable.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; else what the system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, readable and writable.
    ///
    /// # Errors
    /// `NotFound` when it is not there; else what the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name; a file that had it is replaced, at once.
    ///
    /// # Errors
    /// `NotFound` when there is no file `from`; else what the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when it is not there; else what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once all names are on stable storage.
    ///
    /// # Errors
    /// What the system says. Names changed since the last success may or may not be durable.
    fn sync_folder(&self) -> io::Result<()>;
}

/// An open file. All calls take offsets; there is no position.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`; the file grows if need be.
    ///
    /// # Errors
    /// What the system says (`StorageFull` when there is no room): some of the bytes may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file to `bytes`, or fills it up with zeros.
    ///
    /// # Errors
    /// What the system says.
    fn resize(&self, bytes: u64) -> io::Result<()>;

    /// Returns once all bytes and the length are on stable storage.
    ///
    /// # Errors
    /// What the system says. After an error nothing is known of what was written since the last success.
    fn sync(&self) -> io::Result<()>;
}
