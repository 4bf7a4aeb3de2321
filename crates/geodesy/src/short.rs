use model::Position;

use crate::distance_and_bearing;
use crate::ecef::{A, E2};

/// The formulas hold up to this difference of either coordinate, in 1e-7 degrees.
const SHORT_E7: i64 = 5_000_000;
/// Radians in 1e-7 degrees.
const RADIANS_E7: f64 = std::f64::consts::PI / 1.8e9;
/// And up to this latitude.
const SHORT_LAT_E7: i32 = 750_000_000;

/// Distances of [`Ruler::way_to`] are off by at most so many metres.
pub const SHORT_ERROR_M: f64 = 0.005;

/// A place that many distances are measured from: its sine and cosine are taken once.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruler {
    from: Position,
    sin: f64,
    cos: f64,
}

/// The way to a place as the ruler sees it; the bearing is worked out when it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Geodesic metres.
    pub distance_m: f64,
    /// Eastward and northward parts, and by how much the bearing turns on the way.
    course: Course,
}

#[derive(Debug, Clone, Copy)]
enum Course {
    Bearing { deg: f64 },
    Parts { east: f64, north: f64, turn: f64 },
}

impl Way {
    /// Degrees clockwise from north at the start, 0 up to but without 360.
    #[must_use]
    pub fn bearing_deg(&self) -> f64 {
        let deg = match self.course {
            Course::Bearing { deg } => deg,
            Course::Parts { east, north, turn } => (east.atan2(north) - turn / 2.0).to_degrees().rem_euclid(360.0),
        };
        if deg >= 360.0 { 0.0 } else { deg }
    }

    /// The geodesic itself. About a microsecond.
    #[must_use]
    pub fn exact(from: Position, to: Position) -> Self {
        let (distance_m, deg) = distance_and_bearing(from, to);
        Self { distance_m, course: Course::Bearing { deg } }
    }
}

impl Ruler {
    /// Measures from `from`.
    #[must_use]
    pub fn at(from: Position) -> Self {
        let (sin, cos) = from.lat_deg().to_radians().sin_cos();
        Self { from, sin, cos }
    }

    /// [`distance_and_bearing`] to [`SHORT_ERROR_M`] and 1e-5 degrees, for a twentieth of its price where the places are
    /// near each other; the same call where they are not. Mirrored pairs of places are exactly as far from each other.
    ///
    /// Gauss's formulas of the middle latitude, with the terms of second order.
    #[must_use]
    pub fn way_to(&self, to: Position) -> Way {
        let dlat_e7 = i64::from(to.lat_e7()) - i64::from(self.from.lat_e7());
        let dlon_e7 = i64::from(to.lon_e7()) - i64::from(self.from.lon_e7());
        let is_short = dlat_e7.abs() <= SHORT_E7
            && dlon_e7.abs() <= SHORT_E7
            && self.from.lat_e7().abs() <= SHORT_LAT_E7
            && dlat_e7 | dlon_e7 != 0;
        if !is_short {
            return Way::exact(self.from, to);
        }
        let (dlat, dlon) = (dlat_e7 as f64 * RADIANS_E7, dlon_e7 as f64 * RADIANS_E7);
        let (sin, cos) = self.turned(dlat / 2.0);
        // In the books: eta² = e'² cos², V² = 1 + eta², t = tan; N is the radius across the meridian.
        let eta2 = E2 / (1.0 - E2) * cos * cos;
        let (v2, t2) = (1.0 + eta2, (sin / cos) * (sin / cos));
        let n = A / (1.0 - E2 * sin * sin).sqrt();
        let (lat2, lon2) = (dlat * dlat / (v2 * v2), dlon * dlon);
        let east = n * cos * dlon * (1.0 - lon2 * sin * sin / 24.0 + lat2 * (1.0 + eta2 - 9.0 * eta2 * t2) / 24.0);
        let north_terms = lon2 * cos * cos * (1.0 - 2.0 * eta2) / 24.0 + lat2 * eta2 * (1.0 - t2) / 8.0;
        let north = n / v2 * dlat * (1.0 - lon2 / 8.0) * (1.0 + north_terms);
        let turn = dlon * sin * (1.0 + lon2 * cos * cos * v2 / 12.0 + lat2 * (3.0 + 8.0 * eta2) / 24.0);
        Way { distance_m: (north * north + east * east).sqrt(), course: Course::Parts { east, north, turn } }
    }

    /// Sine and cosine a small angle farther north: the series leaves less than 1e-15 of a quarter degree.
    fn turned(&self, angle: f64) -> (f64, f64) {
        let square = angle * angle;
        let sin = angle * (1.0 - square / 6.0 * (1.0 - square / 20.0));
        let cos = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0));
        (self.sin * cos + self.cos * sin, self.cos * cos - self.sin * sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50_000))]

        #[test]
        fn short_distances_are_geodesics(
            lat in -760_000_000..=760_000_000i32, lon in -1_800_000_000..1_800_000_000i32,
            dlat in -5_100_000..=5_100_000i32, dlon in -5_100_000..=5_100_000i32, scale in 0.0..1.0f64,
        ) {
            let scaled = |e7: i32| (f64::from(e7) * scale.powi(4)) as i32;
            let from = Position::from_e7(lat, lon).unwrap();
            let to = Position::from_e7(lat + scaled(dlat), (lon + scaled(dlon)).clamp(-1_800_000_000, 1_799_999_999)).unwrap();
            let way = Ruler::at(from).way_to(to);
            let (short, exact) = ((way.distance_m, way.bearing_deg()), distance_and_bearing(from, to));
            prop_assert!((short.0 - exact.0).abs() <= SHORT_ERROR_M / 2.0, "{short:?} {exact:?}");
            let turned = (short.1 - exact.1 + 180.0).rem_euclid(360.0) - 180.0;
            // Over centimetres the bearing of places that are kept to a centimetre says nothing.
            prop_assert!(turned.abs() <= 1e-5 || exact.0 < 10.0, "{short:?} {exact:?}");
        }
    }
}
