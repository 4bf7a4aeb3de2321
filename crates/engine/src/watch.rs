//! What changes: units cross the borders of zones, stay, fall silent; zones have too few of them; buttons ring. Each becomes an
//! event with a number, on disk before anybody sees it, and only once the report that says so is on stable storage.
//!
//! Writers test nothing but whether a unit is still in its *quiet tile*, a rectangle in which none of its places changes
//! anything; one thread looks at the others ([`run`]).

mod conditions;
mod crossings;
mod feed;
mod recent;
mod run;
mod strength;
mod timers;
mod zones;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use journal::Sequence;
use model::limits::WATCH_QUEUE_MAX;
use model::{Event, EventKind, OrganisationName, Shards, UnitHandle, UnitName, ZoneName};
use query::Scope;
use store::StoreError;
use store::events::Events;
use tokio::sync::{oneshot, watch};

pub(crate) use crossings::Placed;
pub(crate) use feed::{Fact, Feed};
pub use recent::{EventPage, Noted};
pub(crate) use run::is_told;
pub use zones::WatchedZone;

use crate::live::Live;
use crate::recover::Missed;
use feed::Shared;
use recent::Recent;
use run::{Control, Message, State, Watcher};

/// The watcher, for whoever tells it something or listens to it.
#[derive(Debug)]
pub struct Watch {
    queue: SyncSender<Message>,
    /// What is seldom and must not wait for room among facts, nor be lost.
    control: Arc<Control>,
    shared: Arc<Shared>,
    recent: Arc<Recent>,
}

/// How the watcher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchFigures {
    /// Places that wait to be looked at.
    pub waiting: usize,
    /// Events cannot be written.
    pub has_failed: bool,
}

/// What a watcher follows.
pub(crate) struct Following {
    pub(crate) events: Arc<Events>,
    /// The journal's number; 0 when nothing is stored.
    pub(crate) log: u64,
    /// The last entry of the state that it begins with.
    pub(crate) end: Sequence,
    /// What entries did that it has not looked at.
    pub(crate) missed: Missed,
    pub(crate) synced: Box<dyn Fn() -> Sequence + Send>,
}

impl Watch {
    /// The handle, a thread's body, and what each writer tells it by.
    pub(crate) fn start(
        live: &Arc<Live>,
        shards: Shards,
        following: Following,
    ) -> Result<(Self, impl FnOnce() + Send + use<>, Vec<Feed>), StoreError> {
        let Following { events, log, end, missed, synced } = following;
        let shared = Arc::new(Shared::of(shards, end));
        let recent = Arc::new(Recent::of(Arc::clone(&events))?);
        let (queue, messages): (_, Receiver<Message>) = sync_channel(WATCH_QUEUE_MAX);
        let mut watcher =
            Watcher::new(Arc::clone(live), shards, Arc::clone(&shared), events, Arc::clone(&recent), log, synced)?;
        watcher.begin(missed);
        let feed = |shard| Feed::new(Arc::clone(&shared), queue.clone(), shards, shard);
        let feeds = (0..shards.count()).map(feed).collect();
        let control = Arc::clone(&watcher.control);
        Ok((Self { queue: queue.clone(), control, shared, recent }, move || watcher.run(&messages), feeds))
    }

    /// Sets all zones that there are. What that means for units is told: who is in a new zone, who was in one that is no more. What
    /// is returned ends when that is found, and what is submitted later is judged by these zones.
    pub fn set_zones(&self, zones: Vec<WatchedZone>) -> oneshot::Receiver<()> {
        let (taken, is_taken) = oneshot::channel();
        self.send(Message::Zones(zones, taken));
        is_taken
    }

    /// Sets which unit has which zone as its beat now.
    pub fn set_beats(&self, beats: HashMap<UnitName, ZoneName>) {
        self.send(Message::Beats(beats));
    }

    /// Adds an event that was found elsewhere; `mark` names what has begun (`true`) or ended with it.
    pub fn note(&self, event: Event, mark: Option<(EventKind, String, bool)>) {
        self.send(Message::Note(Box::new(event), mark));
    }

    /// Something that is always in one state, and is named without blanks, is in `state` now; `None`: it is no more. `event` tells
    /// it, unless it was in that state already: both are written in one transaction, so that a restart neither repeats nor loses it.
    pub fn note_state(&self, event: Option<Event>, kind: EventKind, name: String, state: Option<String>) {
        self.send(Message::State(Box::new(State { event, kind, name, state })));
    }

    /// What [`Self::note_state`] has written of one kind: names and their states. What was told last may not be there yet.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn states(&self, kind: EventKind) -> Result<Vec<(String, String)>, StoreError> {
        let split = |mark: String| mark.split_once(' ').map(|(name, state)| (name.to_owned(), state.to_owned()));
        Ok(self.recent.marks(kind)?.into_iter().filter_map(split).collect())
    }

    /// A gateway fell silent, and with it these units.
    pub fn gateway_lost(&self, name: &str, units: Vec<UnitHandle>) {
        self.send(Message::Gateway(name.to_owned(), Some(units)));
    }

    /// It was heard again.
    pub fn gateway_found(&self, name: &str) {
        self.send(Message::Gateway(name.to_owned(), None));
    }

    /// Every unit's next place is looked at.
    pub(crate) fn look_anew(&self) {
        self.shared.next_epoch();
    }

    /// Something rings.
    pub(crate) fn rings(&self) {
        // With a full queue it looks within a second anyway.
        let _ = self.queue.try_send(Message::Rings);
    }

    /// After the writers have ended and the journal too: what is left is looked at and written, then the thread ends.
    pub(crate) fn stop(&self) {
        self.send(Message::Stop);
    }

    /// The same without reading the disk; `None` when it would have to.
    #[must_use]
    pub fn at_hand(&self, after: u64) -> Option<EventPage> {
        self.recent.at_hand(after)
    }

    /// Up to a page of events after number `after`, in their order. Reads the disk only for those that are no longer at hand.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn after(&self, after: u64) -> Result<EventPage, StoreError> {
        self.recent.after(after)
    }

    /// The number of the last event, told anew whenever there is another.
    #[must_use]
    pub fn last(&self) -> watch::Receiver<u64> {
        self.recent.last()
    }

    /// How it is.
    #[must_use]
    pub fn figures(&self) -> WatchFigures {
        WatchFigures { waiting: self.shared.waiting(), has_failed: self.recent.has_failed() }
    }

    /// Never waits: whoever tells something must not hang because the disk of the events does.
    fn send(&self, message: Message) {
        self.control.lock().push_back(message);
        // With a full queue it looks anyway.
        let _ = self.queue.try_send(Message::Wake);
    }

    /// Sets what each organisation that has zones sees: whom their minimum counts.
    pub fn set_scopes(&self, scopes: HashMap<OrganisationName, Scope>) {
        self.send(Message::Scopes(scopes));
    }
}

impl Watcher {
    fn new(
        live: Arc<Live>,
        shards: Shards,
        shared: Arc<Shared>,
        events: Arc<Events>,
        recent: Arc<Recent>,
        log: u64,
        synced: Box<dyn Fn() -> Sequence + Send>,
    ) -> Result<Self, StoreError> {
        if events.looked_at()?.0 != log {
            events.forget()?;
        }
        let memory = events.memory()?;
        // A button rings before the journal has it. A number that was told is not given to another.
        let raised = memory.marks.iter().filter(|(kind, ..)| *kind == EventKind::EmergencyRaised);
        let told = raised.filter_map(|(_, name, _)| name.parse().ok()).max().unwrap_or(0);
        live.emergencies.number_after(told);
        let (started, began) = (live.now(), live.monotonic());
        Ok(Self {
            memory: Some(memory),
            started,
            live,
            shards,
            shared,
            events,
            recent,
            log,
            synced,
            waiting: (0..shards.count()).map(|_| std::collections::VecDeque::new()).collect(),
            mail: vec![Vec::new(); shards.count()],
            set: None,
            crossings: crossings::Crossings::default(),
            stays: timers::Stays::default(),
            strength: strength::Strength::default(),
            silence: timers::Silence::default(),
            beats: HashMap::new(),
            marks: std::collections::BTreeMap::new(),
            gateways: std::collections::BTreeMap::new(),
            found: HashMap::new(),
            commit: store::events::Commit::default(),
            failed: false,
            control: Arc::default(),
            scopes: HashMap::new(),
            is_stopped: false,
            must_look: false,
            has_gap: false,
            hold: Sequence(0),
            looked: started,
            began,
        })
    }

    /// Takes what was missed while the process was down.
    fn begin(&mut self, missed: Missed) {
        for fact in missed.facts {
            let (Fact::Placed { placed: Placed { unit, .. }, .. } | Fact::Gone(unit)) = fact;
            self.waiting[self.shards.of(unit)].push_back(fact);
            self.shared.add_waiting();
        }
        self.has_gap = missed.has_gap;
        if missed.has_gap {
            self.look_at_all("entries of the journal are gone that were not looked at");
        }
    }
}
