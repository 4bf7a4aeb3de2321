//! Cells cut into parts. What two parts share they share bit by bit: where a cut ends on the border between two cells, both have a
//! corner there.

use std::collections::{BTreeMap, BTreeSet};

use model::{Position, Rings};

/// A cut from border to border: the places where it ends, and where it lies along the axis.
struct Cut {
    ends: [Position; 2],
    at: i64,
}

/// Along which a cell is longer.
#[derive(Clone, Copy)]
enum Axis {
    East,
    North,
}

impl Axis {
    fn of(self, place: Position) -> i64 {
        i64::from(match self {
            Self::East => place.lon_e7(),
            Self::North => place.lat_e7(),
        })
    }

    fn place(self, along: i64, across: i64) -> Option<Position> {
        let (along, across) = (i32::try_from(along).ok()?, i32::try_from(across).ok()?);
        match self {
            Self::East => Position::from_e7(across, along),
            Self::North => Position::from_e7(along, across),
        }
    }

    const fn across(self) -> Self {
        match self {
            Self::East => Self::North,
            Self::North => Self::East,
        }
    }
}

/// Each cell (convex, its first corner not said again) in so many parts of equal length; none of a cell without ground.
pub(super) fn parted(cells: &[Vec<Position>], count_of: impl Fn(usize) -> usize) -> Vec<Vec<Rings>> {
    let mut corners: BTreeMap<(Position, Position), BTreeSet<Position>> = BTreeMap::new();
    let cuts: Vec<(Axis, Vec<Cut>)> =
        cells.iter().enumerate().map(|(at, cell)| cuts(cell, count_of(at), &mut corners)).collect();
    let refined = |cell: &Vec<Position>| -> Vec<Position> {
        edges(cell)
            .flat_map(|(from, to)| {
                let mut way: Vec<Position> = corners.get(&edge(from, to)).into_iter().flatten().copied().collect();
                way.sort_by_key(|place| distance(from, *place));
                std::iter::once(from).chain(way.into_iter().filter(move |place| *place != from && *place != to))
            })
            .collect()
    };
    cells.iter().zip(&cuts).map(|(cell, (axis, cuts))| split(refined(cell), *axis, cuts)).collect()
}

fn edges(cell: &[Position]) -> impl Iterator<Item = (Position, Position)> {
    (0..cell.len()).map(|at| (cell[at], cell[(at + 1) % cell.len()]))
}

/// An edge by its ends, whichever way it is gone.
fn edge(from: Position, to: Position) -> (Position, Position) {
    (from.min(to), from.max(to))
}

fn distance(from: Position, to: Position) -> i64 {
    (Axis::East.of(from) - Axis::East.of(to)).abs() + (Axis::North.of(from) - Axis::North.of(to)).abs()
}

/// Cuts across the longer axis of a cell; their ends are noted for both cells of an edge.
fn cuts(
    cell: &[Position],
    count: usize,
    corners: &mut BTreeMap<(Position, Position), BTreeSet<Position>>,
) -> (Axis, Vec<Cut>) {
    let extent = |axis: Axis| {
        let along = || cell.iter().map(|place| axis.of(*place));
        (along().min().unwrap_or(0), along().max().unwrap_or(0))
    };
    let length = |axis: Axis| extent(axis).1 - extent(axis).0;
    let axis = if length(Axis::East) >= length(Axis::North) { Axis::East } else { Axis::North };
    let (least, greatest) = extent(axis);
    let mut cuts = Vec::new();
    for number in 1..count as i64 {
        let at = least + (greatest - least) * number / count as i64;
        let mut ends = Vec::new();
        for (from, to) in edges(cell).filter(|(from, to)| (axis.of(*from) < at) != (axis.of(*to) < at)) {
            let (a, b, across) = (axis.of(from), axis.of(to), axis.across());
            let met = across.of(from) + (across.of(to) - across.of(from)) * (at - a) / (b - a);
            let Some(end) = axis.place(at, met) else { continue };
            corners.entry(edge(from, to)).or_default().insert(end);
            ends.push(end);
        }
        if let [one, other] = ends[..] {
            cuts.push(Cut { ends: [one, other], at });
        }
    }
    (axis, cuts)
}

/// The parts of a cell, the first along the axis first.
fn split(cell: Vec<Position>, axis: Axis, cuts: &[Cut]) -> Vec<Rings> {
    let (mut parts, mut rest) = (Vec::new(), cell);
    for cut in cuts {
        let place_of = |end: Position| rest.iter().position(|corner| *corner == end);
        let (Some(one), Some(other)) = (place_of(cut.ends[0]), place_of(cut.ends[1])) else { continue };
        let between = |from: usize, to: usize| -> Vec<Position> {
            let length = (to + rest.len() - from) % rest.len();
            (0..=length).map(|at| rest[(from + at) % rest.len()]).collect()
        };
        let (near, far) = (between(one, other), between(other, one));
        let is_before = near.iter().all(|corner| axis.of(*corner) <= cut.at);
        let (part, left) = if is_before { (near, far) } else { (far, near) };
        parts.push(part);
        rest = left;
    }
    parts.push(rest);
    let is_ground = |part: &Vec<Position>| part.len() > 2;
    let closed = |mut part: Vec<Position>| {
        part.push(part[0]);
        vec![part]
    };
    parts.into_iter().filter(is_ground).map(closed).collect()
}

#[cfg(test)]
mod tests {
    use super::super::City;
    use super::*;

    #[test]
    fn parts_of_the_stations_grounds_leave_no_gap_and_do_not_overlap() {
        for seed in 0..20 {
            let city = City::new(seed);
            let parts = city.beats_of_stations(|station| 2 + usize::from(station.number % 3 == 0));
            let mut known: BTreeMap<(Position, Position), u32> = BTreeMap::new();
            let rings = || parts.iter().flatten().flatten();
            rings()
                .flat_map(|ring| ring.windows(2))
                .for_each(|edge| *known.entry((edge[0], edge[1])).or_default() += 1);
            assert!(known.values().all(|times| *times == 1), "seed {seed}: an edge is there twice in one direction");
            // What nobody has on the other side is the border of the city: one ring that does not branch.
            let outer: Vec<_> = known.keys().filter(|(from, to)| !known.contains_key(&(*to, *from))).collect();
            let begins: BTreeSet<_> = outer.iter().map(|edge| edge.0).collect();
            let ends: BTreeSet<_> = outer.iter().map(|edge| edge.1).collect();
            assert_eq!((begins.len(), &begins), (outer.len(), &ends), "seed {seed}");
            let whole = city.territory(|_| true);
            assert!(whole[0][0].iter().all(|corner| begins.contains(corner)), "seed {seed}");
        }
    }
}
