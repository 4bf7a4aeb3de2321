//! Which units count as in which zones: a unit has crossed a border when it is far beyond it, or beyond the margin for a time, by
//! the times of its fixes. Pure: the same places in the same order give the same crossings.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use geodesy::Tile;
use index::{Beyond, ZoneIndex};
use journal::Sequence;
use model::{Position, Timestamp, UnitHandle, ZoneHandle};
use store::events::Stay;

use super::zones::ZoneSet;

/// A unit came into a zone, or left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crossed {
    pub(crate) unit: UnitHandle,
    pub(crate) zone: ZoneHandle,
    pub(crate) is_in: bool,
    /// Since when the opposite was so; for a zone that it comes into for the first time, the time of the crossing.
    pub(crate) since: Timestamp,
}

/// Where a unit is, after which entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) unit: UnitHandle,
    pub(crate) place: Position,
    pub(crate) time: Timestamp,
    pub(crate) sequence: Sequence,
}

/// Who is where. Stays are kept only while a unit is in a zone or on its way.
#[derive(Debug, Default)]
pub(crate) struct Crossings {
    /// By unit, by zone.
    units: Vec<Vec<(ZoneHandle, Stay)>>,
    /// Stays that changed since they were asked for.
    changed: HashSet<(UnitHandle, ZoneHandle), RandomState>,
    settled: Vec<ZoneHandle>,
    beyond: Vec<Beyond>,
}

impl Crossings {
    /// Puts back what was remembered.
    pub(crate) fn recall(&mut self, unit: UnitHandle, zone: ZoneHandle, stay: Stay) {
        let stays = self.stays_mut(unit);
        let at = stays.partition_point(|(one, _)| *one < zone);
        stays.insert(at, (zone, stay));
    }

    /// The stays of a unit.
    pub(crate) fn stays(&self, unit: UnitHandle) -> &[(ZoneHandle, Stay)] {
        self.units.get(unit.0 as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn stay(&self, unit: UnitHandle, zone: ZoneHandle) -> Option<Stay> {
        let stays = self.stays(unit);
        stays.binary_search_by_key(&zone, |(one, _)| *one).ok().map(|at| stays[at].1)
    }

    /// Notes what was told of a stay.
    pub(crate) fn tell(&mut self, unit: UnitHandle, zone: ZoneHandle, bit: u8) {
        if let Ok(at) = self.stays(unit).binary_search_by_key(&zone, |(one, _)| *one) {
            self.units[unit.0 as usize][at].1.told |= bit;
            self.changed.insert((unit, zone));
        }
    }

    /// All units that were ever in a zone.
    pub(crate) fn units(&self) -> impl Iterator<Item = UnitHandle> + use<> {
        (0..self.units.len() as u32).map(UnitHandle)
    }

    /// Whether nothing changed since it was asked for last.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changed.is_empty()
    }

    /// Notes that a stay is to be written.
    pub(crate) fn touch(&mut self, unit: UnitHandle, zone: ZoneHandle) {
        self.changed.insert((unit, zone));
    }

    /// What changed since it was asked for last.
    pub(crate) fn take_changed(&mut self) -> Vec<(UnitHandle, ZoneHandle, Option<Stay>)> {
        let mut changed: Vec<_> = std::mem::take(&mut self.changed).into_iter().collect();
        changed.sort_unstable();
        changed.into_iter().map(|(unit, zone)| (unit, zone, self.stay(unit, zone))).collect()
    }

    /// Takes a unit's newest place. Returns the tile in which its next places change nothing.
    pub(crate) fn moved(&mut self, set: &ZoneSet, placed: &Placed, crossed: &mut Vec<Crossed>) -> Tile {
        let tile = self.look(set, placed);
        let mut beyond = std::mem::take(&mut self.beyond);
        // What came with a zone was judged when the zone came, by what is newer than this.
        beyond.retain(|one| placed.sequence > set.fresh_from(one.zone) || placed.sequence == Sequence(0));
        self.stop_turning(placed.unit, &beyond);
        let before = crossed.len();
        for one in &beyond {
            crossed.extend(self.turn(set, placed, *one));
        }
        // Exits first: nobody is in two beats at once.
        crossed[before..].sort_by_key(|one| (one.is_in, one.zone));
        let is_quiet = beyond.is_empty();
        self.beyond = beyond;
        if is_quiet {
            return tile;
        }
        let is_turning = self.stays(placed.unit).iter().any(|(_, stay)| stay.turning.is_some());
        if is_turning { Tile::EMPTY } else { self.look(set, placed) }
    }

    fn look(&mut self, set: &ZoneSet, placed: &Placed) -> Tile {
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        settled.extend(self.stays(placed.unit).iter().filter(|(_, stay)| stay.is_in).map(|(zone, _)| *zone));
        let tile = set.index.observe(placed.place, &settled, &mut self.beyond);
        self.settled = settled;
        tile
    }

    /// A unit that is no longer beyond a border has not crossed it.
    fn stop_turning(&mut self, unit: UnitHandle, beyond: &[Beyond]) {
        let Some(stays) = self.units.get_mut(unit.0 as usize) else { return };
        let changed = &mut self.changed;
        stays.retain_mut(|(zone, stay)| {
            if stay.turning.is_some() && !beyond.iter().any(|one| one.zone == *zone) {
                stay.turning = None;
                changed.insert((unit, *zone));
            }
            stay.is_in || stay.turning.is_some()
        });
    }

    /// A unit is beyond a border: for long enough, or far enough?
    fn turn(&mut self, set: &ZoneSet, placed: &Placed, beyond: Beyond) -> Option<Crossed> {
        let (unit, zone, time) = (placed.unit, beyond.zone, placed.time);
        self.changed.insert((unit, zone));
        let stays = self.stays_mut(unit);
        let at = stays.binary_search_by_key(&zone, |(one, _)| *one).unwrap_or_else(|at| {
            stays.insert(at, (zone, Stay { is_in: false, since: time, turning: None, told: 0 }));
            at
        });
        let stay = &mut stays[at].1;
        let turning = stay.turning.get_or_insert(time);
        // The clock was set back since: how long ago it began nobody knows.
        *turning = (*turning).min(time);
        let turning = *turning;
        let needed_ms = i64::from(set.zone(zone).settle.time_s) * 1_000;
        if !beyond.is_far && (turning == time || time.ms_since(turning) < needed_ms) {
            return None;
        }
        let since = stay.since;
        if beyond.is_inside {
            *stay = Stay { is_in: true, since: time, turning: None, told: 0 };
        } else {
            stays.remove(at);
        }
        Some(Crossed { unit, zone, is_in: beyond.is_inside, since })
    }

    /// A unit was taken off the map.
    pub(crate) fn gone(&mut self, unit: UnitHandle, crossed: &mut Vec<Crossed>) {
        let stays = std::mem::take(self.stays_mut(unit));
        self.changed.extend(stays.iter().map(|(zone, _)| (unit, *zone)));
        let out = |(zone, stay): &(ZoneHandle, Stay)| Crossed { unit, zone: *zone, is_in: false, since: stay.since };
        crossed.extend(stays.iter().filter(|(_, stay)| stay.is_in).map(out));
    }

    /// Goes over from one set of zones to the next: stays in zones that are there in the same version go on. The others are
    /// judged at once by where units are at `now`, without a margin; what that means is in `crossed`, exits with the zones of `before`.
    pub(crate) fn renumber(
        &mut self,
        before: &ZoneSet,
        after: &ZoneSet,
        now: Timestamp,
        places: impl Iterator<Item = (UnitHandle, Position)>,
    ) -> Renumbered {
        let mut renumbered = Renumbered::default();
        let goes_on = |zone: ZoneHandle| {
            let next = after.find(&before.zone(zone).name).filter(|next| after.is_watched(*next))?;
            (after.version(next) == before.version(zone) && before.is_watched(zone)).then_some(next)
        };
        let next: Vec<_> = before.handles().map(goes_on).collect();
        let mut kept = HashSet::new();
        kept.extend(next.iter().flatten().copied());
        let fresh: ZoneIndex = after.index_of(|zone| !kept.contains(&zone));
        // Stays in zones that go, or come again in another version.
        let mut left: HashMap<(UnitHandle, ZoneHandle), Stay> = HashMap::new();
        for (unit, stays) in (0..).map(UnitHandle).zip(&mut self.units) {
            let old = std::mem::take(stays);
            for (zone, stay) in old {
                match next[zone.0 as usize] {
                    Some(next) => stays.push((next, stay)),
                    None if stay.is_in => drop(left.insert((unit, zone), stay)),
                    None => renumbered.dropped.push((unit, zone)),
                }
            }
            stays.sort_unstable_by_key(|(zone, _)| *zone);
        }
        let mut found = Vec::new();
        for (unit, place) in places {
            fresh.holding(place, &mut found);
            for zone in &found {
                let stood = before.find(&after.zone(*zone).name).and_then(|old| left.remove(&(unit, old)));
                let stay = Stay { is_in: true, since: now, turning: None, told: 0 };
                self.recall(unit, *zone, stood.map_or(stay, |stood| Stay { turning: None, ..stood }));
                renumbered.kept.push((unit, *zone));
                if stood.is_none() {
                    renumbered.entered.push(Crossed { unit, zone: *zone, is_in: true, since: now });
                }
            }
        }
        let out = |((unit, zone), stay): ((UnitHandle, ZoneHandle), Stay)| Crossed {
            unit,
            zone,
            is_in: false,
            since: stay.since,
        };
        renumbered.left.extend(left.into_iter().map(out));
        renumbered.left.sort_unstable_by_key(|one| (one.unit, one.zone));
        renumbered
    }

    fn stays_mut(&mut self, unit: UnitHandle) -> &mut Vec<(ZoneHandle, Stay)> {
        let at = unit.0 as usize;
        if self.units.len() <= at {
            self.units.resize_with(at + 1, Vec::new);
        }
        &mut self.units[at]
    }
}

/// What another set of zones means.
#[derive(Debug, Default)]
pub(crate) struct Renumbered {
    /// Who is in a zone that is new, in the numbers of the set after.
    pub(crate) entered: Vec<Crossed>,
    /// Who was in a zone that is no more, or no more there, in the numbers of the set before.
    pub(crate) left: Vec<Crossed>,
    /// Stays to be written, in the numbers of the set after.
    pub(crate) kept: Vec<(UnitHandle, ZoneHandle)>,
    /// Stays to be forgotten, in the numbers of the set before.
    pub(crate) dropped: Vec<(UnitHandle, ZoneHandle)>,
}

#[cfg(test)]
mod tests;
