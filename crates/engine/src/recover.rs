use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::available_parallelism;

use journal::{Entry, Malformed, ReadError, Segments, Sequence, Snapshots};
use model::{Clock, Disk, Shards};

use index::Change;
use model::limits::WATCH_BEHIND_MAX;

use crate::rules::Outcome;
use crate::state::{Part, State};
use crate::watch::{Fact, Placed};

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
    /// Events cannot be read.
    #[error(transparent)]
    Events(#[from] store::StoreError),
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
    /// What the entries after the one that was asked for did.
    pub(crate) missed: Missed,
}

/// What entries did that a watcher has not looked at.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    pub(crate) facts: Vec<Fact>,
    /// There are others that cannot be told any more.
    pub(crate) has_gap: bool,
}

/// Most threads that apply: one more would wait for the one that reads.
const APPLIERS_MAX: usize = 4;

/// Rebuilds the state: the newest snapshot, then every entry after it.
///
/// # Errors
/// [`RecoveryError`] names file and offset.
pub fn recover(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, progress: &Recovery) -> Result<Recovered, RecoveryError> {
    recover_in(appliers(), disk, clock, progress)
}

/// The same, with what the entries after `after` did; `None`: that is not asked for.
pub(crate) fn recover_after(
    after: Option<(u64, Sequence)>,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    progress: &Recovery,
) -> Result<Recovered, RecoveryError> {
    recover_with(appliers(), after, disk, clock, progress)
}

/// One core reads: on two, a second thread that applies made a start half as long again.
fn appliers() -> Shards {
    let appliers = available_parallelism().map_or(1, usize::from).saturating_sub(1).clamp(1, APPLIERS_MAX);
    Shards::new(appliers).expect("they are few")
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
    recover_with(appliers, None, disk, clock, progress)
}

fn recover_with(
    appliers: Shards,
    after: Option<(u64, Sequence)>,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    progress: &Recovery,
) -> Result<Recovered, RecoveryError> {
    let segments = Segments::open(Arc::clone(disk), Arc::clone(clock))?;
    let snapshots = Snapshots::on(Arc::clone(disk));
    let snapshot = snapshots.list()?.last().copied().unwrap_or_default();
    let state = load(&snapshots, segments.id(), snapshot)?;
    progress.total.store(segments.next().before().0.saturating_sub(snapshot.0), Ordering::Relaxed);
    let end = segments.next().before();
    // Another journal has nothing to do with what was looked at.
    let after = after.filter(|(log, _)| *log == segments.id()).map(|(_, after)| after);
    let has_gap = after.is_some_and(|after| after < snapshot || end.0.saturating_sub(after.0) > WATCH_BEHIND_MAX);
    let from = if has_gap { end } else { after.unwrap_or(end) };
    let (parts, rest) = replay(&segments, snapshot, from, Part::all_of(state, appliers), progress)?;
    let mut state = Part::joined(parts);
    let facts = rest.iter().filter_map(|(sequence, entry)| fact(&mut state, *sequence, entry)).collect();
    Ok(Recovered { state, segments, snapshot, missed: Missed { facts, has_gap } })
}

/// Applies an entry, and says what a watcher wants to know of it.
fn fact(state: &mut State, sequence: Sequence, entry: &Entry) -> Option<Fact> {
    let effect = state.apply(entry);
    match (entry, effect.outcome, effect.change) {
        (Entry::Retire(unit), ..) => Some(Fact::Gone(*unit)),
        (_, Some(Outcome::Newest), Some(Change::Place { unit, fix, .. })) => {
            let placed = Placed { unit, place: fix.position, time: fix.time, sequence };
            Some(Fact::Placed { placed, told: 0, epoch: 0 })
        }
        _ => None,
    }
}

/// Entries with their sequences.
type Entries = Vec<(Sequence, Entry)>;

/// Entries as they were read.
type Run = Arc<Vec<Entry>>;

/// Runs that may wait for an applier; each is a record, at most a megabyte on disk.
const AHEAD: usize = 8;

/// Applies everything after `snapshot` up to `from`, and returns the entries after that. One thread reads, checks and decodes while the others apply, each what concerns its own part.
fn replay(
    segments: &Segments,
    snapshot: Sequence,
    from: Sequence,
    parts: Vec<Part>,
    progress: &Recovery,
) -> Result<(Vec<Part>, Entries), ReadError> {
    let (used, spares) = sync_channel::<Vec<Entry>>(2 * AHEAD);
    std::thread::scope(|scope| {
        let (mut ready, mut applying, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            let (run, runs) = sync_channel::<Run>(AHEAD);
            let used = used.clone();
            ready.push(run);
            applying.push(scope.spawn(move || apply(part, &runs, &used)));
        }
        let mut hand_over = |first: Sequence, batch: &[Entry]| {
            let mut copy = spares.try_recv().unwrap_or_default();
            copy.clear();
            let own = batch.len().min((from.0 + 1).saturating_sub(first.0) as usize);
            rest.extend((first.0 + own as u64..).map(Sequence).zip(batch[own..].iter().cloned()));
            copy.extend_from_slice(&batch[..own]);
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
        read.map(|_| (parts, rest))
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
