//! Seeded fleets, a manual clock, a disk that fails as a seed says, a sender's account of what was acknowledged, the rule of
//! crossings, and the plain scan that every answer is checked against.

mod ack_journal;
mod borders;
mod sim_disk;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, Position, Timestamp};

pub use ack_journal::{AckJournal, Replay, Start, Tally};
pub use borders::{Border, BorderRule, Crossing};
pub use sim_disk::{Calls, Fault, SimDisk};

/// Random numbers that a seed repeats (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number from 0 up to but without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The next number from `low` up to but without `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
}

/// Where a fleet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Thirty hot spots in a city of 60 km.
    City,
    /// Anywhere on earth.
    Globe,
    /// A degree on either side of the antimeridian.
    Antimeridian,
    /// Within a degree of the north pole.
    Pole,
    /// All on one spot.
    Spot,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::City, Self::Globe, Self::Antimeridian, Self::Pole, Self::Spot];

    /// One place of this shape.
    ///
    /// # Panics
    /// Never: all of these places are on earth.
    pub fn place(self, random: &mut Seeded) -> Position {
        let (lat, lon) = match self {
            Self::City => {
                let mut spot = Seeded::new(random.next() % 30);
                let centre = (spot.between(22.55, 23.05), spot.between(108.05, 108.65));
                // The sum of uniform numbers is near enough to a bell.
                let mut bell = || (0..4).map(|_| random.between(-0.01, 0.01)).sum::<f64>();
                (centre.0 + bell(), centre.1 + bell())
            }
            Self::Globe => (random.between(-1.0, 1.0).asin().to_degrees(), random.between(-180.0, 180.0)),
            Self::Antimeridian => {
                let east = random.between(-1.0, 1.0);
                (random.between(-1.0, 1.0), if east < 0.0 { 180.0 + east } else { -180.0 + east })
            }
            Self::Pole => (random.between(89.0, 90.0), random.between(-180.0, 180.0)),
            Self::Spot => (22.817, 108.366),
        };
        Position::from_degrees(lat, lon).expect("every shape is on earth")
    }
}

/// `units` places of `shape`, the same for the same seed.
#[must_use]
pub fn seeded_fleet(seed: u64, units: usize, shape: Shape) -> Vec<Position> {
    let mut random = Seeded::new(seed);
    (0..units).map(|_| shape.place(&mut random)).collect()
}

/// A clock that moves when it is told to. Wall and monotonic time move together.
#[derive(Debug)]
pub struct ManualClock {
    unix_ms: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { unix_ms: AtomicI64::new(now.unix_ms()) }
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.unix_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.unix_ms.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.unix_ms.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// The plain scan: every row with its geodesic distance from `centre` in metres, nearest first, ties by name.
pub fn by_distance<N: Ord + Clone>(centre: Position, rows: &[(N, Position)]) -> Vec<(N, f64)> {
    let mut all: Vec<_> =
        rows.iter().map(|(name, position)| (name.clone(), geodesy::distance_m(centre, *position))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all
}
