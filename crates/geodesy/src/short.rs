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

/// A place that many distances are measured from: its sine and cosine are taken once. Short distances are the same to the last
/// bit on every machine: only what IEEE 754 rounds exactly is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruler {
    from: Position,
    sin: f64,
    cos: f64,
    /// Metres of 1e-7 degrees of latitude, and how they change for each 1e-7 degrees that the other end lies farther north.
    north: [f64; 2],
    /// The same of longitude.
    east: [f64; 2],
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
        let (sin, cos) = sin_cos(from.lat_e7());
        let w2 = 1.0 - E2 * sin * sin;
        let w = w2.sqrt();
        let meridian = A * (1.0 - E2) / (w2 * w);
        // Of the latitude halfway, where distances are measured.
        let half = RADIANS_E7 / 2.0;
        let north = [meridian, 3.0 * meridian * E2 * sin * cos / w2 * half].map(|k| k * RADIANS_E7);
        let east = [A / w * cos, -meridian * sin * half].map(|k| k * RADIANS_E7);
        Self { from, sin, cos, north, east }
    }

    /// The place measured from.
    #[must_use]
    pub const fn from(&self) -> Position {
        self.from
    }

    /// Metres of 1e-7 degrees of longitude here; 0 at the poles.
    #[must_use]
    pub const fn lon_m(&self) -> f64 {
        self.east[0]
    }

    /// So many metres away a degree of longitude is longer or shorter than here by `share`; infinite on the equator.
    #[must_use]
    pub fn narrows_m(&self, share: f64) -> f64 {
        A * (1.0 - E2) * share * self.cos / self.sin.abs()
    }

    /// Square of the distance to the nearest place of an edge that is straight in longitude and latitude, m². Its ends are
    /// (longitude, latitude) in 1e-7 degrees less those of this place. A few nanoseconds. Good to 0.1 % up to 10 km where
    /// latitude is at most 75 degrees, and to centimetres where the edge is nearer than some hundred metres, at any
    /// latitude but within a kilometre of a pole.
    #[inline]
    #[must_use]
    pub fn edge_m2(&self, from: (i64, i64), to: (i64, i64)) -> f64 {
        let (x, y) = (from.0 as f64, from.1 as f64);
        let (along_x, along_y) = ((to.0 - from.0) as f64, (to.1 - from.1) as f64);
        // The nearest place is found in a plane in which the edge is straight, its distance by the latitude halfway.
        let (lon_m2, lat_m2) = (self.east[0] * self.east[0], self.north[0] * self.north[0]);
        let length_m2 = along_x * along_x * lon_m2 + along_y * along_y * lat_m2;
        let before_m2 = -(x * along_x * lon_m2 + y * along_y * lat_m2);
        let at = if length_m2 > 0.0 { (before_m2 / length_m2).clamp(0.0, 1.0) } else { 0.0 };
        let (x, y) = (x + at * along_x, y + at * along_y);
        let east_m = x * (self.east[0] + y * self.east[1]);
        let north_m = y * (self.north[0] + y * self.north[1]);
        east_m * east_m + north_m * north_m
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

/// Sine and cosine of a latitude in 1e-7 degrees, the same on every machine; exact at the equator and the poles.
pub(crate) fn sin_cos(lat_e7: i32) -> (f64, f64) {
    const QUARTER_E7: i32 = 900_000_000;
    let lat = lat_e7.abs();
    // Of an angle of at most 45 degrees the series leave less than 1e-16.
    let (sin, cos) = if lat <= QUARTER_E7 / 2 {
        series(f64::from(lat) * RADIANS_E7)
    } else {
        let (cos, sin) = series(f64::from(QUARTER_E7 - lat) * RADIANS_E7);
        (sin, cos)
    };
    (if lat_e7 < 0 { -sin } else { sin }, cos)
}

fn series(angle: f64) -> (f64, f64) {
    let square = angle * angle;
    let term = |sum: f64, number: f64| 1.0 - square / (number * (number + 1.0)) * sum;
    let sin = [16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0].into_iter().fold(1.0, term);
    let cos = [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0].into_iter().fold(1.0, term);
    (angle * sin, cos)
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

    #[test]
    fn sines_are_those_of_the_library() {
        for lat_e7 in (-900_000_000..=900_000_000).step_by(99_991) {
            let (sin, cos) = sin_cos(lat_e7);
            let (wanted_sin, wanted_cos) = (f64::from(lat_e7) / 1e7).to_radians().sin_cos();
            assert!((sin - wanted_sin).abs() < 3e-16 && (cos - wanted_cos).abs() < 3e-16, "{lat_e7}: {sin} {cos}");
        }
        assert_eq!((sin_cos(0), sin_cos(900_000_000), sin_cos(-900_000_000)), ((0.0, 1.0), (1.0, 0.0), (-1.0, 0.0)));
    }
}
