//! Whether the rings of an area lie as they should: holes in their outline, and everything apart from everything else.

use model::Position;

use super::{Area, HALF_TURN_E7, Polygon, Ring, Shape, Side, TURN_E7, orientation, sweep};

/// How rings lie wrongly. The fault of who drew them; polygons, rings and points count from 1, and the outline is ring 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingsError {
    /// A point is there twice in a row.
    #[error("polygon {polygon}, ring {ring}: point {point} at {place} is the one before it again")]
    Repeated {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
        /// Which point.
        point: usize,
        /// Where.
        place: Position,
    },
    /// It goes back the way that it came.
    #[error("polygon {polygon}, ring {ring} at {place} has no surface")]
    Flat {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
        /// Its first point.
        place: Position,
    },
    /// Two rings cross.
    #[error(
        "polygon {polygon}, ring {ring}, edge {edge} from {place} crosses polygon {other_polygon}, ring {other_ring}, edge {other_edge}"
    )]
    Crossing {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
        /// The edge from this point.
        edge: usize,
        /// The point.
        place: Position,
        /// Which other polygon.
        other_polygon: usize,
        /// Which ring of it.
        other_ring: usize,
        /// The edge from this point.
        other_edge: usize,
    },
    /// A hole is where nothing is.
    #[error("polygon {polygon}, ring {ring} is a hole outside the outline, at {place}")]
    HoleOutside {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
        /// A place of the hole.
        place: Position,
    },
    /// Two holes of a polygon have ground in common.
    #[error("polygon {polygon}: the holes ring {ring} and ring {other_ring} overlap at {place}")]
    HolesOverlap {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
        /// Which other ring.
        other_ring: usize,
        /// A place in both.
        place: Position,
    },
    /// Two polygons have ground in common.
    #[error("polygon {polygon} and polygon {other_polygon} overlap at {place}")]
    PolygonsOverlap {
        /// Which polygon.
        polygon: usize,
        /// Which other one.
        other_polygon: usize,
        /// A place in both.
        place: Position,
    },
}

type Corner = (i64, i64);

impl Area {
    /// Whether the rings of polygons lie as RFC 7946 and good sense want them: holes in their outline, nothing crosses, nothing
    /// overlaps, no point twice in a row. What only touches is let through. A circle is always well.
    ///
    /// # Errors
    /// [`RingsError`] names the first fault and its place.
    pub fn check_rings(&self) -> Result<(), RingsError> {
        let Shape::Polygons(polygons) = &self.0 else { return Ok(()) };
        for (polygon, number) in polygons.iter().zip(1..) {
            for (ring, at) in polygon.rings().zip(1..) {
                ring.check_points(number, at)?;
            }
        }
        let polygons = in_one_turn(polygons);
        no_crossing(&polygons)?;
        for (polygon, number) in polygons.iter().zip(1..) {
            polygon.check_holes(number)?;
        }
        apart(polygons.iter().map(|polygon| polygon as &dyn Ground)).map_or(Ok(()), |(one, other, at)| {
            Err(RingsError::PolygonsOverlap { polygon: one + 1, other_polygon: other + 1, place: place(at) })
        })
    }
}

/// The same polygons with longitudes that can be compared: all within half a turn of the first.
fn in_one_turn(polygons: &[Polygon]) -> Vec<Polygon> {
    let first = polygons.first().map_or(0, |polygon| polygon.outline.lower.0);
    let turned = |ring: &Ring| {
        let from_first = ring.lower.0 - first;
        let turns = (from_first + HALF_TURN_E7).div_euclid(TURN_E7) * TURN_E7;
        Ring::of(ring.corners.iter().map(|(lon, lat)| (lon - turns, *lat)).collect())
    };
    let polygon = |polygon: &Polygon| Polygon {
        outline: turned(&polygon.outline),
        holes: polygon.holes.iter().map(turned).collect(),
    };
    polygons.iter().map(polygon).collect()
}

/// No edge crosses one of another ring; one ring alone was looked at when it was made.
fn no_crossing(polygons: &[Polygon]) -> Result<(), RingsError> {
    let rings = || {
        polygons
            .iter()
            .zip(1..)
            .flat_map(|(polygon, number)| polygon.rings().zip(1..).map(move |(ring, at)| (number, at, ring)))
    };
    if rings().nth(1).is_none() {
        return Ok(());
    }
    let (mut edges, mut names) = (Vec::new(), Vec::new());
    for (polygon, number, ring) in rings() {
        edges.extend(ring.corners.windows(2).map(|edge| (edge[0], edge[1])));
        names.extend((1..ring.corners.len()).map(|edge| (polygon, number, edge)));
    }
    let Some((one, other)) = sweep::crossing(&edges) else { return Ok(()) };
    let (one, other) = (one.min(other), one.max(other));
    let ((polygon, ring, edge), (other_polygon, other_ring, other_edge)) = (names[one], names[other]);
    let place = place(edges[one].0);
    Err(RingsError::Crossing { polygon, ring, edge, place, other_polygon, other_ring, other_edge })
}

impl Polygon {
    fn rings(&self) -> impl Iterator<Item = &Ring> {
        [&self.outline].into_iter().chain(&self.holes)
    }

    fn check_holes(&self, polygon: usize) -> Result<(), RingsError> {
        for (hole, ring) in self.holes.iter().zip(2..) {
            let outside = hole.corners.iter().find(|corner| self.outline.side_at(**corner) == Side::Outside);
            let outside =
                outside.copied().or_else(|| hole.inner().filter(|inner| self.outline.side_at(*inner) == Side::Outside));
            if let Some(outside) = outside {
                return Err(RingsError::HoleOutside { polygon, ring, place: place(outside) });
            }
        }
        apart(self.holes.iter().map(|hole| hole as &dyn Ground)).map_or(Ok(()), |(one, other, at)| {
            Err(RingsError::HolesOverlap { polygon, ring: one + 2, other_ring: other + 2, place: place(at) })
        })
    }
}

/// What can lie on something else.
trait Ground {
    fn bounds(&self) -> (Corner, Corner);
    fn outline(&self) -> &[Corner];
    /// Whether it holds a corner, not counting its border.
    fn is_inside(&self, corner: Corner) -> bool;
    /// A place in it that is not on its border, if it is wide enough to have one.
    fn inner(&self) -> Option<Corner>;
}

impl Ground for Ring {
    fn bounds(&self) -> (Corner, Corner) {
        (self.lower, self.upper)
    }

    fn outline(&self) -> &[Corner] {
        &self.corners
    }

    fn is_inside(&self, corner: Corner) -> bool {
        self.side_at(corner) == Side::Inside
    }

    fn inner(&self) -> Option<Corner> {
        inner_of(&[self]).filter(|corner| self.is_inside(*corner))
    }
}

impl Ground for Polygon {
    fn bounds(&self) -> (Corner, Corner) {
        self.outline.bounds()
    }

    fn outline(&self) -> &[Corner] {
        &self.outline.corners
    }

    fn is_inside(&self, corner: Corner) -> bool {
        self.outline.is_inside(corner) && self.holes.iter().all(|hole| hole.side_at(corner) == Side::Outside)
    }

    fn inner(&self) -> Option<Corner> {
        inner_of(&self.rings().collect::<Vec<_>>()).filter(|corner| self.is_inside(*corner))
    }
}

/// The first two that have ground in common, and a place there. Nothing crosses, so that either a corner of one lies in the
/// other, or one covers the other.
fn apart<'a>(grounds: impl Iterator<Item = &'a dyn Ground>) -> Option<(usize, usize, Corner)> {
    let grounds: Vec<_> = grounds.collect();
    let mut order: Vec<usize> = (0..grounds.len()).collect();
    order.sort_by_key(|at| grounds[*at].bounds().0);
    let mut near: Vec<usize> = Vec::new();
    for at in order {
        let (lower, upper) = grounds[at].bounds();
        near.retain(|other| grounds[*other].bounds().1.0 >= lower.0);
        for other in &near {
            let (low, high) = grounds[*other].bounds();
            if low.1 <= upper.1 && lower.1 <= high.1 {
                let (one, two) = (grounds[at], grounds[*other]);
                if let Some(place) = common(one, two).or_else(|| common(two, one)) {
                    return Some((at.min(*other), at.max(*other), place));
                }
            }
        }
        near.push(at);
    }
    None
}

/// A place of `one` in `two`.
fn common(one: &dyn Ground, two: &dyn Ground) -> Option<Corner> {
    let corner = one.outline().iter().copied().find(|corner| two.is_inside(*corner));
    corner.or_else(|| one.inner().filter(|inner| two.is_inside(*inner)))
}

/// A place between the rings, halfway along the widest stretch that they leave of the parallel in the middle of two corners.
fn inner_of(rings: &[&Ring]) -> Option<Corner> {
    let mut lats: Vec<i64> = rings.first()?.corners.iter().map(|corner| corner.1).collect();
    lats.sort_unstable();
    lats.dedup();
    let (south, north) = lats.windows(2).map(|two| (two[0], two[1])).max_by_key(|(south, north)| north - south)?;
    let lat = (south + north) / 2;
    let mut lons: Vec<i64> = Vec::new();
    for ring in rings {
        for edge in ring.corners.windows(2) {
            let ((lon, from), (lon_to, to)) = (edge[0], edge[1]);
            if (from <= lat) != (to <= lat) {
                let along = i128::from(lon_to - lon) * i128::from(lat - from) / i128::from(to - from);
                lons.push(lon + along as i64);
            }
        }
    }
    lons.sort_unstable();
    let stretches = lons.as_chunks::<2>().0.iter();
    let [west, east] = stretches.max_by_key(|[west, east]| east - west)?;
    Some(((west + east) / 2, lat))
}

impl Ring {
    fn check_points(&self, polygon: usize, ring: usize) -> Result<(), RingsError> {
        if let Some(at) = self.corners.windows(2).position(|edge| edge[0] == edge[1]) {
            return Err(RingsError::Repeated { polygon, ring, point: at + 2, place: place(self.corners[at]) });
        }
        let first = self.corners[0];
        let doubled: i128 = self.corners.windows(2).map(|edge| orientation(first, edge[0], edge[1])).sum();
        if doubled == 0 {
            return Err(RingsError::Flat { polygon, ring, place: place(first) });
        }
        Ok(())
    }

    /// On which side a corner lies whose longitude is of the same turn.
    fn side_at(&self, corner: Corner) -> Side {
        let is_near =
            (self.lower.0..=self.upper.0).contains(&corner.0) && (self.lower.1..=self.upper.1).contains(&corner.1);
        if is_near { self.side_of(corner) } else { Side::Outside }
    }
}

/// The place of a corner in any turn.
fn place((lon, lat): Corner) -> Position {
    let lon = (lon + HALF_TURN_E7).rem_euclid(TURN_E7) - HALF_TURN_E7;
    let of = |e7: i64| i32::try_from(e7).ok();
    of(lat).zip(of(lon)).and_then(|(lat, lon)| Position::from_e7(lat, lon)).unwrap_or(POLE)
}

/// Never used: corners are places.
const POLE: Position = Position::from_e7(900_000_000, 0).expect("the pole is a place");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vertex;

    type Rings = Vec<Vec<Vertex>>;

    fn ring(corners: &[(f64, f64)]) -> Vec<Vertex> {
        corners.iter().map(|(lon, lat)| Vertex::from_degrees(*lat, *lon).unwrap()).collect()
    }

    fn square(west: f64, south: f64, east: f64, north: f64) -> Vec<Vertex> {
        ring(&[(west, south), (east, south), (east, north), (west, north), (west, south)])
    }

    fn fault(polygons: &[Rings]) -> String {
        let found = Area::polygons(polygons).unwrap().check_rings();
        found.map_or_else(|fault| fault.to_string(), |()| "none".to_owned())
    }

    #[test]
    fn what_lies_well_or_only_touches_has_no_fault() {
        let outline = square(0.0, 0.0, 10.0, 10.0);
        let holes = [square(1.0, 1.0, 2.0, 2.0), square(2.0, 1.0, 3.0, 2.0), square(0.0, 5.0, 1.0, 6.0)];
        let island = vec![square(1.2, 1.2, 1.8, 1.8)];
        let beside = vec![square(10.0, 0.0, 11.0, 10.0)];
        let whole = [vec![outline], holes.to_vec()].concat();
        assert_eq!(fault(&[whole, island, beside]), "none");
        // Cut at the antimeridian, and at Greenwich in another turn than its neighbour.
        assert_eq!(fault(&[vec![square(179.0, 0.0, 180.0, 1.0)], vec![square(-180.0, 0.0, -179.0, 1.0)]]), "none");
        assert_eq!(fault(&[vec![square(0.0, 0.0, 1.0, 1.0)], vec![square(-1.0, 0.0, 0.0, 1.0)]]), "none");
    }

    #[test]
    fn faults_are_named_by_their_place() {
        let outline = || square(0.0, 0.0, 10.0, 10.0);
        let cases = [
            (
                vec![vec![outline(), square(11.0, 1.0, 12.0, 2.0)]],
                "ring 2 is a hole outside the outline, at 1.0000000,11.0000000",
            ),
            (
                vec![vec![outline(), square(10.0, 1.0, 12.0, 2.0)]],
                "ring 2 is a hole outside the outline, at 1.0000000,12.0000000",
            ),
            (
                vec![vec![outline(), square(9.0, 1.0, 12.0, 2.0)]],
                "ring 1, edge 2 from 0.0000000,10.0000000 crosses polygon 1, ring 2",
            ),
            (
                vec![vec![outline(), square(1.0, 1.0, 5.0, 5.0), square(2.0, 2.0, 3.0, 3.0)]],
                "the holes ring 2 and ring 3 overlap at 2.0000000,2.0000000",
            ),
            (vec![vec![outline()], vec![outline()]], "polygon 1 and polygon 2 overlap at"),
            (
                vec![vec![outline()], vec![square(2.0, 2.0, 3.0, 3.0)]],
                "polygon 1 and polygon 2 overlap at 2.0000000,2.0000000",
            ),
            (
                vec![vec![ring(&[(0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)])]],
                "ring 1: point 3 at 0.0000000,1.0000000 is the one before it again",
            ),
            (
                vec![vec![ring(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (0.0, 0.0)])]],
                "ring 1 at 0.0000000,0.0000000 has no surface",
            ),
            (
                vec![vec![square(179.0, 0.0, -179.0, 1.0)], vec![square(-179.5, 0.2, -179.2, 0.4)]],
                "polygon 1 and polygon 2 overlap at 0.2000000,-179.5000000",
            ),
        ];
        for (polygons, expected) in cases {
            let found = fault(&polygons);
            assert!(found.contains(expected), "{found} instead of {expected}");
        }
    }
}
