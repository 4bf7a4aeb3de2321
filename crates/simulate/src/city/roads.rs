use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::plane::Point;

/// What a road is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoadClass {
    /// A small street: 7 m/s.
    Street,
    /// A main road of the grid: 13 m/s.
    Arterial,
    /// A ring road or another road without pedestrians: 20 m/s.
    Express,
}

impl RoadClass {
    /// Usual speed of a car, in m/s.
    #[must_use]
    pub const fn speed_mps(self) -> f64 {
        match self {
            Self::Street => 7.0,
            Self::Arterial => 13.0,
            Self::Express => 20.0,
        }
    }
}

/// A piece of road to the neighbour `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) to: u32,
    pub(crate) class: RoadClass,
}

/// Crossroads and the roads between them; every road can be taken both ways and all hang together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Roads {
    points: Vec<Point>,
    /// Crossroads `i` has the links `first[i]..first[i + 1]`.
    first: Vec<u32>,
    links: Vec<Link>,
}

/// No crossroads: where a way home does not lead.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// The next crossroads on the quickest way home, for each crossroads; `NOWHERE` where home is too far.
#[derive(Debug)]
pub(crate) struct WaysHome {
    next: Vec<u32>,
    /// Those from where home is reached, home included.
    pub(crate) reached: Vec<u32>,
}

impl Roads {
    /// Keeps the largest part that hangs together. Also gives the new number of each old crossroads
    /// (`NOWHERE` for those left out).
    pub(crate) fn connected(points: &[Point], edges: &[(u32, u32, RoadClass)]) -> (Self, Vec<u32>) {
        let all = Self::from_edges(points.to_vec(), edges);
        let mut part_of = vec![NOWHERE; points.len()];
        let mut sizes: Vec<u32> = Vec::new();
        for start in 0..points.len() as u32 {
            if part_of[start as usize] == NOWHERE {
                let part = sizes.len() as u32;
                sizes.push(all.flood(start, part, &mut part_of));
            }
        }
        let largest = (0..sizes.len()).max_by_key(|part| sizes[*part]).unwrap_or_default() as u32;
        let mut renamed = vec![NOWHERE; points.len()];
        let mut kept = Vec::new();
        for (old, point) in points.iter().enumerate().filter(|(old, _)| part_of[*old] == largest) {
            renamed[old] = kept.len() as u32;
            kept.push(*point);
        }
        let inside = edges.iter().map(|(a, b, class)| (renamed[*a as usize], renamed[*b as usize], *class));
        let edges: Vec<_> = inside.filter(|(a, b, _)| *a != NOWHERE && *b != NOWHERE).collect();
        (Self::from_edges(kept, &edges), renamed)
    }

    fn from_edges(points: Vec<Point>, edges: &[(u32, u32, RoadClass)]) -> Self {
        let mut first = vec![0u32; points.len() + 1];
        for (a, b, _) in edges {
            first[*a as usize + 1] += 1;
            first[*b as usize + 1] += 1;
        }
        for index in 1..first.len() {
            first[index] += first[index - 1];
        }
        let mut free = first.clone();
        let mut links = vec![Link { to: NOWHERE, class: RoadClass::Street }; edges.len() * 2];
        for (a, b, class) in edges {
            for (from, to) in [(*a, *b), (*b, *a)] {
                links[free[from as usize] as usize] = Link { to, class: *class };
                free[from as usize] += 1;
            }
        }
        Self { points, first, links }
    }

    fn flood(&self, start: u32, part: u32, part_of: &mut [u32]) -> u32 {
        let (mut open, mut size) = (vec![start], 1);
        part_of[start as usize] = part;
        while let Some(node) = open.pop() {
            for link in self.links(node) {
                if part_of[link.to as usize] == NOWHERE {
                    part_of[link.to as usize] = part;
                    size += 1;
                    open.push(link.to);
                }
            }
        }
        size
    }

    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    pub(crate) fn point(&self, node: u32) -> Point {
        self.points[node as usize]
    }

    pub(crate) fn links(&self, node: u32) -> &[Link] {
        let node = node as usize;
        &self.links[self.first[node] as usize..self.first[node + 1] as usize]
    }

    /// The class of the road between two neighbours.
    pub(crate) fn class(&self, from: u32, to: u32) -> Option<RoadClass> {
        self.links(from).iter().find(|link| link.to == to).map(|link| link.class)
    }

    /// Each road once.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (u32, u32, RoadClass)> + '_ {
        let nodes = 0..self.points.len() as u32;
        nodes
            .flat_map(|node| self.links(node).iter().map(move |link| (node, link.to, link.class)))
            .filter(|e| e.0 < e.1)
    }

    /// The crossroads nearest to `point` that lies on a road where people may walk. A scan over all.
    pub(crate) fn nearest(&self, point: Point) -> u32 {
        let nodes = (0..self.points.len() as u32).filter(|node| self.is_walkable(*node));
        nodes.min_by(|a, b| self.point(*a).distance_m(point).total_cmp(&self.point(*b).distance_m(point))).unwrap_or(0)
    }

    pub(crate) fn is_walkable(&self, node: u32) -> bool {
        self.links(node).iter().any(|link| link.class != RoadClass::Express)
    }

    /// The quickest ways to `home` from all that lie within `radius_m` metres of it (Dijkstra).
    pub(crate) fn ways_home(&self, home: u32, radius_m: f64) -> WaysHome {
        let mut next = vec![NOWHERE; self.points.len()];
        let mut best_ms = vec![u32::MAX; self.points.len()];
        let mut reached = Vec::new();
        let mut open = BinaryHeap::from([Reverse((0u32, home, home))]);
        let centre = self.point(home);
        while let Some(Reverse((cost_ms, node, via))) = open.pop() {
            if next[node as usize] != NOWHERE {
                continue;
            }
            next[node as usize] = via;
            reached.push(node);
            for link in self.links(node).iter().filter(|link| next[link.to as usize] == NOWHERE) {
                let to = self.point(link.to);
                let leg_ms = self.point(node).distance_m(to) / link.class.speed_mps() * 1_000.0;
                let to_ms = cost_ms.saturating_add(leg_ms as u32);
                if to_ms < best_ms[link.to as usize] && to.distance_m(centre) <= radius_m {
                    best_ms[link.to as usize] = to_ms;
                    open.push(Reverse((to_ms, link.to, node)));
                }
            }
        }
        WaysHome { next, reached }
    }
}

impl WaysHome {
    pub(crate) fn does_reach(&self, node: u32) -> bool {
        self.next[node as usize] != NOWHERE
    }

    /// The crossroads from `from` (included) to home (included); empty when there is no way.
    pub(crate) fn way(&self, from: u32) -> Vec<u32> {
        let mut way = Vec::new();
        let mut node = from;
        while self.does_reach(node) {
            way.push(node);
            if self.next[node as usize] == node {
                break;
            }
            node = self.next[node as usize];
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square() -> Roads {
        let points: Vec<Point> = [(0.0, 0.0), (100.0, 0.0), (100.0, 100.0), (0.0, 100.0), (900.0, 900.0)]
            .map(|(e, n)| Point::new(e, n))
            .into();
        let class = RoadClass::Street;
        let edges = [(0, 1, class), (1, 2, class), (2, 3, RoadClass::Arterial), (3, 0, RoadClass::Arterial)];
        let (roads, renamed) = Roads::connected(&points, &edges);
        assert_eq!(renamed[4], NOWHERE, "the lonely crossroads is left out");
        roads
    }

    #[test]
    fn the_quickest_way_home_prefers_main_roads() {
        let roads = square();
        assert_eq!(roads.ways_home(0, 1_000.0).way(2), [2, 3, 0]);
        assert_eq!(roads.ways_home(0, 1_000.0).way(1), [1, 0]);
        assert!(roads.ways_home(0, 120.0).way(2).is_empty(), "too far");
    }

    #[test]
    fn each_road_is_listed_once() {
        assert_eq!(square().edges().count(), 4);
    }
}
