use geodesy::{Around, Flat, Overlap, Reach, Tile, Vantage};
use model::{Position, UnitHandle};

use crate::bucket::{Bucket, NONE, Places, ROWS, lat_lon, position};
use crate::digest::Digest;
use crate::directory::{Bounds, FAN, Node, Tree};
use crate::live::{Shard, Shared};
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

impl Shard {
    /// Shows `visit` units near a place, the nearest buckets first: every unit that is not surely farther than the bound
    /// when its turn comes, and some that are, each once. The bound starts as `bound_m` and falls to what `visit` gives. `asks_slot` tells for
    /// which units `visit` will ask the slot: memory is asked for those ahead.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub fn near<E>(
        &self,
        vantage: &Vantage,
        bound_m: f64,
        asks_slot: impl Fn(Digest) -> bool,
        visit: impl FnMut(&Sight) -> Result<f64, E>,
    ) -> Result<(), E> {
        let shared = self.shared();
        let once = Once::begin(shared);
        let directory = shared.directory.load();
        let (tree, around) = (&*directory.tree, vantage.around());
        let (places, digests) = (Places::default(), [Digest::default(); ROWS]);
        let bound_key = key(Flat::square_bound_m2(bound_m));
        let mut near = Near { once, tree, vantage, around, bound_m, bound_key, asks_slot, visit, places, digests };
        near.node(tree.height() - 1, 0)?;
        for entry in &directory.recent {
            if near.may_hold(&entry.bounds) {
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
        let bounds: Vec<_> = tiles.iter().map(Bounds::of).collect();
        let meets_any = |some: &[Bounds], region: &Bounds| some.iter().any(|bounds| bounds.meets(region));
        let mut inside = Inside { once, overlap, visit, places: Places::default() };
        for (at, one) in bounds.iter().enumerate() {
            directory.tree.meeting(one, |bucket, region| {
                // Each leaf once, also where it meets two tiles.
                if meets_any(&bounds[..at], region) { Ok(()) } else { inside.leaf(bucket) }
            })?;
        }
        for entry in directory.recent.iter().filter(|entry| meets_any(&bounds, &entry.bounds)) {
            inside.leaf(entry.bucket)?;
        }
        inside.finish()
    }
}

/// From so many units shown on, a search of an area is a long one.
const LONG_FROM: usize = 256;
/// From so many rows within the bound on, the nearer ones are shown first, since they narrow the bound for the others.
const HALVED_FROM: u32 = 12;
/// Rows that are compared at once.
const LANES: usize = if ROWS < FAN { ROWS } else { FAN };

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

    /// Whether a unit may be shown that was read before the last [`Self::follow`].
    #[inline]
    fn turn(&mut self, unit: UnitHandle) -> Turn {
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

    /// Asks memory for the slots of units before the first is read.
    #[inline]
    fn ask_ahead(&self, units: impl Iterator<Item = UnitHandle>) {
        std::hint::black_box(units.fold(0, |all, unit| all ^ self.shared.slots.touch(unit)));
    }

    /// Units that may have been missed, after everything else: those that moved, or all when it is not known who did.
    fn candidates(&mut self) -> impl Iterator<Item = u32> + use<> {
        self.follow();
        let all = if self.has_too_many { 0..self.shared.units.load(Ordering::Relaxed) } else { 0..0 };
        std::mem::take(&mut self.moved).into_list().into_iter().chain(all)
    }

    /// Where such a unit is, if it was not shown and has a place.
    fn missed(&mut self, unit: u32) -> Option<(UnitHandle, Position)> {
        if self.shown.has(unit) {
            return None;
        }
        self.shown.add(unit);
        let unit = UnitHandle(unit);
        self.shared.slots.position(unit).map(|position| (unit, position))
    }
}

/// A branch-and-bound search. Depth is the tree's, a handful.
struct Near<'a, A, V> {
    once: Once<'a>,
    tree: &'a Tree,
    vantage: &'a Vantage,
    around: Option<Around>,
    bound_m: f64,
    /// Of rows on the plane: no farther ones matter.
    bound_key: i32,
    asks_slot: A,
    visit: V,
    places: Places,
    digests: [Digest; ROWS],
}

impl<E, A: Fn(Digest) -> bool, V: FnMut(&Sight) -> Result<f64, E>> Near<'_, A, V> {
    fn node(&mut self, level: usize, number: usize) -> Result<(), E> {
        let Some(node) = self.tree.node(level, number) else { return Ok(()) };
        let squares_m2 = match &self.around {
            Some(around) => node.squares_m2(around),
            None => self.far_squares_m2(node),
        };
        // As whole numbers squares are in the order of distance. The last bits give way to the lane: rounded down.
        let lane_bits = FAN as i32 - 1;
        let mut keys: [i32; FAN] =
            std::array::from_fn(|lane| squares_m2[lane].to_bits() as i32 & !lane_bits | lane as i32);
        loop {
            // The nearest first, chosen anew each time: what it holds mostly rules out the others.
            let nearest = keys.iter().fold(i32::MAX, |least, key| if *key < least { *key } else { least });
            let lane = (nearest & lane_bits) as usize;
            let square_m2 = f32::from_bits((nearest & !lane_bits) as u32);
            if nearest == i32::MAX || square_m2 > self.square_bound_m2() {
                return Ok(());
            }
            keys[lane] = i32::MAX;
            let is_beyond = self.around.is_some_and(|around| around.is_beyond_edge(square_m2));
            // Beyond the edge the cheap bound tells nothing more; another one is worth its price there.
            if is_beyond && node.bounds(lane).is_some_and(|bounds| f64::from(self.far_least_m(&bounds)) > self.bound_m)
            {
                continue;
            }
            let child = number * FAN + lane;
            if level == 0 { self.leaf(self.tree.bucket(child))? } else { self.node(level - 1, child)? }
        }
    }

    /// Where latitudes and longitudes tell little.
    #[cold]
    fn far_squares_m2(&self, node: &Node) -> [f32; FAN] {
        let far_m = |lane| node.bounds(lane).map_or(f32::INFINITY, |bounds| self.far_least_m(&bounds));
        std::array::from_fn(|lane| far_m(lane).max(0.0).powi(2))
    }

    /// Boxes with a greater square do not matter; finite.
    #[inline]
    fn square_bound_m2(&self) -> f32 {
        match &self.around {
            Some(around) => around.square_bound_m2(self.bound_m),
            None => ((self.bound_m * self.bound_m * (1.0 + 1e-6)) as f32).min(f32::MAX),
        }
    }

    /// Whether a box can hold a unit that matters.
    fn may_hold(&self, bounds: &Bounds) -> bool {
        let is_near = |around: &Around| {
            let least_m = around.least_m(&bounds.lower, &bounds.upper);
            (least_m < around.edge_m()).then_some(f64::from(least_m) <= self.bound_m)
        };
        let is_near = self.around.as_ref().and_then(is_near);
        is_near.unwrap_or_else(|| f64::from(self.far_least_m(bounds)) <= self.bound_m)
    }

    /// Lower bound on the distance of a box in earth-centred metres, which is right everywhere. A fraction of a microsecond.
    #[cold]
    fn far_least_m(&self, bounds: &Bounds) -> f32 {
        let [south, west] = bounds.lower.map(|side| side as i32);
        let [north, east] = bounds.upper.map(|side| side as i32);
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
        if self.places.len == 0 {
            return Ok(());
        }
        let mut keys = [0; ROWS];
        // All rows, also those beyond the last: a fixed count is what compilers turn into vector instructions.
        for (key, bits) in keys.iter_mut().zip(&self.places.bits) {
            let (lat, lon) = lat_lon(*bits);
            *key = flat.square_m2(lat, lon).to_bits() as i32;
        }
        let rows = u64::MAX >> (u64::BITS as usize - self.places.len);
        let near = rows & rows_within(&keys, self.bound_key);
        if near.count_ones() < HALVED_FROM {
            return self.flat_shown(near, &keys, bucket);
        }
        // The fifth nearest to a place in a bucket's middle or at its corner has some twenty of its rows.
        let square_m2 = |key: i32| f32::from_bits(key as u32);
        let least_m2 =
            square_m2(keys.iter().copied().fold(i32::MAX, |least, key| if key < least { key } else { least }));
        let most_m2 = square_m2(keys.iter().copied().fold(0, |most, key| if key > most { key } else { most }));
        let nearer = near & rows_within(&keys, key(least_m2 + (most_m2 - least_m2) / 5.0));
        self.flat_shown(nearer, &keys, bucket)?;
        let others = near & !nearer & rows_within(&keys, self.bound_key);
        self.flat_shown(others, &keys, bucket)
    }

    /// Shows those of some rows that are still within the bound when their turn comes.
    fn flat_shown(&mut self, rows: u64, keys: &[i32; ROWS], bucket: &Bucket) -> Result<(), E> {
        for (digest, at) in self.digests.iter_mut().zip(numbers(rows)) {
            *digest = bucket.digest(at);
        }
        // After the digests: who moved before they were read is known now.
        self.once.follow();
        self.ask_ahead(rows.count_ones() as usize);
        for (at, number) in numbers(rows).zip(0..) {
            if keys[at] <= self.bound_key {
                self.show(at, self.digests[number], Flat::reach(f32::from_bits(keys[at] as u32)))?;
            }
        }
        Ok(())
    }

    /// Asks memory for the slots of those of the first digests whose slots will be asked.
    fn ask_ahead(&self, count: usize) {
        let asked = self.digests[..count].iter().filter(|digest| (self.asks_slot)(**digest));
        self.once.ask_ahead(asked.map(|digest| digest.unit()));
    }

    fn far_rows(&mut self, bucket: &Bucket) -> Result<(), E> {
        self.digests = std::array::from_fn(|at| bucket.digest(at));
        self.once.follow();
        self.ask_ahead(self.places.len);
        for at in 0..self.places.len {
            let reach = self.vantage.reach(position(self.places.bits[at]));
            if reach.least_m <= self.bound_m {
                self.show(at, self.digests[at], reach)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn show(&mut self, at: usize, digest: Digest, reach: Reach) -> Result<(), E> {
        let unit = digest.unit();
        let digest = match self.once.turn(unit) {
            Turn::Not => return Ok(()),
            Turn::Still => Some(digest),
            Turn::Moving => None,
        };
        self.visit(&Sight { unit, position: position(self.places.bits[at]), digest, reach })
    }

    #[inline]
    fn visit(&mut self, sight: &Sight) -> Result<(), E> {
        let bound_m = (self.visit)(sight)?;
        if bound_m < self.bound_m {
            (self.bound_m, self.bound_key) = (bound_m, key(Flat::square_bound_m2(bound_m)));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), E> {
        for unit in self.once.candidates() {
            if let Some((unit, position)) = self.once.missed(unit) {
                // Also those beyond the bound: `visit` looks at the clock, and all units may be candidates.
                let reach = self.vantage.reach(position);
                self.visit(&Sight { unit, position, digest: None, reach })?;
            }
        }
        Ok(())
    }
}

/// A square as a whole number, in the same order; finite.
#[inline]
const fn key(square_m2: f32) -> i32 {
    square_m2.min(f32::MAX).to_bits() as i32
}

/// The rows, a bit each, that are no farther than `bound`.
#[inline]
fn rows_within(keys: &[i32; ROWS], bound: i32) -> u64 {
    let (parts, _) = keys.as_chunks::<LANES>();
    let within = |keys: &[i32; LANES]| {
        let bits = keys.iter().enumerate().map(|(lane, key)| u32::from(*key <= bound) << lane);
        u64::from(bits.fold(0, |all, bit| all | bit))
    };
    parts.iter().enumerate().fold(0, |rows, (part, keys)| rows | within(keys) << (part * LANES))
}

/// The numbers of the rows in a set of bits.
#[inline]
fn numbers(mut rows: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = rows.trailing_zeros() as usize;
        rows &= rows.wrapping_sub(1);
        (at < ROWS).then_some(at)
    })
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
                let digests: [Digest; ROWS] = std::array::from_fn(|at| bucket.digest(at));
                self.once.follow();
                let digests = &digests[..self.places.len];
                if overlap == Overlap::All && self.once.shown.len() > LONG_FROM {
                    self.once.ask_ahead(digests.iter().map(|digest| digest.unit()));
                }
                for (at, digest) in digests.iter().enumerate() {
                    let position = position(self.places.bits[at]);
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
        for unit in self.once.candidates() {
            if let Some((unit, _)) = self.once.missed(unit) {
                (self.visit)(unit, None, Overlap::Some)?;
            }
        }
        Ok(())
    }
}
