//! Which zones hold a place, and which borders are near it.
//!
//! Squares of longitude and latitude, cut into four where borders are many. A zone that holds a whole square, with its margin,
//! is noted once at that square; a zone whose border is within its margin of a square that is cut no more is noted there, with
//! those edges alone that come so near. So a place costs the way down, and the zones that it is in or beside. Whether a border is
//! far is looked up in all of its edges: only whoever crosses one asks.

mod build;
mod rings;
mod square;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use geodesy::{Area, Ruler, Tile};
use model::{Position, ZoneHandle};

use rings::{Corner, Part};
use square::{Square, offsets};

/// A zone as the index takes it.
#[derive(Debug, Clone)]
pub struct ZoneEntry {
    /// Its number; each once.
    pub zone: ZoneHandle,
    /// Its ground.
    pub area: Arc<Area>,
    /// Metres beyond its border at which a place tells; above 0. See [`margin_for`].
    pub margin_m: f64,
    /// Metres beyond its border at which one place is enough; at least `margin_m`.
    pub far_m: f64,
}

/// A place is beyond the margin of a zone, on the other side than where the unit was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beyond {
    /// Which zone.
    pub zone: ZoneHandle,
    /// Whether it is inside now, or outside.
    pub is_inside: bool,
    /// Whether by `far_m` or more.
    pub is_far: bool,
}

/// All zones of a moment, found by place. Never changes; any number of threads may ask.
#[derive(Debug, Default)]
pub struct ZoneIndex {
    /// By handle.
    zones: Vec<Known>,
    /// The root is the first; empty when there are no zones.
    nodes: Vec<Node>,
    /// The square of the root; nothing is near any other.
    root: Square,
    /// Zones that hold whole squares, square after square, by handle in each.
    held: Vec<ZoneHandle>,
    /// Zones near the squares that are not cut, square after square, by handle in each.
    near: Vec<Near>,
    parts: Vec<Part>,
    /// All rings, zone after zone.
    rings: Vec<Part>,
    corners: Vec<Corner>,
}

#[derive(Debug)]
struct Known {
    zone: ZoneHandle,
    /// Where its rings begin, and how many parts they have; none of a circle or where the area itself is asked.
    first: u32,
    count: u32,
    far_m: f64,
    /// Centre and radius in metres of a circle.
    circle: Option<(Position, f64)>,
    area: Arc<Area>,
}

/// A square. Sixteen bytes, so that its four quarters are one line of the cache.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Where its zones of `held` begin, and how many they are.
    held: u32,
    held_count: u32,
    /// Where its zones of `near` begin; its quarters in `nodes` when it is cut.
    next: u32,
    /// How many zones are near; [`CUT`] when it is cut.
    near_count: u32,
}

const CUT: u32 = u32::MAX;

/// A zone whose border is near a square, or may be.
#[derive(Debug, Clone, Copy)]
struct Near {
    zone: ZoneHandle,
    /// Its place in `zones`.
    at: u32,
    /// Where its parts begin, and how many they are; none: the area itself is asked.
    first: u32,
    count: u32,
    margin_m: f64,
}

/// No place at all.
const NOWHERE: Tile = Tile { south: 1, north: 0, west: 1, east: 0 };

/// The margin for a zone whose settings ask for `asked_m`, metres: less where the zone is so small that hardly a place would be so
/// far inside.
#[must_use]
pub fn margin_for(area: &Area, asked_m: f64) -> f64 {
    (area.surface_m2().sqrt() / 8.0).min(asked_m)
}

impl ZoneIndex {
    /// Of these zones, in any order. Seconds for 100,000.
    #[must_use]
    pub fn of(entries: Vec<ZoneEntry>) -> Self {
        build::index(entries)
    }

    /// How many zones it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.zones.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }

    /// Zones that hold the place now, exactly as [`Area::contains`], by handle; `found` is cleared first.
    pub fn holding(&self, place: Position, found: &mut Vec<ZoneHandle>) {
        found.clear();
        let (square, near) = self.leaf(place, |held| found.extend(held));
        let corner = square.corner();
        for near in near {
            let is_held = match self.parts_of(near) {
                [] => self.zones[near.at as usize].area.contains(place),
                parts => rings::hold(parts, &self.corners, corner, place),
            };
            if is_held {
                found.push(near.zone);
            }
        }
        found.sort_unstable();
    }

    /// What the place says against `settled`, the zones that a unit is in so far, by handle: a zone of `settled` that the place lies
    /// more than its margin outside of, or another zone that it lies more than its margin inside of. `beyond` is cleared first and
    /// gets them by handle. A zone of `settled` that the index does not have counts as far away.
    ///
    /// The distance to the border is [`Area::border_m`]: of geodesic metres to 0.1 %, the same on every machine (circles: when nearer
    /// than half a degree to the centre) and whatever other zones there are. Within 11 km of a pole a border may seem farther than it is.
    ///
    /// Gives a tile round the place in which this answer stays the same as long as `settled` does: while `beyond` is empty a place in
    /// the tile need not be asked about. Where `beyond` is not empty the tile holds nothing.
    pub fn observe(&self, place: Position, settled: &[ZoneHandle], beyond: &mut Vec<Beyond>) -> Tile {
        beyond.clear();
        let is_settled = |zone: ZoneHandle| settled.binary_search(&zone).is_ok();
        let mut settled_seen = 0;
        let (square, near) = self.leaf(place, |held| {
            for zone in held.iter().copied() {
                if is_settled(zone) {
                    settled_seen += 1;
                } else {
                    beyond.push(Beyond { zone, is_inside: true, is_far: self.is_far(zone, place) });
                }
            }
        });
        let slack = (!near.is_empty()).then(|| {
            let ruler = Ruler::at(place);
            let mut least_m = f64::INFINITY;
            for near in near {
                let is_settled = is_settled(near.zone);
                settled_seen += usize::from(is_settled);
                // Metres beyond the border, on the side where the unit is not.
                let depth_m = self.depth_m(near, square, &ruler);
                let over_m = if is_settled { -depth_m } else { depth_m };
                if over_m > near.margin_m {
                    // Edges that are not near the square may be nearer than the far margin.
                    let is_far = over_m >= self.zones[near.at as usize].far_m && self.is_far(near.zone, place);
                    beyond.push(Beyond { zone: near.zone, is_inside: !is_settled, is_far });
                }
                least_m = least_m.min(near.margin_m - over_m);
            }
            (ruler, least_m)
        });
        if settled_seen < settled.len() {
            self.note_missing(place, settled, beyond);
        }
        if !beyond.is_empty() {
            beyond.sort_unstable_by_key(|beyond| beyond.zone);
            return NOWHERE;
        }
        let tile = square.tile().unwrap_or(NOWHERE);
        match slack {
            Some((ruler, least_m)) => around(&ruler, least_m, tile),
            None => tile,
        }
    }

    /// Bytes of its tables, without the areas, which it shares with whoever made them.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.zones.capacity() * size_of::<Known>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.held.capacity() * size_of::<ZoneHandle>()
            + self.near.capacity() * size_of::<Near>()
            + (self.parts.capacity() + self.rings.capacity()) * size_of::<Part>()
            + self.corners.capacity() * size_of::<Corner>()
    }

    /// Walks to the square of a place that is not cut, shows the zones that hold whole squares on the way, and gives the square with
    /// the zones near it.
    #[inline]
    fn leaf(&self, place: Position, mut see: impl FnMut(&[ZoneHandle])) -> (Square, &[Near]) {
        let at = offsets(place);
        let Some(mut node) = self.nodes.first() else { return (Square::FIRST, &[]) };
        let root = self.root;
        // Beyond the root the greatest square without the root is as empty.
        let other = u64::from((at.0 ^ root.west) | (at.1 ^ root.south)) >> root.shift << root.shift;
        if other != 0 {
            return (Square::at(at, other.ilog2()), &[]);
        }
        let mut shift = root.shift;
        loop {
            if node.held_count > 0 {
                see(&self.held[node.held as usize..][..node.held_count as usize]);
            }
            if node.near_count != CUT {
                let near = &self.near[node.next as usize..][..node.near_count as usize];
                return (Square::at(at, shift), near);
            }
            node = &self.nodes[(node.next + Square::quarter_of(at, shift)) as usize];
            shift -= 1;
        }
    }

    fn parts_of(&self, near: &Near) -> &[Part] {
        &self.parts[near.first as usize..][..near.count as usize]
    }

    /// Metres from the border of a zone that is near, positive inside.
    fn depth_m(&self, near: &Near, square: Square, ruler: &Ruler) -> f64 {
        let place = ruler.from();
        let (is_inside, metres) = match self.parts_of(near) {
            [] => match &self.zones[near.at as usize] {
                Known { circle: Some((centre, radius_m)), .. } => return radius_m - ruler.way_to(*centre).distance_m,
                Known { area, .. } => (area.contains(place), area.border_m(ruler)),
            },
            parts => {
                let metres = rings::border_m2(parts, &self.corners, ruler).sqrt();
                (rings::hold(parts, &self.corners, square.corner(), place), metres)
            }
        };
        if is_inside { metres } else { -metres }
    }

    /// Whether the border of a zone is at least its far margin away; so it is of one that is not there.
    fn is_far(&self, zone: ZoneHandle, place: Position) -> bool {
        let Ok(at) = self.zones.binary_search_by_key(&zone, |known| known.zone) else { return true };
        let (known, ruler) = (&self.zones[at], Ruler::at(place));
        let rings = &self.rings[known.first as usize..][..known.count as usize];
        let border_m = if rings.is_empty() {
            known.area.border_m(&ruler)
        } else {
            let around = Square::at(offsets(place), 0).around(build::reach_m(known.far_m));
            rings::border_around_m2(rings, &self.corners, &ruler, &around).sqrt()
        };
        border_m >= known.far_m
    }

    /// Adds those of `settled` that neither hold the place nor are near it.
    fn note_missing(&self, place: Position, settled: &[ZoneHandle], beyond: &mut Vec<Beyond>) {
        let mut missing = settled.to_vec();
        let (_, near) = self.leaf(place, |held| missing.retain(|zone| held.binary_search(zone).is_err()));
        missing.retain(|zone| near.binary_search_by_key(zone, |near| near.zone).is_err());
        let outside = |zone| Beyond { zone, is_inside: false, is_far: self.is_far(zone, place) };
        beyond.extend(missing.into_iter().map(outside));
    }
}

/// The square round a place whose corners are nearer than `metres`, within `limits`.
fn around(ruler: &Ruler, metres: f64, limits: Tile) -> Tile {
    /// No degree of a meridian is longer; metres of 1e-7 of it.
    const LAT_M: f64 = 0.011_170;
    /// Longitudes narrow by no more than so much over the square, and distances are no farther off; both are taken off twice.
    const SHARE: f64 = 0.005;
    let half_m = metres.min(ruler.narrows_m(SHARE)) * (std::f64::consts::FRAC_1_SQRT_2 * (1.0 - 4.0 * SHARE));
    // At a pole, where longitudes have no length, nothing is left of the square.
    let by = |per_e7_m: f64| (half_m / per_e7_m.max(1e-9)).min(2e9) as i32;
    let (by_lat, by_lon) = (by(LAT_M), by(ruler.lon_m()));
    let tile = Tile::of(ruler.from());
    let tall = tile.grown_within(by_lat, Tile { west: tile.west, east: tile.east, ..limits });
    Tile {
        west: tile.west.saturating_sub(by_lon).max(limits.west),
        east: tile.east.saturating_add(by_lon).min(limits.east),
        ..tall
    }
}
