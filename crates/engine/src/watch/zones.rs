use std::collections::HashMap;
use std::sync::Arc;

use geodesy::Area;
use index::{ZoneEntry, ZoneIndex, margin_for};
use journal::Sequence;
use model::{Position, Settle, Shape, Timestamp, Zone, ZoneHandle, ZoneName};

/// A zone and its ground, as it is in force now.
#[derive(Debug, Clone)]
pub struct WatchedZone {
    /// What it is.
    pub zone: Arc<Zone>,
    /// Where it is.
    pub area: Arc<Area>,
    /// Another number is another zone of the same name.
    pub version: u64,
}

impl WatchedZone {
    /// A zone of which only the name is known any more.
    pub(crate) fn without_ground(name: ZoneName, version: u64) -> Self {
        let centre = Position::from_e7(0, 0).expect("the origin is a place");
        let shape = Shape::Circle { centre, radius_m: 1.0 };
        let zone = Zone {
            name,
            label: String::new(),
            layer: 1,
            organisation: None,
            shape,
            utc_offset_min: 0,
            hours: Vec::new(),
            minimum: Vec::new(),
            settle: Settle::default(),
            dwell_s: None,
            stay_s_max: None,
        };
        let area = Area::circle(centre, 1.0).expect("a metre is a radius");
        Self { zone: Arc::new(zone), area: Arc::new(area), version }
    }
}

/// All zones, with the index of those that are watched now.
#[derive(Debug, Default)]
pub(crate) struct ZoneSet {
    zones: Vec<WatchedZone>,
    by_name: HashMap<ZoneName, ZoneHandle>,
    pub(crate) index: ZoneIndex,
    /// By zone; whether it is within its hours.
    watched: Vec<bool>,
    /// By zone: entries up to here were looked at when the zone came, all together.
    fresh_from: Vec<Sequence>,
    /// The next instant at which the hours of some zone begin or end.
    next_change: Option<Timestamp>,
}

impl ZoneSet {
    /// The set of `zones` as it is at `now`; [`Self::begin`] is left to do.
    pub(crate) fn of(zones: Vec<WatchedZone>, now: Timestamp) -> Self {
        let watched: Vec<_> = zones.iter().map(|one| one.zone.is_watched(now)).collect();
        let fresh_from = vec![Sequence(0); zones.len()];
        let by_name = (0..).zip(&zones).map(|(at, one)| (one.zone.name.clone(), ZoneHandle(at))).collect();
        let next_change = zones.iter().filter_map(|one| next_change(&one.zone, now)).min();
        let mut set = Self { zones, by_name, index: ZoneIndex::default(), watched, fresh_from, next_change };
        set.index = set.index_of(|_| true);
        set
    }

    /// A zone that `before` has in the same version goes on; the others begin after `from`.
    pub(crate) fn begin(&mut self, before: &Self, from: Sequence) {
        for (at, one) in self.zones.iter().enumerate() {
            let known = before.find(&one.zone.name).filter(|known| before.version(*known) == one.version);
            let goes_on = known.filter(|known| before.is_watched(*known) == self.watched[at]);
            self.fresh_from[at] = goes_on.map_or(from, |known| before.fresh_from(known));
        }
    }

    /// The zones that were watched when the watcher wrote last, without an index.
    pub(crate) fn remembered(zones: Vec<WatchedZone>) -> Self {
        let by_name = (0..).zip(&zones).map(|(at, one)| (one.zone.name.clone(), ZoneHandle(at))).collect();
        let (watched, fresh_from) = (vec![true; zones.len()], vec![Sequence(0); zones.len()]);
        Self { zones, by_name, index: ZoneIndex::default(), watched, fresh_from, next_change: None }
    }

    /// An index of those watched zones that `is_wanted`.
    pub(crate) fn index_of(&self, is_wanted: impl Fn(ZoneHandle) -> bool) -> ZoneIndex {
        let wanted = (0..).map(ZoneHandle).zip(&self.zones).filter(|(at, _)| self.is_watched(*at) && is_wanted(*at));
        let entry = |(zone, one): (ZoneHandle, &WatchedZone)| {
            let margin_m = margin_for(&one.area, f64::from(one.zone.settle.margin_m));
            ZoneEntry { zone, area: Arc::clone(&one.area), margin_m, far_m: margin_m * f64::from(Settle::FAR) }
        };
        ZoneIndex::of(wanted.map(entry).collect())
    }

    pub(crate) fn zone(&self, handle: ZoneHandle) -> &Arc<Zone> {
        &self.zones[handle.0 as usize].zone
    }

    pub(crate) fn version(&self, handle: ZoneHandle) -> u64 {
        self.zones[handle.0 as usize].version
    }

    pub(crate) fn is_watched(&self, handle: ZoneHandle) -> bool {
        self.watched[handle.0 as usize]
    }

    pub(crate) fn fresh_from(&self, handle: ZoneHandle) -> Sequence {
        self.fresh_from[handle.0 as usize]
    }

    pub(crate) fn find(&self, name: &ZoneName) -> Option<ZoneHandle> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = ZoneHandle> + use<> {
        (0..self.zones.len() as u32).map(ZoneHandle)
    }

    /// Names and versions of those that are watched.
    pub(crate) fn versions(&self) -> Vec<(ZoneName, u64)> {
        let watched = self.handles().filter(|one| self.is_watched(*one));
        watched.map(|one| (self.zone(one).name.clone(), self.version(one))).collect()
    }

    /// All of them, to make another set of.
    pub(crate) fn all(&self) -> Vec<WatchedZone> {
        self.zones.clone()
    }

    /// Whether the hours of some zone have begun or ended since.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.next_change.is_some_and(|next| now >= next)
    }
}

fn next_change(zone: &Zone, now: Timestamp) -> Option<Timestamp> {
    zone.hours.iter().map(|hours| hours.next_change(now, zone.utc_offset_min)).min()
}
