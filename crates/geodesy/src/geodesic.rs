use std::sync::LazyLock;

use geographiclib_rs::{DirectGeodesic, Geodesic, InverseGeodesic};
use model::Position;

static WGS84: LazyLock<Geodesic> = LazyLock::new(Geodesic::wgs84);

/// Geodesic distance in metres on WGS-84 (Karney), to a few nanometres. About a microsecond.
#[must_use]
pub fn distance_m(from: Position, to: Position) -> f64 {
    WGS84.inverse(from.lat_deg(), from.lon_deg(), to.lat_deg(), to.lon_deg())
}

/// Course at `from` of the geodesic to `to`, in degrees clockwise from north, 0 up to but without 360.
#[must_use]
pub fn bearing_deg(from: Position, to: Position) -> f64 {
    distance_and_bearing(from, to).1
}

/// [`distance_m`] and [`bearing_deg`] for the price of one.
#[must_use]
pub fn distance_and_bearing(from: Position, to: Position) -> (f64, f64) {
    let (distance_m, azimuth_deg, _, _): (f64, f64, f64, f64) =
        WGS84.inverse(from.lat_deg(), from.lon_deg(), to.lat_deg(), to.lon_deg());
    let bearing_deg = azimuth_deg.rem_euclid(360.0);
    (distance_m, if bearing_deg >= 360.0 { 0.0 } else { bearing_deg })
}

/// The place `distance_m` metres from `from` on the geodesic that starts at `bearing_deg`.
#[must_use]
pub fn destination(from: Position, bearing_deg: f64, distance_m: f64) -> Position {
    let (lat, lon): (f64, f64) = WGS84.direct(from.lat_deg(), from.lon_deg(), bearing_deg, distance_m);
    let lon = (lon + 180.0).rem_euclid(360.0) - 180.0;
    Position::from_degrees(lat.clamp(-90.0, 90.0), lon).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> Position {
        Position::from_degrees(lat, lon).unwrap()
    }

    #[test]
    fn known_distances() {
        // JFK to Singapore Changi and a quarter meridian, as GeographicLib's documentation gives them.
        let (distance, bearing) = distance_and_bearing(at(40.6, -73.8), at(51.6, -0.5));
        assert!((distance - 5_551_759.4).abs() < 1.0, "{distance}");
        assert!((bearing - 51.198_82).abs() < 0.001, "{bearing}");
        assert!((distance_m(at(0.0, 0.0), at(90.0, 0.0)) - 10_001_965.729).abs() < 0.01);
        assert!((distance_m(at(0.0, 179.5), at(0.0, -179.5)) - 111_319.491).abs() < 0.01);
    }

    #[test]
    fn a_destination_is_as_far_as_asked() {
        let from = at(22.8, 108.3);
        let to = destination(from, 73.0, 1_500.0);
        let (distance, bearing) = distance_and_bearing(from, to);
        assert!((distance - 1_500.0).abs() < 0.02 && (bearing - 73.0).abs() < 0.001);
    }
}
