//! Where and how the journal is kept: the keys of the configuration, and what the engine is given.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::{OnJournalFailure, Retention};
use journal::{FolderDisk, FolderError};
use model::{Disk, limits};
use store::events::Events;
use store::{Store, StoreError};

use crate::config::Settings;

/// Smallest and largest segment, in MiB.
const SEGMENT_MIB: std::ops::RangeInclusive<u32> = 8..=1_024;

/// Where the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Nowhere: nothing is stored, an acknowledgement means applied, a restart starts empty.
    Off,
    /// In this folder.
    Folder(PathBuf),
}

impl From<PathBuf> for Data {
    fn from(folder: PathBuf) -> Self {
        if folder == Path::new("off") { Self::Off } else { Self::Folder(folder) }
    }
}

/// Who is known: beside the journal, or in memory.
pub(crate) fn store(data: &Data) -> Result<Store, StoreError> {
    match data {
        Data::Folder(folder) => Store::open(folder),
        Data::Off => Store::in_memory(),
    }
}

/// The journal's part of the configuration.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Key `on_journal_failure`: `live_unacked` (default) shows what comes in, marked as not stored; `stop` takes nothing any more.
    /// Acknowledgements stop either way.
    pub on_failure: OnJournalFailure,
    /// Bytes of a segment. Key `journal_segment_mib`, 8 to 1024; default 64.
    pub segment_bytes: u32,
    /// How long the first report of a group commit waits for others. Key `journal_group_us`, microseconds; default 500.
    pub group_time: Duration,
    /// Snapshots and the removal of old segments. Keys `journal_retain_hours` (default 72), `journal_retain_mib` (16384),
    /// `snapshot_every_mib` (256).
    pub retention: Retention,
    /// How long events are kept, and how many bytes of them. Keys `events_retain_days` (default 90), `events_retain_mib` (4096).
    pub events: (Duration, u64),
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            on_failure: OnJournalFailure::LiveUnacked,
            segment_bytes: limits::JOURNAL_SEGMENT_BYTES,
            group_time: limits::JOURNAL_GROUP_TIME,
            retention: Retention::default(),
            events: (limits::EVENTS_RETAIN_TIME, limits::EVENTS_RETAIN_BYTES),
        }
    }
}

impl JournalConfig {
    /// Lays settings over this configuration.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub(crate) fn lay(&mut self, settings: &Settings) -> Result<(), (&'static str, String)> {
        match settings.on_journal_failure.as_deref() {
            None => {}
            Some("live_unacked") => self.on_failure = OnJournalFailure::LiveUnacked,
            Some("stop") => self.on_failure = OnJournalFailure::Stop,
            Some(other) => return Err(("on_journal_failure", format!("{other:?} is neither live_unacked nor stop"))),
        }
        if let Some(mib) = settings.journal_segment_mib {
            if !SEGMENT_MIB.contains(&mib) {
                return Err(("journal_segment_mib", format!("{mib} is not 8 to 1024")));
            }
            self.segment_bytes = mib << 20;
        }
        if let Some(us) = settings.journal_group_us {
            self.group_time = Duration::from_micros(us);
        }
        if let Some(hours) = settings.journal_retain_hours {
            self.retention.age_max = Duration::from_secs(hours.saturating_mul(3_600));
        }
        let bytes = |mib: u64| mib.saturating_mul(1 << 20);
        self.retention.bytes_max = settings.journal_retain_mib.map_or(self.retention.bytes_max, bytes);
        if let Some(days) = settings.events_retain_days {
            self.events.0 = Duration::from_secs(days.saturating_mul(86_400));
        }
        self.events.1 = settings.events_retain_mib.map_or(self.events.1, bytes);
        self.retention.snapshot_every_bytes =
            settings.snapshot_every_mib.map_or(self.retention.snapshot_every_bytes, bytes);
        Ok(())
    }

    /// What the engine is given.
    #[must_use]
    pub fn on(&self, disk: Arc<dyn Disk>, events: Arc<Events>) -> engine::Storage {
        let options = journal::Options {
            segment_bytes: self.segment_bytes,
            group_time: self.group_time,
            ..journal::Options::default()
        };
        engine::Storage { disk, options, retention: self.retention, on_failure: self.on_failure, events: Some(events) }
    }
}

/// Takes the folder of the configuration; `None` when nothing is stored.
pub(crate) fn take(data: &Data) -> Result<Option<Arc<dyn Disk>>, FolderError> {
    match data {
        Data::Off => Ok(None),
        Data::Folder(folder) => Ok(Some(Arc::new(FolderDisk::take(folder)?))),
    }
}

/// The events beside it.
pub(crate) fn events(data: &Data, journal: &JournalConfig) -> Result<Events, StoreError> {
    let (time, bytes) = journal.events;
    let events = match data {
        Data::Off => Events::in_memory(),
        Data::Folder(folder) => Events::open(folder),
    };
    Ok(events?.keeping(time, bytes))
}
