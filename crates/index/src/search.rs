use std::ops::ControlFlow;

use geodesy::{Around, Flat, Overlap, Reach, Tile, Vantage};
use model::{Position, UnitHandle};
use rstar::{AABB, Envelope as _, ParentNode, RTreeNode};

use crate::bucket::{Bucket, NONE, Places, ROWS, lat_lon, position};
use crate::digest::Digest;
use crate::directory::{Entry, Wide, envelope};
use crate::live::{LiveIndex, Shared};
use crate::moves::{Mark, TooMany};
use crate::sync::Ordering;
use crate::units::Units;

/// A unit that a search came upon.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// Which.
    pub unit: UnitHandle,
    /// Where it is, or was during the search.
    pub position: Position,
    /// What can be told without its slot; `None` while it moves: the slot must be asked.
    pub digest: Option<Digest>,
    /// How far it is.
    pub reach: Reach,
}

impl LiveIndex {
    /// Shows `visit` units near a place, the nearest buckets first: every unit that is not surely farther than the bound
    /// when its bucket comes up, each once. The bound starts as `bound_m` and is what `visit` gave last.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub fn near<E>(
        &self,
        vantage: &Vantage,
        bound_m: f64,
        visit: impl FnMut(&Sight) -> Result<f64, E>,
    ) -> Result<(), E> {
        let shared = self.shared();
        let once = Once::begin(shared);
        let directory = shared.directory.load();
        let mut near = Near { once, vantage, around: vantage.around(), bound_m, visit, places: Places::default() };
        near.node(directory.tree.root())?;
        for entry in &directory.recent {
            if near.may_hold(near.least_m(&entry.lower, &entry.upper), &entry.lower, &entry.upper) {
                near.leaf(entry.bucket)?;
            }
        }
        near.finish()
    }

    /// Shows `visit` every unit that may lie in an area within `tiles`, each once: `overlap` tells how much of a tile is in the
    /// area. With [`Overlap::All`] the place that is shown is. Without a place the unit moves: its slot must be asked.
    ///
    /// # Errors
    /// The first error of `overlap` or of `visit`.
    pub fn inside<E>(
        &self,
        tiles: &[Tile],
        overlap: impl FnMut(&Tile) -> Result<Overlap, E>,
        visit: impl FnMut(UnitHandle, Option<Position>, Overlap) -> Result<(), E>,
    ) -> Result<(), E> {
        let shared = self.shared();
        let once = Once::begin(shared);
        let directory = shared.directory.load();
        let envelopes: Vec<_> = tiles.iter().map(envelope).collect();
        let meets_any = |envelopes: &[AABB<[f32; 2]>], entry: &Entry| {
            let region = AABB::from_corners(entry.lower, entry.upper);
            envelopes.iter().any(|envelope| envelope.intersects(&region))
        };
        let mut inside = Inside { once, overlap, visit, places: Places::default() };
        for (at, envelope) in envelopes.iter().enumerate() {
            let in_tree = directory.tree.locate_in_envelope_intersecting_int(*envelope, |entry| {
                // Each leaf once, also where it meets two tiles.
                let is_new = !meets_any(&envelopes[..at], entry);
                let looked = if is_new { inside.leaf(entry.bucket) } else { Ok(()) };
                looked.map_or_else(ControlFlow::Break, ControlFlow::Continue)
            });
            if let ControlFlow::Break(error) = in_tree {
                return Err(error);
            }
        }
        for entry in directory.recent.iter().filter(|entry| meets_any(&envelopes, entry)) {
            inside.leaf(entry.bucket)?;
        }
        inside.finish()
    }
}

/// Children of a node of the directory.
const CHILDREN_MAX: usize = <Wide as rstar::RTreeParams>::MAX_SIZE;
/// From so many units shown on, a search is a long one.
const LONG_FROM: usize = 256;
/// From so many rows within the bound on, the nearest are shown first, since they narrow the bound for the others.
const SORTED_FROM: usize = 8;

/// Keeps a search from missing a unit and from showing one twice.
struct Once<'a> {
    shared: &'a Shared,
    mark: Mark,
    moved: Units,
    has_too_many: bool,
    shown: Units,
}

/// Whether a row may be shown.
enum Turn {
    /// It was shown before.
    Not,
    /// With its digest.
    Still,
    /// It moves: only the slot knows.
    Moving,
}

impl<'a> Once<'a> {
    /// Comes before everything that the search looks at.
    fn begin(shared: &'a Shared) -> Self {
        let mark = shared.moves.mark();
        Self { shared, mark, moved: Units::default(), has_too_many: false, shown: Units::with_room() }
    }

    #[inline]
    fn turn(&mut self, unit: UnitHandle) -> Turn {
        self.follow();
        let is_moving = self.has_too_many || (!self.moved.is_empty() && self.moved.has(unit.0));
        if is_moving && self.shown.has(unit.0) {
            return Turn::Not;
        }
        self.shown.add(unit.0);
        if is_moving { Turn::Moving } else { Turn::Still }
    }

    #[inline]
    fn follow(&mut self) {
        if self.shared.moves.follow(&mut self.mark, &mut self.moved) == Err(TooMany) {
            self.has_too_many = true;
        }
    }

    /// A search that has shown many units looks at slots mostly, as where a city fell silent: asks memory for all of a bucket's
    /// before the first is read.
    #[inline]
    fn ask_ahead(&self, units: impl Iterator<Item = UnitHandle>) {
        if self.shown.len() > LONG_FROM {
            std::hint::black_box(units.fold(0, |all, unit| all ^ self.shared.slots.touch(unit)));
        }
    }

    /// Units that may have been missed, with their places; after everything else.
    fn missed(mut self) -> Vec<(UnitHandle, Position)> {
        self.follow();
        let moved = std::mem::take(&mut self.moved).into_list();
        let candidates: Vec<u32> =
            if self.has_too_many { (0..self.shared.units.load(Ordering::Relaxed)).collect() } else { moved };
        let mut missed = Vec::new();
        for unit in candidates {
            if !self.shown.has(unit) {
                self.shown.add(unit);
                let unit = UnitHandle(unit);
                missed.extend(self.shared.slots.position(unit).map(|position| (unit, position)));
            }
        }
        missed
    }
}

/// A branch-and-bound search. Depth is the tree's, a handful.
struct Near<'a, V> {
    once: Once<'a>,
    vantage: &'a Vantage,
    around: Option<Around>,
    bound_m: f64,
    visit: V,
    places: Places,
}

impl<E, V: FnMut(&Sight) -> Result<f64, E>> Near<'_, V> {
    fn node(&mut self, node: &ParentNode<Entry>) -> Result<(), E> {
        let mut least_m = [f32::INFINITY; CHILDREN_MAX];
        // Bulk loading makes nodes with a few more children than the limit.
        for children in node.children().chunks(CHILDREN_MAX) {
            for (least_m, child) in least_m.iter_mut().zip(children) {
                let (lower, upper) = corners(child);
                *least_m = self.least_m(&lower, &upper);
            }
            // The nearest first, chosen anew each time: what it holds mostly rules out the others.
            for _ in children {
                let nearest = (0..children.len()).min_by(|a, b| least_m[*a].total_cmp(&least_m[*b]));
                let at = nearest.expect("a chunk has a child");
                let (lower, upper) = corners(&children[at]);
                if f64::from(least_m[at]) > self.bound_m {
                    break;
                }
                if self.may_hold(least_m[at], &lower, &upper) {
                    match &children[at] {
                        RTreeNode::Leaf(entry) => self.leaf(entry.bucket)?,
                        RTreeNode::Parent(parent) => self.node(parent)?,
                    }
                }
                least_m[at] = f32::INFINITY;
            }
        }
        Ok(())
    }

    /// Lower bound on the distance of a box, as far as it is cheap.
    #[inline]
    fn least_m(&self, lower: &[f32; 2], upper: &[f32; 2]) -> f32 {
        match &self.around {
            Some(around) => around.least_m(lower, upper),
            None => self.far_least_m(lower, upper),
        }
    }

    /// Whether a box with this cheap bound can hold a unit that matters.
    #[inline]
    fn may_hold(&self, least_m: f32, lower: &[f32; 2], upper: &[f32; 2]) -> bool {
        if f64::from(least_m) > self.bound_m {
            return false;
        }
        // Beyond the edge the cheap bound tells nothing more; another one is worth its price there.
        let is_beyond = self.around.is_some_and(|around| least_m >= around.edge_m());
        !is_beyond || f64::from(self.far_least_m(lower, upper)) <= self.bound_m
    }

    /// The same by the box in earth-centred metres, which is right everywhere. A fraction of a microsecond.
    fn far_least_m(&self, lower: &[f32; 2], upper: &[f32; 2]) -> f32 {
        let [south, west] = lower.map(|side| side as i32);
        let [north, east] = upper.map(|side| side as i32);
        let earth = Tile::EARTH;
        let tile = Tile {
            south: south.max(earth.south),
            north: north.min(earth.north),
            west: west.max(earth.west),
            east: east.min(earth.east),
        };
        (tile.ecef().min_chord_m(self.vantage.ecef()) as f32).next_down()
    }

    fn leaf(&mut self, head: u32) -> Result<(), E> {
        let mut number = head;
        while number != NONE {
            let bucket = self.once.shared.bucket(number);
            let outline = bucket.outline();
            let flat = outline.and_then(|outline| Some((self.vantage.flat(&outline.tile)?, outline)));
            match flat {
                Some((flat, outline)) if flat.least_m(&outline.tile) <= self.bound_m => {
                    bucket.copy_to(&mut self.places);
                    // A place that has left the tile meanwhile may lie off the plane.
                    if bucket.is_still(&outline) { self.flat_rows(&flat, bucket)? } else { self.far_rows(bucket)? }
                }
                Some(_) => {}
                None => {
                    bucket.copy_to(&mut self.places);
                    self.far_rows(bucket)?;
                }
            }
            number = bucket.next();
        }
        Ok(())
    }

    fn flat_rows(&mut self, flat: &Flat, bucket: &Bucket) -> Result<(), E> {
        let mut squares_m2 = [0.0f32; ROWS];
        // All rows, also those beyond the last: a fixed count is what compilers turn into vector instructions.
        for (square_m2, bits) in squares_m2.iter_mut().zip(&self.places.bits) {
            let (lat, lon) = lat_lon(*bits);
            *square_m2 = flat.square_m2(lat, lon);
        }
        // Rows within the bound, the square above the row's number: as whole numbers they are in the order of distance.
        let (mut near, mut count) = ([0u64; ROWS], 0);
        let bound_m2 = Flat::square_bound_m2(self.bound_m);
        for (at, square_m2) in squares_m2.iter().enumerate().take(self.places.len) {
            near[count] = u64::from(square_m2.to_bits()) << 32 | at as u64;
            count += usize::from(*square_m2 <= bound_m2);
        }
        let near = &mut near[..count];
        if count > SORTED_FROM {
            near.sort_unstable();
        }
        self.once.ask_ahead(near.iter().map(|key| bucket.digest(*key as u32 as usize).unit()));
        for key in near {
            let square_m2 = f32::from_bits((*key >> 32) as u32);
            if square_m2 <= Flat::square_bound_m2(self.bound_m) {
                self.show(*key as u32 as usize, bucket, Flat::reach(square_m2))?;
            }
        }
        Ok(())
    }

    fn far_rows(&mut self, bucket: &Bucket) -> Result<(), E> {
        self.once.ask_ahead((0..self.places.len).map(|at| bucket.digest(at).unit()));
        for at in 0..self.places.len {
            let reach = self.vantage.reach(position(self.places.bits[at]));
            if reach.least_m <= self.bound_m {
                self.show(at, bucket, reach)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn show(&mut self, at: usize, bucket: &Bucket, reach: Reach) -> Result<(), E> {
        let digest = bucket.digest(at);
        let unit = digest.unit();
        let digest = match self.once.turn(unit) {
            Turn::Not => return Ok(()),
            Turn::Still => Some(digest),
            Turn::Moving => None,
        };
        self.bound_m = (self.visit)(&Sight { unit, position: position(self.places.bits[at]), digest, reach })?;
        Ok(())
    }

    fn finish(mut self) -> Result<(), E> {
        for (unit, position) in self.once.missed() {
            let reach = self.vantage.reach(position);
            if reach.least_m <= self.bound_m {
                self.bound_m = (self.visit)(&Sight { unit, position, digest: None, reach })?;
            }
        }
        Ok(())
    }
}

#[inline]
fn corners(node: &RTreeNode<Entry>) -> ([f32; 2], [f32; 2]) {
    match node {
        RTreeNode::Leaf(entry) => (entry.lower, entry.upper),
        RTreeNode::Parent(parent) => (parent.envelope().lower(), parent.envelope().upper()),
    }
}

struct Inside<'a, O, V> {
    once: Once<'a>,
    overlap: O,
    visit: V,
    places: Places,
}

impl<E, O, V> Inside<'_, O, V>
where
    O: FnMut(&Tile) -> Result<Overlap, E>,
    V: FnMut(UnitHandle, Option<Position>, Overlap) -> Result<(), E>,
{
    fn leaf(&mut self, head: u32) -> Result<(), E> {
        let mut number = head;
        while number != NONE {
            let bucket = self.once.shared.bucket(number);
            let tile = bucket.outline().map(|outline| outline.tile);
            let overlap = tile.as_ref().map_or(Ok(Overlap::Some), &mut self.overlap)?;
            if overlap != Overlap::None && bucket.len() > 0 {
                bucket.copy_to(&mut self.places);
                if overlap == Overlap::All {
                    self.once.ask_ahead((0..self.places.len).map(|at| bucket.digest(at).unit()));
                }
                for at in 0..self.places.len {
                    let (position, digest) = (position(self.places.bits[at]), bucket.digest(at));
                    // It may have left the tile since the tile was read.
                    let is_in_tile = tile.is_some_and(|tile| tile.contains(position));
                    let overlap = if is_in_tile { overlap } else { Overlap::Some };
                    match self.once.turn(digest.unit()) {
                        Turn::Not => {}
                        Turn::Still => (self.visit)(digest.unit(), Some(position), overlap)?,
                        Turn::Moving => (self.visit)(digest.unit(), None, Overlap::Some)?,
                    }
                }
            }
            number = bucket.next();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), E> {
        for (unit, _) in self.once.missed() {
            (self.visit)(unit, None, Overlap::Some)?;
        }
        Ok(())
    }
}
