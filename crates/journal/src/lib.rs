//! The ordered, durable log of everything that was admitted. It is the truth; all else can be rebuilt from it.
//!
//! [`Log`] is what the engine knows. [`LocalLog`] keeps it in segments on one [`model::Disk`]: a batch is appended to
//! memory, one thread writes and syncs what has gathered (a group), and tells how far the log is on stable storage.
//! Formats: `docs/formats/journal.md`.

mod backup;
pub mod codec;
mod entry;
mod error;
mod folder;
mod inspect;
mod local;
mod log;
mod options;
mod record;
mod segment;
mod segments;
mod snapshot;

pub use backup::{Backup, BackupError, Beside, backup, backup_beside, restore};
pub use entry::{Enrolment, Entry, lay_press, read_press};
pub use error::{AppendError, Damage, Malformed, ReadError};
pub use folder::{FolderDisk, FolderError};
pub use inspect::{FileReport, Repair, dump, repair, verify};
pub use local::LocalLog;
pub use log::{Log, Progress, Sequence, Status};
pub use options::Options;
pub use segments::Segments;
pub use snapshot::Snapshots;
