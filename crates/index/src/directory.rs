use std::sync::Arc;

use geodesy::Tile;
use rstar::{AABB, RTree, RTreeObject, RTreeParams};

/// What readers find buckets by: an R-tree over the boxes of all leaves' regions, and the few leaves that came since the tree
/// was made. Published whole; a reader keeps the one it began with.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) tree: Arc<RTree<Entry, Wide>>,
    pub(crate) recent: Vec<Entry>,
}

/// The head bucket of a leaf and its region: corners of latitude and longitude in 1e-7 degrees, rounded outward.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) bucket: u32,
    pub(crate) lower: [f32; 2],
    pub(crate) upper: [f32; 2],
}

impl Entry {
    pub(crate) fn new(bucket: u32, region: &Tile) -> Self {
        let envelope = envelope(region);
        Self { bucket, lower: envelope.lower(), upper: envelope.upper() }
    }
}

/// A box in f32 that holds `tile`.
pub(crate) fn envelope(tile: &Tile) -> AABB<[f32; 2]> {
    // To the nearest and then one step on: never inside.
    let lower = [tile.south, tile.west].map(|side| (side as f32).next_down());
    AABB::from_corners(lower, [tile.north, tile.east].map(|side| (side as f32).next_up()))
}

impl RTreeObject for Entry {
    type Envelope = AABB<[f32; 2]>;

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
