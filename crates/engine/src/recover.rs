use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::available_parallelism;

use journal::{Entry, Malformed, ReadError, Segments, Sequence, Snapshots};
use model::{Clock, Disk, Shards};

use crate::state::{Part, State};

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

/// Most threads that apply: one more would wait for the one that reads.
const APPLIERS_MAX: usize = 4;

/// Rebuilds the state: the newest snapshot, then every entry after it.
///
/// # Errors
/// [`RecoveryError`] names file and offset.
pub fn recover(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, progress: &Recovery) -> Result<Recovered, RecoveryError> {
    // One core reads: on two, a second thread that applies made a start half as long again.
    let appliers = available_parallelism().map_or(1, usize::from).saturating_sub(1).clamp(1, APPLIERS_MAX);
    recover_in(Shards::new(appliers).expect("they are few"), disk, clock, progress)
}

/// The same with so many threads that apply, each to its own part of the units: the state is the same with any number.
///
/// # Errors
/// As [`recover`].
pub fn recover_in(
    appliers: Shards,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    progress: &Recovery,
) -> Result<Recovered, RecoveryError> {
    let segments = Segments::open(Arc::clone(disk), Arc::clone(clock))?;
    let snapshots = Snapshots::on(Arc::clone(disk));
    let snapshot = snapshots.list()?.last().copied().unwrap_or_default();
    let state = load(&snapshots, segments.id(), snapshot)?;
    progress.total.store(segments.next().before().0.saturating_sub(snapshot.0), Ordering::Relaxed);
    let state = Part::joined(replay(&segments, snapshot, Part::all_of(state, appliers), progress)?);
    Ok(Recovered { state, segments, snapshot })
}

/// Entries as they were read.
type Run = Arc<Vec<Entry>>;

/// Runs that may wait for an applier; each is a record, at most a megabyte on disk.
const AHEAD: usize = 8;

/// Applies everything after `snapshot`. One thread reads, checks and decodes while the others apply, each what concerns its own part.
fn replay(
    segments: &Segments,
    snapshot: Sequence,
    parts: Vec<Part>,
    progress: &Recovery,
) -> Result<Vec<Part>, ReadError> {
    let (used, spares) = sync_channel::<Vec<Entry>>(2 * AHEAD);
    std::thread::scope(|scope| {
        let (mut ready, mut applying) = (Vec::new(), Vec::new());
        for part in parts {
            let (run, runs) = sync_channel::<Run>(AHEAD);
            let used = used.clone();
            ready.push(run);
            applying.push(scope.spawn(move || apply(part, &runs, &used)));
        }
        let mut hand_over = |first: Sequence, batch: &[Entry]| {
            let mut copy = spares.try_recv().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(batch);
            let run = Arc::new(copy);
            for ready in &ready {
                // The other side ends only after this one.
                let _ = ready.send(Arc::clone(&run));
            }
            progress.done.store(first.0 + batch.len() as u64 - 1 - snapshot.0, Ordering::Relaxed);
        };
        let read = segments.read_batches(snapshot.next(), &mut hand_over);
        drop(ready);
        let parts = applying.into_iter().map(|part| part.join().expect("applying ends without a panic")).collect();
        read.map(|_| parts)
    })
}

/// Applies runs to a part until there are no more; whoever is the last with a run gives its memory back.
fn apply(mut part: Part, runs: &Receiver<Run>, used: &SyncSender<Vec<Entry>>) -> Part {
    for run in runs {
        part.apply_own(&run);
        if let Some(memory) = Arc::into_inner(run) {
            let _ = used.try_send(memory);
        }
    }
    part
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
