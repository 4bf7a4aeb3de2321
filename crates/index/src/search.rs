use std::ops::ControlFlow;

use geodesy::{EcefBox, Flat, Reach, Tile, Vantage};
use model::{Position, UnitHandle};
use rstar::{Envelope as _, ParentNode, RTreeNode};

use crate::bucket::{NONE, ROWS, Row, Rows};
use crate::digest::Digest;
use crate::directory::{Entry, least_chord_m, outward};
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

/// How an area lies to a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nothing of the tile is in the area.
    Outside,
    /// Some of it may be.
    Border,
    /// All of it is.
    Inside,
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
        let at = vantage.ecef().0.map(|axis| axis as f32);
        let mut near = Near { once, vantage, at, bound_m, visit, rows: Rows::default() };
        near.node(directory.tree.root())?;
        for entry in &directory.recent {
            near.leaf(least_chord_m(&near.at, &entry.lower, &entry.upper), entry.bucket)?;
        }
        near.finish()
    }

    /// Shows `visit` every unit that may lie in an area within `bounds`, each once: `side` tells how the area lies to a tile.
    /// With [`Side::Inside`] the place that is shown is in the area. Without a place the unit moves: its slot must be asked.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub fn inside<E>(
        &self,
        bounds: &EcefBox,
        side: impl Fn(&Tile) -> Side,
        visit: impl FnMut(UnitHandle, Option<Position>, Side) -> Result<(), E>,
    ) -> Result<(), E> {
        let shared = self.shared();
        let once = Once::begin(shared);
        let directory = shared.directory.load();
        let (lower, upper) = outward(bounds);
        let envelope = rstar::AABB::from_corners(lower, upper);
        let mut inside = Inside { once, side, visit, rows: Rows::default() };
        let in_tree = directory.tree.locate_in_envelope_intersecting_int(envelope, |entry| {
            inside.leaf(entry.bucket).map_or_else(ControlFlow::Break, ControlFlow::Continue)
        });
        if let ControlFlow::Break(error) = in_tree {
            return Err(error);
        }
        for entry in &directory.recent {
            if rstar::AABB::from_corners(entry.lower, entry.upper).intersects(&envelope) {
                inside.leaf(entry.bucket)?;
            }
        }
        inside.finish()
    }
}

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
        Self { shared, mark, moved: Units::default(), has_too_many: false, shown: Units::default() }
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
    at: [f32; 3],
    bound_m: f64,
    visit: V,
    rows: Rows,
}

impl<E, V: FnMut(&Sight) -> Result<f64, E>> Near<'_, V> {
    fn node(&mut self, node: &ParentNode<Entry>) -> Result<(), E> {
        let mut order = [(0.0f32, 0usize); 16];
        let children = node.children();
        // A node that was bulk-loaded may be one over; the root of an empty tree has none.
        for (some, offset) in children.chunks(16).zip((0..).step_by(16)) {
            for (at, child) in some.iter().enumerate() {
                let least_m = match child {
                    RTreeNode::Leaf(entry) => least_chord_m(&self.at, &entry.lower, &entry.upper),
                    RTreeNode::Parent(parent) => {
                        least_chord_m(&self.at, &parent.envelope().lower(), &parent.envelope().upper())
                    }
                };
                order[at] = (least_m, offset + at);
            }
            let order = &mut order[..some.len()];
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            for (least_m, at) in order {
                if f64::from(*least_m) > self.bound_m {
                    break;
                }
                match &children[*at] {
                    RTreeNode::Leaf(entry) => self.leaf(*least_m, entry.bucket)?,
                    RTreeNode::Parent(parent) => self.node(parent)?,
                }
            }
        }
        Ok(())
    }

    fn leaf(&mut self, least_m: f32, head: u32) -> Result<(), E> {
        if f64::from(least_m) > self.bound_m {
            return Ok(());
        }
        let mut number = head;
        while number != NONE {
            let bucket = self.once.shared.bucket(number);
            let tile = bucket.tile();
            let flat = tile.and_then(|tile| Some((self.vantage.flat(&tile)?, tile)));
            match flat {
                Some((flat, tile)) => {
                    if flat.least_m(&tile) <= self.bound_m {
                        bucket.copy_to(&mut self.rows);
                        self.flat_rows(&flat)?;
                    }
                }
                None => {
                    bucket.copy_to(&mut self.rows);
                    self.far_rows()?;
                }
            }
            number = bucket.next();
        }
        Ok(())
    }

    fn flat_rows(&mut self, flat: &Flat) -> Result<(), E> {
        let mut squares_m2 = [0.0f32; ROWS];
        // All rows, also those beyond the last: a fixed count is what compilers turn into vector instructions.
        for ((square_m2, lat), lon) in squares_m2.iter_mut().zip(&self.rows.lats).zip(&self.rows.lons) {
            *square_m2 = flat.square_m2(*lat, *lon);
        }
        let mut bound_m2 = Flat::square_bound_m2(self.bound_m);
        for (at, square_m2) in squares_m2.into_iter().enumerate().take(self.rows.len) {
            if square_m2 <= bound_m2 {
                let before_m = self.bound_m;
                self.show(self.rows.row(at), Flat::reach(square_m2))?;
                if self.bound_m < before_m {
                    bound_m2 = Flat::square_bound_m2(self.bound_m);
                }
            }
        }
        Ok(())
    }

    fn far_rows(&mut self) -> Result<(), E> {
        for at in 0..self.rows.len {
            let row = self.rows.row(at);
            let reach = self.vantage.reach(row.position);
            if reach.least_m <= self.bound_m {
                self.show(row, reach)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn show(&mut self, row: Row, reach: Reach) -> Result<(), E> {
        let unit = row.digest.unit();
        let digest = match self.once.turn(unit) {
            Turn::Not => return Ok(()),
            Turn::Still => Some(row.digest),
            Turn::Moving => None,
        };
        self.bound_m = (self.visit)(&Sight { unit, position: row.position, digest, reach })?;
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

struct Inside<'a, S, V> {
    once: Once<'a>,
    side: S,
    visit: V,
    rows: Rows,
}

impl<E, S: Fn(&Tile) -> Side, V: FnMut(UnitHandle, Option<Position>, Side) -> Result<(), E>> Inside<'_, S, V> {
    fn leaf(&mut self, head: u32) -> Result<(), E> {
        let mut number = head;
        while number != NONE {
            let bucket = self.once.shared.bucket(number);
            let tile = bucket.tile();
            let side = tile.as_ref().map_or(Side::Border, &self.side);
            if side != Side::Outside && bucket.len() > 0 {
                bucket.copy_to(&mut self.rows);
                for at in 0..self.rows.len {
                    let Row { position, digest } = self.rows.row(at);
                    // It may have left the tile since the tile was read.
                    let is_in_tile = tile.is_some_and(|tile| tile.contains(position));
                    let side = if is_in_tile { side } else { Side::Border };
                    match self.once.turn(digest.unit()) {
                        Turn::Not => {}
                        Turn::Still => (self.visit)(digest.unit(), Some(position), side)?,
                        Turn::Moving => (self.visit)(digest.unit(), None, Side::Border)?,
                    }
                }
            }
            number = bucket.next();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), E> {
        for (unit, _) in self.once.missed() {
            (self.visit)(unit, None, Side::Border)?;
        }
        Ok(())
    }
}
