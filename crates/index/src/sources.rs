use model::limits::DEVICES_SHOWN_MAX;
use model::{DeviceHandle, Position, Timestamp, UnitKind};

use crate::cell::Cell;
use crate::pages::Pages;
use crate::slot::{
    TIME_SHIFT, float_bits, float_of, out_of_contact_after_ms, pair, stale_after_ms, time_bits, time_of,
};
use crate::{Fix, bucket};

/// Radius of a place whose device states none, in metres.
pub const ACCURACY_M_DEFAULT: f64 = 30.0;

/// The newest place of one device of a unit that several devices give places of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Source {
    /// Where.
    pub position: Position,
    /// When the place was true; its age counts from here.
    pub time: Timestamp,
    /// When anything was last heard of the device.
    pub heard: Timestamp,
    /// Radius that holds the true place in 95 of 100 cases, metres; `None` where the device states none.
    pub accuracy_m: Option<f32>,
    /// Speed in m/s: as it states it, else from its last two places.
    pub speed_mps: Option<f32>,
    /// How often it reports, learned, in milliseconds.
    pub interval_ms: Option<u32>,
    /// Its newest place is a jump that waits for a second one to confirm it.
    pub holds_jump: bool,
    /// Why it became its unit's source when it last did; says nothing while it never was.
    pub became: Became,
}

/// Why a device became the source of its unit's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Became {
    /// It was the first that gave a place, or was the source already when the reasons began to be kept.
    #[default]
    NewestAtStart,
    /// The place of the source before was stale.
    WasStale,
    /// The circle in which the unit could be by it was clearly smaller than the one by the source before.
    SmallerCircle,
    /// The place of the source before was dated by a clock that was set back since.
    ClockWasSet,
}

impl Became {
    /// All of them; a number never changes its meaning.
    pub const ALL: [Self; 4] = [Self::NewestAtStart, Self::WasStale, Self::SmallerCircle, Self::ClockWasSet];

    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewestAtStart => "newest_at_start",
            Self::WasStale => "was_stale",
            Self::SmallerCircle => "smaller_circle",
            Self::ClockWasSet => "clock_was_set",
        }
    }
}

impl Source {
    /// Whether the place is stale, by the same rule as [`crate::Slot::is_stale`].
    #[must_use]
    pub fn is_stale(&self, as_of: Timestamp) -> bool {
        as_of.ms_since(self.time) > stale_after_ms(self.interval_ms)
    }

    /// Whether nothing was heard of the device for ten of its intervals, by the same rule as [`crate::Slot::is_out_of_contact`].
    #[must_use]
    pub fn is_silent(&self, as_of: Timestamp) -> bool {
        as_of.ms_since(self.heard) > out_of_contact_after_ms(self.interval_ms)
    }
}

/// Metres around a place in which a unit of `kind` can be by now: the accuracy, and what it can go at its greatest speed since.
#[must_use]
pub fn possible_radius_m(accuracy_m: Option<f32>, time: Timestamp, kind: UnitKind, as_of: Timestamp) -> f64 {
    let age_s = as_of.ms_since(time).max(0) as f64 / 1_000.0;
    accuracy_m.map_or(ACCURACY_M_DEFAULT, f64::from) + kind.speed_mps_max() * age_s
}

impl Fix {
    /// Metres around it in which a unit of `kind` can be at `as_of`.
    #[must_use]
    pub fn possible_radius_m(&self, kind: UnitKind, as_of: Timestamp) -> f64 {
        possible_radius_m(self.accuracy_m, self.time, kind, as_of)
    }
}

/// A [`Source`] by the number of its device in the whole, a cache line each. Each is written by one writer, that of its unit; readers
/// wait for the stores of one report. Units with one device have none: their slot tells all.
#[derive(Debug)]
pub(crate) struct Sources(Pages<SourceCell, 10>);

/// ```text
/// word 0  latitude, longitude in 1e-7 degrees
/// word 1  time of the place, above 15 bits: is there, holds a jump, why it became the source (3 bits)
/// word 2  when it was heard
/// word 3  speed, accuracy                 no number where there is none
/// word 4  interval
/// ```
#[derive(Debug)]
#[repr(align(64))]
struct SourceCell(Cell<5>);

impl Default for SourceCell {
    fn default() -> Self {
        Self(Cell::new(0))
    }
}

const IS_THERE: u64 = 1;
const HOLDS_JUMP: u64 = 1 << 1;
const BECAME_SHIFT: u32 = 2;
const NO_INTERVAL: u64 = u64::MAX;

impl Sources {
    pub(crate) fn new() -> Self {
        Self(Pages::for_up_to(DEVICES_SHOWN_MAX))
    }

    /// What is known of `device`; `None` when it was never shown.
    pub(crate) fn get(&self, device: DeviceHandle) -> Option<Source> {
        source_of(self.0.seen(device.0)?.0.read())
    }

    /// Shows what is known of `device` now. One with a number from [`DEVICES_SHOWN_MAX`] on is not shown.
    pub(crate) fn put(&self, device: DeviceHandle, source: &Source) {
        if (device.0 as usize) < DEVICES_SHOWN_MAX {
            self.0.reach(device.0).0.write(words_of(source));
        }
    }

    /// Forgets what is known of `device`.
    pub(crate) fn forget(&self, device: DeviceHandle) {
        if let Some(cell) = self.0.seen(device.0) {
            cell.0.write([0; 5]);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

fn words_of(source: &Source) -> [u64; 5] {
    let bits = IS_THERE | u64::from(source.holds_jump) << 1 | (source.became as u64) << BECAME_SHIFT;
    [
        bucket::bits(source.position),
        time_bits(source.time) | bits,
        time_bits(source.heard),
        pair(float_bits(source.speed_mps), float_bits(source.accuracy_m)),
        source.interval_ms.map_or(NO_INTERVAL, u64::from),
    ]
}

fn source_of(words: [u64; 5]) -> Option<Source> {
    let bits = words[1] & ((1 << TIME_SHIFT) - 1);
    (bits & IS_THERE != 0).then(|| Source {
        position: bucket::position(words[0]),
        time: time_of(words[1]),
        heard: time_of(words[2]),
        speed_mps: float_of(words[3] >> 32),
        accuracy_m: float_of(words[3]),
        interval_ms: u32::try_from(words[4]).ok(),
        holds_jump: bits & HOLDS_JUMP != 0,
        became: Became::ALL[(bits >> BECAME_SHIFT) as usize],
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_source_comes_back_as_it_went_in(
            (lat, lon) in (-900_000_000..=900_000_000i32, -1_800_000_000..1_800_000_000i32),
            time in Timestamp::MIN.unix_ms()..=Timestamp::MAX.unix_ms(), silent in 0..9_999_999i64,
            (accuracy_m, speed_mps) in (prop::option::of(0f32..1e9), prop::option::of(0f32..1e9)),
            interval_ms: Option<u32>, holds_jump: bool, became in 0usize..4, device in 0..DEVICES_SHOWN_MAX as u32,
        ) {
            let time = Timestamp::from_unix_ms(time).unwrap();
            let (position, heard) = (Position::from_e7(lat, lon).unwrap(), time.shifted_ms(-silent));
            let became = Became::ALL[became];
            let source = Source { position, time, heard, accuracy_m, speed_mps, interval_ms, holds_jump, became };
            let sources = Sources::new();
            prop_assert_eq!(sources.get(DeviceHandle(device)), None);
            sources.put(DeviceHandle(device), &source);
            prop_assert_eq!(sources.get(DeviceHandle(device)), Some(source));
        }
    }

    #[test]
    fn a_device_beyond_the_limit_is_not_shown_and_ends_no_writer() {
        let (sources, beyond) = (Sources::new(), DeviceHandle(DEVICES_SHOWN_MAX as u32));
        let time = Timestamp::from_unix_ms(1_795_000_000_000).unwrap();
        let fix = crate::slot::tests::fix(1, 2, time.unix_ms());
        let source = Source {
            position: fix.position,
            time,
            heard: time,
            accuracy_m: None,
            speed_mps: None,
            interval_ms: None,
            holds_jump: false,
            became: Became::default(),
        };
        sources.put(beyond, &source);
        assert_eq!(sources.get(beyond), None);
    }
}
