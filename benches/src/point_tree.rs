use model::Position;
use rstar::{AABB, ParentNode, PointDistance, RTree, RTreeNode, RTreeObject, RTreeParams};

use crate::plane::{Number, squared};
use crate::{Best, Plane, Region};

/// Up to 16 children: the faster choice for points.
#[derive(Debug)]
pub struct Wide;

impl RTreeParams for Wide {
    const MIN_SIZE: usize = 6;
    const MAX_SIZE: usize = 16;
    const REINSERTION_COUNT: usize = 5;
    type DefaultInsertionStrategy = rstar::RStarInsertionStrategy;
}

/// The library's own choice: up to 6 children.
pub type Narrow = rstar::DefaultParams;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry<N> {
    at: [N; 2],
    unit: u32,
}

impl<N: Number> RTreeObject for Entry<N> {
    type Envelope = AABB<[N; 2]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_point(self.at)
    }
}

impl<N: Number> PointDistance for Entry<N> {
    fn distance_2(&self, point: &[N; 2]) -> N {
        squared(self.at, *point)
    }
}

/// A plain R-tree with one entry a unit, as one would write it with `rstar`: an update takes the entry out and puts it back.
#[derive(Debug)]
pub struct PointTree<N: Number, P: RTreeParams> {
    plane: Plane,
    tree: RTree<Entry<N>, P>,
    places: Vec<[N; 2]>,
}

impl<N: Number, P: RTreeParams> PointTree<N, P> {
    /// Of `places`, by unit.
    #[must_use]
    pub fn new(plane: Plane, places: &[Position]) -> Self {
        let places: Vec<[N; 2]> = places.iter().map(|place| plane.xy(*place).map(N::from)).collect();
        let entries = (0u32..).zip(&places).map(|(unit, at)| Entry { at: *at, unit }).collect();
        Self { plane, tree: RTree::bulk_load_with_params(entries), places }
    }

    /// Moves `unit` to `place`.
    ///
    /// # Panics
    /// When the tree has lost the unit: an error of this bench.
    pub fn update(&mut self, unit: u32, place: Position) {
        let at = self.plane.xy(place).map(N::from);
        let before = std::mem::replace(&mut self.places[unit as usize], at);
        if before != at {
            let removed = self.tree.remove(&Entry { at: before, unit });
            assert!(removed.is_some(), "the tree holds every unit");
            self.tree.insert(Entry { at, unit });
        }
    }

    /// The nearest units, by an own branch-and-bound search.
    #[must_use]
    pub fn nearest(&self, centre: Position) -> Best<N> {
        self.nearest_where(centre, |_| true)
    }

    /// The nearest of the units that `keep` lets through.
    pub fn nearest_where(&self, centre: Position, keep: impl Fn(u32) -> bool) -> Best<N> {
        let mut best = Best::default();
        search(self.tree.root(), self.plane.xy(centre).map(N::from), &mut best, &keep);
        best
    }

    /// The nearest units by the library's iterator.
    #[must_use]
    pub fn nearest_by_iterator(&self, centre: Position) -> Best<N> {
        let mut best = Best::default();
        let found = self.tree.nearest_neighbor_iter_with_distance_2(self.plane.xy(centre).map(N::from));
        found.take(crate::K).for_each(|(entry, squared_m)| best.offer(squared_m, entry.unit));
        best
    }
}

impl<P: RTreeParams> PointTree<f32, P> {
    /// Puts the units in `region` into `found`.
    pub fn inside(&self, region: &impl Region, found: &mut Vec<u32>) {
        let [lower, upper] = region.bounds();
        let entries = self.tree.locate_in_envelope(AABB::from_corners(lower, upper));
        found.extend(entries.filter(|entry| region.contains(entry.at)).map(|entry| entry.unit));
    }
}

/// Depth is the tree's, a handful. Children are visited nearest first, without allocation.
fn search<N: Number>(node: &ParentNode<Entry<N>>, centre: [N; 2], best: &mut Best<N>, keep: &impl Fn(u32) -> bool) {
    const CHILDREN_MAX: usize = 16;
    let mut order = [(N::max_value(), 0usize); CHILDREN_MAX];
    let mut parents = 0;
    for (place, child) in node.children().iter().enumerate() {
        match child {
            RTreeNode::Leaf(entry) => {
                let squared_m = squared(entry.at, centre);
                if squared_m < best.bound() && keep(entry.unit) {
                    best.offer(squared_m, entry.unit);
                }
            }
            RTreeNode::Parent(parent) => {
                let (lower, upper) = (parent.envelope().lower(), parent.envelope().upper());
                let nearest = [0, 1].map(|axis| {
                    let at = if centre[axis] < lower[axis] { lower[axis] } else { centre[axis] };
                    if at > upper[axis] { upper[axis] } else { at }
                });
                let least = squared(nearest, centre);
                let mut slot = parents;
                while slot > 0 && order[slot - 1].0 > least {
                    order[slot] = order[slot - 1];
                    slot -= 1;
                }
                order[slot] = (least, place);
                parents += 1;
            }
        }
    }
    for (least, place) in &order[..parents] {
        if *least >= best.bound() {
            break;
        }
        if let RTreeNode::Parent(parent) = &node.children()[*place] {
            search(parent, centre, best, keep);
        }
    }
}
