use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use journal::{Entry, Malformed, ReadError, Segments, Sequence, Snapshots};
use model::{Clock, Disk};

use crate::state::State;

/// How far a start has come, for whoever waits.
#[derive(Debug, Default)]
pub struct Recovery {
    done: AtomicU64,
    total: AtomicU64,
}

impl Recovery {
    /// Entries applied, of how many.
    #[must_use]
    pub fn entries(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// Why the stored state cannot be rebuilt. A person must decide: no entry was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The log or a snapshot cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A whole snapshot that this version does not understand.
    #[error("snapshot {sequence} was written by another version of Muster: {error}")]
    Snapshot {
        /// Which.
        sequence: Sequence,
        /// What cannot be read.
        error: Malformed,
    },
}

/// The state that the stored log gives.
pub struct Recovered {
    /// After the last entry.
    pub state: State,
    /// The log, to be gone on with.
    pub segments: Segments,
    /// The newest snapshot; 0 when there is none.
    pub snapshot: Sequence,
}

/// Rebuilds the state: the newest snapshot, then every entry after it.
///
/// # Errors
/// [`RecoveryError`] names file and offset.
pub fn recover(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, progress: &Recovery) -> Result<Recovered, RecoveryError> {
    let segments = Segments::open(Arc::clone(disk), Arc::clone(clock))?;
    let snapshots = Snapshots::on(Arc::clone(disk));
    let snapshot = snapshots.list()?.last().copied().unwrap_or_default();
    let mut state = load(&snapshots, segments.id(), snapshot)?;
    progress.total.store(segments.next().before().0.saturating_sub(snapshot.0), Ordering::Relaxed);
    replay(&segments, snapshot, &mut state, progress)?;
    Ok(Recovered { state, segments, snapshot })
}

/// Applies everything after `snapshot`. One thread reads, checks and decodes while this one applies.
fn replay(segments: &Segments, snapshot: Sequence, state: &mut State, progress: &Recovery) -> Result<(), ReadError> {
    /// Batches that may wait; each is a record, at most a megabyte on disk.
    const AHEAD: usize = 8;
    let (ready, batches) = sync_channel::<(Sequence, Vec<Entry>)>(AHEAD);
    let (used, spares) = sync_channel::<Vec<Entry>>(2 * AHEAD);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut send = |first, batch: &[Entry]| {
                let mut copy = spares.try_recv().unwrap_or_default();
                copy.clear();
                copy.extend_from_slice(batch);
                // The other side ends only after this one.
                let _ = ready.send((first, copy));
            };
            segments.read_batches(snapshot.next(), &mut send)
        });
        for (first, batch) in batches {
            state.apply_batch(&batch);
            progress.done.store(first.0 + batch.len() as u64 - 1 - snapshot.0, Ordering::Relaxed);
            let _ = used.try_send(batch);
        }
        reading.join().expect("the reading thread ends without a panic").map(drop)
    })
}

/// The state in the oldest snapshot that is kept: who was known before the first entry of the log. An empty one when there is none.
/// Nothing is changed; a server may run.
///
/// # Errors
/// [`RecoveryError`] names file and offset.
pub fn oldest_snapshot(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> Result<State, RecoveryError> {
    let id = Segments::look_at(Arc::clone(disk), Arc::clone(clock))?.id();
    let snapshots = Snapshots::on(Arc::clone(disk));
    let oldest = snapshots.list()?.first().copied().unwrap_or_default();
    load(&snapshots, id, oldest)
}

/// The state in a snapshot; an empty one for 0.
pub(crate) fn load(snapshots: &Snapshots, id: u64, sequence: Sequence) -> Result<State, RecoveryError> {
    if sequence == Sequence(0) {
        return Ok(State::default());
    }
    let bytes = snapshots.read(id, sequence)?;
    State::from_bytes(&bytes).map_err(|error| RecoveryError::Snapshot { sequence, error })
}
