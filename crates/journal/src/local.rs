use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::Disk;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::record::{CLOSE_AT_BYTES, Chunk};
use crate::segments::{self, View};
use crate::{AppendError, Entry, Log, Options, Progress, ReadError, Segments, Sequence, Status};

/// After so long without a batch the end of the log is marked.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// A log in the segments of one disk.
///
/// [`Log::append`] lays entries in memory. The thread `muster-journal` writes what has gathered as records, syncs, and tells the
/// listener; the thread `muster-reserve` reserves the next segment ahead of need.
pub struct LocalLog {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Listener = Box<dyn Fn(Progress) + Send>;

struct Shared {
    disk: Arc<dyn Disk>,
    options: Options,
    id: u64,
    state: Mutex<State>,
    /// For the journal thread: there is something to write, a spare, or an order.
    work: Condvar,
    /// For appenders: there is room, or never will be.
    room: Condvar,
    /// For the reserving thread: a spare is wanted.
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    /// Laid and not taken by the journal thread. The last one grows.
    chunks: VecDeque<Chunk>,
    pending_bytes: usize,
    /// When the first of `chunks` was begun.
    pending_since: Option<Instant>,
    next: Sequence,
    /// Bytes of the active segment that are not written.
    active_room: usize,
    spare: Spare,
    /// A batch was refused since the last segment was reserved.
    has_refused: bool,
    retain: Option<Retain>,
    failed: Option<String>,
    is_stopping: bool,
    /// Nothing was written since the end was marked.
    is_marked: bool,
    view: View,
    synced: Sequence,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Spare {
    #[default]
    Wanted,
    Ready,
    /// There was no room. Wanted all the same.
    Refused(String),
}

struct Retain {
    needed: Sequence,
    bytes_max: u64,
    age_max: Duration,
}

impl LocalLog {
    /// Starts the threads on segments that were opened, and whose entries the caller has read.
    ///
    /// # Panics
    /// When the machine has no room for two more threads.
    #[must_use]
    pub fn start(segments: Segments, disk: Arc<dyn Disk>, options: Options, listener: Listener) -> Self {
        let state = State {
            next: segments.next(),
            synced: segments.next().before(),
            view: segments.view(),
            ..State::default()
        };
        let (work, room, wanted) = (Condvar::new(), Condvar::new(), Condvar::new());
        let id = segments.id();
        let shared = Arc::new(Shared { disk, options, id, state: Mutex::new(state), work, room, wanted });
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(body).expect("a thread of the journal starts")
        };
        let (writing, reserving) = (Arc::clone(&shared), Arc::clone(&shared));
        let write = move || Writer { shared: &writing, segments, listener }.run_and_tell();
        let writer = spawn("muster-journal", Box::new(write));
        let reserver = spawn("muster-reserve", Box::new(move || reserving.reserve_and_tell()));
        Self { shared, threads: Mutex::new(vec![writer, reserver]) }
    }

    /// The identity of the log.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Bytes of the segments that were closed after the entry `after`.
    #[must_use]
    pub fn closed_bytes(&self, after: Sequence) -> u64 {
        self.shared.state.lock().view.closed_bytes(after)
    }

    /// The last entry of the last closed segment; 0 when there is none.
    #[must_use]
    pub fn closed_up_to(&self) -> Sequence {
        self.shared.state.lock().view.closed_up_to()
    }

    /// Shows the entries from `from` on that are in closed segments; returns the sequence after the last.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_closed(
        &self,
        from: Sequence,
        visit: &mut dyn FnMut(Sequence, &[Entry]),
    ) -> Result<Sequence, ReadError> {
        let view = self.shared.state.lock().view.closed_only();
        view.read(&*self.shared.disk, from, visit)
    }

    /// Asks for the removal of closed segments that end before `needed` and are over the limits.
    pub fn retain(&self, needed: Sequence, bytes_max: u64, age_max: Duration) {
        self.shared.state.lock().retain = Some(Retain { needed, bytes_max, age_max });
        self.shared.work.notify_one();
    }
}

impl Log for LocalLog {
    fn append(&self, batch: &[Entry]) -> Result<Sequence, AppendError> {
        let bytes_max: usize = batch.iter().map(Entry::bytes_max).sum();
        assert!(bytes_max <= self.append_bytes_max(), "a batch fits in a quarter of a segment");
        let mut state = self.shared.wait_for_room(bytes_max)?;
        if batch.is_empty() {
            return Ok(state.next.before());
        }
        let is_first = state.pending_since.is_none();
        if is_first {
            state.pending_since = Some(Instant::now());
        }
        let record_bytes = record_bytes(&self.shared.options);
        for entry in batch {
            if state.chunks.back().is_none_or(|chunk| chunk.bytes() >= record_bytes) {
                state.chunks.push_back(Chunk::default());
                state.pending_bytes += Chunk::default().bytes();
            }
            let chunk = state.chunks.back_mut().expect("one was pushed");
            let before = chunk.bytes();
            chunk.push(entry);
            let grown = chunk.bytes() - before;
            state.pending_bytes += grown;
        }
        state.next = Sequence(state.next.0 + batch.len() as u64);
        let last = state.next.before();
        let is_due = state.pending_bytes >= self.shared.options.group_bytes;
        drop(state);
        // In between the journal thread waits for the time of the group.
        if is_first || is_due {
            self.shared.work.notify_one();
        }
        Ok(last)
    }

    fn append_bytes_max(&self) -> usize {
        append_bytes_max(&self.shared.options)
    }

    fn read_batches(&self, from: Sequence, visit: &mut dyn FnMut(Sequence, &[Entry])) -> Result<Sequence, ReadError> {
        let view = self.shared.state.lock().view.clone();
        view.read(&*self.shared.disk, from, visit)
    }

    fn synced(&self) -> Sequence {
        self.shared.state.lock().synced
    }

    fn status(&self) -> Status {
        let state = self.shared.state.lock();
        match (&state.failed, &state.spare) {
            (Some(reason), _) => Status::Failed { reason: reason.clone() },
            (None, Spare::Refused(reason)) => {
                let reason = reason.clone();
                let bytes_left = state.room(&self.shared.options).saturating_sub(state.pending_bytes) as u64;
                if state.has_refused { Status::Full { reason } } else { Status::Low { reason, bytes_left } }
            }
            _ => Status::Open,
        }
    }

    fn stop(&self) {
        self.shared.state.lock().is_stopping = true;
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        self.shared.wanted.notify_all();
        for thread in self.threads.lock().drain(..) {
            assert!(thread.join().is_ok(), "a thread of the journal ends without a panic");
        }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Waits while a slow disk has too much before it, or the next segment is being reserved.
    fn wait_for_room(&self, bytes_max: usize) -> Result<MutexGuard<'_, State>, AppendError> {
        let mut state = self.state.lock();
        loop {
            if let Some(reason) = &state.failed {
                return Err(AppendError::Failed { reason: reason.clone() });
            }
            if state.is_stopping {
                return Err(AppendError::Stopped);
            }
            let is_slow = state.pending_bytes > self.options.unsynced_bytes_max;
            let fits = state.pending_bytes + bytes_max <= state.room(&self.options);
            match &state.spare {
                _ if fits && !is_slow => return Ok(state),
                Spare::Refused(reason) if !fits => {
                    let reason = reason.clone();
                    state.has_refused = true;
                    return Err(AppendError::Full { reason });
                }
                _ => self.room.wait(&mut state),
            }
        }
    }

    /// Keeps one segment reserved ahead. After a panic there will be no further one: appends are refused once there is no room.
    fn reserve_and_tell(&self) {
        if catch_unwind(AssertUnwindSafe(|| self.reserve())).is_err() {
            self.state.lock().spare = Spare::Refused(format!("reserving segments {PANICKED}"));
            self.room.notify_all();
            self.work.notify_one();
        }
    }

    fn reserve(&self) {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping || state.failed.is_some() {
                return;
            }
            if state.spare == Spare::Ready {
                self.wanted.wait(&mut state);
                continue;
            }
            let is_again = state.spare != Spare::Wanted;
            if is_again && !self.wanted.wait_for(&mut state, self.options.reserve_again_after).timed_out() {
                continue;
            }
            let reserve = || segments::prepare(&*self.disk, self.options.segment_bytes);
            state.spare = match MutexGuard::unlocked(&mut state, reserve) {
                Ok(()) => {
                    state.has_refused = false;
                    Spare::Ready
                }
                Err(error) => Spare::Refused(error.to_string()),
            };
            self.room.notify_all();
            self.work.notify_one();
        }
    }
}

impl State {
    /// Bytes that may be laid before a segment must be reserved that is not. What a roll may leave unused is taken off.
    fn room(&self, options: &Options) -> usize {
        let waste = largest_record(options);
        let spare = if self.spare == Spare::Ready { options.segment_bytes as usize } else { 0 };
        self.active_room.saturating_sub(waste) + spare.saturating_sub(waste)
    }
}

/// A record is closed when it has so many bytes.
fn record_bytes(options: &Options) -> usize {
    (options.segment_bytes as usize / 8).min(CLOSE_AT_BYTES)
}

/// A batch may be as large.
fn append_bytes_max(options: &Options) -> usize {
    options.segment_bytes as usize / 4
}

/// No record is longer: it was closed by its last batch.
fn largest_record(options: &Options) -> usize {
    record_bytes(options) + append_bytes_max(options)
}

/// What the journal thread does next.
enum Step {
    Commit(VecDeque<Chunk>),
    Retain(Retain),
    Mark,
    Stop,
}

struct Writer<'a> {
    shared: &'a Shared,
    segments: Segments,
    listener: Listener,
}

/// A fault of ours; what the panic said is on standard error.
const PANICKED: &str = "ended by a panic: restart, and report it";

impl Writer<'_> {
    /// A panic is a failure of the log like any other: final, and told to whoever waits.
    fn run_and_tell(mut self) {
        if catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
            self.fail(&io::Error::other(format!("writing {PANICKED}")));
        }
    }

    fn run(&mut self) {
        loop {
            let done = match self.next_step() {
                Step::Commit(group) => self.commit(&group),
                Step::Mark => self.mark(),
                Step::Stop => break,
                Step::Retain(Retain { needed, bytes_max, age_max }) => {
                    // Space that is not given back now is given back next time.
                    let _ = self.segments.retain(needed, bytes_max, age_max);
                    self.shared.state.lock().view = self.segments.view();
                    Ok(())
                }
            };
            if let Err(error) = done {
                return self.fail(&error);
            }
        }
        if let Err(error) = self.mark().and_then(|()| self.segments.sync()) {
            self.fail(&error);
        }
    }

    /// Waits for a group, an order, or for the log to be quiet.
    fn next_step(&self) -> Step {
        let options = &self.shared.options;
        let mut state = self.shared.state.lock();
        let mut has_waited = false;
        loop {
            if let Some(retain) = state.retain.take() {
                return Step::Retain(retain);
            }
            if let Some(since) = state.pending_since {
                let is_due = state.is_stopping || state.pending_bytes >= options.group_bytes;
                if is_due || self.shared.work.wait_until(&mut state, since + options.group_time).timed_out() {
                    state.pending_since = None;
                    return Step::Commit(std::mem::take(&mut state.chunks));
                }
            } else if state.is_stopping {
                return Step::Stop;
            } else if has_waited {
                self.shared.work.wait(&mut state);
            } else {
                has_waited = self.shared.work.wait_for(&mut state, MARK_AFTER).timed_out();
                if has_waited && !state.is_marked {
                    return Step::Mark;
                }
            }
        }
    }

    fn mark(&mut self) -> io::Result<()> {
        self.segments.mark()?;
        let mut state = self.shared.state.lock();
        state.active_room = self.segments.room();
        state.is_marked = true;
        Ok(())
    }

    fn commit(&mut self, group: &VecDeque<Chunk>) -> io::Result<()> {
        let mut written = 0;
        for chunk in group {
            if self.segments.room() < chunk.bytes() {
                self.roll(written)?;
            }
            self.segments.write(chunk)?;
            written += chunk.bytes();
        }
        let synced = self.segments.sync()?;
        let mut state = self.shared.state.lock();
        state.pending_bytes -= written;
        state.active_room = self.segments.room();
        let is_news = state.synced < synced;
        state.synced = synced;
        state.is_marked = false;
        state.view = self.segments.view();
        drop(state);
        self.shared.room.notify_all();
        if is_news {
            (self.listener)(Progress::Synced(synced));
        }
        Ok(())
    }

    /// Begins the reserved segment. Appends were only let in when it is there, or soon will be. Of the pending bytes `written` are in
    /// segments before it.
    fn roll(&mut self, written: usize) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        while state.spare != Spare::Ready {
            if let (Spare::Refused(reason), true) = (&state.spare, state.is_stopping) {
                return Err(io::Error::other(reason.clone()));
            }
            self.shared.work.wait(&mut state);
        }
        drop(state);
        self.segments.roll()?;
        let mut state = self.shared.state.lock();
        state.spare = Spare::Wanted;
        // At once, not with the sync: when there is no room for the next spare, nobody may be refused who fits into this one.
        state.active_room = self.segments.room() + written;
        drop(state);
        self.shared.wanted.notify_one();
        Ok(())
    }

    fn fail(&self, error: &io::Error) {
        let reason = error.to_string();
        self.shared.state.lock().failed = Some(reason.clone());
        self.shared.room.notify_all();
        self.shared.wanted.notify_all();
        (self.listener)(Progress::Failed(reason));
    }
}
