use std::sync::Arc;

use geodesy::{EcefBox, Tile};
use rstar::{AABB, RTree, RTreeObject, RTreeParams};

/// What readers find buckets by: an R-tree over the boxes of all leaves' regions, and the few leaves that came since the tree
/// was made. Published whole; a reader keeps the one it began with.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) tree: Arc<RTree<Entry, Wide>>,
    pub(crate) recent: Vec<Entry>,
}

/// The head bucket of a leaf and the box of its region in earth-centred metres, rounded outward.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) bucket: u32,
    pub(crate) lower: [f32; 3],
    pub(crate) upper: [f32; 3],
}

impl Entry {
    pub(crate) fn new(bucket: u32, region: &Tile) -> Self {
        let (lower, upper) = outward(&region.ecef());
        Self { bucket, lower, upper }
    }
}

/// A box in f32 that holds `exact`.
pub(crate) fn outward(exact: &EcefBox) -> ([f32; 3], [f32; 3]) {
    // To the nearest and then one step on: never inside.
    (exact.lower.map(|side| (side as f32).next_down()), exact.upper.map(|side| (side as f32).next_up()))
}

/// Lower bound on the chord from `point` to anything in the box, metres.
#[inline]
pub(crate) fn least_chord_m(point: &[f32; 3], lower: &[f32; 3], upper: &[f32; 3]) -> f32 {
    let outside = |axis: usize| (lower[axis] - point[axis]).max(point[axis] - upper[axis]).max(0.0);
    let [x, y, z] = [outside(0), outside(1), outside(2)];
    // The point is rounded to half a metre on each axis.
    (x * x + y * y + z * z).sqrt() - 1.0
}

impl RTreeObject for Entry {
    type Envelope = AABB<[f32; 3]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.lower, self.upper)
    }
}

/// Up to 16 children: measured faster than the library's 6 for this use.
#[derive(Debug)]
pub(crate) struct Wide;

impl RTreeParams for Wide {
    const MIN_SIZE: usize = 6;
    const MAX_SIZE: usize = 16;
    const REINSERTION_COUNT: usize = 5;
    type DefaultInsertionStrategy = rstar::RStarInsertionStrategy;
}

impl Directory {
    /// A tree of `entries`.
    pub(crate) fn of(entries: Vec<Entry>) -> Self {
        Self { tree: Arc::new(RTree::bulk_load_with_params(entries)), recent: Vec::new() }
    }

    /// The same with one leaf more.
    pub(crate) fn with(&self, entry: Entry) -> Self {
        let mut recent = Vec::with_capacity(self.recent.len() + 1);
        recent.extend_from_slice(&self.recent);
        recent.push(entry);
        Self { tree: Arc::clone(&self.tree), recent }
    }

    /// Whether so many came since that the tree should be made anew.
    pub(crate) fn is_due(&self) -> bool {
        self.recent.len() >= 8 + self.tree.size() / 512
    }
}
