use model::Position;

use crate::block::{Block, LANES};
use crate::{Best, Plane};

/// The boxes of up to [`LANES`] children as columns; a child that is not there is infinitely far.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Boxes {
    lower: [[f32; LANES]; 2],
    upper: [[f32; LANES]; 2],
}

type Row = ([f32; 2], u32);

/// A static tree: full leaves of 16 units, 16 boxes a node, no pointers; halves by the median of the longer side. Nothing can
/// be moved in it, so it is the floor for a search and not a competitor.
#[derive(Debug)]
pub struct Packed {
    plane: Plane,
    leaves: Vec<Block>,
    /// From the boxes around leaves up to the root, which is one node.
    levels: Vec<Vec<Boxes>>,
}

impl Packed {
    /// Of `places`, by unit.
    #[must_use]
    pub fn new(plane: Plane, places: &[Position]) -> Self {
        let mut rows: Vec<Row> = places.iter().map(|place| plane.xy(*place)).zip(0u32..).collect();
        let mut child = LANES;
        while child * LANES < rows.len() {
            child *= LANES;
        }
        arrange(&mut rows, child);
        let leaf = |some: &[Row]| {
            let mut block = Block::EMPTY;
            (0..).zip(some).for_each(|(lane, (at, unit))| block.set(lane, *at, *unit));
            block
        };
        let leaves: Vec<Block> = rows.chunks(LANES).map(leaf).collect();
        let mut ends: Vec<_> = rows.chunks(LANES).map(|some| bounds(some.iter().map(|row| [row.0; 2]))).collect();
        let mut levels = Vec::new();
        loop {
            levels.push(ends.chunks(LANES).map(Boxes::of).collect::<Vec<_>>());
            if ends.len() <= LANES {
                return Self { plane, leaves, levels };
            }
            ends = ends.chunks(LANES).map(|some| bounds(some.iter().copied())).collect();
        }
    }

    /// The nearest units.
    #[must_use]
    pub fn nearest(&self, centre: Position) -> Best<f32> {
        self.nearest_where(centre, |_| true)
    }

    /// The nearest of the units that `keep` lets through.
    pub fn nearest_where(&self, centre: Position, keep: impl Fn(u32) -> bool) -> Best<f32> {
        let mut best = Best::default();
        self.search(self.levels.len() - 1, 0, self.plane.xy(centre), &mut best, &keep);
        best
    }

    /// Children nearest first.
    fn search(&self, level: usize, node: usize, at: [f32; 2], best: &mut Best<f32>, keep: &impl Fn(u32) -> bool) {
        let least = self.levels[level][node].least(at);
        let bound = best.bound();
        // Bits of the distance order like the distance, which is not negative; the lane is below them.
        let mut order = [0u64; LANES];
        let mut near = 0;
        for (lane, squared_m) in (0u64..).zip(least) {
            order[near % LANES] = (u64::from(squared_m.to_bits()) << 8) | lane;
            near += usize::from(squared_m < bound);
        }
        let order = &mut order[..near];
        order.sort_unstable();
        for one in order {
            let lane = (*one & 0xFF) as usize;
            if least[lane] >= best.bound() {
                break;
            }
            let child = node * LANES + lane;
            match level {
                0 => self.leaves[child].offer(at, best, keep),
                _ => self.search(level - 1, child, at, best, keep),
            }
        }
    }

    /// Bytes in use, by calculation.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let boxes: usize = self.levels.iter().map(Vec::len).sum();
        self.leaves.len() * size_of::<Block>() + boxes * size_of::<Boxes>()
    }
}

impl Boxes {
    fn of(children: &[[[f32; 2]; 2]]) -> Self {
        let mut boxes = Self { lower: [[f32::INFINITY; LANES]; 2], upper: [[f32::INFINITY; LANES]; 2] };
        for (lane, [lower, upper]) in children.iter().enumerate() {
            for axis in 0..2 {
                (boxes.lower[axis][lane], boxes.upper[axis][lane]) = (lower[axis], upper[axis]);
            }
        }
        boxes
    }

    /// Squared metres to the nearest point of each box.
    #[inline]
    fn least(&self, at: [f32; 2]) -> [f32; LANES] {
        std::array::from_fn(|lane| {
            let outside = |axis: usize| {
                let below = self.lower[axis][lane] - at[axis];
                let above = at[axis] - self.upper[axis][lane];
                let more = if below > above { below } else { above };
                if more > 0.0 { more } else { 0.0 }
            };
            let (x, y) = (outside(0), outside(1));
            x * x + y * y
        })
    }
}

/// The least box around boxes or places.
fn bounds(all: impl Iterator<Item = [[f32; 2]; 2]>) -> [[f32; 2]; 2] {
    all.fold([[f32::INFINITY; 2], [f32::NEG_INFINITY; 2]], |[lower, upper], [low, high]| {
        [[0, 1].map(|axis| lower[axis].min(low[axis])), [0, 1].map(|axis| upper[axis].max(high[axis]))]
    })
}

/// Orders `rows` so that each run of `child` units lies together, and in it each run of a sixteenth of that, down to leaves.
fn arrange(rows: &mut [Row], child: usize) {
    if rows.len() <= child {
        if child > LANES {
            arrange(rows, child / LANES);
        }
        return;
    }
    let [lower, upper] = bounds(rows.iter().map(|row| [row.0; 2]));
    let axis = usize::from(upper[1] - lower[1] > upper[0] - lower[0]);
    let middle = rows.len().div_ceil(child) / 2 * child;
    rows.select_nth_unstable_by(middle, |a, b| a.0[axis].total_cmp(&b.0[axis]));
    let (low, high) = rows.split_at_mut(middle);
    arrange(low, child);
    arrange(high, child);
}
