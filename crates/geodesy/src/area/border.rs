//! The border of an area: its rings, how far it is, and how much ground is within.

use model::Position;

use super::{Area, Ring, Shape, TURN_E7};
use crate::Ruler;
use crate::short::sin_cos;

/// A ring of an area that is made of polygons.
#[derive(Debug, Clone, Copy)]
pub struct Outline<'a> {
    /// Whether it is a hole of the polygon whose outline came last; else it is the outline of a polygon of its own.
    pub is_hole: bool,
    /// Corners as (longitude, latitude) in 1e-7 degrees; the last equals the first. From one to the next the longitude goes as
    /// the edge does: it may leave -180..=180 degrees, and places whole turns apart are the same.
    pub corners: &'a [(i64, i64)],
}

impl Area {
    /// The rings of all polygons, each outline before its holes; none of a circle.
    pub fn outlines(&self) -> impl Iterator<Item = Outline<'_>> {
        let polygons = match &self.0 {
            Shape::Circle { .. } => &[][..],
            Shape::Polygons(polygons) => polygons,
        };
        polygons.iter().flat_map(|polygon| {
            let outline = Outline { is_hole: false, corners: &polygon.outline.corners };
            let holes = polygon.holes.iter().map(|hole| Outline { is_hole: true, corners: &hole.corners });
            [outline].into_iter().chain(holes)
        })
    }

    /// The radius of a circle, metres.
    #[must_use]
    pub const fn radius_m(&self) -> Option<f64> {
        match &self.0 {
            Shape::Circle { radius_m, .. } => Some(*radius_m),
            Shape::Polygons(_) => None,
        }
    }

    /// How far the place of `ruler` is from the border, geodesic metres; every edge is border, also of holes and between
    /// polygons that touch. As good as [`Ruler::edge_m2`], for circles as [`Ruler::way_to`]. Some nanoseconds for each edge.
    #[must_use]
    pub fn border_m(&self, ruler: &Ruler) -> f64 {
        match &self.0 {
            Shape::Circle { vantage, radius_m } => (ruler.way_to(vantage.centre()).distance_m - radius_m).abs(),
            Shape::Polygons(polygons) => {
                let rings = polygons.iter().flat_map(|polygon| [&polygon.outline].into_iter().chain(&polygon.holes));
                rings.map(|ring| ring.border_m2(ruler)).fold(f64::INFINITY, f64::min).sqrt()
            }
        }
    }

    /// [`Self::border_m`], positive inside and negative outside.
    #[must_use]
    pub fn depth_m(&self, position: Position) -> f64 {
        let metres = self.border_m(&Ruler::at(position));
        if self.contains(position) { metres } else { -metres }
    }

    /// Ground within, m², to a hundredth: on a sphere, and where polygons overlap counted twice.
    #[must_use]
    pub fn surface_m2(&self) -> f64 {
        match &self.0 {
            Shape::Circle { radius_m, .. } => std::f64::consts::PI * radius_m * radius_m,
            Shape::Polygons(polygons) => {
                let holes = |holes: &[Ring]| holes.iter().map(Ring::surface_m2).sum::<f64>();
                polygons.iter().map(|polygon| (polygon.outline.surface_m2() - holes(&polygon.holes)).max(0.0)).sum()
            }
        }
    }
}

impl Ring {
    fn border_m2(&self, ruler: &Ruler) -> f64 {
        let place = ruler.from();
        let (lon, lat) = (i64::from(place.lon_e7()), i64::from(place.lat_e7()));
        let off = |corner: (i64, i64), turn: i64| (corner.0 + turn - lon, corner.1 - lat);
        let turned = |turn: i64| {
            let edges = self.corners.windows(2);
            edges.map(move |edge| ruler.edge_m2(off(edge[0], turn), off(edge[1], turn))).fold(f64::INFINITY, f64::min)
        };
        (-2..=2).map(|turns| turned(turns * TURN_E7)).fold(f64::INFINITY, f64::min)
    }

    fn surface_m2(&self) -> f64 {
        /// Radius of the sphere that has as much ground as the earth, metres.
        const RADIUS_M: f64 = 6_371_007.2;
        let sine = |lat_e7: i64| i32::try_from(lat_e7).map_or(0.0, |lat_e7| sin_cos(lat_e7).0);
        let strip = |edge: &[(i64, i64)]| {
            let width = (edge[1].0 - edge[0].0) as f64 * (std::f64::consts::PI / 1.8e9);
            // Between the edge and the equator.
            width * (sine(edge[0].1) + sine(edge[1].1)) / 2.0
        };
        (self.corners.windows(2).map(strip).sum::<f64>() * RADIUS_M * RADIUS_M).abs()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Vertex, distance_m};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        /// Against the nearest place of the edge by geodesics, found by narrowing in on it.
        #[test]
        fn the_nearest_place_of_an_edge_is_as_far_as_a_geodesic(
            lat in -75.0..75.0f64, lon in -179.0..179.0f64, size in 1e-4..0.05f64,
            ends in proptest::array::uniform4(-1.0..1.0f64),
        ) {
            let from = Position::from_degrees(lat, lon).unwrap();
            let end = |dlon: f64, dlat: f64| ((dlon * size * 1e7) as i64, (dlat * size * 1e7) as i64);
            let (a, b) = (end(ends[0], ends[1]), end(ends[2], ends[3]));
            let far_m = |part: f64| {
                let at = |a: i64, b: i64, from: i32| from + (a as f64 + (b - a) as f64 * part).round() as i32;
                distance_m(from, Position::from_e7(at(a.1, b.1, from.lat_e7()), at(a.0, b.0, from.lon_e7())).unwrap())
            };
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..60 {
                let (third, other) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
                if far_m(third) < far_m(other) { high = other } else { low = third }
            }
            let (exact, found) = (far_m(low).min(far_m(high)).min(far_m(0.0)).min(far_m(1.0)), Ruler::at(from).edge_m2(a, b).sqrt());
            // Places are kept to a centimetre, and along an edge that is seen end on it takes some of them to see a difference.
            prop_assert!((found - exact).abs() <= 0.001 * exact + 0.03, "{found} {exact}");
        }
    }

    fn square(half_e7: i32, lat_e7: i32) -> Vec<Vertex> {
        let corner = |(x, y): (i32, i32)| Vertex::from_e7(lat_e7 + y * half_e7, x * half_e7).unwrap();
        [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)].map(corner).to_vec()
    }

    #[test]
    fn surfaces_are_those_of_the_ellipsoid_to_a_hundredth() {
        let earth = Area::polygons(&[vec![
            [(-180.0, -90.0), (180.0, -90.0), (180.0, 90.0), (-180.0, 90.0), (-180.0, -90.0)]
                .map(|(lon, lat)| Vertex::from_degrees(lat, lon).unwrap())
                .to_vec(),
        ]]);
        assert!((earth.unwrap().surface_m2() / 510.065_622e12 - 1.0).abs() < 0.01);
        let ring = Area::polygons(&[vec![square(100_000, 600_000_000), square(50_000, 600_000_000)]]).unwrap();
        // Two hundredths of a degree at 60 N are 1,115 m by 2,228 m; a quarter of it is a hole.
        assert!((ring.surface_m2() / (1_115.8 * 2_228.2 * 0.75) - 1.0).abs() < 0.01, "{}", ring.surface_m2());
    }

    #[test]
    fn holes_and_circles_have_borders_too() {
        let ring = Area::polygons(&[vec![square(100_000, 0), square(50_000, 0)]]).unwrap();
        let at = |lat_e7: i32| Position::from_e7(lat_e7, 0).unwrap();
        for (lat_e7, metres) in [(0, -552.87), (60_000, 110.57), (110_000, -110.57)] {
            assert!((ring.depth_m(at(lat_e7)) - metres).abs() < 0.01, "{lat_e7}: {}", ring.depth_m(at(lat_e7)));
        }
        let circle = Area::circle(at(0), 1_000.0).unwrap();
        assert!((circle.depth_m(at(0)) - 1_000.0).abs() < 0.01 && (circle.depth_m(at(100_000)) + 105.74).abs() < 0.01);
    }
}
