//! The only place where live state changes. One writer thread applies batches; readers ask [`Live`].

mod broken;
mod buffers;
mod compact;
mod counters;
mod emergency;
mod fusion;
mod live;
mod pending;
mod recover;
mod roster;
pub mod rules;
mod settle;
mod state;
mod writer;

pub use compact::Retention;
pub use emergency::{Emergencies, Emergency};
pub use live::{Live, Page, UnitView};
pub use recover::{Recovered, Recovery, RecoveryError, oldest_snapshot, recover};
pub use roster::{Look, Roster, RosterError};
pub use settle::{Settlement, Unsettled};
pub use state::{Effect, State};
pub use writer::Full;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use journal::{LocalLog, Log, Status};
use model::{Binding, Clock, DeviceId, Disk, Heard, Press, Unit, UnitName};
use parking_lot::Mutex;
use roster::Taken;
use settle::Settler;
use tokio::sync::mpsc;
use tracing::{error, info, warn};
use writer::{Message, Writer};

use crate::compact::Compactor;

/// What to do with a device that no unit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownDevices {
    /// Refuse its reports. Its emergency rings all the same.
    Refuse,
    /// Make a unit of its name. For demo and loopback.
    Admit,
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
}

/// The running engine.
pub struct Engine {
    live: Arc<Live>,
    unknown: UnknownDevices,
    queue: mpsc::Sender<Message>,
    log: Option<Arc<LocalLog>>,
    threads: Mutex<Threads>,
}

/// The writer, and the maker of snapshots with what keeps it running.
#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    compactor: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Engine {
    /// Starts an engine that stores nothing: a batch is settled when it is applied.
    #[must_use]
    pub fn start(clock: Arc<dyn Clock>, unknown: UnknownDevices) -> Self {
        let queue = mpsc::channel(model::limits::ENGINE_QUEUE_BATCHES_MAX);
        Self::run(State::default(), clock, unknown, None, queue)
    }

    /// Rebuilds what `storage` holds, then starts. Takes a while: `progress` says how far it is.
    ///
    /// # Errors
    /// [`RecoveryError`] names file and offset; nothing was changed.
    pub fn open(
        clock: Arc<dyn Clock>,
        unknown: UnknownDevices,
        storage: &Storage,
        progress: &Recovery,
    ) -> Result<Self, RecoveryError> {
        let Recovered { state, segments, snapshot } = recover(&storage.disk, &clock, progress)?;
        let settler = Arc::new(Settler::default());
        settler.progress(journal::Progress::Synced(segments.next().before()));
        let queue = mpsc::channel(model::limits::ENGINE_QUEUE_BATCHES_MAX);
        // A writer that holds the log must not keep its own queue open.
        let (listener, writer) = (Arc::clone(&settler), queue.0.downgrade());
        let listener = move |progress: journal::Progress| {
            let failed = if let journal::Progress::Failed(reason) = &progress { Some(reason.clone()) } else { None };
            listener.progress(progress);
            if let Some(reason) = failed {
                error!(%reason, "THE JOURNAL HAS FAILED: nothing is acknowledged any more. Mend the disk and restart.");
                // With a full queue, or at its end, the writer will look anyway.
                let _ = writer.upgrade().map(|queue| queue.try_send(Message::Wake));
            }
        };
        let (disk, options) = (Arc::clone(&storage.disk), storage.options.clone());
        let log = Arc::new(LocalLog::start(segments, disk, options, Box::new(listener)));
        let compactor = Compactor::new(Arc::clone(&log), Arc::clone(&storage.disk), storage.retention, snapshot);
        let written =
            writer::Storage { log: Arc::clone(&log) as Arc<dyn Log>, settler, on_failure: storage.on_failure };
        let engine = Self { log: Some(log), ..Self::run(state, clock, unknown, Some(written), queue) };
        let (running, stopped) = channel();
        let compacting = spawn("muster-snapshot", move || compactor.run(&stopped));
        engine.threads.lock().compactor = Some((running, compacting));
        Ok(engine)
    }

    fn run(
        state: State,
        clock: Arc<dyn Clock>,
        unknown: UnknownDevices,
        storage: Option<writer::Storage>,
        (queue, messages): (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    ) -> Self {
        let live = Arc::new(Live::of(&state, clock));
        let writer = Writer::new(Arc::clone(&live), storage, state);
        let writer = Some(spawn("muster-writer", move || writer.run(messages)));
        Self { live, unknown, queue, log: None, threads: Mutex::new(Threads { writer, compactor: None }) }
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

    /// Whether the thread that changes live state has ended by a fault of ours: what is shown only grows old.
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
        if known.is_some() || self.unknown == UnknownDevices::Refuse {
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
        self.live.roster.enrol(unit, devices, taken, &self.live.pending, &self.live.index)?;
        self.wake();
        Ok(())
    }

    /// Takes a unit off the map; its devices are unknown from then on. `false` when there is none of that name. Stored as
    /// [`Self::enrol`] is.
    pub fn retire(&self, name: &UnitName) -> bool {
        let is_known = self.live.roster.remove(name, &self.live.pending).is_some();
        self.wake();
        is_known
    }

    /// An emergency button: rings at once, whatever the queue holds and whoever the device is.
    pub fn ring(&self, press: Press) {
        let device = press.device.clone();
        if self.live.emergencies.ring(press, &self.live.pending) {
            info!(%device, "Emergency raised.");
            self.wake();
        }
    }

    /// Lets the writer look at what is pending. With a full queue it will look anyway.
    fn wake(&self) {
        let _ = self.queue.try_send(Message::Wake);
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
        let (message, settlement) = writer::batch(batch);
        self.queue.send(message).await.map_err(|_| Unsettled::Stopped)?;
        Ok(settlement)
    }

    /// Hands over a batch if there is room now.
    ///
    /// # Errors
    /// [`Full`] when there is none, or when the engine is stopped.
    pub fn try_submit(&self, batch: Vec<Heard>) -> Result<Settlement, Full> {
        let (message, settlement) = writer::batch(batch);
        self.queue.try_send(message).map_err(|_| Full)?;
        Ok(settlement)
    }

    /// Applies and stores what is in the queue and stops. What comes later is not settled.
    pub async fn stop(&self) {
        let _ = self.queue.send(Message::Stop).await;
        let Threads { writer, compactor } = std::mem::take(&mut *self.threads.lock());
        let ended = tokio::task::spawn_blocking(move || {
            let writer = writer.map_or(Ok(()), JoinHandle::join);
            let compactor = compactor.map_or(Ok(()), |(running, thread)| {
                drop(running);
                thread.join()
            });
            writer.and(compactor)
        });
        assert!(matches!(ended.await, Ok(Ok(()))), "the engine's threads end without a panic");
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread of the engine starts")
}
