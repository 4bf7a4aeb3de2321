use model::Position;

use crate::Region;

/// How many units the nearest searches of this crate give.
pub const K: usize = 10;

const METRES_A_DEGREE: f64 = 111_320.0;

/// Local metres of one city: a cylinder that touches at its middle. Within 35 km of the middle the scale along a parallel is off
/// by up to 0.3 %, which the peers are allowed and Muster is not.
#[derive(Debug, Clone, Copy)]
pub struct Plane {
    middle: Position,
    /// Metres for 1e-7 degree to the east and to the north.
    scale: [f32; 2],
}

impl Plane {
    /// The metres around `middle`.
    #[must_use]
    pub fn around(middle: Position) -> Self {
        let north = METRES_A_DEGREE * 1e-7;
        let east = north * middle.lat_deg().to_radians().cos();
        Self { middle, scale: [east as f32, north as f32] }
    }

    /// Metres to the east and to the north of the middle; exact to some millimetres within a degree.
    #[must_use]
    #[inline]
    pub fn xy(&self, position: Position) -> [f32; 2] {
        let east = (position.lon_e7() - self.middle.lon_e7()) as f32;
        let north = (position.lat_e7() - self.middle.lat_e7()) as f32;
        [east * self.scale[0], north * self.scale[1]]
    }
}

/// A number that metres are kept in.
pub trait Number: rstar::RTreeNum + PartialOrd + From<f32> {}

impl Number for f32 {}
impl Number for f64 {}

/// Squared metres between two places.
#[inline]
pub(crate) fn squared<N: Number>(a: [N; 2], b: [N; 2]) -> N {
    let (x, y) = (a[0] - b[0], a[1] - b[1]);
    x * x + y * y
}

/// The [`K`] nearest so far, nearest first, without allocation. Always full: what is not found yet is infinitely far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best<N> {
    squared_m: [N; K],
    units: [u32; K],
}

impl<N: Number> Default for Best<N> {
    fn default() -> Self {
        Self { squared_m: [N::max_value(); K], units: [u32::MAX; K] }
    }
}

impl<N: Number> Best<N> {
    /// Squared metres beyond which nothing matters any more.
    #[inline]
    pub fn bound(&self) -> N {
        self.squared_m[K - 1]
    }

    /// Takes `unit` if it is nearer than the farthest so far.
    #[inline]
    pub fn offer(&mut self, squared_m: N, unit: u32) {
        if squared_m < self.bound() {
            self.insert(squared_m, unit);
        }
    }

    fn insert(&mut self, squared_m: N, unit: u32) {
        let mut place = K - 1;
        while place > 0 && self.squared_m[place - 1] > squared_m {
            self.squared_m[place] = self.squared_m[place - 1];
            self.units[place] = self.units[place - 1];
            place -= 1;
        }
        self.squared_m[place] = squared_m;
        self.units[place] = unit;
    }

    /// Units with squared metres, nearest first.
    pub fn found(&self) -> impl Iterator<Item = (u32, N)> {
        self.units.into_iter().zip(self.squared_m).filter(|(unit, _)| *unit != u32::MAX)
    }
}

/// The plain scan of a fleet in local metres, which every peer must agree with.
#[derive(Debug)]
pub struct Scan {
    plane: Plane,
    places: Vec<[f32; 2]>,
}

impl Scan {
    /// Of `places`, by unit.
    #[must_use]
    pub fn new(plane: Plane, places: &[Position]) -> Self {
        Self { plane, places: places.iter().map(|place| plane.xy(*place)).collect() }
    }

    /// The nearest of the units that `keep` lets through.
    pub fn nearest(&self, centre: Position, keep: impl Fn(u32) -> bool) -> Best<f32> {
        let (centre, mut best) = (self.plane.xy(centre), Best::default());
        for (unit, place) in (0u32..).zip(&self.places).filter(|(unit, _)| keep(*unit)) {
            best.offer(squared(centre, *place), unit);
        }
        best
    }

    /// Whether `best` is right: the same distances, each that of its unit, no unit twice. Which of several units on one spot are
    /// named is left open.
    pub fn agrees(&self, centre: Position, best: &Best<f32>, keep: impl Fn(u32) -> bool) -> bool {
        let at = self.plane.xy(centre);
        let mut units: Vec<u32> = best.found().map(|found| found.0).collect();
        let are_its_own = best.found().all(|(unit, metres)| squared(at, self.places[unit as usize]) == metres);
        let are_kept = units.iter().all(|unit| keep(*unit));
        units.sort_unstable();
        units.dedup();
        let right = self.nearest(centre, keep);
        best.squared_m == right.squared_m && are_its_own && are_kept && units.len() == right.found().count()
    }

    /// How many units are in `region`.
    pub fn count(&self, region: &impl Region) -> usize {
        self.places.iter().filter(|place| region.contains(**place)).count()
    }
}
