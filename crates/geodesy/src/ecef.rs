use std::f64::consts::PI;

use model::Position;

/// Equatorial radius of WGS-84, metres.
pub(crate) const A: f64 = 6_378_137.0;
/// Flattening of WGS-84.
const F: f64 = 1.0 / 298.257_223_563;
pub(crate) const E2: f64 = F * (2.0 - F);
/// Polar radius, metres.
const B: f64 = A * (1.0 - F);

/// A place as metres from the earth's centre: x to 0 N 0 E, y to 0 N 90 E, z to the north pole.
/// Here the antimeridian and the poles are places like any other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ecef(pub [f64; 3]);

impl Ecef {
    /// The place on the ellipsoid.
    #[must_use]
    pub fn of(position: Position) -> Self {
        let (sin_lat, cos_lat) = position.lat_deg().to_radians().sin_cos();
        let (sin_lon, cos_lon) = position.lon_deg().to_radians().sin_cos();
        let n = A / (1.0 - E2 * sin_lat * sin_lat).sqrt();
        Self([n * cos_lat * cos_lon, n * cos_lat * sin_lon, n * (1.0 - E2) * sin_lat])
    }

    /// Length of the straight line to `other`, metres; never more than the geodesic.
    #[must_use]
    pub fn chord_m(&self, other: &Self) -> f64 {
        let [x, y, z] = [0, 1, 2].map(|axis| self.0[axis] - other.0[axis]);
        (x * x + y * y + z * z).sqrt()
    }
}

/// Upper bound on the geodesic between two places whose chord is `chord_m`, metres.
///
/// The plane through both places and the centre cuts an ellipse whose radius of curvature is nowhere
/// below b²/a. By Schur's comparison an arc of such a curve is not longer than the arc of the circle of
/// that radius over the same chord, and the geodesic is not longer than this arc. The comparison
/// holds up to half a turn; far chords get half the equator, which no geodesic exceeds.
#[must_use]
pub fn geodesic_upper_m(chord_m: f64) -> f64 {
    const RHO: f64 = B * B / A;
    if chord_m > 12_000_000.0 {
        return PI * A;
    }
    // A millimetre and a part in 10^9 for rounding of the places.
    2.0 * RHO * (chord_m / (2.0 * RHO)).asin() * (1.0 + 1e-9) + 1e-3
}

/// A box in earth-centred metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EcefBox {
    /// The corner with the least numbers.
    pub lower: [f64; 3],
    /// The corner with the greatest numbers.
    pub upper: [f64; 3],
}

impl EcefBox {
    /// The box of one place.
    #[must_use]
    pub const fn of_point(point: &Ecef) -> Self {
        Self { lower: point.0, upper: point.0 }
    }

    /// The least box around this one and `point`.
    pub fn include(&mut self, point: &Ecef) {
        for axis in 0..3 {
            self.lower[axis] = self.lower[axis].min(point.0[axis]);
            self.upper[axis] = self.upper[axis].max(point.0[axis]);
        }
    }

    /// This box with `metres` more on every side.
    #[must_use]
    pub fn grown(self, metres: f64) -> Self {
        Self { lower: self.lower.map(|low| low - metres), upper: self.upper.map(|high| high + metres) }
    }

    /// Whether `point` lies in the box or on its side.
    #[must_use]
    pub fn contains(&self, point: &Ecef) -> bool {
        (0..3).all(|axis| (self.lower[axis]..=self.upper[axis]).contains(&point.0[axis]))
    }

    /// Lower bound on the chord from `point` to anything in the box, metres.
    #[must_use]
    pub fn min_chord_m(&self, point: &Ecef) -> f64 {
        let outside = |axis: usize| {
            let at = point.0[axis];
            (self.lower[axis] - at).max(at - self.upper[axis]).max(0.0)
        };
        let [x, y, z] = [0, 1, 2].map(outside);
        (x * x + y * y + z * z).sqrt()
    }

    /// A box around all places between two latitudes and two longitudes (degrees, `west <= east`,
    /// which may go beyond 180).
    pub(crate) fn of_degrees(south: f64, north: f64, west: f64, east: f64) -> Self {
        // Distance from the axis rises towards the equator; z rises with latitude.
        let axis_m = |lat: f64| {
            let (sin, cos) = lat.to_radians().sin_cos();
            A / (1.0 - E2 * sin * sin).sqrt() * cos
        };
        let z_m = |lat: f64| {
            let sin = lat.to_radians().sin();
            A * (1.0 - E2) / (1.0 - E2 * sin * sin).sqrt() * sin
        };
        let near = if south <= 0.0 && north >= 0.0 { A } else { axis_m(south).max(axis_m(north)) };
        let far = axis_m(south).min(axis_m(north)).max(0.0);
        let span = |phase: f64| {
            let (low, high) = cosine_range((west - phase).to_radians(), (east - phase).to_radians());
            ((low * near).min(low * far), (high * near).max(high * far))
        };
        let ((x_low, x_high), (y_low, y_high)) = (span(0.0), span(90.0));
        Self { lower: [x_low, y_low, z_m(south)], upper: [x_high, y_high, z_m(north)] }.grown(1.0)
    }
}

/// The least and the greatest cosine between two angles in radians.
fn cosine_range(from: f64, to: f64) -> (f64, f64) {
    let holds = |angle: f64| {
        let turns = ((from - angle) / (2.0 * PI)).ceil();
        angle + turns * 2.0 * PI <= to
    };
    let low = if holds(PI) { -1.0 } else { from.cos().min(to.cos()) };
    let high = if holds(0.0) { 1.0 } else { from.cos().max(to.cos()) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance_m;
    use proptest::prelude::*;

    prop_compose! {
        fn anywhere()(lat in -900_000_000..=900_000_000i32, lon in -1_800_000_000..1_800_000_000i32) -> Position {
            Position::from_e7(lat, lon).unwrap()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_geodesic_lies_between_its_bounds(a in anywhere(), b in anywhere(), scale in 0.0..1.0f64) {
            // Near pairs as often as far ones.
            let b = Position::from_degrees(
                a.lat_deg() + (b.lat_deg() - a.lat_deg()) * scale.powi(8),
                a.lon_deg() + (b.lon_deg() - a.lon_deg()) * scale.powi(8),
            ).unwrap();
            let (chord, geodesic) = (Ecef::of(a).chord_m(&Ecef::of(b)), distance_m(a, b));
            prop_assert!(chord <= geodesic + 1e-6, "{chord} {geodesic}");
            prop_assert!(geodesic <= geodesic_upper_m(chord), "{geodesic} {}", geodesic_upper_m(chord));
        }

        #[test]
        fn a_box_of_degrees_holds_its_places(
            south in -90.0..90.0f64, height in 0.0..180.0f64, west in -180.0..180.0f64, width in 0.0..360.0f64,
            u in 0.0..=1.0f64, v in 0.0..=1.0f64,
        ) {
            let north = (south + height).min(90.0);
            let lon = (west + width * v + 180.0).rem_euclid(360.0) - 180.0;
            let inside = Position::from_degrees(south + (north - south) * u, lon).unwrap();
            prop_assert!(EcefBox::of_degrees(south, north, west, west + width).contains(&Ecef::of(inside)));
        }
    }
}
