mod apart;
mod border;
mod strip;
mod sweep;

pub use apart::RingsError;
pub use border::Outline;
use model::{Position, limits};

use crate::{Tile, Vantage, distance_m};

const TURN_E7: i64 = 3_600_000_000;
const HALF_TURN_E7: i64 = TURN_E7 / 2;
const RADIUS_M_MAX: f64 = 1_000_000.0;

/// Why an area is refused. The caller's fault; polygons, rings and points count from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AreaError {
    /// Not above 0, or too large, or no number.
    #[error("radius is {radius_m} m; it must be above 0 and at most {RADIUS_M_MAX} m")]
    Radius {
        /// The radius as given.
        radius_m: f64,
    },
    /// No polygon, or a polygon without an outline.
    #[error("polygon {polygon} has no outline")]
    Empty {
        /// Which polygon.
        polygon: usize,
    },
    /// Fewer than four points, or the last is not the first.
    #[error("polygon {polygon}, ring {ring}: {points} points; a ring has at least 4 and ends where it begins")]
    Open {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
        /// How many points it has.
        points: usize,
    },
    /// Over the limit.
    #[error("the area has {points} points, the limit is {}", limits::ZONE_POINTS_MAX)]
    TooManyPoints {
        /// How many.
        points: usize,
    },
    /// It winds round a pole, and no one can tell which side is inside.
    #[error("polygon {polygon}, ring {ring} winds round a pole: add its edge along +-90 degrees (RFC 7946, 3.1.9)")]
    RoundPole {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
    },
    /// Two edges of a ring cross.
    #[error("polygon {polygon}, ring {ring} crosses itself: edge {first} and edge {second}")]
    SelfCrossing {
        /// Which polygon.
        polygon: usize,
        /// Which ring.
        ring: usize,
        /// The edge from this point.
        first: usize,
        /// And the edge from this one.
        second: usize,
    },
}

/// A corner of a polygon, in 1e-7 degrees. Unlike a [`Position`] it may lie at +180 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vertex {
    lat_e7: i32,
    lon_e7: i32,
}

impl Vertex {
    /// From degrees; `None` outside -90..=90 and -180..=180.
    #[must_use]
    pub fn from_degrees(lat_deg: f64, lon_deg: f64) -> Option<Self> {
        let position = Position::from_degrees(lat_deg, lon_deg)?;
        let is_east_end = position.lon_e7() == -1_800_000_000 && lon_deg > 0.0;
        let lon_e7 = if is_east_end { 1_800_000_000 } else { position.lon_e7() };
        Some(Self { lat_e7: position.lat_e7(), lon_e7 })
    }

    /// From 1e-7 degrees; `None` outside the same range.
    #[must_use]
    pub fn from_e7(lat_e7: i32, lon_e7: i32) -> Option<Self> {
        Position::from_e7(lat_e7, lon_e7).map(|_| Self { lat_e7, lon_e7 })
    }
}

impl From<Position> for Vertex {
    fn from(position: Position) -> Self {
        Self { lat_e7: position.lat_e7(), lon_e7: position.lon_e7() }
    }
}

/// A circle, or polygons with holes. Edges are straight lines in longitude and latitude (RFC 7946,
/// 3.1.1); what lies on an edge is inside. An edge of more than 180 degrees goes the short way over
/// the antimeridian; one of exactly 360 goes round the earth, as polygons that are cut there have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Area(Shape);

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Circle { vantage: Vantage, radius_m: f64 },
    Polygons(Vec<Polygon>),
}

#[derive(Debug, Clone, PartialEq)]
struct Polygon {
    outline: Ring,
    holes: Vec<Ring>,
}

/// Corners as (longitude, latitude) in 1e-7 degrees, longitude unwrapped; the last equals the first.
#[derive(Debug, Clone, PartialEq)]
struct Ring {
    corners: Vec<(i64, i64)>,
    /// The least and the greatest of both.
    lower: (i64, i64),
    upper: (i64, i64),
}

/// How much of a tile lies in an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Nothing.
    None,
    /// Perhaps something.
    Some,
    /// All of it.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Outside,
    Edge,
    Inside,
}

impl Area {
    /// All places within `radius_m` geodesic metres.
    ///
    /// # Errors
    /// [`AreaError::Radius`].
    pub fn circle(centre: Position, radius_m: f64) -> Result<Self, AreaError> {
        if radius_m > 0.0 && radius_m <= RADIUS_M_MAX {
            return Ok(Self(Shape::Circle { vantage: Vantage::of(centre), radius_m }));
        }
        Err(AreaError::Radius { radius_m })
    }

    /// Polygons, each a list of rings: the outline, then holes.
    ///
    /// # Errors
    /// [`AreaError`] names polygon, ring and point.
    pub fn polygons(polygons: &[Vec<Vec<Vertex>>]) -> Result<Self, AreaError> {
        let points = polygons.iter().flatten().map(Vec::len).sum();
        if points > limits::ZONE_POINTS_MAX {
            return Err(AreaError::TooManyPoints { points });
        }
        if polygons.is_empty() {
            return Err(AreaError::Empty { polygon: 1 });
        }
        let made = (1..).zip(polygons).map(|(number, rings)| Polygon::new(number, rings));
        Ok(Self(Shape::Polygons(made.collect::<Result<_, _>>()?)))
    }

    /// Whether `position` is inside or on an edge.
    #[must_use]
    pub fn contains(&self, position: Position) -> bool {
        match &self.0 {
            Shape::Circle { vantage, radius_m } => {
                let reach = vantage.reach(position);
                reach.most_m <= *radius_m
                    || (reach.least_m <= *radius_m && distance_m(vantage.centre(), position) <= *radius_m)
            }
            Shape::Polygons(polygons) => polygons.iter().any(|polygon| polygon.contains(position)),
        }
    }

    /// How much of `tile` lies in the area. Tens of nanoseconds for a circle, a few for each edge of a polygon.
    #[must_use]
    pub fn overlap(&self, tile: &Tile) -> Overlap {
        match &self.0 {
            Shape::Circle { vantage, radius_m } => match vantage.flat(tile) {
                Some(flat) if flat.least_m(tile) > *radius_m => Overlap::None,
                Some(flat) if flat.most_m(tile) <= *radius_m => Overlap::All,
                _ => Overlap::Some,
            },
            Shape::Polygons(polygons) => {
                let mut all = Overlap::None;
                for polygon in polygons {
                    match polygon.overlap(tile) {
                        Overlap::All => return Overlap::All,
                        Overlap::Some => all = Overlap::Some,
                        Overlap::None => {}
                    }
                }
                all
            }
        }
    }

    /// The centre of a circle.
    #[must_use]
    pub const fn centre(&self) -> Option<Position> {
        match &self.0 {
            Shape::Circle { vantage, .. } => Some(vantage.centre()),
            Shape::Polygons(_) => None,
        }
    }

    /// Tiles that hold the area together.
    #[must_use]
    pub fn tiles(&self) -> Vec<Tile> {
        match &self.0 {
            Shape::Circle { vantage, radius_m } => circle_tiles(vantage.centre(), *radius_m),
            Shape::Polygons(polygons) => polygons.iter().flat_map(|polygon| polygon.outline.tiles()).collect(),
        }
    }
}

/// A circle between two parallels, and between two meridians where it holds no pole.
fn circle_tiles(centre: Position, radius_m: f64) -> Vec<Tile> {
    /// The shortest degree of a meridian is 110,574 m.
    const DEGREE_M: f64 = 110_500.0;
    let reach_deg = radius_m / DEGREE_M;
    let (south, north) = (centre.lat_deg() - reach_deg, centre.lat_deg() + reach_deg);
    // On the sphere a circle touches a meridian at this angle; the ellipsoid is within a hundredth.
    let sine = (reach_deg * 1.01).to_radians().sin() / centre.lat_deg().to_radians().cos();
    let width_deg = if south <= -90.0 || north >= 90.0 || sine >= 1.0 { 360.0 } else { sine.asin().to_degrees() };
    let e7 = |degrees: f64| (degrees * 1e7) as i64;
    let (west, east) = (centre.lon_deg() - width_deg, centre.lon_deg() + width_deg);
    tiles_between((e7(west) - 1, e7(south) - 1), (e7(east) + 1, e7(north) + 1))
}

/// The tiles between two corners (longitude, latitude) in 1e-7 degrees, the longitudes in any turn: more than one where the
/// antimeridian lies between.
fn tiles_between(lower: (i64, i64), upper: (i64, i64)) -> Vec<Tile> {
    let clamped = |e7: i64, least: i32, most: i32| e7.clamp(i64::from(least), i64::from(most)) as i32;
    let earth = Tile::EARTH;
    let (south, north) = (clamped(lower.1, earth.south, earth.north), clamped(upper.1, earth.south, earth.north));
    if upper.0 - lower.0 >= TURN_E7 {
        return vec![Tile { south, north, ..earth }];
    }
    let turns = (-2..=2).map(|turns| turns * TURN_E7);
    // +180 is kept as -180: a side on it is a place of the next turn.
    let over = turns.filter(|turn| lower.0 + turn <= i64::from(earth.east) && upper.0 + turn >= i64::from(earth.west));
    let tile = |turn: i64| Tile {
        south,
        north,
        west: clamped(lower.0 + turn, earth.west, earth.east),
        east: clamped(upper.0 + turn, earth.west, earth.east),
    };
    over.map(tile).collect()
}

impl Polygon {
    fn new(number: usize, rings: &[Vec<Vertex>]) -> Result<Self, AreaError> {
        let made = (1..).zip(rings).map(|(ring, vertices)| Ring::new(number, ring, vertices));
        let mut made = made.collect::<Result<Vec<_>, _>>()?.into_iter();
        let outline = made.next().ok_or(AreaError::Empty { polygon: number })?;
        Ok(Self { outline, holes: made.collect() })
    }

    fn contains(&self, position: Position) -> bool {
        self.outline.side(position) != Side::Outside
            && self.holes.iter().all(|hole| hole.side(position) != Side::Inside)
    }

    /// Where no edge meets the tile, one corner speaks for all of it.
    fn overlap(&self, tile: &Tile) -> Overlap {
        if self.outline.meets(tile) || self.holes.iter().any(|hole| hole.meets(tile)) {
            return Overlap::Some;
        }
        let corner = Position::from_e7(tile.south, tile.west);
        if corner.is_none_or(|corner| self.contains(corner)) { Overlap::All } else { Overlap::None }
    }
}

impl Ring {
    fn new(polygon: usize, ring: usize, vertices: &[Vertex]) -> Result<Self, AreaError> {
        let points = vertices.len();
        if points < 4 || vertices.first() != vertices.last() {
            return Err(AreaError::Open { polygon, ring, points });
        }
        let mut corners: Vec<(i64, i64)> = Vec::with_capacity(points);
        let mut sent_before: Option<i64> = None;
        for vertex in vertices {
            let (sent, lat) = (i64::from(vertex.lon_e7), i64::from(vertex.lat_e7));
            let lon = match (sent_before, corners.last()) {
                (Some(sent_before), Some((lon_before, _))) => lon_before + short_way(sent - sent_before),
                _ => sent,
            };
            corners.push((lon, lat));
            sent_before = Some(sent);
        }
        if corners.first() != corners.last() {
            return Err(AreaError::RoundPole { polygon, ring });
        }
        match self_crossing(&corners) {
            Some((first, second)) => Err(AreaError::SelfCrossing { polygon, ring, first, second }),
            None => Ok(Self::of(corners)),
        }
    }

    fn of(corners: Vec<(i64, i64)>) -> Self {
        let least = |a: (i64, i64), b: &(i64, i64)| (a.0.min(b.0), a.1.min(b.1));
        let greatest = |a: (i64, i64), b: &(i64, i64)| (a.0.max(b.0), a.1.max(b.1));
        let first = corners[0];
        let (lower, upper) = (corners.iter().fold(first, least), corners.iter().fold(first, greatest));
        Self { corners, lower, upper }
    }

    /// Whether an edge may meet `tile`, in any turn.
    fn meets(&self, tile: &Tile) -> bool {
        let [south, north, west, east] = [tile.south, tile.north, tile.west, tile.east].map(i64::from);
        let lies_over = |lower: (i64, i64), upper: (i64, i64), turn: i64| {
            lower.0 <= east + turn && upper.0 >= west + turn && lower.1 <= north && upper.1 >= south
        };
        (-2..=2).map(|turns| turns * TURN_E7).filter(|turn| lies_over(self.lower, self.upper, *turn)).any(|turn| {
            let tile_corners = [(west + turn, south), (east + turn, south), (east + turn, north), (west + turn, north)];
            self.corners.windows(2).any(|edge| {
                let (from, to) = (edge[0], edge[1]);
                let (lower, upper) = ((from.0.min(to.0), from.1.min(to.1)), (from.0.max(to.0), from.1.max(to.1)));
                if !lies_over(lower, upper, turn) {
                    return false;
                }
                let sides = tile_corners.map(|corner| orientation(from, to, corner).signum());
                !(sides.iter().all(|side| *side > 0) || sides.iter().all(|side| *side < 0))
            })
        })
    }

    /// Counts crossings of the ray to the east, exactly. Longitudes that differ by whole turns are one place.
    fn side(&self, position: Position) -> Side {
        let (lon, lat) = (i64::from(position.lon_e7()), i64::from(position.lat_e7()));
        if !(self.lower.1..=self.upper.1).contains(&lat) {
            return Side::Outside;
        }
        let turned = (-2..=2).map(|turns| lon + turns * TURN_E7);
        let near = turned.filter(|lon| (self.lower.0..=self.upper.0).contains(lon));
        let sides = near.map(|lon| self.side_of((lon, lat)));
        sides.fold(Side::Outside, |found, side| if found == Side::Outside { side } else { found })
    }

    fn side_of(&self, point: (i64, i64)) -> Side {
        let mut is_inside = false;
        for edge in self.corners.windows(2) {
            let (from, to) = (edge[0], edge[1]);
            let turn = orientation(from, to, point);
            let between = |a: i64, b: i64, x: i64| (a.min(b)..=a.max(b)).contains(&x);
            if turn == 0 && between(from.0, to.0, point.0) && between(from.1, to.1, point.1) {
                return Side::Edge;
            }
            let goes_up = from.1 <= point.1 && to.1 > point.1;
            let goes_down = to.1 <= point.1 && from.1 > point.1;
            if (goes_up && turn > 0) || (goes_down && turn < 0) {
                is_inside = !is_inside;
            }
        }
        if is_inside { Side::Inside } else { Side::Outside }
    }

    fn tiles(&self) -> Vec<Tile> {
        tiles_between(self.lower, self.upper)
    }
}

/// A step in longitude that goes over the antimeridian when that is shorter; a whole turn stays one.
pub(crate) const fn short_way(step: i64) -> i64 {
    match step.abs() {
        TURN_E7 => step,
        far if far > HALF_TURN_E7 => step - TURN_E7 * step.signum(),
        _ => step,
    }
}

/// Positive when `point` lies left of the way from `from` to `to`. Exact.
fn orientation(from: (i64, i64), to: (i64, i64), point: (i64, i64)) -> i128 {
    let product = |a: i64, b: i64| i128::from(a) * i128::from(b);
    product(to.0 - from.0, point.1 - from.1) - product(to.1 - from.1, point.0 - from.0)
}

/// Two edges that cross each other in their inside, as the numbers of their first points from 1.
/// Edges that only touch are let through.
fn self_crossing(corners: &[(i64, i64)]) -> Option<(usize, usize)> {
    let edges: Vec<_> = corners.windows(2).map(|edge| (edge[0], edge[1])).collect();
    let (one, other) = sweep::crossing(&edges)?;
    Some((one.min(other) + 1, one.max(other) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(corners: &[(f64, f64)]) -> Vec<Vertex> {
        corners.iter().map(|(lon, lat)| Vertex::from_degrees(*lat, *lon).unwrap()).collect()
    }

    fn square(west: f64, south: f64, east: f64, north: f64) -> Vec<Vertex> {
        ring(&[(west, south), (east, south), (east, north), (west, north), (west, south)])
    }

    fn holds(area: &Area, lat: f64, lon: f64) -> bool {
        area.contains(Position::from_degrees(lat, lon).unwrap())
    }

    #[test]
    fn holes_are_outside_and_edges_inside() {
        let area = Area::polygons(&[vec![square(0.0, 0.0, 10.0, 10.0), square(4.0, 4.0, 6.0, 6.0)]]).unwrap();
        assert!(holds(&area, 1.0, 1.0) && holds(&area, 0.0, 5.0) && holds(&area, 4.0, 5.0));
        assert!(!holds(&area, 5.0, 5.0) && !holds(&area, -0.1, 5.0));
    }

    #[test]
    fn the_antimeridian_is_crossed_the_short_way_or_cut() {
        let short = Area::polygons(&[vec![square(179.0, -1.0, -179.0, 1.0)]]).unwrap();
        let cut = vec![vec![square(179.0, -1.0, 180.0, 1.0)], vec![square(-180.0, -1.0, -179.0, 1.0)]];
        for area in [short, Area::polygons(&cut).unwrap()] {
            assert!(holds(&area, 0.0, 179.5) && holds(&area, 0.0, -179.5) && holds(&area, 0.0, 180.0));
            assert!(!holds(&area, 0.0, 0.0) && !holds(&area, 0.0, 178.9));
        }
    }

    #[test]
    fn a_polar_cap_with_its_edge_along_the_pole_is_whole() {
        let cap = Area::polygons(&[vec![square(-180.0, 60.0, 180.0, 90.0)]]).unwrap();
        assert!(
            holds(&cap, 90.0, 17.0) && holds(&cap, 61.0, 179.9) && holds(&cap, 61.0, -180.0) && holds(&cap, 75.0, 0.0)
        );
        assert!(!holds(&cap, 59.0, 0.0));
        let ring = ring(&[(0.0, 80.0), (120.0, 80.0), (-120.0, 80.0), (0.0, 80.0)]);
        assert_eq!(Area::polygons(&[vec![ring]]), Err(AreaError::RoundPole { polygon: 1, ring: 1 }));
    }

    #[test]
    fn faults_are_named_by_their_place() {
        let bow = ring(&[(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]);
        let error = Area::polygons(&[vec![square(0.0, 0.0, 9.0, 9.0), bow]]).unwrap_err();
        assert_eq!(error.to_string(), "polygon 1, ring 2 crosses itself: edge 1 and edge 3");
        let open = vec![vec![ring(&[(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])]];
        assert!(Area::polygons(&open).unwrap_err().to_string().contains("3 points"));
        let centre = Position::from_degrees(0.0, 0.0).unwrap();
        assert!(Area::circle(centre, f64::NAN).is_err() && Area::circle(centre, 0.0).is_err());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4_000))]

        /// A star-shaped ring round a centre holds a place exactly when the place is nearer than the
        /// ring in its direction: an oracle in floating point, away from the edge.
        #[test]
        fn stars_hold_what_is_nearer_than_their_edge(
            lat in -60.0..60.0f64, lon in -180.0..180.0f64, radii in proptest::collection::vec(0.2..5.0f64, 3..12),
            share in 0.0..1.6f64, turn in 0.0..std::f64::consts::TAU,
        ) {
            use std::f64::consts::TAU;
            let count = radii.len();
            let corner = |at: usize| {
                let angle = TAU * (at % count) as f64 / count as f64;
                (radii[at % count] * angle.cos(), radii[at % count] * angle.sin())
            };
            let wrap = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
            let vertex = |(x, y): (f64, f64)| Vertex::from_degrees(lat + y, wrap(lon + x)).unwrap();
            let area = Area::polygons(&[vec![(0..=count).map(|at| vertex(corner(at))).collect()]]).unwrap();
            // Where the ray from the centre meets the edge between two corners.
            let sector = ((turn / TAU * count as f64) as usize).min(count - 1);
            let (a, b) = (corner(sector), corner(sector + 1));
            let (dx, dy) = (turn.cos(), turn.sin());
            let cross = |p: (f64, f64), q: (f64, f64)| p.0 * q.1 - p.1 * q.0;
            let along = (b.0 - a.0, b.1 - a.1);
            let reach = cross(a, along) / cross((dx, dy), along);
            proptest::prop_assume!(reach.is_finite() && (share - 1.0).abs() > 1e-3);
            let (x, y) = (dx * reach * share, dy * reach * share);
            let place = Position::from_degrees(lat + y, wrap(lon + x)).unwrap();
            proptest::prop_assert_eq!(area.contains(place), share < 1.0);
            proptest::prop_assert!(!area.contains(place) || area.tiles().iter().any(|tile| tile.contains(place)));
        }

        #[test]
        fn a_circle_lies_in_its_tiles(
            lat in -90.0..=90.0f64, lon in prop_oneof![-180.0..180.0f64, 179.0..180.0f64], radius in prop_oneof![1.0..RADIUS_M_MAX, 1.0..2_000.0f64],
            bearing in 0.0..360.0f64, share in 0.9..=1.0f64,
        ) {
            let centre = Position::from_degrees(lat, lon).unwrap();
            let place = crate::destination(centre, bearing, radius * share);
            let circle = Area::circle(centre, radius).unwrap();
            prop_assert!(!circle.contains(place) || circle.tiles().iter().any(|tile| tile.contains(place)));
        }

        /// A tile that is told as a whole is told as each of its places would be.
        #[test]
        fn a_tile_is_told_as_its_places_are(
            lat in -70.0..70.0f64, lon in prop_oneof![-180.0..180.0f64, 179.0..180.0f64], corners in proptest::collection::vec((-2.0..2.0f64, -2.0..2.0f64), 3..7),
            at in (-3.0..3.0f64, -3.0..3.0f64), sides in (1..30_000_000i32, 1..30_000_000i32), inside in (0.0..=1.0f64, 0.0..=1.0f64), radius in 100.0..300_000.0f64,
        ) {
            let wrap = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
            let vertex = |(x, y): (f64, f64)| Vertex::from_degrees(lat + y, wrap(lon + x)).unwrap();
            let ring: Vec<_> = corners.iter().chain(&corners[..1]).map(|corner| vertex(*corner)).collect();
            let south_west = Position::from_degrees(lat + at.1, wrap(lon + at.0)).unwrap();
            let tile = Tile { north: (south_west.lat_e7() + sides.1).min(900_000_000), east: south_west.lon_e7().saturating_add(sides.0).min(1_799_999_999), ..Tile::of(south_west) };
            let between = |low: i32, high: i32, share: f64| low + ((f64::from(high) - f64::from(low)) * share) as i32;
            let place = Position::from_e7(between(tile.south, tile.north, inside.0), between(tile.west, tile.east, inside.1)).unwrap();
            let circle = Area::circle(Position::from_degrees(lat, wrap(lon)).unwrap(), radius).unwrap();
            for area in [Area::polygons(&[vec![ring]]).ok(), Some(circle)].into_iter().flatten() {
                match area.overlap(&tile) {
                    Overlap::None => prop_assert!(!area.contains(place)),
                    Overlap::All => prop_assert!(area.contains(place)),
                    Overlap::Some => {}
                }
            }
        }
    }
}
