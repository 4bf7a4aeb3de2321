use model::Position;

use crate::ecef::{A, E2};
use crate::{Ecef, EcefBox, geodesic_upper_m};

/// How far from the centre the plane holds, on each side, in 1e-7 degrees: half a degree, 50 to 56 km where most people live.
const FLAT_E7: i32 = 5_000_000;
/// No plane beyond this latitude, in 1e-7 degrees: meridians run together too fast.
const FLAT_LAT_E7: i32 = 800_000_000;
/// The plane's distance is off by at most this share of the geodesic, and by [`FLAT_ERROR_M`] more. The tests below hold both
/// with room to spare: the greatest share found is below 1.2e-5.
const FLAT_ERROR: f64 = 2e-5;
/// For rounding, in metres.
const FLAT_ERROR_M: f64 = 0.01;
const TURN_E7: i64 = 3_600_000_000;
/// Radians in 1e-7 degrees.
const RADIANS_E7: f64 = std::f64::consts::PI / 1.8e9;

/// Places between two latitudes and two longitudes, in 1e-7 degrees, sides included. Does not reach over the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// The least latitude.
    pub south: i32,
    /// The greatest latitude.
    pub north: i32,
    /// The least longitude.
    pub west: i32,
    /// The greatest longitude.
    pub east: i32,
}

impl Tile {
    /// All places on earth.
    pub const EARTH: Self = Self { south: -900_000_000, north: 900_000_000, west: -1_800_000_000, east: 1_799_999_999 };

    /// No place at all.
    pub const EMPTY: Self = Self { south: 1, north: 0, west: 1, east: 0 };

    /// The tile of one place.
    #[must_use]
    pub const fn of(position: Position) -> Self {
        let (lat, lon) = (position.lat_e7(), position.lon_e7());
        Self { south: lat, north: lat, west: lon, east: lon }
    }

    /// Whether `position` lies in it.
    #[must_use]
    pub const fn contains(&self, position: Position) -> bool {
        let (lat, lon) = (position.lat_e7(), position.lon_e7());
        self.south <= lat && lat <= self.north && self.west <= lon && lon <= self.east
    }

    /// The least tile around this one and `other`.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self {
            south: self.south.min(other.south),
            north: self.north.max(other.north),
            west: self.west.min(other.west),
            east: self.east.max(other.east),
        }
    }

    /// This tile with `e7` more on every side, held within `limits`.
    #[must_use]
    pub fn grown_within(self, e7: i32, limits: Self) -> Self {
        Self {
            south: self.south.saturating_sub(e7).max(limits.south),
            north: self.north.saturating_add(e7).min(limits.north),
            west: self.west.saturating_sub(e7).max(limits.west),
            east: self.east.saturating_add(e7).min(limits.east),
        }
    }

    /// The box around it in earth-centred metres. A fraction of a microsecond.
    #[must_use]
    pub fn ecef(&self) -> EcefBox {
        let [south, north, west, east] = [self.south, self.north, self.west, self.east].map(|e7| f64::from(e7) / 1e7);
        EcefBox::of_degrees(south, north, west, east)
    }
}

/// Bounds on the geodesic distance of a place, metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// It is not nearer.
    pub least_m: f64,
    /// It is not farther.
    pub most_m: f64,
}

/// A place from which distances are ranked: cheap ones with a proven margin, so that only what the margin leaves open pays
/// for a geodesic.
#[derive(Debug, Clone, PartialEq)]
pub struct Vantage {
    centre: Position,
    at: Ecef,
    is_flat: bool,
    east: [f32; 3],
    north: [f32; 2],
}

/// The plane around a [`Vantage`], for places that are near.
#[derive(Debug, Clone, Copy)]
pub struct Flat {
    lat: i32,
    /// Counted so that differences to the places asked about are short, over the antimeridian too; wraps.
    lon: i32,
    east: [f32; 3],
    north: [f32; 2],
}

impl Vantage {
    /// Looks from `centre`.
    #[must_use]
    pub fn of(centre: Position) -> Self {
        let (sin, cos) = centre.lat_deg().to_radians().sin_cos();
        let w2 = 1.0 - E2 * sin * sin;
        // Radii of curvature along the meridian and across it, and their change with latitude.
        let meridian = A * (1.0 - E2) / (w2 * w2.sqrt());
        let meridian_slope = 3.0 * meridian * E2 * sin * cos / w2;
        let axis = A / w2.sqrt() * cos;
        let axis_bend = -(meridian * cos + meridian_slope * sin);
        // Of the latitude halfway, which is where distances in the plane are measured.
        let half = RADIANS_E7 / 2.0;
        Self {
            centre,
            at: Ecef::of(centre),
            is_flat: centre.lat_e7().abs() <= FLAT_LAT_E7,
            east: [axis, -meridian * sin * half, axis_bend * half * half / 2.0].map(|k| (k * RADIANS_E7) as f32),
            north: [meridian, meridian_slope * half].map(|k| (k * RADIANS_E7) as f32),
        }
    }

    /// The place looked from.
    #[must_use]
    pub const fn centre(&self) -> Position {
        self.centre
    }

    /// The same in earth-centred metres.
    #[must_use]
    pub const fn ecef(&self) -> &Ecef {
        &self.at
    }

    /// The plane, when all of `tile` lies on it.
    #[inline]
    #[must_use]
    pub fn flat(&self, tile: &Tile) -> Option<Flat> {
        let (lat, lon) = (self.centre.lat_e7(), self.centre.lon_e7());
        let is_near = |low: i64, high: i64| low >= -i64::from(FLAT_E7) && high <= i64::from(FLAT_E7);
        let lat_is_near = is_near(i64::from(tile.south) - i64::from(lat), i64::from(tile.north) - i64::from(lat));
        if !self.is_flat || !lat_is_near {
            return None;
        }
        let (west, east) = (i64::from(tile.west) - i64::from(lon), i64::from(tile.east) - i64::from(lon));
        let turn = [0, TURN_E7, -TURN_E7].into_iter().find(|turn| is_near(west + turn, east + turn))?;
        Some(Flat { lat, lon: (i64::from(lon) - turn) as i32, east: self.east, north: self.north })
    }

    /// Bounds for the nodes of a tree; `None` near the poles and the antimeridian, where a box of longitudes tells little.
    #[must_use]
    pub fn around(&self) -> Option<Around> {
        let (lat, lon) = (self.centre.lat_e7(), self.centre.lon_e7());
        if !self.is_flat || lon.abs() > 1_800_000_000 - FLAT_E7 {
            return None;
        }
        let flat = Flat { lat, lon, east: self.east, north: self.north };
        let side = FLAT_E7 as f32;
        // A part in 10,000 for the plane's own error and for rounding.
        let least = |of: fn(&Flat, f32) -> f32| of(&flat, side).min(of(&flat, -side)) * 0.9999;
        let scale = [least(Flat::steep), least(Flat::degree)];
        Some(Around { at: [lat as f32, lon as f32], scale, edge_m: side * scale[0].min(scale[1]) })
    }

    /// Bounds on the distance of any place, however far. Tens of nanoseconds.
    #[must_use]
    pub fn reach(&self, position: Position) -> Reach {
        if let Some(flat) = self.flat(&Tile::of(position)) {
            return Flat::reach(flat.square_m2(position.lat_e7(), position.lon_e7()));
        }
        let chord_m = self.at.chord_m(&Ecef::of(position));
        Reach { least_m: (chord_m - 1e-3).max(0.0), most_m: geodesic_upper_m(chord_m) }
    }
}

/// Cheap lower bounds for the nodes of a tree: boxes of latitude and longitude in 1e-7 degrees as f32, rounded outward.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    at: [f32; 2],
    /// The least metres of 1e-7 degrees within the plane.
    scale: [f32; 2],
    edge_m: f32,
}

impl Around {
    /// So far the bounds tell distances apart; metres.
    #[must_use]
    pub const fn edge_m(&self) -> f32 {
        self.edge_m
    }

    /// Nothing between the corners (latitude, longitude) is nearer; at most [`Self::edge_m`].
    #[inline]
    #[must_use]
    pub fn least_m(&self, lower: &[f32; 2], upper: &[f32; 2]) -> f32 {
        (self.square_m2(*lower, *upper).sqrt() - Self::ROUNDED_M).min(self.edge_m)
    }

    /// A square that puts boxes in the order of their bounds, m²: for [`Self::square_bound_m2`]. Compilers do several at once.
    #[inline]
    #[must_use]
    pub fn square_m2(&self, lower: [f32; 2], upper: [f32; 2]) -> f32 {
        let outside = |axis: usize| {
            let (below, above) = (lower[axis] - self.at[axis], self.at[axis] - upper[axis]);
            // Not `max`, which asks for numbers that are none.
            let farther = if below > above { below } else { above };
            (if farther > 0.0 { farther } else { 0.0 }) * self.scale[axis]
        };
        let (y, x) = (outside(0), outside(1));
        y * y + x * x
    }

    /// Nothing in a box with a greater square is as near as `metres`; finite.
    #[inline]
    #[must_use]
    pub fn square_bound_m2(&self, metres: f64) -> f32 {
        // From the edge on the bounds do not tell boxes apart.
        if metres >= f64::from(self.edge_m) {
            return f32::MAX;
        }
        let most = metres + f64::from(Self::ROUNDED_M);
        // A part in a million for the rounding to f32.
        (most * most * (1.0 + 1e-6)) as f32
    }

    /// Whether a square is of a box so far off that only another bound tells more.
    #[inline]
    #[must_use]
    pub fn is_beyond_edge(&self, square_m2: f32) -> bool {
        square_m2.sqrt() - Self::ROUNDED_M >= self.edge_m
    }

    /// The centre in f32 is up to 64 units off in each coordinate; metres.
    const ROUNDED_M: f32 = 1.5;
}

impl Flat {
    /// The square of the distance in the plane, m². About a nanosecond; compilers do several at once.
    #[inline]
    #[must_use]
    pub fn square_m2(&self, lat_e7: i32, lon_e7: i32) -> f32 {
        let dlat = lat_e7.wrapping_sub(self.lat) as f32;
        let dlon = lon_e7.wrapping_sub(self.lon) as f32;
        let north = dlat * (self.north[0] + dlat * self.north[1]);
        let east = dlon * (self.east[0] + dlat * (self.east[1] + dlat * self.east[2]));
        north * north + east * east
    }

    /// What the square of a distance in the plane says of the geodesic.
    #[inline]
    #[must_use]
    pub fn reach(square_m2: f32) -> Reach {
        let metres = f64::from(square_m2).sqrt();
        let off = metres * FLAT_ERROR + FLAT_ERROR_M;
        Reach { least_m: (metres - off).max(0.0), most_m: metres + off }
    }

    /// A place whose square is greater lies farther than `metres`.
    #[inline]
    #[must_use]
    pub fn square_bound_m2(metres: f64) -> f32 {
        let most = (metres + FLAT_ERROR_M) * (1.0 + 2.0 * FLAT_ERROR);
        // A part in a million for the rounding to f32.
        (most * most * (1.0 + 1e-6)) as f32
    }

    /// Lower bound on the distance of everything in `tile`, which lies on the plane; metres.
    #[inline]
    #[must_use]
    pub fn least_m(&self, tile: &Tile) -> f64 {
        let Sides { south, north, west, east } = self.sides(tile);
        let outside = |low: f32, high: f32| low.max(-high).max(0.0);
        // The cosine is concave: over the tile a degree of longitude is shortest on one of its sides.
        let x = outside(west, east) * self.degree(south).min(self.degree(north));
        let y = outside(south, north) * self.steep(south).min(self.steep(north));
        Self::reach(x * x + y * y).least_m
    }

    /// Upper bound on the distance of everything in `tile`, which lies on the plane; metres.
    #[must_use]
    pub fn most_m(&self, tile: &Tile) -> f64 {
        let Sides { south, north, west, east } = self.sides(tile);
        // A degree of longitude is longest where the tile comes nearest to the equator.
        let longest = self.degree(south).max(self.degree(north)).max(self.degree(0.0f32.clamp(south, north)));
        // And at the equator itself, between two sides, it is hardly longer.
        let x = west.abs().max(east.abs()) * longest * (1.0 + 1e-4);
        let y = south.abs().max(north.abs()) * self.steep(south).max(self.steep(north));
        Self::reach(x * x + y * y).most_m
    }

    /// Metres of 1e-7 degrees of longitude, `dlat` off the centre.
    fn degree(&self, dlat: f32) -> f32 {
        self.east[0] + dlat * (self.east[1] + dlat * self.east[2])
    }

    /// Metres of 1e-7 degrees of latitude.
    fn steep(&self, dlat: f32) -> f32 {
        self.north[0] + dlat * self.north[1]
    }

    fn sides(&self, tile: &Tile) -> Sides {
        let lat = |side: i32| side.wrapping_sub(self.lat) as f32;
        let lon = |side: i32| side.wrapping_sub(self.lon) as f32;
        Sides { south: lat(tile.south), north: lat(tile.north), west: lon(tile.west), east: lon(tile.east) }
    }
}

/// The sides of a tile, from the centre.
struct Sides {
    south: f32,
    north: f32,
    west: f32,
    east: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance_m;
    use proptest::prelude::*;

    prop_compose! {
        /// A centre, and a place of every nearness around it.
        fn pair()(lat in -890_000_000..=890_000_000i32, lon in prop_oneof![-1_800_000_000..1_800_000_000i32, 1_795_000_000..1_800_000_000i32],
            dlat in -5_000_000..=5_000_000i64, dlon in -5_000_000..=5_000_000i64, scale in 0.0..1.0f64) -> (Position, Position) {
            let scaled = |e7: i64| (e7 as f64 * scale.powi(4)) as i64;
            let to_lon = (i64::from(lon) + scaled(dlon) + TURN_E7 / 2).rem_euclid(TURN_E7) - TURN_E7 / 2;
            let to_lat = (i64::from(lat) + scaled(dlat)).clamp(-900_000_000, 900_000_000);
            (Position::from_e7(lat, lon).unwrap(), Position::from_e7(to_lat as i32, to_lon as i32).unwrap())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50_000))]

        /// Ranking by the plane, with its margin, can never put a farther unit first.
        #[test]
        fn the_geodesic_lies_within_reach((from, to) in pair()) {
            let (reach, exact) = (Vantage::of(from).reach(to), distance_m(from, to));
            prop_assert!(reach.least_m <= exact && exact <= reach.most_m, "{reach:?} {exact}");
            if let Some(flat) = Vantage::of(from).flat(&Tile::of(to)) {
                let square = flat.square_m2(to.lat_e7(), to.lon_e7());
                prop_assert!(square <= Flat::square_bound_m2(exact));
                let off = (f64::from(square).sqrt() - exact).abs();
                prop_assert!(off <= 1.2e-5 * exact + FLAT_ERROR_M / 2.0, "{off} of {exact}");
            }
        }

        #[test]
        fn nothing_in_a_tile_is_beyond_its_bounds(
            (from, to) in pair(), sides in proptest::array::uniform4(0..1_000_000i32),
        ) {
            let tile = Tile::of(to);
            let tile = Tile { south: tile.south - sides[0], north: tile.north + sides[1], west: tile.west - sides[2], east: tile.east + sides[3] };
            if let Some(flat) = Vantage::of(from).flat(&tile) {
                let exact = distance_m(from, to);
                prop_assert!(flat.least_m(&tile) <= exact && exact <= flat.most_m(&tile));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50_000))]

        /// Boxes of any size, near and far: what lies in them is not nearer than their bound.
        #[test]
        fn nothing_in_a_box_is_nearer_than_its_bound((from, near) in pair(), far in (-900_000_000..=900_000_000i32, -1_800_000_000..1_800_000_000i32), is_far: bool, sides in proptest::array::uniform4(0.0..1.0f64)) {
            let to = if is_far { Position::from_e7(far.0, far.1).unwrap() } else { near };
            let grown = |from: i32, share: f64, most: i32| (f64::from(from) + share.powi(6) * (f64::from(most) - f64::from(from))) as f32;
            let lower = [grown(to.lat_e7(), sides[0], -900_000_000).next_down(), grown(to.lon_e7(), sides[1], -1_800_000_000).next_down()];
            let upper = [grown(to.lat_e7(), sides[2], 900_000_000).next_up(), grown(to.lon_e7(), sides[3], 1_799_999_999).next_up()];
            if let Some(around) = Vantage::of(from).around() {
                let (least_m, exact) = (around.least_m(&lower, &upper), distance_m(from, to));
                prop_assert!(f64::from(least_m) <= exact, "{least_m} {exact}");
                prop_assert!(around.square_m2(lower, upper) <= around.square_bound_m2(exact));
            }
        }
    }

    /// The worst of the plane is at its corners: the margin holds there at every latitude.
    #[test]
    fn corners_of_the_plane_are_within_the_margin() {
        let mut worst = 0.0f64;
        for lat in -80..=80 {
            let from = Position::from_degrees(f64::from(lat), 10.0).unwrap();
            for (dlat, dlon) in [(0.5, 0.5), (-0.5, 0.5), (0.5, 0.0), (0.0, 0.5), (0.25, 0.5), (-0.5, 0.2)] {
                let to = Position::from_degrees(f64::from(lat) + dlat, 10.0 + dlon).unwrap();
                let flat = Vantage::of(from).flat(&Tile::of(to)).unwrap();
                let exact = distance_m(from, to);
                worst = worst.max((f64::from(flat.square_m2(to.lat_e7(), to.lon_e7())).sqrt() - exact).abs() / exact);
            }
        }
        assert!(worst < 1.2e-5, "{worst}");
    }

    #[test]
    fn the_antimeridian_is_no_border_of_the_plane() {
        let at = |lon| Position::from_degrees(1.0, lon).unwrap();
        for (from, to) in [(179.9, -179.9), (-179.9, 179.9), (-180.0, 179.95)] {
            let flat = Vantage::of(at(from)).flat(&Tile::of(at(to))).expect("they are near");
            let reach = Flat::reach(flat.square_m2(at(to).lat_e7(), at(to).lon_e7()));
            assert!(reach.most_m < 23_000.0, "{reach:?}");
        }
        assert!(Vantage::of(at(0.0)).flat(&Tile::of(at(180.0))).is_none());
    }
}
