//! What a victim is told on its command line.

use std::fmt;
use std::str::FromStr;

use engine::{OnJournalFailure, Retention};
use server::config::{Config, JournalConfig};

/// A place in the way of the journal at which a process can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Half of a record is written.
    TornWrite,
    /// A record is written and not synced.
    AfterWrite,
    /// A group is written, its sync is about to begin.
    BeforeSync,
    /// A group is synced and nobody was told.
    AfterSync,
    /// The next segment has its header and not yet its name.
    RollBeforeRename,
    /// The next segment has its name, the folder is not synced.
    RollAfterRename,
    /// A snapshot is whole and has not yet its name.
    SnapshotBeforeRename,
    /// A snapshot has its name, the folder is not synced.
    SnapshotAfterRename,
    /// An old segment is removed, the folder is not synced.
    SegmentDelete,
    /// Half of the next segment is reserved.
    Reserve,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::TornWrite,
        Self::AfterWrite,
        Self::BeforeSync,
        Self::AfterSync,
        Self::RollBeforeRename,
        Self::RollAfterRename,
        Self::SnapshotBeforeRename,
        Self::SnapshotAfterRename,
        Self::SegmentDelete,
        Self::Reserve,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TornWrite => "torn_write",
            Self::AfterWrite => "after_write",
            Self::BeforeSync => "before_sync",
            Self::AfterSync => "after_sync",
            Self::RollBeforeRename => "roll_before_rename",
            Self::RollAfterRename => "roll_after_rename",
            Self::SnapshotBeforeRename => "snapshot_before_rename",
            Self::SnapshotAfterRename => "snapshot_after_rename",
            Self::SegmentDelete => "segment_delete",
            Self::Reserve => "reserve",
        }
    }

    /// The point of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.as_str() == name)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a disk does when it is asked to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// It syncs.
    Done,
    /// It says that it did.
    LeftOut,
}

/// How a victim runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    /// It ends when this point is reached for the n-th time, from 1.
    pub kill: Option<(Point, u64)>,
    /// What becomes of syncs.
    pub syncs: Syncs,
    /// From this call of the journal's thread on, from 1, every change of the disk fails with this number of the system.
    pub fail: Option<(u64, i32)>,
    /// The files of the folder may take so many bytes together when a segment is reserved.
    pub quota: Option<u64>,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// A snapshot is made after so many bytes.
    pub snapshot_every_bytes: u64,
    /// Closed segments beyond so many bytes go.
    pub retain_bytes: u64,
    /// What happens after an error.
    pub on_failure: OnJournalFailure,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            kill: None,
            syncs: Syncs::Done,
            fail: None,
            quota: None,
            segment_bytes: 256 << 10,
            snapshot_every_bytes: 512 << 10,
            retain_bytes: 1 << 40,
            on_failure: OnJournalFailure::LiveUnacked,
        }
    }
}

impl Orders {
    /// The same as words of a command line.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        let mut words = vec![
            format!("segment_bytes={}", self.segment_bytes),
            format!("snapshot_every_bytes={}", self.snapshot_every_bytes),
            format!("retain_bytes={}", self.retain_bytes),
        ];
        words.extend(self.kill.map(|(point, nth)| format!("kill={point}:{nth}")));
        words.extend(self.fail.map(|(from, number)| format!("fail={from}:{number}")));
        words.extend(self.quota.map(|bytes| format!("quota={bytes}")));
        if self.syncs == Syncs::LeftOut {
            words.push("syncs=left_out".to_owned());
        }
        if self.on_failure == OnJournalFailure::Stop {
            words.push("on_failure=stop".to_owned());
        }
        words
    }

    /// Reads words of [`Self::to_arguments`].
    ///
    /// # Errors
    /// The word that means nothing.
    pub fn of_arguments(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut orders = Self::default();
        for word in words {
            if orders.take(&word).is_none() {
                return Err(word);
            }
        }
        Ok(orders)
    }

    fn take(&mut self, word: &str) -> Option<()> {
        fn parsed<T: FromStr>(text: &str) -> Option<T> {
            text.parse().ok()
        }
        let (key, value) = word.split_once('=')?;
        match (key, value) {
            ("segment_bytes", _) => self.segment_bytes = parsed(value)?,
            ("snapshot_every_bytes", _) => self.snapshot_every_bytes = parsed(value)?,
            ("retain_bytes", _) => self.retain_bytes = parsed(value)?,
            ("kill", _) => {
                let (point, nth) = value.split_once(':')?;
                self.kill = Some((Point::named(point)?, parsed(nth)?));
            }
            ("fail", _) => {
                let (from, number) = value.split_once(':')?;
                self.fail = Some((parsed(from)?, parsed(number)?));
            }
            ("quota", _) => self.quota = Some(parsed(value)?),
            ("syncs", "left_out") => self.syncs = Syncs::LeftOut,
            ("on_failure", "stop") => self.on_failure = OnJournalFailure::Stop,
            _ => return None,
        }
        Some(())
    }

    /// The configuration of a server that runs so, on free ports of loopback.
    ///
    /// # Panics
    /// Never: the addresses are constants.
    #[must_use]
    pub fn config(&self) -> Config {
        let free = "127.0.0.1:0".parse().expect("an address");
        let listener = |text: &str| server::config::Listen::at(text.parse().expect("a listener"));
        let retention = Retention {
            snapshot_every_bytes: self.snapshot_every_bytes,
            bytes_max: self.retain_bytes,
            ..Retention::default()
        };
        Config {
            http: free,
            grpc: Some(free),
            listen: vec![listener("muster=tcp://127.0.0.1:0"), listener("jt808=tcp://127.0.0.1:0")],
            admit_unknown: true,
            journal: JournalConfig {
                on_failure: self.on_failure,
                segment_bytes: self.segment_bytes,
                retention,
                ..JournalConfig::default()
            },
            ..Config::default()
        }
    }
}
