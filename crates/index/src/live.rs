use geodesy::{Ecef, EcefBox};
use model::{Position, Timestamp, UnitHandle};
use parking_lot::RwLock;
use rstar::{ParentNode, RTree, RTreeNode};

use crate::bucket::{BUCKET_UNITS_MAX, Bucket, Entry, SLACK_M, Wide, tight};
use crate::{Fix, Slot, UnitTraits};

/// The write lock is taken anew for this many changes, so that readers get in between.
const CHANGES_AT_ONCE: usize = 64;

/// One change of one unit, for [`LiveIndex::apply`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// It is here now.
    Place {
        /// Which unit.
        unit: UnitHandle,
        /// Where.
        fix: Fix,
        /// When it was heard.
        contact: Timestamp,
        /// How often the source reports, if that is learned.
        interval_ms: Option<u32>,
    },
    /// It was heard, without a place.
    Touch {
        /// Which unit.
        unit: UnitHandle,
        /// When.
        contact: Timestamp,
    },
}

/// Where every unit is now. One writer, any number of readers; a reader sees each unit that has a
/// place exactly once, and each slot whole.
///
/// An update is one slot and one bucket; the tree is written when a unit leaves its bucket's box or a
/// bucket splits, which is seldom.
#[derive(Debug, Default)]
pub struct LiveIndex {
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    /// Bucket and place in it, by unit.
    homes: Vec<Option<(u32, u32)>>,
    buckets: Vec<Bucket>,
    /// Buckets without units, to be used again.
    free: Vec<u32>,
    tree: RTree<Entry, Wide>,
    located: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            homes: Vec::new(),
            buckets: Vec::new(),
            free: Vec::new(),
            tree: RTree::new_with_params(),
            located: 0,
        }
    }
}

impl LiveIndex {
    /// An index without units.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for `unit`, or changes what filters ask about it.
    pub fn enrol(&self, unit: UnitHandle, traits: UnitTraits) {
        self.state.write().slot_mut(unit).traits = traits;
    }

    /// Applies changes in their order.
    pub fn apply(&self, changes: &[Change]) {
        for some in changes.chunks(CHANGES_AT_ONCE) {
            let mut state = self.state.write();
            some.iter().for_each(|change| state.apply(change));
        }
    }

    /// Takes a unit off the map; what filters ask about it stays.
    pub fn withdraw(&self, unit: UnitHandle) {
        let mut state = self.state.write();
        state.leave(unit);
        let slot = state.slot_mut(unit);
        *slot = Slot { traits: slot.traits, ..Slot::default() };
    }

    /// What is known of `unit`; `None` when it was never enrolled.
    #[must_use]
    pub fn slot(&self, unit: UnitHandle) -> Option<Slot> {
        self.state.read().slots.get(unit.0 as usize).copied()
    }

    /// How many units have a place.
    #[must_use]
    pub fn located(&self) -> usize {
        self.state.read().located
    }

    /// Shows `visit` units near `centre`, nearest buckets first: every unit whose chord (metres) is
    /// within the bound that holds when its bucket comes up. The bound starts as `chord_m_max` and is what `visit` gave last.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub fn near<E>(
        &self,
        centre: Position,
        chord_m_max: f64,
        mut visit: impl FnMut(UnitHandle, &Slot, f64) -> Result<f64, E>,
    ) -> Result<(), E> {
        let state = self.state.read();
        let mut search = Near { state: &state, centre: Ecef::of(centre), bound_m: chord_m_max, visit: &mut visit };
        search.node(state.tree.root())
    }

    /// Shows `visit` every unit whose place lies in `bounds`.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub fn inside<E>(
        &self,
        bounds: &EcefBox,
        mut visit: impl FnMut(UnitHandle, &Slot) -> Result<(), E>,
    ) -> Result<(), E> {
        let state = self.state.read();
        let envelope = rstar::AABB::from_corners(bounds.lower, bounds.upper);
        for entry in state.tree.locate_in_envelope_intersecting(envelope) {
            let bucket = &state.buckets[entry.bucket as usize];
            for (unit, point) in bucket.units.iter().zip(&bucket.points) {
                if bounds.contains(point) {
                    visit(*unit, &state.slots[unit.0 as usize])?;
                }
            }
        }
        Ok(())
    }
}

/// A branch-and-bound search. Depth is the tree's, a handful.
struct Near<'a, E> {
    state: &'a State,
    centre: Ecef,
    bound_m: f64,
    visit: &'a mut dyn FnMut(UnitHandle, &Slot, f64) -> Result<f64, E>,
}

impl<E> Near<'_, E> {
    fn node(&mut self, node: &ParentNode<Entry>) -> Result<(), E> {
        let least = |child: &RTreeNode<Entry>| match child {
            RTreeNode::Leaf(entry) => entry.bounds.min_chord_m(&self.centre),
            RTreeNode::Parent(parent) => {
                let envelope = parent.envelope();
                EcefBox { lower: envelope.lower(), upper: envelope.upper() }.min_chord_m(&self.centre)
            }
        };
        let mut children: Vec<_> = node.children().iter().map(|child| (least(child), child)).collect();
        children.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (least_m, child) in children {
            if least_m > self.bound_m {
                break;
            }
            match child {
                RTreeNode::Leaf(entry) => self.bucket(&self.state.buckets[entry.bucket as usize])?,
                RTreeNode::Parent(parent) => self.node(parent)?,
            }
        }
        Ok(())
    }

    fn bucket(&mut self, bucket: &Bucket) -> Result<(), E> {
        for (unit, point) in bucket.units.iter().zip(&bucket.points) {
            let chord_m = self.centre.chord_m(point);
            if chord_m <= self.bound_m {
                self.bound_m = (self.visit)(*unit, &self.state.slots[unit.0 as usize], chord_m)?;
            }
        }
        Ok(())
    }
}

impl State {
    fn slot_mut(&mut self, unit: UnitHandle) -> &mut Slot {
        let at = unit.0 as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, Slot::default);
            self.homes.resize(at + 1, None);
        }
        &mut self.slots[at]
    }

    fn apply(&mut self, change: &Change) {
        match *change {
            Change::Touch { unit, contact } => {
                let slot = self.slot_mut(unit);
                slot.contact_time = slot.contact_time.max(Some(contact));
            }
            Change::Place { unit, fix, contact, interval_ms } => {
                let slot = self.slot_mut(unit);
                let has_moved = slot.fix.is_none_or(|before| before.position != fix.position);
                slot.fix = Some(fix);
                slot.contact_time = slot.contact_time.max(Some(contact));
                slot.expected_interval_ms = interval_ms;
                if has_moved {
                    self.place(unit, Ecef::of(fix.position));
                }
            }
        }
    }

    fn place(&mut self, unit: UnitHandle, point: Ecef) {
        if let Some((bucket, at)) = self.homes[unit.0 as usize] {
            let bucket = &mut self.buckets[bucket as usize];
            if bucket.outer.contains(&point) {
                bucket.points[at as usize] = point;
                return;
            }
            self.leave(unit);
        }
        self.enter(unit, point);
    }

    /// Takes a unit out of its bucket; the last one fills the gap.
    fn leave(&mut self, unit: UnitHandle) {
        let Some((number, at)) = self.homes.get_mut(unit.0 as usize).and_then(Option::take) else { return };
        let bucket = &mut self.buckets[number as usize];
        bucket.units.swap_remove(at as usize);
        bucket.points.swap_remove(at as usize);
        if let Some(moved) = bucket.units.get(at as usize) {
            self.homes[moved.0 as usize] = Some((number, at));
        }
        if bucket.units.is_empty() {
            let entry = Entry { bucket: number, bounds: bucket.outer };
            let removed = self.tree.remove(&entry);
            assert!(removed.is_some(), "the tree holds the box of every bucket");
            self.free.push(number);
        }
        self.located -= 1;
    }

    /// Puts a unit into the nearest bucket, which grows or splits if need be.
    fn enter(&mut self, unit: UnitHandle, point: Ecef) {
        self.located += 1;
        let Some(number) = self.tree.nearest_neighbor(point.0).map(|entry| entry.bucket) else {
            return self.add_bucket(Bucket::of(vec![unit], vec![point]));
        };
        let bucket = &mut self.buckets[number as usize];
        bucket.units.push(unit);
        bucket.points.push(point);
        self.homes[unit.0 as usize] = Some((number, (bucket.units.len() - 1) as u32));
        let before = Entry { bucket: number, bounds: bucket.outer };
        let upper = (bucket.units.len() > BUCKET_UNITS_MAX).then(|| bucket.split());
        if upper.is_none() && bucket.outer.contains(&point) {
            return;
        }
        if upper.is_none() {
            bucket.outer = tight(&bucket.points).grown(SLACK_M);
        }
        let after = Entry { bucket: number, bounds: bucket.outer };
        for (at, unit) in (0u32..).zip(&bucket.units) {
            self.homes[unit.0 as usize] = Some((number, at));
        }
        let removed = self.tree.remove(&before);
        assert!(removed.is_some(), "the tree holds the box of every bucket");
        self.tree.insert(after);
        if let Some(upper) = upper {
            self.add_bucket(upper);
        }
    }

    fn add_bucket(&mut self, bucket: Bucket) {
        let number = self.free.pop().unwrap_or(self.buckets.len() as u32);
        for (at, unit) in (0u32..).zip(&bucket.units) {
            self.homes[unit.0 as usize] = Some((number, at));
        }
        self.tree.insert(Entry { bucket: number, bounds: bucket.outer });
        match self.buckets.get_mut(number as usize) {
            Some(place) => *place = bucket,
            None => self.buckets.push(bucket),
        }
    }
}
