//! The only place where live state changes. A writer thread for each shard applies batches; readers ask [`Live`].

mod broken;
mod buffers;
mod compact;
mod counters;
mod emergency;
mod explain;
mod forget;
mod fusion;
mod live;
mod pending;
mod recover;
mod roster;
pub mod rules;
mod settle;
mod state;
mod watch;
mod writer;

pub use compact::Retention;
pub use emergency::{Emergencies, Emergency};
pub use explain::{Explained, SourceView, Why};
pub use live::{Live, Page, UnitView};
pub use recover::{Recovered, Recovery, RecoveryError, oldest_snapshot, recover, recover_in};
pub use roster::{Look, Roster, RosterError};
pub use settle::{Settlement, Unsettled};
pub use state::{Effect, Located, PlacedBy, State};
pub use watch::{EventPage, Noted, Watch, WatchFigures, WatchedZone};
pub use writer::Full;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use journal::{LocalLog, Log, Sequence, Status};
use model::{Binding, Clock, DeviceId, Disk, Handling, Heard, Press, Shards, Unit, UnitHandle, UnitName};
use parking_lot::Mutex;
use roster::Taken;
use settle::Settler;
use state::Part;
use store::StoreError;
use store::events::Events;
use tokio::sync::mpsc;
use tracing::{error, info, warn};
use writer::{Message, Writer};

use crate::compact::Compactor;
use crate::forget::Forgetting;
use crate::recover::{Missed, recover_after};
use crate::watch::{Feed, Following};

/// What to do with a device that no unit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownDevices {
    /// Refuse its reports. Its emergency rings all the same.
    Refuse,
    /// Make a unit of its name. For demo and loopback.
    Admit,
}

/// How an engine runs; [`UnknownDevices`] alone stands for one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Devices that no unit carries.
    pub unknown: UnknownDevices,
    /// Writers, each of its own part of the units.
    pub shards: Shards,
}

impl From<UnknownDevices> for Options {
    fn from(unknown: UnknownDevices) -> Self {
        Self { unknown, shards: Shards::ONE }
    }
}

/// What to do with reports once the journal has failed. Acknowledgements stop either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnJournalFailure {
    /// Show them, marked as not stored.
    #[default]
    LiveUnacked,
    /// Take none: what is shown grows old, visibly.
    Stop,
}

/// Where and how the engine keeps its journal.
#[derive(Clone)]
pub struct Storage {
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// Segments and group commits.
    pub options: journal::Options,
    /// Snapshots and the removal of old segments.
    pub retention: Retention,
    /// What happens after an error.
    pub on_failure: OnJournalFailure,
    /// Where events go; `None`: nobody watches what changes.
    pub events: Option<Arc<Events>>,
}

/// The running engine.
pub struct Engine {
    live: Arc<Live>,
    options: Options,
    /// By shard.
    queues: Vec<mpsc::Sender<Message>>,
    log: Option<Arc<LocalLog>>,
    watch: Option<Arc<Watch>>,
    threads: Mutex<Threads>,
}

/// The writers, and the maker of snapshots with what keeps it running.
#[derive(Default)]
struct Threads {
    writers: Vec<JoinHandle<Writer>>,
    compactor: Option<(Sender<()>, JoinHandle<()>)>,
    watcher: Option<JoinHandle<()>>,
    forgetter: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Engine {
    /// Starts an engine that stores nothing: a batch is settled when it is applied.
    #[must_use]
    pub fn start(clock: Arc<dyn Clock>, options: impl Into<Options>) -> Self {
        let options = options.into();
        let (live, queues) = (Live::of(&State::default(), clock, options.shards), queues(options.shards));
        Self::run(State::default(), Arc::new(live), options, None, queues, Vec::new())
    }

    /// The same, and what changes becomes events.
    ///
    /// # Errors
    /// [`StoreError`] when events cannot be read.
    pub fn start_watching(
        clock: Arc<dyn Clock>,
        options: impl Into<Options>,
        events: Arc<Events>,
    ) -> Result<Self, StoreError> {
        let options = options.into();
        let live = Arc::new(Live::of(&State::default(), clock, options.shards));
        let synced = Box::new(|| Sequence(u64::MAX));
        let following = Following { events, log: 0, end: Sequence(0), missed: Missed::default(), synced };
        let (watch, watching, feeds) = Watch::start(&live, options.shards, following)?;
        let queues = queues(options.shards);
        let engine =
            Self { watch: Some(Arc::new(watch)), ..Self::run(State::default(), live, options, None, queues, feeds) };
        engine.threads.lock().watcher = Some(spawn("muster-watch", watching));
        Ok(engine)
    }

    /// Rebuilds what `storage` holds, then starts. Takes a while: `progress` says how far it is.
    ///
    /// # Errors
    /// [`RecoveryError`] names file and offset; nothing was changed.
    pub fn open(
        clock: Arc<dyn Clock>,
        options: impl Into<Options>,
        storage: &Storage,
        progress: &Recovery,
    ) -> Result<Self, RecoveryError> {
        let options = options.into();
        let looked_at = storage.events.as_ref().map(|events| events.looked_at()).transpose()?;
        let looked_at = looked_at.map(|(log, entry)| (log, Sequence(entry)));
        let recovered = recover_after(looked_at, &storage.disk, &clock, progress)?;
        let Recovered { state, segments, snapshot, missed } = recovered;
        let (id, end) = (segments.id(), segments.next().before());
        let settler = Arc::new(Settler::of(options.shards));
        settler.progress(journal::Progress::Synced(segments.next().before()));
        let queues = queues(options.shards);
        // A writer that holds the log must not keep its own queue open.
        let writers: Vec<_> = queues.iter().map(|(queue, _)| queue.downgrade()).collect();
        let listener = Arc::clone(&settler);
        let listener = move |progress: journal::Progress| {
            let failed = if let journal::Progress::Failed(reason) = &progress { Some(reason.clone()) } else { None };
            listener.progress(progress);
            if let Some(reason) = failed {
                error!(%reason, "THE JOURNAL HAS FAILED: nothing is acknowledged any more. Mend the disk and restart.");
                for queue in writers.iter().filter_map(mpsc::WeakSender::upgrade) {
                    // With a full queue, or at its end, the writer will look anyway.
                    let _ = queue.try_send(Message::Wake);
                }
            }
        };
        let disk = Arc::clone(&storage.disk);
        let log = Arc::new(LocalLog::start(segments, disk, storage.options.clone(), Box::new(listener)));
        let compactor = Compactor::new(Arc::clone(&log), Arc::clone(&storage.disk), storage.retention, snapshot);
        let written =
            writer::Storage { log: Arc::clone(&log) as Arc<dyn Log>, settler, on_failure: storage.on_failure };
        let live = Arc::new(Live::of(&state, clock, options.shards));
        let (mut watch, mut feeds, mut watcher) = (None, Vec::new(), None);
        if let Some(events) = storage.events.clone() {
            let synced = Arc::clone(&log);
            let synced = Box::new(move || synced.synced());
            let following = Following { events, log: id, end, missed, synced };
            let (handle, watching, fed) = Watch::start(&live, options.shards, following)?;
            (watch, feeds, watcher) = (Some(Arc::new(handle)), fed, Some(spawn("muster-watch", watching)));
        }
        let running = Self::run(state, live, options, Some(written), queues, feeds);
        let engine = Self { log: Some(log), watch, ..running };
        engine.threads.lock().watcher = watcher;
        let (running, stopped) = channel();
        let compacting = spawn("muster-snapshot", move || compactor.run(&stopped));
        engine.threads.lock().compactor = Some((running, compacting));
        Ok(engine)
    }

    fn run(
        state: State,
        live: Arc<Live>,
        options: Options,
        storage: Option<writer::Storage>,
        channels: Vec<(mpsc::Sender<Message>, mpsc::Receiver<Message>)>,
        feeds: Vec<Feed>,
    ) -> Self {
        let (queues, messages): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
        let parts = Part::all_of(state, options.shards).into_iter().zip(messages).enumerate();
        let mut feeds = feeds.into_iter();
        let writers = parts.map(|(shard, (part, messages))| {
            let writer = Writer::new(Arc::clone(&live), storage.clone(), shard, part).telling(feeds.next());
            spawn("muster-writer", move || writer.run(messages))
        });
        let writers = writers.collect();
        let (running, stopped) = channel();
        let wakes = queues.iter().map(mpsc::Sender::downgrade).collect();
        let forgetting = Forgetting { live: Arc::clone(&live), wakes };
        let forgetter = Some((running, spawn("muster-forget", move || forgetting.run(&stopped))));
        let threads = Threads { writers, forgetter, ..Threads::default() };
        Self { live, options, queues, log: None, watch: None, threads: Mutex::new(threads) }
    }

    /// What readers ask.
    #[must_use]
    pub const fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The journal; `None` when nothing is stored.
    #[must_use]
    pub const fn log(&self) -> Option<&Arc<LocalLog>> {
        self.log.as_ref()
    }

    /// What changes; `None` when nobody watches.
    #[must_use]
    pub const fn watch(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }

    /// Into how many shards live state is cut.
    #[must_use]
    pub const fn shards(&self) -> Shards {
        self.options.shards
    }

    /// Whether a thread that changes live state has ended by a fault of ours: what is shown only grows old.
    #[must_use]
    pub fn has_broken(&self) -> bool {
        self.live.broken.is_told()
    }

    /// Ends when [`Self::has_broken`] becomes true; never while all is well.
    pub async fn broken(&self) {
        self.live.broken.wait().await;
    }

    /// For tests of what is told then: as if a writer had ended by a panic. Nothing else changes.
    pub fn suppose_broken(&self) {
        self.live.broken.tell();
    }

    /// How the journal is; `None` when nothing is stored.
    #[must_use]
    pub fn journal_status(&self) -> Option<Status> {
        self.log.as_ref().map(|log| log.status())
    }

    /// Who `device` is. With [`UnknownDevices::Admit`] an unknown one becomes a unit of its name.
    #[must_use]
    pub fn resolve(&self, device: &DeviceId) -> Option<Binding> {
        let known = self.live.roster.binding(device);
        if known.is_some() || self.options.unknown == UnknownDevices::Refuse {
            return known;
        }
        let name = UnitName::new(device.as_str()).expect("a device name is a unit name: the same rule checks both");
        match self.enrol(Unit::named(name), std::slice::from_ref(device)) {
            Ok(()) => self.live.roster.binding(device),
            Err(error) => {
                warn!(%device, %error, "Unknown device not admitted.");
                None
            }
        }
    }

    /// Adds or changes a unit; `devices` come on top of those that it carries. Seen at once; stored when a batch that is submitted
    /// afterwards, an empty one too, is settled.
    ///
    /// # Errors
    /// [`RosterError`] when a limit is reached or another unit carries a device.
    pub fn enrol(&self, unit: Unit, devices: &[DeviceId]) -> Result<(), RosterError> {
        self.put(unit, devices, Taken::Refuse)
    }

    /// The same, and a device that another unit carries changes hands: that one keeps the place that it had from it, until it
    /// is out of contact.
    ///
    /// # Errors
    /// [`RosterError`] when a limit is reached.
    pub fn assign(&self, unit: Unit, devices: &[DeviceId]) -> Result<(), RosterError> {
        self.put(unit, devices, Taken::Move)
    }

    fn put(&self, unit: Unit, devices: &[DeviceId], taken: Taken) -> Result<(), RosterError> {
        // Nobody watches where volunteers, covert units and those off duty go: one that becomes another is looked at anew.
        let is_watched = |unit: &Unit| watch::is_told(unit.kind, unit.covert, unit.status);
        let before = self.watch.as_ref().and_then(|_| self.live.roster.unit(self.live.roster.find(&unit.name)?));
        let is_other = before.is_some_and(|before| is_watched(&before) != is_watched(&unit));
        let unit = self.live.roster.enrol(unit, devices, taken, &self.live.pending, &self.live.index)?;
        self.watch.iter().filter(|_| is_other).for_each(|watch| watch.look_anew());
        self.wake(unit);
        Ok(())
    }

    /// Takes a unit off the map; its devices are unknown from then on. `false` when there is none of that name. Stored as
    /// [`Self::enrol`] is.
    pub fn retire(&self, name: &UnitName) -> bool {
        let known = self.live.roster.remove(name, &self.live.pending);
        known.into_iter().for_each(|unit| self.wake(unit));
        known.is_some()
    }

    /// An emergency button: rings at once, whatever the queue holds and whoever the device is.
    pub fn ring(&self, press: Press) {
        let device = press.device.clone();
        if self.live.emergencies.ring(press, &self.live.pending) {
            info!(%device, "Emergency raised.");
            self.watch.iter().for_each(|watch| watch.rings());
            // Any shard may have the device.
            self.queues.iter().for_each(wake);
        }
    }

    /// A person has seen an emergency, or cleared it: seen at once by all who look, and stored when a batch that is submitted
    /// afterwards is settled. Gives the emergency as it is then; `None` when none of that number rings.
    pub fn handle(&self, handling: Handling) -> Option<Emergency> {
        let handled = self.live.emergencies.handle(handling, &self.live.pending)?;
        self.queues.iter().for_each(wake);
        Some(handled)
    }

    /// Lets go of places of volunteers that are older than [`model::limits::COMMUNITY_KEPT`], as happens every minute by itself; how many were
    /// told to. They are gone when a batch that is submitted afterwards is settled.
    pub fn forget_volunteers(&self) -> usize {
        let count = self.live.forget_volunteers();
        self.queues.iter().for_each(wake);
        count
    }

    /// Lets the writer that has `unit` look at what is pending.
    fn wake(&self, unit: UnitHandle) {
        wake(&self.queues[self.options.shards.of(unit)]);
    }

    /// An empty batch with the memory of one that was applied before, if there is any.
    #[must_use]
    pub fn buffer(&self) -> Vec<Heard> {
        self.live.buffers.take()
    }

    /// Hands over a batch, waiting for room in the queue.
    ///
    /// # Errors
    /// [`Unsettled::Stopped`] when the engine is stopped.
    pub async fn submit(&self, batch: Vec<Heard>) -> Result<Settlement, Unsettled> {
        if let [queue] = &*self.queues {
            let (message, settlement) = writer::batch(batch);
            queue.send(message).await.map_err(|_| Unsettled::Stopped)?;
            return Ok(settlement);
        }
        let parts = self.parts(batch);
        let mut permits = Vec::with_capacity(parts.len());
        // Room for all parts before the first leaves: a caller that gives up waiting has handed over nothing.
        for (shard, _) in &parts {
            permits.push(self.queues[*shard].reserve().await.map_err(|_| Unsettled::Stopped)?);
        }
        Ok(send(permits.into_iter().zip(parts)))
    }

    /// Hands over a batch if there is room now.
    ///
    /// # Errors
    /// [`Full`] when there is none, or when the engine is stopped.
    pub fn try_submit(&self, batch: Vec<Heard>) -> Result<Settlement, Full> {
        if let [queue] = &*self.queues {
            let (message, settlement) = writer::batch(batch);
            queue.try_send(message).map_err(|_| Full)?;
            return Ok(settlement);
        }
        let parts = self.parts(batch);
        let permits = parts.iter().map(|(shard, _)| self.queues[*shard].try_reserve());
        let permits = permits.collect::<Result<Vec<_>, _>>().map_err(|_| Full)?;
        Ok(send(permits.into_iter().zip(parts)))
    }

    /// Parts a batch by shard, on the thread of whoever hands it over. An empty one is for every shard: it is settled when each has
    /// applied the changes before it.
    fn parts(&self, batch: Vec<Heard>) -> Vec<(usize, Vec<Heard>)> {
        let shards = self.options.shards;
        let mut parts: Vec<_> = (0..shards.count()).map(|shard| (shard, Vec::new())).collect();
        let Some(first) = batch.first().map(|heard| shards.of(heard.binding.unit)) else { return parts };
        if batch.iter().all(|heard| shards.of(heard.binding.unit) == first) {
            return vec![(first, batch)];
        }
        parts.iter_mut().for_each(|(_, part)| *part = self.buffer());
        batch.iter().for_each(|heard| parts[shards.of(heard.binding.unit)].1.push(*heard));
        self.live.buffers.give(batch);
        parts.retain(|(_, part)| !part.is_empty());
        parts
    }

    /// Applies and stores what is in the queue and stops. What comes later is not settled.
    pub async fn stop(&self) {
        for queue in &self.queues {
            let _ = queue.send(Message::Stop).await;
        }
        let Threads { writers, compactor, watcher, forgetter } = std::mem::take(&mut *self.threads.lock());
        let watch = self.watch.clone();
        let ended = tokio::task::spawn_blocking(move || {
            // All of them, before the journal ends and the first of them says how it ended.
            let writers: Vec<_> = writers.into_iter().map(JoinHandle::join).collect();
            let writers: Vec<_> = writers.into_iter().map(|writer| writer.map(Writer::end)).collect();
            let writers: Result<(), _> = writers.into_iter().collect();
            let ended = |(running, thread): (Sender<()>, JoinHandle<()>)| {
                drop(running);
                thread.join()
            };
            let others = compactor.map_or(Ok(()), ended).and(forgetter.map_or(Ok(()), ended));
            watch.iter().for_each(|watch| watch.stop());
            let watcher = watcher.map_or(Ok(()), JoinHandle::join);
            writers.and(others).and(watcher)
        });
        assert!(matches!(ended.await, Ok(Ok(()))), "the engine's threads end without a panic");
    }
}

/// A queue for each shard.
fn queues(shards: Shards) -> Vec<(mpsc::Sender<Message>, mpsc::Receiver<Message>)> {
    (0..shards.count()).map(|_| mpsc::channel(model::limits::ENGINE_QUEUE_BATCHES_MAX)).collect()
}

/// With a full queue its writer will look anyway.
fn wake(queue: &mpsc::Sender<Message>) {
    let _ = queue.try_send(Message::Wake);
}

/// Sends each part where there is room for it.
fn send<'a>(parts: impl Iterator<Item = (mpsc::Permit<'a, Message>, (usize, Vec<Heard>))>) -> Settlement {
    let settlements = parts.map(|(room, (_, part))| {
        let (message, settlement) = writer::batch(part);
        room.send(message);
        settlement
    });
    settlements.reduce(Settlement::and).expect("a batch has a part")
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread of the engine starts")
}
