use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use journal::{LocalLog, ReadError, Sequence, Snapshots};
use model::Disk;
use tracing::{info, warn};

use crate::recover::{RecoveryError, load};

/// How often the closed segments are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Old segments are looked for so often.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// Snapshots that are kept: if the newest is damaged, the one before and its segments are still there.
const SNAPSHOTS_KEPT: usize = 2;

/// When snapshots are made and old segments go.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// A snapshot is made once so many bytes of segments were closed since the last one.
    pub snapshot_every_bytes: u64,
    /// Closed segments beyond so many bytes go, oldest first.
    pub bytes_max: u64,
    /// Closed segments older than this go.
    pub age_max: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            snapshot_every_bytes: model::limits::SNAPSHOT_EVERY_BYTES,
            bytes_max: model::limits::JOURNAL_RETAIN_BYTES,
            age_max: model::limits::JOURNAL_RETAIN_TIME,
        }
    }
}

/// Makes snapshots out of the snapshot before and the segments closed since, away from live state: ingestion does not notice,
/// a snapshot can hold only what is synced, and what is read back has been proven to be readable.
pub(crate) struct Compactor {
    pub(crate) log: Arc<LocalLog>,
    pub(crate) snapshots: Snapshots,
    pub(crate) retention: Retention,
    /// The newest snapshot.
    pub(crate) last: Sequence,
}

impl Compactor {
    pub(crate) fn new(log: Arc<LocalLog>, disk: Arc<dyn Disk>, retention: Retention, last: Sequence) -> Self {
        Self { log, snapshots: Snapshots::on(disk), retention, last }
    }

    /// Works until the sender of `stop` is dropped.
    pub(crate) fn run(mut self, stop: &Receiver<()>) {
        let mut retained_at = Instant::now();
        while stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let is_due = self.log.closed_bytes(self.last) >= self.retention.snapshot_every_bytes;
            if is_due && let Err(error) = self.snapshot() {
                // The log is whole without it; the next look tries again.
                warn!(%error, "No snapshot was made.");
            }
            if is_due || retained_at.elapsed() >= RETAIN_EVERY {
                retained_at = Instant::now();
                if let Err(error) = self.retain() {
                    warn!(%error, "Old files stay.");
                }
            }
        }
    }

    /// Makes the next snapshot, of everything in closed segments.
    fn snapshot(&mut self) -> Result<(), RecoveryError> {
        let began = Instant::now();
        let mut state = load(&self.snapshots, self.log.id(), self.last)?;
        let next = self.log.read_closed(self.last.next(), &mut |_, batch| state.apply_batch(batch))?;
        let (sequence, bytes) = (next.before(), state.to_bytes());
        let written = self.snapshots.write(self.log.id(), sequence, &bytes);
        written.map_err(|error: io::Error| ReadError::Disk { file: "the next snapshot".to_owned(), error })?;
        self.last = sequence;
        info!(%sequence, bytes = bytes.len(), seconds = began.elapsed().as_secs_f64(), "Snapshot made.");
        Ok(())
    }

    /// Everything before the older of the kept snapshots may go.
    fn retain(&self) -> Result<(), ReadError> {
        if let Some(oldest) = self.snapshots.retain(SNAPSHOTS_KEPT)? {
            self.log.retain(oldest.next(), self.retention.bytes_max, self.retention.age_max);
        }
        Ok(())
    }
}
