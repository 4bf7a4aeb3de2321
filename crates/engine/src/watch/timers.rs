//! What becomes true because time goes by: whoever stays, and whoever falls silent.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::{EventKind, Timestamp, UnitHandle, ZoneHandle};
use store::events::Stay;

use super::crossings::Crossings;
use super::zones::ZoneSet;

/// When stays become worth telling.
#[derive(Debug, Default)]
pub(crate) struct Stays(BinaryHeap<Reverse<(Timestamp, UnitHandle, ZoneHandle, Timestamp)>>);

/// What may be told of a stay, its bit in [`Stay::told`], and after how many seconds the zone wants it.
fn told(set: &ZoneSet, zone: ZoneHandle) -> [(EventKind, u8, Option<u32>); 2] {
    let zone = set.zone(zone);
    [(EventKind::Dwell, 1, zone.dwell_s), (EventKind::Overstay, 2, zone.stay_s_max)]
}

impl Stays {
    /// Starts anew with another set of zones.
    pub(crate) fn of(set: &ZoneSet, crossings: &Crossings) -> Self {
        let mut stays = Self::default();
        for unit in crossings.units() {
            for (zone, stay) in crossings.stays(unit).iter().filter(|(_, stay)| stay.is_in) {
                stays.begin(set, unit, *zone, stay);
            }
        }
        stays
    }

    /// A unit is in a zone since `stay` says.
    pub(crate) fn begin(&mut self, set: &ZoneSet, unit: UnitHandle, zone: ZoneHandle, stay: &Stay) {
        for (_, bit, after_s) in told(set, zone) {
            if let Some(after_s) = after_s.filter(|_| stay.told & bit == 0) {
                self.0.push(Reverse((stay.since.shifted_ms(i64::from(after_s) * 1_000), unit, zone, stay.since)));
            }
        }
    }

    /// The stays that became worth telling by `now`. One of a unit that `is_silent` is asked for again later: nobody knows whether
    /// it is still there.
    pub(crate) fn take_due(
        &mut self,
        set: &ZoneSet,
        crossings: &mut Crossings,
        now: Timestamp,
        is_silent: impl Fn(UnitHandle) -> bool,
    ) -> Vec<(EventKind, UnitHandle, ZoneHandle, Stay)> {
        const AGAIN_MS: i64 = 10_000;
        let (mut due, mut again) = (Vec::new(), Vec::new());
        while let Some((_, unit, zone, since)) = pop_due(&mut self.0, |(at, ..)| *at <= now) {
            let Some(stay) = crossings.stay(unit, zone).filter(|stay| stay.is_in && stay.since == since) else {
                continue;
            };
            if is_silent(unit) {
                again.push(Reverse((now.shifted_ms(AGAIN_MS), unit, zone, since)));
                continue;
            }
            for (kind, bit, after_s) in told(set, zone) {
                let is_due = after_s.is_some_and(|after_s| now.ms_since(since) >= i64::from(after_s) * 1_000);
                if is_due && stay.told & bit == 0 {
                    crossings.tell(unit, zone, bit);
                    due.push((kind, unit, zone, stay));
                }
            }
        }
        self.0.extend(again);
        due
    }
}

/// When units may have fallen silent. Each is looked at when its time may have come, not before.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    due: BinaryHeap<Reverse<(Timestamp, UnitHandle)>>,
    /// Units that are looked after.
    units: u32,
}

impl Silence {
    /// Looks after all units up to this number from now on.
    pub(crate) fn reach(&mut self, units: u32, now: Timestamp) {
        self.due.extend((self.units..units).map(|unit| Reverse((now, UnitHandle(unit)))));
        self.units = self.units.max(units);
    }

    /// Units whose time may have come by `now`; each must be given back by [`Self::again`].
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<UnitHandle> {
        let mut due = Vec::new();
        while let Some((_, unit)) = pop_due(&mut self.due, |(at, _)| *at <= now) {
            due.push(unit);
        }
        due
    }

    pub(crate) fn again(&mut self, unit: UnitHandle, at: Timestamp) {
        self.due.push(Reverse((at, unit)));
    }
}

/// The first, if it is due.
fn pop_due<T: Ord>(heap: &mut BinaryHeap<Reverse<T>>, is_due: impl Fn(&T) -> bool) -> Option<T> {
    let first = heap.peek_mut().filter(|first| is_due(&first.0))?;
    Some(std::collections::binary_heap::PeekMut::pop(first).0)
}
