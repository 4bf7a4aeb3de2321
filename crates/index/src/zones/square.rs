//! Squares of 1e-7 degrees, each cut into four again and again.

use geodesy::Tile;
use model::Position;

/// A square of places, 2^`shift` by 2^`shift` of 1e-7 degrees, at a multiple of that from -2^31. The first holds the whole earth,
/// and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Square {
    pub(super) west: u32,
    pub(super) south: u32,
    pub(super) shift: u32,
}

/// Around a square: what lies no more than some metres from it lies in here, with longitudes to a turn east and west of the
/// earth's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) lower: (i64, i64),
    pub(super) upper: (i64, i64),
}

/// A degree of a meridian is nowhere shorter, so that this many 1e-7 degrees are never less than a metre.
const LAT_E7_PER_M: f64 = 1.0 / 0.011_057;
/// The same of a degree on the equator.
const LON_E7_PER_M: f64 = 1.0 / 0.011_131;
/// Borders are copied so far beyond the antimeridian, in 1e-7 degrees; where a margin is wider than that, near the poles, all longitudes
/// are near.
pub(super) const OVERHANG_E7: i64 = 50_000_000;

/// Where a place lies from the south-west corner of the first square.
pub(super) const fn offsets(place: Position) -> (u32, u32) {
    (offset(place.lon_e7()), offset(place.lat_e7()))
}

const fn offset(e7: i32) -> u32 {
    e7.cast_unsigned() ^ (1 << 31)
}

const fn e7(offset: u32) -> i32 {
    (offset ^ (1 << 31)).cast_signed()
}

impl Default for Square {
    fn default() -> Self {
        Self::FIRST
    }
}

impl Square {
    pub(super) const FIRST: Self = Self { west: 0, south: 0, shift: 32 };

    /// The square of that size that holds a place.
    pub(super) const fn at((x, y): (u32, u32), shift: u32) -> Self {
        if shift >= 32 {
            return Self::FIRST;
        }
        Self { west: x >> shift << shift, south: y >> shift << shift, shift }
    }

    /// One of its quarters: 0 south-west, 1 south-east, 2 north-west, 3 north-east.
    pub(super) const fn quarter(self, number: u32) -> Self {
        let shift = self.shift - 1;
        Self { west: self.west | ((number & 1) << shift), south: self.south | ((number >> 1) << shift), shift }
    }

    /// Which quarter holds a place of the square.
    #[inline]
    pub(super) const fn quarter_of((x, y): (u32, u32), shift: u32) -> u32 {
        ((x >> (shift - 1)) & 1) | (((y >> (shift - 1)) & 1) << 1)
    }

    /// The south-west corner, (longitude, latitude) in 1e-7 degrees.
    pub(super) const fn corner(self) -> (i32, i32) {
        (e7(self.west), e7(self.south))
    }

    fn sides(self) -> [i64; 4] {
        let (west, south) = (i64::from(e7(self.west)), i64::from(e7(self.south)));
        let side = (1_i64 << self.shift) - 1;
        [south, south + side, west, west + side]
    }

    /// The places on earth in it; `None` when there are none.
    pub(super) fn tile(self) -> Option<Tile> {
        let [south, north, west, east] = self.sides();
        let within = |e7: i64, low: i32, high: i32| e7.clamp(i64::from(low), i64::from(high)) as i32;
        let earth = Tile::EARTH;
        let (least, most) = (earth.west, earth.east);
        let is_beyond = south > i64::from(earth.north)
            || north < i64::from(earth.south)
            || west > i64::from(most)
            || east < i64::from(least);
        (!is_beyond).then(|| Tile {
            south: within(south, earth.south, earth.north),
            north: within(north, earth.south, earth.north),
            west: within(west, least, most),
            east: within(east, least, most),
        })
    }

    /// Everything within `metres` of it.
    pub(super) fn around(self, metres: f64) -> Around {
        let [south, north, west, east] = self.sides();
        let by_lat = e7_of(metres, LAT_E7_PER_M);
        let (south, north) = (south - by_lat, north + by_lat);
        // The way to a place passes no latitude nearer to the pole than this, and is as long as its longitudes are there.
        let steepest = south.abs().max(north.abs()).min(900_000_000) as f64 / 1e7;
        let by_lon = e7_of(metres, LON_E7_PER_M / steepest.to_radians().cos().max(1e-9));
        if by_lon > OVERHANG_E7 || steepest > 89.9 {
            return Around { lower: (i64::MIN, south), upper: (i64::MAX, north) };
        }
        Around { lower: (west - by_lon, south), upper: (east + by_lon, north) }
    }
}

/// Metres as 1e-7 degrees, rounded up; no more than half a turn, which is all.
fn e7_of(metres: f64, per_m: f64) -> i64 {
    (metres * per_m).min(1.8e9) as i64 + 1
}

impl Around {
    /// Whether an edge may come in here; it surely does not where this says so.
    pub(super) fn meets(&self, from: (i64, i64), to: (i64, i64)) -> bool {
        let is_beside = from.0.max(to.0) < self.lower.0
            || from.0.min(to.0) > self.upper.0
            || from.1.max(to.1) < self.lower.1
            || from.1.min(to.1) > self.upper.1;
        if is_beside {
            return false;
        }
        if self.lower.0 == i64::MIN {
            return true;
        }
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let side = |x: i64, y: i64| {
            (i128::from(dx) * i128::from(y - from.1) - i128::from(dy) * i128::from(x - from.0)).signum()
        };
        let (lower, upper) = (self.lower, self.upper);
        let sides = [side(lower.0, lower.1), side(upper.0, lower.1), side(upper.0, upper.1), side(lower.0, upper.1)];
        !(sides.iter().all(|side| *side > 0) || sides.iter().all(|side| *side < 0))
    }

    /// The same as a tile, when it is on one side of the antimeridian and no pole is in it.
    pub(super) fn tile(&self) -> Option<Tile> {
        let earth = Tile::EARTH;
        let is_whole = self.lower.0 >= i64::from(earth.west)
            && self.upper.0 <= i64::from(earth.east)
            && self.lower.1 >= i64::from(earth.south)
            && self.upper.1 <= i64::from(earth.north);
        is_whole.then_some(Tile {
            south: self.lower.1 as i32,
            north: self.upper.1 as i32,
            west: self.lower.0 as i32,
            east: self.upper.0 as i32,
        })
    }

    /// Whether it may meet `tile`, over the antimeridian too.
    pub(super) fn meets_tile(&self, tile: &Tile) -> bool {
        const TURN_E7: i64 = 3_600_000_000;
        let [south, north, west, east] = [tile.south, tile.north, tile.west, tile.east].map(i64::from);
        let is_by_lon =
            [-TURN_E7, 0, TURN_E7].into_iter().any(|turn| self.lower.0 <= east + turn && self.upper.0 >= west + turn);
        is_by_lon && self.lower.1 <= north && self.upper.1 >= south
    }
}
