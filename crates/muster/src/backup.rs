use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use journal::FolderDisk;
use store::Store;
use store::events::Events;

/// Copy journal, store and events to an empty folder, also while a server writes them
#[derive(Args)]
#[command(
    after_help = "What was acknowledged before the backup began is in it, and the store with its audit, and the events, as they were after that. Every byte \
    of the journal is checked on the way; the file `manifest`, written last, makes it a backup. Whoever has it has the audit and the digests of \
    tokens.\n\nExample:  muster backup --data muster-data --to backup-2026-11-23"
)]
pub(crate) struct Backup {
    /// The server's data folder
    #[arg(long, value_name = "DIR", default_value = "muster-data")]
    data: PathBuf,
    /// An empty folder, made when it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Put a backup into an empty data folder
#[derive(Args)]
#[command(after_help = "The backup is checked before anything is copied. Start the server with --data DIR afterwards.")]
pub(crate) struct Restore {
    /// The backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// An empty data folder, made when it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

impl Backup {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let to = FolderDisk::take(&self.to)?;
        let done = journal::backup_beside(&look_at(&self.data)?, &to, &mut |_| {
            let mut names = Vec::new();
            if Store::is_in(&self.data) {
                names.extend(Store::open(&self.data)?.backup(&self.to)?);
            }
            if Events::is_in(&self.data) {
                names.push(Events::open(&self.data)?.backup(&self.to)?);
            }
            Ok(names)
        })?;
        println!("{} files, {} bytes, up to sequence {}: {}", done.files, done.bytes, done.sequence, self.to.display());
        Ok(())
    }
}

impl Restore {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let to = FolderDisk::take(&self.data)?;
        let done = journal::restore(&look_at(&self.from)?, &to)?;
        println!(
            "{} files, {} bytes, up to sequence {}: {}",
            done.files,
            done.bytes,
            done.sequence,
            self.data.display()
        );
        Ok(())
    }
}

pub(crate) fn look_at(folder: &std::path::Path) -> anyhow::Result<FolderDisk> {
    FolderDisk::look_at(folder).with_context(|| format!("cannot open {}", folder.display()))
}
