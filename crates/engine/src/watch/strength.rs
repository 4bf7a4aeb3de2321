//! Zones that need units: who counts, and how many are missing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use index::LiveIndex;
use model::{Minimum, Timestamp, UnitHandle, ZoneHandle};
use query::Scope;

use super::crossings::{Crossed, Crossings};
use super::zones::ZoneSet;

/// Zones are looked at in so many parts, one each second, beside those that somebody crossed: statuses change too.
const PARTS: u32 = 5;

/// The units in zones that have a minimum.
#[derive(Debug, Default)]
pub(crate) struct Strength {
    units: BTreeMap<ZoneHandle, HashSet<UnitHandle>>,
    due: BTreeSet<ZoneHandle>,
    part: u32,
}

/// What a zone lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) kinds: String,
    pub(crate) at_least: u32,
    pub(crate) have: u32,
}

impl Strength {
    /// Starts anew with another set of zones.
    pub(crate) fn of(set: &ZoneSet, crossings: &Crossings) -> Self {
        let needing = set.handles().filter(|zone| set.is_watched(*zone) && !set.zone(*zone).minimum.is_empty());
        let mut units: BTreeMap<_, HashSet<_>> = needing.map(|zone| (zone, HashSet::new())).collect();
        for unit in crossings.units() {
            for (zone, _) in crossings.stays(unit).iter().filter(|(_, stay)| stay.is_in) {
                if let Some(units) = units.get_mut(zone) {
                    units.insert(unit);
                }
            }
        }
        Self { due: units.keys().copied().collect(), units, part: 0 }
    }

    pub(crate) fn crossed(&mut self, crossed: &Crossed) {
        let Some(units) = self.units.get_mut(&crossed.zone) else { return };
        if crossed.is_in {
            units.insert(crossed.unit);
        } else {
            units.remove(&crossed.unit);
        }
        self.due.insert(crossed.zone);
    }

    /// The zones that have a minimum and are watched.
    pub(crate) fn zones(&self) -> impl Iterator<Item = ZoneHandle> {
        self.units.keys().copied()
    }

    /// The zones to be looked at this second.
    pub(crate) fn take_due(&mut self) -> Vec<ZoneHandle> {
        self.part = (self.part + 1) % PARTS;
        let part = self.part;
        let mut due = std::mem::take(&mut self.due);
        due.extend(self.units.keys().filter(|zone| zone.0 % PARTS == part));
        due.into_iter().collect()
    }

    /// What `zone` lacks at `now`; nothing when it has enough.
    /// Of units that `scope`, that of the zone's organisation, does not show nobody learns by a number.
    pub(crate) fn lacks(
        &self,
        set: &ZoneSet,
        zone: ZoneHandle,
        scope: Option<&Scope>,
        index: &LiveIndex,
        now: Timestamp,
    ) -> Vec<Lack> {
        let Some(units) = self.units.get(&zone) else { return Vec::new() };
        let needs: Vec<&Minimum> = set.zone(zone).needs(now).collect();
        let mut have = vec![0u32; needs.len()];
        for (unit, slot) in units.iter().filter_map(|unit| Some((*unit, index.slot(*unit)?))) {
            let is_hidden = slot.traits.covert || scope.is_some_and(|scope| !scope.sees(unit, &slot));
            if is_hidden || slot.is_out_of_contact(now) {
                continue;
            }
            for (need, have) in needs.iter().zip(&mut have) {
                *have += u32::from(need.counts(slot.traits.kind, slot.traits.status));
            }
        }
        let lacking = needs.iter().zip(have).filter(|(need, have)| *have < need.at_least);
        let kinds = |need: &Minimum| need.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",");
        lacking.map(|(need, have)| Lack { kinds: kinds(need), at_least: need.at_least, have }).collect()
    }
}
