//! The datums of Chinese maps. GCJ-02 is secret; these are the formulas that everybody uses, and they
//! follow the maps to a few metres. Nothing is converted by place: the source says which datum it has.

use std::f64::consts::PI;
use std::str::FromStr;

use model::Position;

/// Krasovsky's equatorial radius in metres.
const A_M: f64 = 6_378_245.0;
/// Krasovsky's eccentricity squared.
const EE: f64 = 0.006_693_421_622_965_943;
const BD_ANGLE: f64 = PI * 3_000.0 / 180.0;
/// Rounds of the way back. Four reach 1e-9 degrees; the bound ends what the edge of the box keeps swinging.
const ROUNDS_MAX: usize = 10;
const PRECISION_DEG: f64 = 1e-10;

/// What coordinates are measured in. CGCS2000 is the same as WGS-84 within centimetres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Datum {
    /// The datum of satellite receivers and of everything inside Muster.
    #[default]
    Wgs84,
    /// The obligatory datum of public Chinese maps, 18 to 700 m off.
    Gcj02,
    /// Baidu's shift on top of GCJ-02.
    Bd09,
}

/// A word that is no datum. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is no datum; known are: wgs84, gcj02, bd09")]
pub struct UnknownDatum {
    value: String,
}

impl Datum {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wgs84, Self::Gcj02, Self::Bd09];

    /// The word used in questions and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wgs84 => "wgs84",
            Self::Gcj02 => "gcj02",
            Self::Bd09 => "bd09",
        }
    }

    /// A place given in this datum, in degrees; `None` for NaN, infinity and what is not on earth.
    /// Exact to the centimetre against [`Self::from_wgs84`].
    #[must_use]
    pub fn to_wgs84(self, lat_deg: f64, lon_deg: f64) -> Option<Position> {
        let given = Position::from_degrees(lat_deg, lon_deg)?;
        match self {
            Self::Wgs84 => Some(given),
            Self::Gcj02 => Gcj02 { lat_deg, lon_deg }.to_wgs84(),
            Self::Bd09 => Bd09 { lat_deg, lon_deg }.to_gcj02().to_wgs84(),
        }
    }

    /// Latitude and longitude of `position` in this datum, in degrees.
    #[must_use]
    pub fn from_wgs84(self, position: Position) -> (f64, f64) {
        match self {
            Self::Wgs84 => (position.lat_deg(), position.lon_deg()),
            Self::Gcj02 => {
                let shifted = Gcj02::of(position);
                (shifted.lat_deg, shifted.lon_deg)
            }
            Self::Bd09 => {
                let shifted = Bd09::of(Gcj02::of(position));
                (shifted.lat_deg, shifted.lon_deg)
            }
        }
    }
}

impl FromStr for Datum {
    type Err = UnknownDatum;

    fn from_str(text: &str) -> Result<Self, UnknownDatum> {
        let found = Self::ALL.into_iter().find(|datum| datum.as_str() == text);
        found.ok_or_else(|| UnknownDatum { value: text.chars().take(64).collect() })
    }
}

/// A place in GCJ-02, in degrees. Outside the box 72.004..137.8347 E, 0.8293..55.8271 N it is WGS-84.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gcj02 {
    /// Latitude.
    pub lat_deg: f64,
    /// Longitude.
    pub lon_deg: f64,
}

impl Gcj02 {
    /// The place `position` as GCJ-02 has it.
    #[must_use]
    pub fn of(position: Position) -> Self {
        let (lat_deg, lon_deg) = (position.lat_deg(), position.lon_deg());
        let (lat_shift, lon_shift) = gcj_shift(lat_deg, lon_deg);
        Self { lat_deg: lat_deg + lat_shift, lon_deg: lon_deg + lon_shift }
    }

    /// Back to WGS-84, by bounded iteration; `None` when it is no place on earth.
    #[must_use]
    pub fn to_wgs84(self) -> Option<Position> {
        let shifted = |lat_deg: f64, lon_deg: f64| {
            let (lat_shift, lon_shift) = gcj_shift(lat_deg, lon_deg);
            (lat_deg + lat_shift, lon_deg + lon_shift)
        };
        let (lat_deg, lon_deg) = inverse((self.lat_deg, self.lon_deg), shifted);
        Position::from_degrees(lat_deg, lon_deg)
    }
}

/// A place in BD-09, in degrees. Shifted wherever GCJ-02 is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bd09 {
    /// Latitude.
    pub lat_deg: f64,
    /// Longitude.
    pub lon_deg: f64,
}

impl Bd09 {
    /// The same place as `gcj` in Baidu's numbers.
    #[must_use]
    pub fn of(gcj: Gcj02) -> Self {
        let (lat_deg, lon_deg) = bd_of_gcj(gcj.lat_deg, gcj.lon_deg);
        Self { lat_deg, lon_deg }
    }

    /// Back to GCJ-02, by bounded iteration.
    #[must_use]
    pub fn to_gcj02(self) -> Gcj02 {
        let (lat_deg, lon_deg) = inverse((self.lat_deg, self.lon_deg), bd_of_gcj);
        Gcj02 { lat_deg, lon_deg }
    }
}

/// The place that `forward` moves to `target`, in degrees: fixed point iteration.
fn inverse(target: (f64, f64), forward: impl Fn(f64, f64) -> (f64, f64)) -> (f64, f64) {
    let mut found = target;
    for _ in 0..ROUNDS_MAX {
        let reached = forward(found.0, found.1);
        let error = (target.0 - reached.0, target.1 - reached.1);
        found = (found.0 + error.0, found.1 + error.1);
        if error.0.abs() < PRECISION_DEG && error.1.abs() < PRECISION_DEG {
            break;
        }
    }
    found
}

fn is_shifted(lat_deg: f64, lon_deg: f64) -> bool {
    (72.004..=137.834_7).contains(&lon_deg) && (0.829_3..=55.827_1).contains(&lat_deg)
}

/// How far GCJ-02 moves a WGS-84 place, in degrees.
fn gcj_shift(lat_deg: f64, lon_deg: f64) -> (f64, f64) {
    if !is_shifted(lat_deg, lon_deg) {
        return (0.0, 0.0);
    }
    let (x, y) = (lon_deg - 105.0, lat_deg - 35.0);
    let wave = |height: f64, angle: f64| 2.0 / 3.0 * height * (angle * PI).sin();
    let common = wave(20.0, 6.0 * x) + wave(20.0, 2.0 * x);
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + common
        + wave(20.0, y)
        + wave(40.0, y / 3.0)
        + wave(160.0, y / 12.0)
        + wave(320.0, y / 30.0);
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + common
        + wave(20.0, x)
        + wave(40.0, x / 3.0)
        + wave(150.0, x / 12.0)
        + wave(300.0, x / 30.0);
    let (sin_lat, cos_lat) = lat_deg.to_radians().sin_cos();
    let m = 1.0 - EE * sin_lat * sin_lat;
    let north_m = A_M * (1.0 - EE) / (m * m.sqrt());
    let east_m = A_M / m.sqrt() * cos_lat;
    ((north / north_m).to_degrees(), (east / east_m).to_degrees())
}

fn bd_of_gcj(lat_deg: f64, lon_deg: f64) -> (f64, f64) {
    if !is_shifted(lat_deg, lon_deg) {
        return (lat_deg, lon_deg);
    }
    let radius = lon_deg.hypot(lat_deg) + 0.000_02 * (lat_deg * BD_ANGLE).sin();
    let angle = lat_deg.atan2(lon_deg) + 0.000_003 * (lon_deg * BD_ANGLE).cos();
    (radius * angle.sin() + 0.006, radius * angle.cos() + 0.006_5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance_m;

    /// WGS-84, GCJ-02, BD-09 (latitude, longitude), and the shift of GCJ-02 in metres.
    type Vector = ((f64, f64), (f64, f64), (f64, f64), f64);

    const VECTORS: [Vector; 4] = [
        ((39.908_7, 116.397_5), (39.910_103_50, 116.403_743_57), (39.916_442_75, 116.410_116_59), 554.93),
        ((31.177_427_6, 121.527_210_6), (31.175_303_98, 121.531_541_86), (31.181_328_61, 121.538_015_69), 474.92),
        ((22.543_847, 113.912_316), (22.540_796_13, 113.917_176_48), (22.546_667_44, 113.923_684_73), 603.53),
        ((43.825_592, 87.616_848), (43.826_797_44, 87.619_698), (43.832_941_27, 87.626_148_1), 265.02),
    ];

    fn at((lat, lon): (f64, f64)) -> Position {
        Position::from_degrees(lat, lon).unwrap()
    }

    #[test]
    fn known_places_are_shifted_as_published() {
        let near = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 2e-8 && (a.1 - b.1).abs() < 2e-8;
        for (wgs, gcj, bd, shift_m) in VECTORS {
            let (to_gcj, to_bd) = (Datum::Gcj02.from_wgs84(at(wgs)), Datum::Bd09.from_wgs84(at(wgs)));
            assert!(near(to_gcj, gcj), "{to_gcj:?} {gcj:?}");
            assert!(near(to_bd, bd), "{to_bd:?} {bd:?}");
            // The published shift was measured on a sphere.
            assert!((distance_m(at(wgs), at(gcj)) - shift_m).abs() < 0.005 * shift_m);
            assert!(distance_m(Datum::Gcj02.to_wgs84(gcj.0, gcj.1).unwrap(), at(wgs)) < 0.02);
            assert!(distance_m(Datum::Bd09.to_wgs84(bd.0, bd.1).unwrap(), at(wgs)) < 0.02);
        }
    }

    #[test]
    fn outside_the_box_nothing_moves() {
        for datum in Datum::ALL {
            assert_eq!(datum.from_wgs84(at((51.507_4, -0.127_8))), (51.507_4, -0.127_8));
            assert_eq!(datum.to_wgs84(51.507_4, -0.127_8), Some(at((51.507_4, -0.127_8))));
        }
    }

    #[test]
    fn what_is_not_on_earth_is_refused() {
        for datum in Datum::ALL {
            assert_eq!(datum.to_wgs84(f64::NAN, 100.0), None);
            assert_eq!(datum.to_wgs84(30.0, f64::INFINITY), None);
            assert_eq!(datum.to_wgs84(90.1, 100.0), None);
        }
    }

    #[test]
    fn datums_read_as_they_print() {
        for datum in Datum::ALL {
            assert_eq!(datum.as_str().parse(), Ok(datum));
        }
        let error = "bd-09".parse::<Datum>().unwrap_err().to_string();
        assert_eq!(error, "\"bd-09\" is no datum; known are: wgs84, gcj02, bd09");
    }

    proptest::proptest! {
        #[test]
        fn there_and_back_is_the_same_place(lat in 1.0..55.5f64, lon in 72.2..137.5f64) {
            for datum in Datum::ALL {
                let (lat_deg, lon_deg) = datum.from_wgs84(at((lat, lon)));
                let back = datum.to_wgs84(lat_deg, lon_deg).unwrap();
                proptest::prop_assert!(distance_m(back, at((lat, lon))) < 0.03, "{datum:?}");
            }
        }
    }
}
