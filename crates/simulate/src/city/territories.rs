//! The ground of each station: the places that are nearer to it than to any other (a Voronoi cell), within the city's border.
//! Neighbours share their corners bit by bit, so that the ground of several stations is joined by taking shared edges away.

use std::collections::BTreeMap;

use model::{Position, Rings};

use super::Station;
use crate::plane::position_at;

/// The border of the city, counter-clockwise: metres east and north. All roads lie within, that to the airport too.
const BORDER: [(f64, f64); 8] = [
    (-21_500.0, -24_500.0),
    (-18_500.0, -25_500.0),
    (18_000.0, -17_000.0),
    (21_500.0, -15_500.0),
    (22_000.0, 13_500.0),
    (19_500.0, 16_500.0),
    (-19_000.0, 17_000.0),
    (-22_000.0, 14_000.0),
];
/// Stations nearer to each other have no border between them: the first has the ground.
const APART_M: f64 = 1.0;

/// What lies beyond an edge of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Beyond {
    Station(usize),
    /// The world, beyond this edge of [`BORDER`].
    World(usize),
}

/// A corner of a cell, and what lies beyond the edge that begins there.
#[derive(Debug, Clone, Copy)]
struct Corner {
    at: (f64, f64),
    beyond: Beyond,
}

/// The corners of each station's ground, counter-clockwise, the first not said again; empty for a station that stands where
/// another does.
pub(super) fn cells(stations: &[Station]) -> Vec<Vec<Position>> {
    let sites: Vec<(f64, f64)> =
        stations.iter().map(|one| (f64::from(one.point.east_m), f64::from(one.point.north_m))).collect();
    (0..sites.len()).map(|number| cell(number, &sites)).collect()
}

fn cell(number: usize, sites: &[(f64, f64)]) -> Vec<Position> {
    let site = sites[number];
    let border = BORDER.into_iter().enumerate();
    let mut corners: Vec<Corner> = border.map(|(edge, at)| Corner { at, beyond: Beyond::World(edge) }).collect();
    for (other, at) in sites.iter().enumerate().filter(|(other, _)| *other != number) {
        if (at.0 - site.0).hypot(at.1 - site.1) >= APART_M {
            corners = nearer_half(&corners, site, *at, Beyond::Station(other));
        } else if other < number {
            return Vec::new();
        }
    }
    let mut ring: Vec<Position> = Vec::with_capacity(corners.len());
    for (at, corner) in corners.iter().enumerate() {
        let before = corners[(at + corners.len() - 1) % corners.len()];
        let place = met([Beyond::Station(number), before.beyond, corner.beyond], sites).unwrap_or(corner.at);
        let place = position_at(place.0, place.1);
        if ring.last() != Some(&place) && ring.first() != Some(&place) {
            ring.push(place);
        }
    }
    ring
}

/// What of a convex cell is nearer to `site` than to `other`.
fn nearer_half(corners: &[Corner], site: (f64, f64), other: (f64, f64), beyond: Beyond) -> Vec<Corner> {
    let (middle, way) = (((site.0 + other.0) / 2.0, (site.1 + other.1) / 2.0), (other.0 - site.0, other.1 - site.1));
    let over = |at: (f64, f64)| (at.0 - middle.0) * way.0 + (at.1 - middle.1) * way.1;
    let mut kept = Vec::with_capacity(corners.len() + 1);
    for (number, corner) in corners.iter().enumerate() {
        let next = corners[(number + 1) % corners.len()].at;
        let (here, there) = (over(corner.at), over(next));
        let share = here / (here - there);
        let cut = (corner.at.0 + (next.0 - corner.at.0) * share, corner.at.1 + (next.1 - corner.at.1) * share);
        match (here <= 0.0, there <= 0.0) {
            (true, true) => kept.push(*corner),
            (true, false) => kept.extend([*corner, Corner { at: cut, beyond }]),
            (false, true) => kept.push(Corner { at: cut, beyond: corner.beyond }),
            (false, false) => {}
        }
    }
    kept
}

/// Where three meet. Reckoned from the three alone, in one order, so that each of them has the same corner. `None` for those
/// on one line.
fn met(mut three: [Beyond; 3], sites: &[(f64, f64)]) -> Option<(f64, f64)> {
    three.sort_unstable();
    match three {
        [Beyond::Station(a), Beyond::Station(b), Beyond::Station(c)] => {
            crossing(bisector(sites[a], sites[b]), bisector(sites[a], sites[c]))
        }
        [Beyond::Station(a), Beyond::Station(b), Beyond::World(edge)] => {
            let (from, to) = (BORDER[edge], BORDER[(edge + 1) % BORDER.len()]);
            crossing(bisector(sites[a], sites[b]), (from, (to.0 - from.0, to.1 - from.1)))
        }
        [_, Beyond::World(first), Beyond::World(second)] => {
            // Edges follow each other, and the last is followed by the first.
            Some(BORDER[if first + 1 == second { second } else { first }])
        }
        // They are sorted, and a cell has one station.
        _ => None,
    }
}

/// A place on a line, and its direction.
type Line = ((f64, f64), (f64, f64));

fn bisector(a: (f64, f64), b: (f64, f64)) -> Line {
    (((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0), (a.1 - b.1, b.0 - a.0))
}

fn crossing((p, along): Line, (q, other): Line) -> Option<(f64, f64)> {
    let across = along.0 * other.1 - along.1 * other.0;
    let share = ((q.0 - p.0) * other.1 - (q.1 - p.1) * other.0) / across;
    (across.abs() > f64::EPSILON).then_some((p.0 + along.0 * share, p.1 + along.1 * share))
}

/// The ground of several cells as one: edges that two of them share are no border.
pub(super) fn joined(cells: &[&[Position]]) -> Vec<Rings> {
    let edges = || cells.iter().flat_map(|cell| (0..cell.len()).map(|at| (cell[at], cell[(at + 1) % cell.len()])));
    let all: std::collections::BTreeSet<(Position, Position)> = edges().collect();
    let border = all.iter().filter(|(from, to)| !all.contains(&(*to, *from)));
    let mut onward: BTreeMap<Position, Vec<Position>> = BTreeMap::new();
    border.for_each(|(from, to)| onward.entry(*from).or_default().push(*to));
    let (mut outlines, mut holes) = (Vec::new(), Vec::new());
    while let Some(first) = onward.keys().next().copied() {
        let mut ring = vec![first];
        while let Some(next) = follow(&mut onward, ring[ring.len() - 1]) {
            ring.push(next);
            if next == first {
                break;
            }
        }
        if twice_area(&ring) > 0 { outlines.push(vec![ring]) } else { holes.push(ring) }
    }
    for hole in holes {
        // The smallest that has it inside; outlines do not cross, so one corner speaks for all.
        let around = outlines.iter_mut().filter(|outline: &&mut Rings| is_inside(hole[0], &outline[0]));
        if let Some(outline) = around.min_by_key(|outline| twice_area(&outline[0])) {
            outline.push(hole);
        }
    }
    outlines
}

/// Takes an edge that begins at `from` and gives its end.
fn follow(onward: &mut BTreeMap<Position, Vec<Position>>, from: Position) -> Option<Position> {
    let ends = onward.get_mut(&from)?;
    let next = ends.pop();
    if ends.is_empty() {
        onward.remove(&from);
    }
    next
}

/// Of a closed ring, in 1e-14 square degrees; above 0 when it runs counter-clockwise.
fn twice_area(ring: &[Position]) -> i64 {
    let lon_lat = |place: Position| (i64::from(place.lon_e7()), i64::from(place.lat_e7()));
    let (lon, lat) = lon_lat(ring[0]);
    let offset = |place: Position| (lon_lat(place).0 - lon, lon_lat(place).1 - lat);
    ring.windows(2).map(|edge| (offset(edge[0]), offset(edge[1]))).map(|(a, b)| a.0 * b.1 - a.1 * b.0).sum()
}

/// Whether `place`, no corner of it, lies in a closed ring: a ray to the east crosses it an odd number of times.
fn is_inside(place: Position, ring: &[Position]) -> bool {
    let crosses = |edge: &&[Position]| {
        let (a, b) = (edge[0], edge[1]);
        let share = || (place.lat_deg() - a.lat_deg()) / (b.lat_deg() - a.lat_deg());
        (a.lat_e7() > place.lat_e7()) != (b.lat_e7() > place.lat_e7())
            && place.lon_deg() < a.lon_deg() + (b.lon_deg() - a.lon_deg()) * share()
    };
    ring.windows(2).filter(crosses).count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::super::City;
    use super::*;

    #[test]
    fn grounds_of_the_stations_are_the_city_without_gap_or_overlap() {
        for seed in 0..20 {
            let city = City::new(seed);
            let whole = city.territory(|_| true);
            assert_eq!((whole.len(), whole[0].len()), (1, 1), "seed {seed}: one polygon without holes");
            let of = |number: u16| city.territory(|station| station.number == number);
            let parts: i64 = (1..=63).flat_map(of).map(|rings| twice_area(&rings[0])).sum();
            assert_eq!(parts, twice_area(&whole[0][0]), "seed {seed}");
            for station in city.stations() {
                let ground = of(station.number);
                assert!(ground.is_empty() || is_inside(station.point.position(), &ground[0][0]), "seed {seed}");
            }
            for road in city.roads() {
                let place = road.from.position();
                assert!(is_inside(place, &whole[0][0]), "seed {seed}: {place} is out of the city");
            }
        }
    }

    /// Nine squares: those around the middle have it as a hole, and two far apart stay two.
    #[test]
    fn joined_grounds_keep_their_holes_and_their_distance() {
        let corner = |lat: i32, lon: i32| Position::from_e7(lat, lon).unwrap();
        let square = |row: i32, column: i32| {
            let (south, west) = (row * 10, column * 10);
            vec![corner(south, west), corner(south, west + 10), corner(south + 10, west + 10), corner(south + 10, west)]
        };
        let all: Vec<_> = (0..9).map(|number| square(number / 3, number % 3)).collect();
        let joined_of = |numbers: &[usize]| joined(&numbers.iter().map(|n| all[*n].as_slice()).collect::<Vec<_>>());
        let around = joined_of(&[0, 1, 2, 3, 5, 6, 7, 8]);
        assert_eq!((around.len(), around[0].len()), (1, 2), "{around:?}");
        assert_eq!((twice_area(&around[0][0]), twice_area(&around[0][1])), (2 * 900, -2 * 100));
        let two = joined_of(&[0, 2]);
        assert_eq!(
            two.iter().map(|rings| (rings.len(), twice_area(&rings[0]))).collect::<Vec<_>>(),
            [(1, 200), (1, 200)]
        );
    }
}
