use std::sync::Arc;
use std::time::Duration;

use geodesy::Area;
use index::{Change, LiveIndex, Slot, UnitTraits};
use model::{Binding, Clock, Minimum, Position, Shards, Timestamp, Unit, UnitHandle, UnitName};
use query::{Deadline, DegradedNearest, Nearest, NearestAsk, QueryError, Scope, Within, WithinAsk};

use crate::broken::Broken;
use crate::buffers::Buffers;
use crate::counters::Counters;
use crate::pending::Pending;
use crate::state::State;
use crate::{Emergencies, Emergency, Roster};

/// Live state, for readers.
pub struct Live {
    pub(crate) index: LiveIndex,
    pub(crate) roster: Roster,
    pub(crate) emergencies: Emergencies,
    pub(crate) counters: Counters,
    pub(crate) pending: Pending,
    pub(crate) buffers: Buffers,
    pub(crate) broken: Broken,
    clock: Arc<dyn Clock>,
}

/// One unit and where it is.
#[derive(Debug, Clone)]
pub struct UnitView {
    /// Its entry in the roster.
    pub unit: Arc<Unit>,
    /// Where it is and when it was heard.
    pub slot: Slot,
}

/// Some units by name.
#[derive(Debug)]
pub struct Page {
    /// Those that are seen.
    pub views: Vec<UnitView>,
    /// How many were looked at.
    pub examined: usize,
    /// The last of these; `None` at the end.
    pub next: Option<UnitName>,
}

impl Live {
    /// What `state` says, for readers.
    pub(crate) fn of(state: &State, clock: Arc<dyn Clock>, shards: Shards) -> Self {
        let (roster, traits) = Roster::of(state);
        let index = LiveIndex::in_shards(shards);
        let mut changes = Vec::new();
        let mut known: Vec<_> = state.units().map(|(_, unit)| Some(unit)).collect();
        for (unit, traits) in traits {
            index.enrol(unit, traits);
            let Some(known) = known[unit.0 as usize].take() else { continue };
            state.sources(unit).for_each(|(device, source)| index.show_source(device, source));
            changes.extend(match (known.fix, known.contact) {
                (Some(fix), Some(contact)) => {
                    Some(Change::Place { unit, fix, contact, interval_ms: known.interval_ms })
                }
                (None, Some(contact)) => Some(Change::Touch { unit, contact }),
                _ => None,
            });
        }
        index.apply(&changes);
        let (emergencies, counters, pending) = (Emergencies::of(state), Counters::default(), Pending::of(shards));
        Self {
            index,
            roster,
            emergencies,
            counters,
            pending,
            buffers: Buffers::default(),
            broken: Broken::default(),
            clock,
        }
    }

    /// The nearest units to a place, ages as of now.
    ///
    /// # Errors
    /// [`QueryError::DeadlineExceeded`] when `deadline` passes first: never a shorter answer.
    pub fn nearest(&self, ask: &NearestAsk, deadline: Duration) -> Result<Nearest, QueryError> {
        let deadline = Deadline::after(&*self.clock, deadline);
        query::nearest(&self.index, ask, &self.roster, self.clock.now(), &deadline)
    }

    /// The nearest units within as wide a circle as some thousand looks allow, ages as of now.
    ///
    /// # Errors
    /// [`QueryError`] when `deadline` passes first, or when the smallest circle has too many units.
    pub fn nearest_degraded(&self, ask: &NearestAsk, deadline: Duration) -> Result<DegradedNearest, QueryError> {
        let deadline = Deadline::after(&*self.clock, deadline);
        query::nearest_degraded(&self.index, ask, &self.roster, self.clock.now(), &deadline)
    }

    /// The units in an area, ages as of now.
    ///
    /// # Errors
    /// [`QueryError::DeadlineExceeded`] when `deadline` passes first: never a shorter answer.
    pub fn within(&self, ask: &WithinAsk, deadline: Duration) -> Result<Within, QueryError> {
        let deadline = Deadline::after(&*self.clock, deadline);
        query::within(&self.index, ask, &self.roster, self.clock.now(), &deadline)
    }

    /// Shows `visit` every unit in `area` that `scope` shows, each once.
    ///
    /// # Errors
    /// [`QueryError::DeadlineExceeded`] when `deadline` passes first.
    pub fn inside(
        &self,
        area: &Area,
        scope: &Scope,
        deadline: Duration,
        visit: impl FnMut(UnitHandle, &Slot, Position),
    ) -> Result<(), QueryError> {
        query::inside(&self.index, area, scope, &Deadline::after(&*self.clock, deadline), visit)
    }

    /// The same for all of the earth.
    ///
    /// # Errors
    /// As [`Self::inside`].
    pub fn everywhere(
        &self,
        scope: &Scope,
        deadline: Duration,
        visit: impl FnMut(UnitHandle, &Slot, Position),
    ) -> Result<(), QueryError> {
        query::everywhere(&self.index, scope, &Deadline::after(&*self.clock, deadline), visit)
    }

    /// What filters ask about a unit; `None` when there was never one of that number.
    #[must_use]
    pub fn traits(&self, unit: UnitHandle) -> Option<UnitTraits> {
        self.index.traits(unit)
    }

    /// How many units that `scope` shows and `minimum` counts are in an area, up to [`Minimum::at_least`], ages as of now.
    ///
    /// # Errors
    /// [`QueryError::DeadlineExceeded`] when `deadline` passes first: never a smaller count.
    pub fn count_within(
        &self,
        area: &Area,
        minimum: &Minimum,
        scope: &Scope,
        deadline: Duration,
    ) -> Result<u32, QueryError> {
        let deadline = Deadline::after(&*self.clock, deadline);
        query::count_within(&self.index, area, minimum, scope, self.clock.now(), &deadline)
    }

    /// One unit; `None` as well when `scope` hides it.
    #[must_use]
    pub fn unit(&self, name: &UnitName, scope: &Scope) -> Option<UnitView> {
        self.view(self.roster.find(name)?, scope)
    }

    pub(crate) fn view(&self, handle: UnitHandle, scope: &Scope) -> Option<UnitView> {
        let view = UnitView { unit: self.roster.unit(handle)?, slot: self.index.slot(handle)? };
        scope.sees(handle, &view.slot).then_some(view)
    }

    /// Looks at up to `limit` units by name, after the name `after`; gives those that `scope` shows.
    #[must_use]
    pub fn page(&self, after: Option<&UnitName>, limit: usize, scope: &Scope) -> Page {
        let page = self.roster.page(after, limit);
        let next = page.last().map(|(_, unit)| unit.name.clone());
        let (examined, seen) = (page.len(), |(handle, _): &(UnitHandle, _)| self.view(*handle, scope));
        Page { views: page.iter().filter_map(seen).collect(), examined, next }
    }

    /// The clock that all ages are taken by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time since some instant, which nobody sets back.
    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Units, devices, organisations.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What rings now, oldest first, with the unit that carries each device now: those of units that `scope` shows, and those of
    /// devices that no unit carries, which are nobody's.
    #[must_use]
    pub fn ringing(&self, scope: &Scope) -> Vec<Emergency> {
        let mut all = self.emergencies.active();
        all.retain_mut(|emergency| {
            let Some(Binding { unit, .. }) = self.roster.binding(&emergency.device) else { return true };
            let view = self.view(unit, scope);
            emergency.unit = view.as_ref().map(|view| view.unit.name.clone());
            view.is_some()
        });
        all
    }

    /// The units that ring at a place that `is_near` picks. Free when nothing rings.
    #[must_use]
    pub fn ringing_near(&self, is_near: impl Fn(Position) -> bool) -> Vec<UnitHandle> {
        let devices = self.emergencies.near(is_near);
        devices.iter().filter_map(|device| Some(self.roster.binding(device)?.unit)).collect()
    }

    /// What rings, counted.
    #[must_use]
    pub const fn emergencies(&self) -> &Emergencies {
        &self.emergencies
    }

    /// What became of reports.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many units have a place.
    #[must_use]
    pub fn located(&self) -> usize {
        self.index.located()
    }
}
