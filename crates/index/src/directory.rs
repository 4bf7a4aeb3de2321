use std::sync::Arc;

use geodesy::{Around, Tile};

/// Children of a node, and entries of a leaf: a cache line for each column.
pub(crate) const FAN: usize = 16;

/// What readers find buckets by: an R-tree over the boxes of all leaves' regions, and the few leaves that came since the tree
/// was made. Published whole; a reader keeps the one it began with.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) tree: Arc<Tree>,
    pub(crate) recent: Vec<Entry>,
}

/// The head bucket of a leaf and its region.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) bucket: u32,
    pub(crate) bounds: Bounds,
    /// Where its units are, for neighbours to be put together: a region at the edge of a city reaches far beyond it.
    middle: [f32; 2],
}

/// Corners of latitude and longitude in 1e-7 degrees, rounded outward.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lower: [f32; 2],
    pub(crate) upper: [f32; 2],
}

/// A packed R-tree: node `n` of a level has nodes `16 n` to `16 n + 15` of the level below, without pointers.
#[derive(Debug)]
pub(crate) struct Tree {
    /// From the boxes around entries up to the root, which is one node.
    levels: Vec<Vec<Node>>,
    /// By entry.
    buckets: Vec<u32>,
}

/// The boxes of up to [`FAN`] children as columns; a child that is not there is infinitely far.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Node {
    lower: [[f32; FAN]; 2],
    upper: [[f32; FAN]; 2],
}

impl Bounds {
    /// Boxes that hold `tile`.
    pub(crate) fn of(tile: &Tile) -> Self {
        // To the nearest and then one step on: never inside.
        let lower = [tile.south, tile.west].map(|side| (side as f32).next_down());
        Self { lower, upper: [tile.north, tile.east].map(|side| (side as f32).next_up()) }
    }

    const NOTHING: Self = Self { lower: [f32::INFINITY; 2], upper: [f32::NEG_INFINITY; 2] };

    fn joined(self, other: Self) -> Self {
        Self {
            lower: [0, 1].map(|axis| self.lower[axis].min(other.lower[axis])),
            upper: [0, 1].map(|axis| self.upper[axis].max(other.upper[axis])),
        }
    }

    /// Whether some place is in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        (0..2).all(|axis| self.lower[axis] <= other.upper[axis] && other.lower[axis] <= self.upper[axis])
    }
}

impl Entry {
    /// Of a leaf with its units in `tile`.
    pub(crate) fn new(bucket: u32, region: &Tile, tile: &Tile) -> Self {
        let middle = |low: i32, high: i32| (low as f32 + high as f32) / 2.0;
        let middle = [middle(tile.south, tile.north), middle(tile.west, tile.east)];
        Self { bucket, bounds: Bounds::of(region), middle }
    }
}

impl Node {
    fn of(children: &[Bounds]) -> Self {
        let mut node = Self { lower: [[f32::INFINITY; FAN]; 2], upper: [[f32::INFINITY; FAN]; 2] };
        for (lane, child) in children.iter().enumerate() {
            for axis in 0..2 {
                (node.lower[axis][lane], node.upper[axis][lane]) = (child.lower[axis], child.upper[axis]);
            }
        }
        node
    }

    /// What [`Around::square_m2`] says of each child.
    #[inline]
    pub(crate) fn squares_m2(&self, around: &Around) -> [f32; FAN] {
        let [south, west] = &self.lower;
        let [north, east] = &self.upper;
        std::array::from_fn(|lane| around.square_m2([south[lane], west[lane]], [north[lane], east[lane]]))
    }

    /// The box of a child; `None` when it is not there.
    pub(crate) fn bounds(&self, lane: usize) -> Option<Bounds> {
        let lower = self.lower.map(|column| column[lane]);
        lower[0].is_finite().then(|| Bounds { lower, upper: self.upper.map(|column| column[lane]) })
    }
}

impl Tree {
    fn of(mut entries: Vec<Entry>) -> Self {
        let mut run = FAN;
        while run * FAN < entries.len() {
            run *= FAN;
        }
        arrange(&mut entries, run);
        let mut boxes: Vec<_> = entries.iter().map(|entry| entry.bounds).collect();
        let mut levels = Vec::new();
        loop {
            levels.push(boxes.chunks(FAN).map(Node::of).collect::<Vec<_>>());
            if boxes.len() <= FAN {
                return Self { levels, buckets: entries.iter().map(|entry| entry.bucket).collect() };
            }
            let joined = |some: &[Bounds]| some.iter().copied().fold(Bounds::NOTHING, Bounds::joined);
            boxes = boxes.chunks(FAN).map(joined).collect();
        }
    }

    /// How many levels there are; the root is node 0 of the last one.
    pub(crate) fn height(&self) -> usize {
        self.levels.len()
    }

    /// A node; `None` for the root of a tree without entries.
    #[inline]
    pub(crate) fn node(&self, level: usize, number: usize) -> Option<&Node> {
        self.levels[level].get(number)
    }

    /// The bucket of an entry.
    #[inline]
    pub(crate) fn bucket(&self, entry: usize) -> u32 {
        self.buckets[entry]
    }

    /// Shows `visit` every entry that meets `bounds`.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub(crate) fn meeting<E>(
        &self,
        bounds: &Bounds,
        mut visit: impl FnMut(u32, &Bounds) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut open = vec![(self.height() - 1, 0)];
        while let Some((level, number)) = open.pop() {
            let Some(node) = self.node(level, number) else { continue };
            for lane in 0..FAN {
                let Some(child) = node.bounds(lane).filter(|child| child.meets(bounds)) else { continue };
                let number = number * FAN + lane;
                match level {
                    0 => visit(self.bucket(number), &child)?,
                    _ => open.push((level - 1, number)),
                }
            }
        }
        Ok(())
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        let nodes: usize = self.levels.iter().map(Vec::len).sum();
        nodes * size_of::<Node>() + self.buckets.len() * size_of::<u32>()
    }
}

/// Puts neighbours together: each run of `run` entries lies together, in it each run of a sixteenth of that, down to nodes.
fn arrange(entries: &mut [Entry], run: usize) {
    if entries.len() <= run {
        if run > FAN {
            arrange(entries, run / FAN);
        }
        return;
    }
    let ends = |axis: usize| {
        let all = entries.iter().map(|entry| entry.middle[axis]);
        all.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)))
    };
    let ((south, north), (west, east)) = (ends(0), ends(1));
    let narrowing = (f64::from(south) / 1e7).to_radians().cos() as f32;
    let axis = usize::from((east - west) * narrowing > north - south);
    let half = entries.len().div_ceil(run) / 2 * run;
    entries.select_nth_unstable_by(half, |a, b| a.middle[axis].total_cmp(&b.middle[axis]));
    let (low, high) = entries.split_at_mut(half);
    arrange(low, run);
    arrange(high, run);
}

impl Directory {
    /// A tree of `entries`.
    pub(crate) fn of(entries: Vec<Entry>) -> Self {
        Self { tree: Arc::new(Tree::of(entries)), recent: Vec::new() }
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
        self.recent.len() >= 8 + self.tree.buckets.len() / 512
    }
}
