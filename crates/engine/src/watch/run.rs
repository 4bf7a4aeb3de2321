//! The watcher's thread: takes what writers told up to the last entry that is on stable storage, finds what it means, writes the
//! events with what it must remember, and shows them then.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use geodesy::Tile;
use journal::Sequence;
use model::limits::STRENGTH_GRACE;
use model::{
    Event, EventKind, OrganisationName, Position, Shards, Status, Timestamp, UnitHandle, UnitKind, UnitName,
    ZoneHandle, ZoneName,
};
use parking_lot::Mutex;
use query::Scope;
use store::events::{Commit, Events, Memory};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::crossings::{Crossed, Crossings, Placed};
use super::feed::{Fact, Mail, Shared};
use super::recent::Recent;
use super::strength::Strength;
use super::timers::{Silence, Stays};
use super::zones::{WatchedZone, ZoneSet};
use crate::live::Live;

/// While something waits for stable storage.
const WAIT_SHORT: Duration = Duration::from_millis(2);
const WAIT_LONG: Duration = Duration::from_millis(100);
/// How often time itself is looked at, and the place in the journal is written.
const SECOND: Duration = Duration::from_secs(1);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// Messages taken before what they say is looked at.
const MESSAGES_AT_ONCE: usize = 4_096;

#[derive(Debug)]
pub(crate) enum Message {
    Facts(usize, Vec<Fact>),
    Zones(Vec<WatchedZone>, oneshot::Sender<()>),
    /// The zones that units are assigned to by their duty.
    Beats(HashMap<UnitName, ZoneName>),
    /// Somebody else's event, and the mark that it sets or ends.
    Note(Box<Event>, Option<Marking>),
    /// Something is in another state, or is no more.
    State(Box<State>),
    /// A gateway fell silent, with these units, or is heard again.
    Gateway(String, Option<Vec<UnitHandle>>),
    /// Look at what rings.
    Rings,
    /// What organisations that have zones see.
    Scopes(HashMap<OrganisationName, Scope>),
    /// Something is in the control lane.
    Wake,
    Stop,
}

/// Messages that come beside the queue.
pub(crate) type Control = Mutex<VecDeque<Message>>;

/// That `name` is in `state`, and the event that tells it.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) event: Option<Event>,
    pub(super) kind: EventKind,
    pub(super) name: String,
    pub(super) state: Option<String>,
}

/// A mark, and whether it is set.
pub(crate) type Marking = (EventKind, String, bool);

pub(crate) struct Watcher {
    pub(super) live: Arc<Live>,
    pub(super) shards: Shards,
    pub(super) shared: Arc<Shared>,
    pub(super) events: Arc<Events>,
    pub(super) recent: Arc<Recent>,
    /// The journal that is followed; 0 when nothing is stored.
    pub(super) log: u64,
    pub(super) synced: Box<dyn Fn() -> Sequence + Send>,
    pub(super) memory: Option<Memory>,
    /// By shard: facts in the order of its writer.
    pub(super) waiting: Vec<VecDeque<Fact>>,
    /// `None` until the first zones are there: nothing is looked at before.
    pub(super) set: Option<ZoneSet>,
    pub(super) crossings: Crossings,
    pub(super) stays: Stays,
    pub(super) strength: Strength,
    pub(super) silence: Silence,
    pub(super) beats: HashMap<UnitName, ZoneName>,
    pub(super) marks: BTreeMap<(EventKind, String), Timestamp>,
    /// Silent gateways: since when, and who reports through them.
    pub(super) gateways: BTreeMap<String, (Timestamp, Vec<UnitHandle>)>,
    /// Units whose gateway was found then, until they are heard.
    pub(super) found: HashMap<UnitHandle, Timestamp>,
    pub(super) commit: Commit,
    pub(super) mail: Vec<Vec<Mail>>,
    pub(super) started: Timestamp,
    pub(super) failed: bool,
    pub(super) control: Arc<Control>,
    pub(super) scopes: HashMap<OrganisationName, Scope>,
    pub(super) is_stopped: bool,
    /// Facts were dropped: every unit is to be looked at, once all others are.
    pub(super) must_look: bool,
    /// Entries are gone that were not looked at, before the start.
    pub(super) has_gap: bool,
    /// Nothing is written before the journal was looked at up to here: other zones were judged by what it says.
    pub(super) hold: Sequence,
    /// When time was looked at last; a clock that is set back is seen by it.
    pub(super) looked: Timestamp,
    /// When it began, by the clock that nobody sets back.
    pub(super) began: Duration,
}

impl Watcher {
    pub(crate) fn run(mut self, queue: &Receiver<Message>) {
        let _alarm = Alarm(Arc::clone(&self.live));
        let (mut second_at, mut expire_at) = (Instant::now(), Instant::now() + EXPIRE_EVERY);
        let mut is_last = false;
        while !is_last {
            let wait = if self.shared.waiting() > 0 { WAIT_SHORT } else { WAIT_LONG };
            let first = match queue.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let told = self.shared.told();
            let (is_drained, is_stopped) = self.take(first, queue);
            is_last = is_stopped && is_drained;
            let is_second = Instant::now() >= second_at || is_last;
            self.step(is_drained.then_some(told), is_second);
            if is_second {
                second_at = Instant::now() + SECOND;
            }
            if Instant::now() >= expire_at {
                expire_at = Instant::now() + EXPIRE_EVERY;
                self.expire();
            }
        }
    }

    /// Takes what is in the queue: whether that was all, and whether it is the end.
    fn take(&mut self, first: Option<Message>, queue: &Receiver<Message>) -> (bool, bool) {
        let control = std::mem::take(&mut *self.control.lock());
        for message in control {
            self.is_stopped |= matches!(message, Message::Stop);
            self.accept(message);
        }
        first.into_iter().for_each(|message| self.accept(message));
        for _ in 0..MESSAGES_AT_ONCE {
            match queue.try_recv() {
                Ok(message) => self.accept(message),
                Err(TryRecvError::Empty) => return (true, self.is_stopped),
                Err(TryRecvError::Disconnected) => return (true, true),
            }
        }
        (false, self.is_stopped)
    }

    fn accept(&mut self, message: Message) {
        match message {
            Message::Facts(shard, facts) => self.waiting[shard].extend(facts),
            Message::Zones(zones, taken) => {
                self.take_zones(zones);
                // Nobody may wait for it.
                let _ = taken.send(());
            }
            Message::Beats(beats) => self.take_beats(beats),
            Message::Note(event, marking) => self.note(*event, marking),
            Message::State(state) => self.note_state(*state),
            Message::Gateway(name, units) => self.gateway(&name, units),
            Message::Rings => self.look_at_emergencies(),
            Message::Scopes(scopes) => self.scopes = scopes,
            Message::Wake | Message::Stop => {}
        }
    }

    /// Looks at what is on stable storage. `told`: everything up to there is here, if that is known.
    fn step(&mut self, told: Option<Sequence>, is_second: bool) {
        if self.set.is_none() || (self.failed && !is_second) {
            return;
        }
        let synced = (self.synced)();
        if !self.failed {
            self.must_look |= self.shared.take_dropped() > 0;
            self.look_at_facts(synced);
            // What is older than the places of now must not be looked at after them.
            if self.must_look && told.is_some() && self.waiting.iter().all(VecDeque::is_empty) {
                self.must_look = false;
                self.look_at_all("more came than could be looked at");
            }
            if is_second {
                self.look_at_time();
            }
            if let Some(told) = told {
                self.commit.entry = self.commit.entry.max(told.min(synced).0);
            }
        }
        let is_judged = self.commit.entry >= self.hold.0;
        if is_judged && (!self.commit.is_empty() || !self.crossings.is_unchanged() || is_second) {
            self.write();
        }
    }

    fn look_at_facts(&mut self, synced: Sequence) {
        let mut crossed = Vec::new();
        for shard in 0..self.waiting.len() {
            let mut looked_at = 0;
            while let Some(fact) = self.waiting[shard].pop_front_if(|fact| is_stored(fact, synced)) {
                looked_at += 1;
                match fact {
                    Fact::Placed { placed, told, epoch } => {
                        let tile = self.look_at(&placed, &mut crossed);
                        self.mail[shard].push(Mail::of(self.shards.within(placed.unit), told, epoch, tile));
                        crossed.drain(..).for_each(|one| self.tell_crossed(&one, Some(&placed), None));
                    }
                    Fact::Gone(unit) => {
                        self.crossings.gone(unit, &mut crossed);
                        crossed.drain(..).for_each(|one| self.tell_crossed(&one, None, Some("retired")));
                    }
                }
            }
            self.shared.looked_at(looked_at);
            self.shared.post(shard, &mut self.mail[shard]);
        }
    }

    fn look_at(&mut self, placed: &Placed, crossed: &mut Vec<Crossed>) -> Tile {
        let Some(set) = &self.set else { return Tile::EMPTY };
        let is_watched = match self.live.index.traits(placed.unit) {
            Some(traits) => is_watched(&traits),
            // It was taken off since: what it did before still counts.
            None => self.live.roster.unit(placed.unit).is_none_or(|unit| is_told(unit.kind, unit.covert, unit.status)),
        };
        if is_watched {
            return self.crossings.moved(set, placed, crossed);
        }
        // Nobody watches where volunteers, covert units and those off duty go.
        self.crossings.gone(placed.unit, crossed);
        crossed.drain(..).for_each(|one| self.strength.crossed(&one));
        Tile::EARTH
    }

    /// Looks at every unit where it is now: something was missed, and that is told.
    pub(super) fn look_at_all(&mut self, why: &str) {
        self.shared.next_epoch();
        let (now, sequence) = (self.live.now(), self.shared.appended());
        self.put(Event::of(EventKind::Gap, now, now).with("cause", why));
        for (unit, place, time) in self.places() {
            let placed = Placed { unit, place, time, sequence };
            // An answer to an epoch that is none is dropped.
            self.waiting[self.shards.of(unit)].push_back(Fact::Placed { placed, told: 0, epoch: 0 });
            self.shared.add_waiting();
        }
    }

    /// Where units are that are watched.
    fn places(&self) -> Vec<(UnitHandle, Position, Timestamp)> {
        let units = self.live.roster.numbers();
        let place = |unit: UnitHandle| {
            let slot = self.live.index.slot(unit).filter(|slot| is_watched(&slot.traits))?;
            slot.fix.map(|fix| (unit, fix.position, fix.time))
        };
        (0..units).map(UnitHandle).filter_map(place).collect()
    }

    fn take_zones(&mut self, zones: Vec<WatchedZone>) {
        let now = self.live.now();
        self.keep_changed();
        let before = match self.memory.take() {
            Some(memory) => self.recall(memory, &zones),
            None => self.set.take().unwrap_or_default(),
        };
        let mut after = ZoneSet::of(zones, now);
        // A place that is read after this may be newer than `from`, and is judged once more, which changes nothing. None is older.
        let from = self.shared.appended();
        after.begin(&before, from);
        self.hold = from;
        let places: Vec<_> = self.places();
        let places = places.iter().map(|(unit, place, _)| (*unit, *place));
        let renumbered = self.crossings.renumber(&before, &after, now, places);
        for (unit, zone) in renumbered.dropped {
            self.commit.stays.push((unit, before.zone(zone).name.clone(), None));
        }
        self.set = Some(before);
        for one in &renumbered.left {
            self.commit.stays.push((one.unit, self.zone_name(one.zone), None));
            self.tell_crossed(one, None, Some("zone_changed"));
        }
        self.commit.zones = Some(after.versions());
        self.stays = Stays::of(&after, &self.crossings);
        self.strength = Strength::of(&after, &self.crossings);
        self.set = Some(after);
        for (unit, zone) in renumbered.kept {
            self.crossings.touch(unit, zone);
        }
        for one in &renumbered.entered {
            self.tell_crossed(one, None, Some("zone_changed"));
        }
        if std::mem::take(&mut self.has_gap) {
            self.leave_retired();
        }
        self.end_strength(now);
        self.shared.next_epoch();
    }

    /// Units that were taken off in entries that nobody looked at are in no zone.
    fn leave_retired(&mut self) {
        let mut crossed = Vec::new();
        for unit in self.crossings.units().filter(|unit| self.live.index.traits(*unit).is_none()) {
            self.crossings.gone(unit, &mut crossed);
        }
        crossed.iter().for_each(|one| self.tell_crossed(one, None, Some("retired")));
    }

    /// Puts back what was remembered; returns the zones as they were then. One that is gone stands there without ground, so that
    /// whoever was in it leaves it.
    fn recall(&mut self, memory: Memory, zones: &[WatchedZone]) -> ZoneSet {
        let now: HashMap<_, _> = zones.iter().map(|one| (&one.zone.name, one)).collect();
        let then = |(name, version): (ZoneName, u64)| match now.get(&name) {
            Some(one) => WatchedZone { version, ..(*one).clone() },
            None => WatchedZone::without_ground(name, version),
        };
        let before = ZoneSet::remembered(memory.zones.into_iter().map(then).collect());
        for (unit, zone, stay) in memory.stays {
            match before.find(&zone) {
                Some(zone) => self.crossings.recall(unit, zone, stay),
                None => self.commit.stays.push((unit, zone, None)),
            }
        }
        self.marks = memory.marks.into_iter().map(|(kind, name, since)| ((kind, name), since)).collect();
        self.end_emergencies();
        before
    }

    fn zone_name(&self, zone: ZoneHandle) -> ZoneName {
        self.set.as_ref().expect("zones are there before anybody is in one").zone(zone).name.clone()
    }

    /// Keeps what changed, by name: numbers of zones are about to change, or it is about to be written.
    fn keep_changed(&mut self) {
        for (unit, zone, stay) in self.crossings.take_changed() {
            let name = self.zone_name(zone);
            self.commit.stays.push((unit, name, stay));
        }
    }

    /// Writes all that was found, and shows it then. What cannot be written is kept, and nothing else is looked at meanwhile.
    fn write(&mut self) {
        self.keep_changed();
        self.commit.log = self.log;
        match self.events.commit(&mut self.commit) {
            Ok(()) => {
                if std::mem::take(&mut self.failed) {
                    info!("Events are written again.");
                }
                self.recent.show(std::mem::take(&mut self.commit.events));
                self.commit = Commit { entry: self.commit.entry, ..Commit::default() };
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    error!(%error, "Events cannot be written: none leaves until they can.");
                }
            }
        }
        self.recent.set_failed(self.failed);
    }

    fn expire(&self) {
        if let Err(error) = self.events.expire(self.live.now()) {
            error!(%error, "Old events stay.");
        }
    }

    /// What becomes true because time goes by.
    fn look_at_time(&mut self) {
        let now = self.live.now();
        if now < self.looked {
            self.follow_the_clock(now);
        }
        self.looked = now;
        if self.set.as_ref().is_some_and(|set| set.is_over(now)) {
            let zones = self.set.as_ref().map(ZoneSet::all).unwrap_or_default();
            self.take_zones(zones);
        }
        self.look_at_emergencies();
        self.look_at_silence(now);
        self.look_at_stays(now);
        if self.live.monotonic().saturating_sub(self.began) >= STRENGTH_GRACE {
            self.look_at_strength(now);
        }
    }

    /// The clock was set back: what was to be looked at by the time before is looked at by the time now.
    fn follow_the_clock(&mut self, now: Timestamp) {
        self.started = self.started.min(now);
        self.silence = Silence::default();
        if let Some(set) = &self.set {
            self.stays = Stays::of(set, &self.crossings);
        }
    }

    fn look_at_stays(&mut self, now: Timestamp) {
        let Some(set) = &self.set else { return };
        let index = &self.live.index;
        let is_silent = |unit: UnitHandle| index.slot(unit).is_none_or(|slot| slot.is_out_of_contact(now));
        for (kind, unit, zone, stay) in self.stays.take_due(set, &mut self.crossings, now, is_silent) {
            let event = self.of_unit(Event::of(kind, now, now), unit, Some(zone));
            let event = event.with("inside_s", (now.ms_since(stay.since) / 1_000).to_string());
            self.put_of_unit(event, unit);
        }
    }

    /// Tells that a unit came or left, with the fix that says so, or else because of `cause`.
    fn tell_crossed(&mut self, crossed: &Crossed, placed: Option<&Placed>, cause: Option<&'static str>) {
        let now = self.live.now();
        self.strength.crossed(crossed);
        let kind = if crossed.is_in { EventKind::Enter } else { EventKind::Exit };
        let time = placed.map_or(now, |placed| placed.time);
        let mut event = self.of_unit(Event::of(kind, time, now), crossed.unit, Some(crossed.zone));
        event.place = placed.map(|placed| placed.place).or(event.place);
        if !crossed.is_in {
            event = event.with("inside_s", (time.ms_since(crossed.since).max(0) / 1_000).to_string());
        }
        if let Some(cause) = cause {
            event = event.with("cause", cause);
        }
        if crossed.is_in {
            let (set, stay) = (self.set.as_ref(), self.crossings.stay(crossed.unit, crossed.zone));
            set.zip(stay).into_iter().for_each(|(set, stay)| self.stays.begin(set, crossed.unit, crossed.zone, &stay));
        }
        let beat =
            event.unit.as_ref().zip(event.zone.as_ref()).filter(|(unit, zone)| self.beats.get(*unit) == Some(*zone));
        let of_beat = beat.map(|_| Event {
            kind: if crossed.is_in { EventKind::BeatJoined } else { EventKind::BeatLeft },
            ..event.clone()
        });
        self.put_of_unit(event, crossed.unit);
        of_beat.into_iter().for_each(|event| self.put_of_beat(event, crossed.unit));
    }

    /// An event with what is known of its unit and zone.
    pub(super) fn of_unit(&self, event: Event, unit: UnitHandle, zone: Option<ZoneHandle>) -> Event {
        let entry = self.live.roster.unit(unit);
        let zone = zone.zip(self.set.as_ref()).map(|(zone, set)| set.zone(zone));
        Event {
            unit: entry.as_ref().map(|entry| entry.name.clone()),
            organisation: entry.and_then(|entry| entry.organisation.clone()),
            zone: zone.map(|zone| zone.name.clone()),
            zone_organisation: zone.and_then(|zone| zone.organisation.clone()),
            place: self.live.index.slot(unit).and_then(|slot| slot.fix).map(|fix| fix.position),
            ..event
        }
    }

    /// Puts an event of a unit, unless nobody watches where that goes.
    pub(super) fn put_of_unit(&mut self, event: Event, unit: UnitHandle) {
        if self.live.index.traits(unit).is_none_or(|traits| is_watched(&traits)) {
            self.put(event);
        }
    }

    pub(super) fn put(&mut self, event: Event) {
        self.commit.events.push(event);
    }

    /// Sets or ends a mark; whether that is new.
    pub(super) fn mark(&mut self, kind: EventKind, name: String, is_set: bool, now: Timestamp) -> bool {
        let key = (kind, name);
        if self.marks.contains_key(&key) == is_set {
            return false;
        }
        if is_set {
            self.marks.insert(key.clone(), now);
        } else {
            self.marks.remove(&key);
        }
        self.commit.marks.push((key.0, key.1, is_set.then_some(now)));
        true
    }
}

/// Tells if the watcher ends by a panic: what changes would not be told any more, as if nothing did.
struct Alarm(Arc<Live>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.tell();
            error!("THE WATCHER HAS STOPPED by a fault of its own: no event leaves any more. Restart, and report it.");
        }
    }
}

/// Whether it is told where a unit goes.
pub(super) fn is_watched(traits: &index::UnitTraits) -> bool {
    is_told(traits.kind, traits.covert, traits.status)
}

/// Not of volunteers, who are no force, of covert units, and of who is off duty.
pub(crate) fn is_told(kind: UnitKind, is_covert: bool, status: Status) -> bool {
    kind != UnitKind::Community && !is_covert && status != Status::OffDuty
}

/// A fact is looked at once what says it is on stable storage; that a unit is gone is known at once.
fn is_stored(fact: &Fact, synced: Sequence) -> bool {
    match fact {
        Fact::Placed { placed, .. } => placed.sequence <= synced,
        Fact::Gone(_) => true,
    }
}
