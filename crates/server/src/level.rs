//! Keeps the roster and the scopes level with the store, whoever changed it: this server, or the command line beside it.
//! The store is the truth of who; a start, too, begins with this.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{SaidOf, Span, Status, Timestamp, Unit, UnitName, UnitRecord, ZoneName, limits};
use parking_lot::Mutex;
use store::{Store, StoreError};
use tracing::{error, warn};

use crate::access::Tree;
use crate::http::Problem;
use crate::run::Service;

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often gateways are looked at: a silence is an event within three seconds.
const LOOK_AT_GATEWAYS_EVERY: Duration = Duration::from_millis(250);

/// How far the roster has followed the store.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// Held while changes are taken, so that an older one never overtakes a newer one.
    reached: tokio::sync::Mutex<u64>,
    /// The zones that units have as their beats now, and whether the watcher was told.
    beats: Mutex<(HashMap<UnitName, ZoneName>, bool)>,
    /// Units of which an assignment or a duty begins or ends then.
    due: Mutex<BTreeMap<(Timestamp, UnitName), ()>>,
    /// Units of which the store says when they are on duty, and how many they are.
    duties: Mutex<HashSet<UnitName>>,
    duties_count: AtomicUsize,
}

/// What changed in the store.
struct Changes {
    version: u64,
    tree: Tree,
    units: Vec<(UnitName, Option<UnitRecord>)>,
}

impl Service {
    /// Takes onto the map what changed in the store, and what began or ended since. What the roster refuses is logged: it stays
    /// in the store, and is tried again when it changes.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn level(&self) -> Result<(), Problem> {
        let mut reached = self.level.reached.lock().await;
        let now = self.engine.live().now();
        let due = self.level.take_due(now);
        let before = *reached;
        let changes = self.stored(move |store| changes(store, before, due, now)).await?;
        let Some(changes) = changes else { return Ok(()) };
        self.scopes.plant(changes.tree);
        for (name, record) in changes.units {
            match record {
                Some(record) => {
                    self.take(&record, now);
                    let unit = self.engine.live().roster().find(&record.unit.name);
                    unit.into_iter().for_each(|unit| self.tasked.follow(unit, &record));
                }
                None => {
                    self.level.beat(&name, None);
                    self.level.note_duty(&name, None);
                    self.engine.retire(&name);
                }
            }
        }
        self.scopes.renew();
        *reached = changes.version;
        self.tell_scopes();
        if let (Some(beats), Some(watch)) = (self.level.take_beats(), self.engine.watch()) {
            watch.set_beats(beats);
        }
        Ok(())
    }

    /// Takes all that changed in the store: who there is, and which zones.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn level_all(&self) -> Result<(), Problem> {
        self.level_zones().await?;
        self.level().await
    }

    /// Who counts in a nearest answer, as a word: until somebody says when some unit is on duty, nobody is off duty by that.
    pub(crate) fn candidates(&self) -> &'static str {
        if self.level.duties_count.load(Ordering::Relaxed) > 0 { "on_duty" } else { "all" }
    }

    /// Puts one record onto the roster, as it is at `now`.
    fn take(&self, record: &UnitRecord, now: Timestamp) {
        self.level.remember(record, now);
        let duty = record.duty.as_ref().filter(|(span, _)| span.holds(now));
        // A duty names its zone in the words of whoever wrote it: what is no name is no zone of ours.
        self.level.beat(&record.unit.name, duty.and_then(|(_, zone)| ZoneName::new(zone).ok()));
        let unit = effective(record, now);
        let devices: Vec<_> =
            record.devices.iter().filter(|(_, span)| span.holds(now)).map(|(device, _)| device.clone()).collect();
        let roster = self.engine.live().roster();
        let handle = roster.find(&unit.name);
        let carries = |device| roster.binding(device).is_some_and(|binding| Some(binding.unit) == handle);
        let is_known = handle.and_then(|handle| roster.unit(handle)).is_some_and(|known| *known == unit);
        if is_known && devices.iter().all(carries) {
            return;
        }
        for some in devices.chunks(limits::DEVICES_PER_CHANGE_MAX).chain(devices.is_empty().then_some(&[][..])) {
            if let Err(error) = self.engine.assign(unit.clone(), some) {
                warn!(unit = %unit.name, %error, "A unit of the store is not on the map.");
            }
        }
    }
}

impl Level {
    /// Remembers whether the store says when a unit is on duty.
    fn note_duty(&self, name: &UnitName, duty: Option<&Span>) {
        let mut duties = self.duties.lock();
        match duty {
            Some(_) => drop(duties.insert(name.clone())),
            None => drop(duties.remove(name)),
        }
        self.duties_count.store(duties.len(), Ordering::Relaxed);
    }

    fn remember(&self, record: &UnitRecord, now: Timestamp) {
        self.note_duty(&record.unit.name, record.duty.as_ref().map(|(span, _)| span));
        let spans = record.devices.iter().map(|(_, span)| span).chain(record.duty.as_ref().map(|(span, _)| span));
        let edges = spans.flat_map(|span| [Some(span.from), span.until]).flatten().filter(|edge| *edge > now);
        let mut due = self.due.lock();
        due.extend(edges.map(|edge| ((edge, record.unit.name.clone()), ())));
    }

    /// Notes which zone a unit has as its beat.
    fn beat(&self, unit: &UnitName, zone: Option<ZoneName>) {
        let mut beats = self.beats.lock();
        let before = match &zone {
            Some(zone) => beats.0.insert(unit.clone(), zone.clone()),
            None => beats.0.remove(unit),
        };
        beats.1 |= before != zone;
    }

    /// The beats, when they changed since this was asked.
    fn take_beats(&self) -> Option<HashMap<UnitName, ZoneName>> {
        let mut beats = self.beats.lock();
        std::mem::take(&mut beats.1).then(|| beats.0.clone())
    }

    fn take_due(&self, now: Timestamp) -> Vec<UnitName> {
        let mut due = self.due.lock();
        let mut names = Vec::new();
        while let Some(first) = due.first_entry().filter(|first| first.key().0 <= now) {
            names.push(first.remove_entry().0.1);
        }
        names
    }
}

/// The unit as the map has it: with the status that somebody said, else off duty outside its duty.
fn effective(record: &UnitRecord, now: Timestamp) -> Unit {
    let is_off = record.duty.as_ref().is_some_and(|(span, _)| !span.holds(now));
    let said = record.status_said.as_ref().and_then(|(_, said)| match said.of {
        SaidOf::Status(status) => status,
        SaidOf::Assignment(_) => None,
    });
    let status = said.unwrap_or(if is_off { Status::OffDuty } else { record.unit.status });
    Unit { status, ..record.unit.clone() }
}

/// What changed after `version`, with the units in `due`; `None` when nothing did.
fn changes(store: &Store, version: u64, due: Vec<UnitName>, now: Timestamp) -> Result<Option<Changes>, StoreError> {
    let newest = store.version()?;
    if newest == version && due.is_empty() && version > 0 {
        return Ok(None);
    }
    let organisations: Vec<_> = store.organisations()?.into_iter().map(|one| one.value).collect();
    let commands = store.commands()?.into_iter().map(|one| one.value).collect();
    let tree = Tree::of(&organisations, commands, store.sights(now)?);
    let mut units = Vec::new();
    for name in due {
        let record = store.unit(&name)?.map(|found| found.value);
        units.extend(record.map(|record| (name, Some(record))));
    }
    let mut reached = version;
    loop {
        let some = store.changed_since(reached, limits::PAGE_FEATURES_MAX)?;
        let Some(last) = some.last() else { break };
        reached = last.version;
        units.extend(some.into_iter().map(|change| (change.name, change.record)));
    }
    Ok(Some(Changes { version: newest.max(reached), tree, units }))
}

/// Looks at the store until it is aborted.
pub(crate) async fn follow(service: Arc<Service>) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(problem) = service.level_all().await {
            error!(problem = problem.detail(), "The store cannot be followed.");
        }
    }
}

/// Tells the watcher which gateways fell silent and which were heard again, until it is aborted.
pub(crate) async fn follow_gateways(service: Arc<Service>) {
    let Some(watch) = service.engine.watch() else { return };
    let mut tick = tokio::time::interval(LOOK_AT_GATEWAYS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for change in service.setting.gateways.changes() {
            if change.is_lost {
                warn!(gateway = change.gateway, units = change.units.len(), "A gateway is silent.");
                watch.gateway_lost(&change.gateway, change.units);
            } else {
                watch.gateway_found(&change.gateway);
            }
        }
    }
}
