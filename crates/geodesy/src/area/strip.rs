//! The ground beside an area.

use model::Position;

use super::{Area, Polygon, Ring, Shape, TURN_E7};
use crate::distance_m;

impl Area {
    /// Whether `position` is inside, or within `strip_m` metres of the border. Tens of nanoseconds for each edge of a polygon that
    /// is not far away. Beside polygons good to 0.1 % of `strip_m` up to some kilometres, since edges are drawn straight in
    /// longitude and latitude.
    #[must_use]
    pub fn reaches(&self, position: Position, strip_m: f64) -> bool {
        match &self.0 {
            Shape::Circle { vantage, radius_m } => distance_m(vantage.centre(), position) <= *radius_m + strip_m,
            Shape::Polygons(polygons) => {
                polygons.iter().any(|polygon| polygon.contains(position) || polygon.is_near(position, strip_m))
            }
        }
    }
}

impl Polygon {
    /// Whether an edge, also of a hole, is within `metres` of `position`.
    fn is_near(&self, position: Position, metres: f64) -> bool {
        [&self.outline].into_iter().chain(&self.holes).any(|ring| ring.is_near(position, metres))
    }
}

impl Ring {
    /// Whether an edge is within `metres` of `position`, in a plane that touches the earth there.
    fn is_near(&self, position: Position, metres: f64) -> bool {
        let (lat_m, lon_m) = metres_per_e7(position);
        let (lat, lon) = (i64::from(position.lat_e7()), i64::from(position.lon_e7()));
        // A hundredth more, so that the box never cuts off what the plane would let in.
        let reach = |per_e7: f64| (metres * 1.01 / per_e7).min(TURN_E7 as f64) as i64 + 1;
        let (reach_lat, reach_lon) = (reach(lat_m), reach(lon_m));
        let is_by_lat = self.lower.1 - reach_lat <= lat && lat <= self.upper.1 + reach_lat;
        is_by_lat
            && (-2..=2).map(|turns| lon + turns * TURN_E7).any(|lon| {
                let is_by_lon = self.lower.0 - reach_lon <= lon && lon <= self.upper.0 + reach_lon;
                let flat = |corner: (i64, i64)| ((corner.0 - lon) as f64 * lon_m, (corner.1 - lat) as f64 * lat_m);
                is_by_lon && self.corners.windows(2).any(|edge| from_origin_m(flat(edge[0]), flat(edge[1])) <= metres)
            })
    }
}

/// Metres of 1e-7 degrees of latitude and of longitude on WGS-84 at `position`.
fn metres_per_e7(position: Position) -> (f64, f64) {
    const EQUATOR_M: f64 = 6_378_137.0;
    const ECCENTRICITY_SQUARED: f64 = 0.006_694_379_990_141_3;
    let (sine, cosine) = position.lat_deg().to_radians().sin_cos();
    let w = (1.0 - ECCENTRICITY_SQUARED * sine * sine).sqrt();
    let e7 = 1e-7_f64.to_radians();
    // At a pole a degree of longitude has no length; a millimetre keeps what is divided by it a number.
    let lon_m = (EQUATOR_M / w * cosine * e7).max(1e-3 * e7);
    (EQUATOR_M * (1.0 - ECCENTRICITY_SQUARED) / (w * w * w) * e7, lon_m)
}

/// How far the nearest place of an edge is from (0, 0).
fn from_origin_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
    let length = along_x * along_x + along_y * along_y;
    let at = if length > 0.0 { (-(from.0 * along_x + from.1 * along_y) / length).clamp(0.0, 1.0) } else { 0.0 };
    (from.0 + at * along_x).hypot(from.1 + at * along_y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Vertex;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// Against the nearest of many places of the border, by geodesics.
        #[test]
        fn a_strip_ends_where_the_border_is_so_far(
            lat in -75.0..75.0f64, lon in -180.0..180.0f64, size in 0.001..0.05f64,
            by in (-1.5..1.5f64, -1.5..1.5f64), strip_m in 10.0..3_000.0f64,
        ) {
            let wrap = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
            let corner = |(x, y): (f64, f64)| (lat + y * size, wrap(lon + x * size));
            let corners = [(-1.0, -1.0), (1.0, -0.6), (0.4, 0.0), (0.8, 1.0), (-1.0, 0.5), (-1.0, -1.0)];
            let ring = corners.map(corner).map(|(lat, lon)| Vertex::from_degrees(lat, lon).unwrap());
            let area = Area::polygons(&[vec![ring.to_vec()]]).unwrap();
            let (lat, lon) = corner(by);
            let position = Position::from_degrees(lat, lon).unwrap();
            let places = corners.windows(2).flat_map(|edge| (0..=1_000).map(|part| {
                let part = f64::from(part) / 1_000.0;
                let at = |from: f64, to: f64| from + (to - from) * part;
                let (lat, lon) = corner((at(edge[0].0, edge[1].0), at(edge[0].1, edge[1].1)));
                distance_m(position, Position::from_degrees(lat, lon).unwrap())
            }));
            let nearest_m = places.fold(f64::INFINITY, f64::min);
            // Between two places of the border lie at most 12 m, so that the nearest is off by a part of a metre when far away.
            let doubt_m = 0.001 * strip_m + 12.0_f64.min(100.0 / nearest_m.max(1.0)) + 0.1;
            prop_assume!((nearest_m - strip_m).abs() > doubt_m);
            prop_assert_eq!(area.reaches(position, strip_m), area.contains(position) || nearest_m < strip_m);
        }
    }
}
