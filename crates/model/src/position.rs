use std::fmt;

const DEGREE_E7: i32 = 10_000_000;
const LAT_E7_MAX: i32 = 90 * DEGREE_E7;
const LON_E7_MAX: i32 = 180 * DEGREE_E7;

/// A place on the WGS-84 ellipsoid: latitude and longitude in 1e-7 degrees (about 1 cm), 8 bytes, exact.
///
/// Longitude +180 is kept as -180, so that one meridian has one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    lat_e7: i32,
    lon_e7: i32,
}

impl Position {
    /// From 1e-7 degrees; `None` outside -90..=90 and -180..=180 degrees.
    #[must_use]
    pub const fn from_e7(lat_e7: i32, lon_e7: i32) -> Option<Self> {
        if lat_e7 < -LAT_E7_MAX || lat_e7 > LAT_E7_MAX || lon_e7 < -LON_E7_MAX || lon_e7 > LON_E7_MAX {
            return None;
        }
        let lon_e7 = if lon_e7 == LON_E7_MAX { -LON_E7_MAX } else { lon_e7 };
        Some(Self { lat_e7, lon_e7 })
    }

    /// From 1e-6 degrees, as JT/T 808 sends them.
    #[must_use]
    pub fn from_e6(lat_e6: i64, lon_e6: i64) -> Option<Self> {
        Self::scaled(lat_e6, lon_e6, 10)
    }

    /// From 1e-5 degrees, as TAIP sends them.
    #[must_use]
    pub fn from_e5(lat_e5: i64, lon_e5: i64) -> Option<Self> {
        Self::scaled(lat_e5, lon_e5, 100)
    }

    fn scaled(lat: i64, lon: i64, factor: i64) -> Option<Self> {
        let lat_e7 = i32::try_from(lat.checked_mul(factor)?).ok()?;
        let lon_e7 = i32::try_from(lon.checked_mul(factor)?).ok()?;
        Self::from_e7(lat_e7, lon_e7)
    }

    /// From degrees, rounded to the nearest 1e-7; `None` for NaN, infinity and what is out of range.
    #[must_use]
    pub fn from_degrees(lat_deg: f64, lon_deg: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&lat_deg) || !(-180.0..=180.0).contains(&lon_deg) {
            return None;
        }
        let e7 = |degrees: f64| (degrees * f64::from(DEGREE_E7)).round() as i32;
        Self::from_e7(e7(lat_deg), e7(lon_deg))
    }

    /// Latitude in 1e-7 degrees, north positive.
    #[must_use]
    pub const fn lat_e7(self) -> i32 {
        self.lat_e7
    }

    /// Longitude in 1e-7 degrees, east positive, -180 up to but without +180 degrees.
    #[must_use]
    pub const fn lon_e7(self) -> i32 {
        self.lon_e7
    }

    /// Latitude in degrees, north positive.
    #[must_use]
    pub fn lat_deg(self) -> f64 {
        f64::from(self.lat_e7) / f64::from(DEGREE_E7)
    }

    /// Longitude in degrees, east positive.
    #[must_use]
    pub fn lon_deg(self) -> f64 {
        f64::from(self.lon_e7) / f64::from(DEGREE_E7)
    }

    /// Whether this is 0 N 0 E, which receivers send when they have no fix.
    #[must_use]
    pub const fn is_null_island(self) -> bool {
        self.lat_e7 == 0 && self.lon_e7 == 0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.7},{:.7}", self.lat_deg(), self.lon_deg())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_outside_the_earth_are_refused() {
        assert_eq!(Position::from_degrees(91.0, 0.0), None);
        assert_eq!(Position::from_degrees(0.0, -180.1), None);
        assert_eq!(Position::from_degrees(f64::NAN, 0.0), None);
        assert_eq!(Position::from_degrees(0.0, f64::INFINITY), None);
        assert_eq!(Position::from_e6(90_000_001, 0), None);
        assert_eq!(Position::from_e6(i64::MAX, 0), None);
    }

    #[test]
    fn the_antimeridian_is_one_meridian() {
        assert_eq!(Position::from_degrees(1.0, 180.0), Position::from_degrees(1.0, -180.0));
    }

    proptest::proptest! {
        #[test]
        fn degrees_survive_the_way_there_and_back(lat_e7 in -900_000_000..=900_000_000i32, lon_e7 in -1_800_000_000..1_800_000_000i32) {
            let position = Position::from_e7(lat_e7, lon_e7).unwrap();
            proptest::prop_assert_eq!(Position::from_degrees(position.lat_deg(), position.lon_deg()), Some(position));
        }
    }
}
