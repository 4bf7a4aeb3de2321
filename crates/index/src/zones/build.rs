//! Making the index, level after level, so that where memory runs short all places are served alike.

use geodesy::{Area, Overlap, Ruler, SHORT_ERROR_M, Tile};
use model::{Position, ZoneHandle};

use super::rings::{self, Left, Part};
use super::square::{Around, Square};
use super::{CUT, Known, Near, Node, ZoneEntry, ZoneIndex};

/// A square with no more zones near it is not cut...
const NEAR_KEPT: usize = 3;
/// ...unless it has more edges and parts.
const WEIGHT_KEPT: usize = 12;
/// Nor is one that is 2^11 by 2^11 of 1e-7 degrees, some 20 m.
const SHIFT_MIN: u32 = 11;
/// A cut that makes so many times the work of what was cut serves nobody.
const GROWTH_MAX: usize = 3;
/// All squares together may take so many bytes for each zone, and for each corner of one; and these besides.
const BYTES_PER_ZONE: usize = 512;
const BYTES_PER_CORNER: usize = 32;
const BYTES_FREE: usize = 1 << 20;
/// Squares up to this size, 0.4 degrees, are measured from their middle; about larger ones tiles have to say.
const SHIFT_MEASURED: u32 = 22;

/// A square that may be cut.
struct Open {
    square: Square,
    /// Its place in the nodes.
    node: usize,
    near: Vec<Near>,
    /// Of `near`; they lie in the tables of the index once the square is not cut.
    parts: Vec<Part>,
}

/// A quarter of a square, before it is known whether it is worth a node.
struct Quarter {
    square: Square,
    held: Vec<ZoneHandle>,
    near: Vec<Near>,
    parts: Vec<Part>,
}

impl Quarter {
    fn bytes(&self) -> usize {
        size_of::<Node>() + size_of_val(&self.held[..]) + kept_bytes(&self.near, &self.parts)
    }
}

struct Builder {
    index: ZoneIndex,
    /// Tiles that hold those zones which are asked as a whole, by their place in `zones`.
    tiles: Vec<Vec<Tile>>,
    bytes_left: usize,
}

pub(super) fn index(mut entries: Vec<ZoneEntry>) -> ZoneIndex {
    entries.sort_by_key(|entry| entry.zone);
    entries.dedup_by_key(|entry| entry.zone);
    if entries.is_empty() {
        return ZoneIndex::default();
    }
    let mut builder = Builder { index: ZoneIndex::default(), tiles: Vec::with_capacity(entries.len()), bytes_left: 0 };
    let first = builder.first(entries);
    let root = builder.root(first);
    builder.index.root = root.square;
    builder.index.nodes.push(Node { held: 0, held_count: 0, next: 0, near_count: 0 });
    let mut level = vec![root];
    while !level.is_empty() {
        let mut next = Vec::new();
        for open in level {
            builder.settle(open, &mut next);
        }
        level = next;
    }
    let mut index = builder.index;
    index.nodes.shrink_to_fit();
    index.held.shrink_to_fit();
    index.near.shrink_to_fit();
    index.parts.shrink_to_fit();
    index.corners.shrink_to_fit();
    index
}

impl Builder {
    /// The first square, with all zones near.
    fn first(&mut self, entries: Vec<ZoneEntry>) -> Open {
        let (mut near, mut parts) = (Vec::with_capacity(entries.len()), Vec::new());
        self.index.zones.reserve_exact(entries.len());
        for (at, ZoneEntry { zone, area, margin_m, far_m }) in (0..).zip(entries) {
            let margin_m = if margin_m > 0.0 { margin_m } else { f64::MIN_POSITIVE };
            let first = parts.len() as u32;
            let laid = rings::laid_down(&area, &mut self.index.corners, &mut parts);
            self.tiles.push(if laid.is_some() { Vec::new() } else { area.tiles() });
            let count = parts.len() as u32 - first;
            near.push(Near { zone, at, first, count, margin_m });
            let circle = area.centre().zip(area.radius_m());
            self.index.zones.push(Known { zone, first, count, far_m: far_m.max(margin_m), circle, area });
        }
        self.index.rings.clone_from(&parts);
        self.bytes_left = BYTES_PER_ZONE * near.len() + BYTES_PER_CORNER * self.index.corners.len() + BYTES_FREE;
        Open { square: Square::FIRST, node: 0, near, parts }
    }

    /// The least square outside of which nothing is near.
    fn root(&self, mut open: Open) -> Open {
        while open.square.shift > SHIFT_MIN {
            let mut quarters: Vec<Quarter> = self.quarters(&open);
            quarters.retain(|quarter| !quarter.held.is_empty() || !quarter.near.is_empty());
            match quarters.pop() {
                Some(only) if quarters.is_empty() && only.held.is_empty() => {
                    open = Open { square: only.square, node: 0, near: only.near, parts: only.parts };
                }
                _ => break,
            }
        }
        open
    }

    /// Cuts a square if that serves, else keeps what is near it.
    fn settle(&mut self, open: Open, next: &mut Vec<Open>) {
        let work = weight(&open.near, &open.parts);
        let is_light = open.near.len() <= NEAR_KEPT && work <= WEIGHT_KEPT + NEAR_KEPT;
        if is_light || open.square.shift <= SHIFT_MIN {
            return self.keep(open);
        }
        let quarters = self.quarters(&open);
        let grown: usize = quarters.iter().map(|quarter| weight(&quarter.near, &quarter.parts)).sum();
        // What the square itself would have kept is free again.
        let bytes = quarters.iter().map(Quarter::bytes).sum::<usize>();
        let bytes = bytes.saturating_sub(kept_bytes(&open.near, &open.parts));
        if grown > work * GROWTH_MAX || bytes > self.bytes_left {
            return self.keep(open);
        }
        self.bytes_left -= bytes;
        let first = self.index.nodes.len();
        let node = &mut self.index.nodes[open.node];
        (node.next, node.near_count) = (first as u32, CUT);
        for (node, quarter) in (first..).zip(quarters) {
            let held = self.index.held.len() as u32;
            self.index.nodes.push(Node { held, held_count: quarter.held.len() as u32, next: 0, near_count: 0 });
            self.index.held.extend(quarter.held);
            if !quarter.near.is_empty() {
                next.push(Open { square: quarter.square, node, near: quarter.near, parts: quarter.parts });
            }
        }
    }

    /// Lays what is near a square into the tables.
    fn keep(&mut self, open: Open) {
        let base = self.index.parts.len() as u32;
        let node = &mut self.index.nodes[open.node];
        (node.next, node.near_count) = (self.index.near.len() as u32, open.near.len() as u32);
        self.index.near.extend(open.near.into_iter().map(|near| Near { first: near.first + base, ..near }));
        self.index.parts.extend(open.parts);
    }

    fn quarters(&self, open: &Open) -> Vec<Quarter> {
        (0..4).map(|number| self.quarter(open, open.square.quarter(number))).collect()
    }

    fn quarter(&self, open: &Open, square: Square) -> Quarter {
        let mut quarter = Quarter { square, held: Vec::new(), near: Vec::new(), parts: Vec::new() };
        let Some(middle) = Middle::of(square) else { return quarter };
        let corners = (open.square.corner(), square.corner());
        let mut around: Option<(f64, Around)> = None;
        for near in &open.near {
            let known = &self.index.zones[near.at as usize];
            let reach_m = reach_m(near.margin_m);
            let around = match around {
                Some((metres, around)) if metres.to_bits() == reach_m.to_bits() => around,
                _ => around.insert((reach_m, square.around(reach_m))).1,
            };
            let first = quarter.parts.len() as u32;
            let parts = &open.parts[near.first as usize..][..near.count as usize];
            let left = if parts.is_empty() {
                whole(&known.area, &self.tiles[near.at as usize], &middle, &around, reach_m)
            } else {
                rings::keep(parts, &self.index.corners, corners, &around, &mut quarter.parts)
            };
            match left {
                Left::Nothing => {}
                Left::All => quarter.held.push(known.zone),
                Left::Parts => {
                    quarter.near.push(Near { first, count: quarter.parts.len() as u32 - first, ..*near });
                }
            }
        }
        quarter
    }
}

/// Borders that are no farther from a square are near it: somewhat more than the margin, for what distances are off by.
pub(super) fn reach_m(margin_m: f64) -> f64 {
    margin_m * 1.02 + 1.0
}

fn weight(near: &[Near], parts: &[Part]) -> usize {
    near.len() + rings::weight(parts)
}

/// Bytes that a square takes which is not cut.
fn kept_bytes(near: &[Near], parts: &[Part]) -> usize {
    size_of_val(near) + size_of_val(parts)
}

/// The middle of a square, and how far from it its places may be.
struct Middle {
    ruler: Option<Ruler>,
    most_m: f64,
}

impl Middle {
    /// `None` when no place on earth is in it.
    fn of(square: Square) -> Option<Self> {
        /// No degree of a meridian, and of a parallel at its cosine, is longer; metres of 1e-7 of it.
        const E7_M: f64 = 0.011_170;
        let tile = square.tile()?;
        if square.shift > SHIFT_MEASURED {
            return Some(Self { ruler: None, most_m: f64::INFINITY });
        }
        let middle = |low: i32, high: i32| ((i64::from(low) + i64::from(high)) / 2) as i32;
        let place = Position::from_e7(middle(tile.south, tile.north), middle(tile.west, tile.east))?;
        let least_lat = if (tile.south < 0) == (tile.north < 0) { tile.south.abs().min(tile.north.abs()) } else { 0 };
        // From the middle along its meridian, then along a parallel: a way, and so not shorter than the geodesic.
        let half = |low: i32, high: i32| ((i64::from(high) - i64::from(low)) / 2 + 1) as f64 * E7_M;
        let narrow = (f64::from(least_lat) / 1e7).to_radians().cos();
        let most_m = half(tile.south, tile.north) + half(tile.west, tile.east) * narrow + SHORT_ERROR_M;
        Some(Self { ruler: Some(Ruler::at(place)), most_m })
    }
}

/// The same as [`rings::keep`] for a zone of which no edges are kept: circles, and polygons that lie far over the antimeridian.
fn whole(area: &Area, tiles: &[Tile], middle: &Middle, around: &Around, reach_m: f64) -> Left {
    if !tiles.iter().any(|tile| around.meets_tile(tile)) {
        return Left::Nothing;
    }
    if let (Some(centre), Some(radius_m)) = (area.centre(), area.radius_m()) {
        let Some(ruler) = &middle.ruler else { return Left::Parts };
        let metres = ruler.way_to(centre).distance_m;
        return if metres - middle.most_m > radius_m + reach_m {
            Left::Nothing
        } else if metres + middle.most_m < radius_m - reach_m {
            Left::All
        } else {
            Left::Parts
        };
    }
    match around.tile().map(|tile| area.overlap(&tile)) {
        Some(Overlap::None) => Left::Nothing,
        Some(Overlap::All) => Left::All,
        Some(Overlap::Some) | None => Left::Parts,
    }
}
