use model::limits::UNITS_MAX;
use model::{
    AccuracyBasis, Altitude, AltitudeRef, Capabilities, DeviceHandle, Flags, OrganisationHandle, Position, Status,
    TimeBasis, Timestamp, UnitHandle, UnitKind,
};

use crate::bucket;
use crate::cell::Cell;
use crate::digest::FreshUntil;
use crate::pages::Pages;
use crate::sync::Ordering;

/// A fix is never stale before this age, in milliseconds.
pub const STALE_MS_MIN: i64 = 15_000;
/// A unit is never out of contact before this age, in milliseconds.
pub const OUT_OF_CONTACT_MS_MIN: i64 = 50_000;
/// Expected interval of a device whose own is not learned yet, in milliseconds.
pub const UNKNOWN_INTERVAL_MS: u32 = 15_000;

/// The place of a unit and all that came with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fix {
    /// Where.
    pub position: Position,
    /// When the place was true; its age counts from here. Never after `received`.
    pub time: Timestamp,
    /// When we read it.
    pub received: Timestamp,
    /// The device that it comes from.
    pub source: DeviceHandle,
    /// Whose clock `time` is.
    pub time_basis: TimeBasis,
    /// Speed in m/s.
    pub speed_mps: Option<f32>,
    /// Course in degrees clockwise from north.
    pub course_deg: Option<f32>,
    /// Altitude.
    pub altitude: Option<Altitude>,
    /// Radius that holds the true place in 95 of 100 cases, metres.
    pub accuracy_m: Option<f32>,
    /// Who says so.
    pub accuracy_basis: Option<AccuracyBasis>,
    /// What else the report and the rules said.
    pub flags: Flags,
}

/// What filters ask about a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitTraits {
    /// What it is.
    pub kind: UnitKind,
    /// What it can take on.
    pub status: Status,
    /// Whose it is.
    pub organisation: Option<OrganisationHandle>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Left out of default answers.
    pub covert: bool,
}

impl Default for UnitTraits {
    fn default() -> Self {
        Self {
            kind: UnitKind::Unknown,
            status: Status::Unknown,
            organisation: None,
            capabilities: Capabilities::default(),
            covert: false,
        }
    }
}

/// All that is known of one unit now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Slot {
    /// Where it is; `None` before the first fix.
    pub fix: Option<Fix>,
    /// When anything was last heard of it.
    pub contact_time: Option<Timestamp>,
    /// How often its current source reports, learned, in milliseconds.
    pub expected_interval_ms: Option<u32>,
    /// What filters ask.
    pub traits: UnitTraits,
}

impl Slot {
    /// Age of the place in milliseconds, 0 or more.
    #[must_use]
    pub fn fix_age_ms(&self, as_of: Timestamp) -> Option<i64> {
        self.fix.map(|fix| as_of.ms_since(fix.time).max(0))
    }

    /// Age of the last contact in milliseconds, 0 or more.
    #[must_use]
    pub fn contact_age_ms(&self, as_of: Timestamp) -> Option<i64> {
        self.contact_time.map(|time| as_of.ms_since(time).max(0))
    }

    /// Whether the place is older than three expected intervals, at least [`STALE_MS_MIN`].
    #[must_use]
    pub fn is_stale(&self, as_of: Timestamp) -> bool {
        self.fix_age_ms(as_of).is_some_and(|age| age > stale_after_ms(self.expected_interval_ms))
    }

    /// How long it may be silent before it is out of contact, in milliseconds.
    #[must_use]
    pub fn silence_ms_max(&self) -> i64 {
        out_of_contact_after_ms(self.expected_interval_ms)
    }

    /// Whether nothing was heard for ten expected intervals, at least [`OUT_OF_CONTACT_MS_MIN`].
    #[must_use]
    pub fn is_out_of_contact(&self, as_of: Timestamp) -> bool {
        self.contact_age_ms(as_of).is_none_or(|age| age > out_of_contact_after_ms(self.expected_interval_ms))
    }
}

/// The greatest age of a fresh fix.
pub(crate) fn stale_after_ms(expected_interval_ms: Option<u32>) -> i64 {
    STALE_MS_MIN.max(3 * i64::from(expected_interval_ms.unwrap_or(UNKNOWN_INTERVAL_MS)))
}

/// The longest silence of a unit in contact.
pub(crate) fn out_of_contact_after_ms(expected_interval_ms: Option<u32>) -> i64 {
    OUT_OF_CONTACT_MS_MIN.max(10 * i64::from(expected_interval_ms.unwrap_or(UNKNOWN_INTERVAL_MS)))
}

/// The truth of "where": a slot of one cache line and the traits of each unit, by its number. One writer of slots.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Pages<SlotCell, 10>,
    traits: Pages<TraitsCell, 10>,
}

/// The fix, the contact and the interval of one unit. The note is its home.
///
/// ```text
/// word 0  latitude, longitude in 1e-7 degrees
/// word 1  time of the fix, flags          times: ms since the first instant that there is, 49 bits, above 15 bits of others
/// word 2  contact, what is there, time basis, altitude reference, accuracy basis
/// word 3  received
/// word 4  source, expected interval
/// word 5  speed, course                   no number where there is none
/// word 6  altitude, accuracy
/// ```
#[derive(Debug)]
#[repr(align(64))]
struct SlotCell(Cell<7>);

const _: () = assert!(cfg!(loom) || size_of::<SlotCell>() == 64);

/// What filters ask: `1 | covert | kind | status | has organisation | organisation`, and the capabilities.
#[derive(Debug)]
struct TraitsCell(Cell<2>);

/// Where a unit's row is: bucket and place in it. The writer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) bucket: u32,
    pub(crate) row: usize,
}

/// What a new fix means for the unit's row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) home: Option<Home>,
    pub(crate) fresh_until: FreshUntil,
    /// What its digest says of that is right already, or less than it could.
    pub(crate) is_as_fresh: bool,
}

const NO_HOME: u32 = u32::MAX;
const ROW_BITS: u32 = 6;
const _: () = assert!(bucket::ROWS <= 1 << ROW_BITS && UNITS_MAX < 1 << (32 - ROW_BITS));

impl Default for SlotCell {
    fn default() -> Self {
        let cell = Cell::new(NO_HOME);
        cell.write(words_of(&Slot::default()));
        Self(cell)
    }
}

impl Default for TraitsCell {
    fn default() -> Self {
        Self(Cell::new(0))
    }
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { slots: Pages::for_up_to(UNITS_MAX), traits: Pages::for_up_to(UNITS_MAX) }
    }

    /// All that is known of `unit`; `None` when it was never heard of.
    #[inline]
    pub(crate) fn slot(&self, unit: UnitHandle) -> Option<Slot> {
        let traits = self.traits(unit);
        let slot = slot_of(self.slots.seen(unit.0)?.0.read());
        (traits.is_some() || slot.contact_time.is_some()).then(|| Slot { traits: traits.unwrap_or_default(), ..slot })
    }

    /// Loads a little of what [`Self::slot`] will need.
    #[inline]
    pub(crate) fn touch(&self, unit: UnitHandle) -> u64 {
        let slot = self.slots.seen(unit.0).map_or(0, |slot| slot.0.word(0));
        slot ^ self.traits.seen(unit.0).map_or(0, |traits| traits.0.word(0))
    }

    #[inline]
    pub(crate) fn traits(&self, unit: UnitHandle) -> Option<UnitTraits> {
        traits_of(self.traits.seen(unit.0)?.0.read())
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.bytes() + self.traits.bytes()
    }

    /// Where `unit` is, if it has a place.
    pub(crate) fn position(&self, unit: UnitHandle) -> Option<Position> {
        Some(slot_of(self.slots.seen(unit.0)?.0.read()).fix?.position)
    }
}

/// The writer's side.
impl Slots {
    pub(crate) fn enrol(&self, unit: UnitHandle, traits: UnitTraits) {
        self.slots.reach(unit.0);
        self.traits.reach(unit.0).0.write(words_of_traits(&traits));
    }

    #[inline]
    pub(crate) fn home(&self, unit: UnitHandle) -> Option<Home> {
        home_of(self.slots.seen(unit.0)?.0.note.load(Ordering::Relaxed))
    }

    pub(crate) fn set_home(&self, unit: UnitHandle, home: Option<Home>) {
        let note = home.map_or(NO_HOME, |home| home.bucket << ROW_BITS | home.row as u32);
        self.slots.reach(unit.0).0.note.store(note, Ordering::Relaxed);
    }

    /// A new fix; the contact is not set back.
    #[inline]
    pub(crate) fn place(&self, unit: UnitHandle, fix: Fix, contact: Timestamp, interval_ms: Option<u32>) -> Placed {
        let cell = &self.slots.reach(unit.0).0;
        let contact_before = contact_of(cell.word(2));
        let contact = contact_before.map_or(contact, |before| before.max(contact));
        let fresh_until = FreshUntil::of(fix.time, contact, interval_ms);
        let was_fresh_until = contact_before
            .filter(|_| cell.word(2) & HAS_FIX != 0)
            .map(|before| FreshUntil::of(time_of(cell.word(1)), before, interval_of(cell.word(4))));
        let contact_time = Some(contact);
        let slot = Slot { fix: Some(fix), contact_time, expected_interval_ms: interval_ms, ..Slot::default() };
        cell.write(words_of(&slot));
        let home = home_of(cell.note.load(Ordering::Relaxed));
        Placed { home, fresh_until, is_as_fresh: was_fresh_until == Some(fresh_until) }
    }

    /// It was heard; the contact is not set back.
    pub(crate) fn hear(&self, unit: UnitHandle, contact: Timestamp) {
        let cell = &self.slots.reach(unit.0).0;
        let slot = slot_of(std::array::from_fn(|at| cell.word(at)));
        cell.write(words_of(&Slot { contact_time: slot.contact_time.max(Some(contact)), ..slot }));
    }

    /// Everything but the traits is forgotten.
    pub(crate) fn forget(&self, unit: UnitHandle) {
        if let Some(cell) = self.slots.seen(unit.0) {
            cell.0.write(words_of(&Slot::default()));
        }
    }
}

pub(crate) const TIME_SHIFT: u32 = 15;
const HAS_FIX: u64 = 1;
const HAS_CONTACT: u64 = 1 << 1;
const NO_INTERVAL: u32 = u32::MAX;

#[inline]
fn home_of(note: u32) -> Option<Home> {
    let row = (note & ((1 << ROW_BITS) - 1)) as usize;
    (note != NO_HOME).then_some(Home { bucket: note >> ROW_BITS, row })
}

fn interval_of(word: u64) -> Option<u32> {
    Some(word as u32).filter(|interval| *interval != NO_INTERVAL)
}

pub(crate) fn time_bits(time: Timestamp) -> u64 {
    (time.ms_since(Timestamp::MIN) as u64) << TIME_SHIFT
}

pub(crate) fn time_of(bits: u64) -> Timestamp {
    Timestamp::MIN.shifted_ms((bits >> TIME_SHIFT) as i64)
}

fn contact_of(word: u64) -> Option<Timestamp> {
    (word & HAS_CONTACT != 0).then(|| time_of(word))
}

pub(crate) fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// No number stands for none.
pub(crate) fn float_bits(value: Option<f32>) -> u32 {
    value.unwrap_or(f32::NAN).to_bits()
}

pub(crate) fn float_of(bits: u64) -> Option<f32> {
    Some(f32::from_bits(bits as u32)).filter(|value| !value.is_nan())
}

#[inline]
fn words_of(slot: &Slot) -> [u64; 7] {
    let contact = slot.contact_time.map_or(0, |time| time_bits(time) | HAS_CONTACT);
    let Some(fix) = &slot.fix else { return [0, 0, contact, 0, pair(0, NO_INTERVAL), 0, 0] };
    let reference = fix.altitude.map_or(0, |altitude| altitude.reference as u64);
    let basis = fix.accuracy_basis.map_or(0, |basis| basis as u64 + 1);
    // A learned interval is at most an hour.
    let interval = slot.expected_interval_ms.unwrap_or(NO_INTERVAL);
    [
        bucket::bits(fix.position),
        time_bits(fix.time) | u64::from(fix.flags.bits()),
        contact | HAS_FIX | (fix.time_basis as u64) << 2 | reference << 4 | basis << 6,
        time_bits(fix.received),
        pair(fix.source.0, interval),
        pair(float_bits(fix.speed_mps), float_bits(fix.course_deg)),
        pair(float_bits(fix.altitude.map(|altitude| altitude.metres)), float_bits(fix.accuracy_m)),
    ]
}

fn slot_of(words: [u64; 7]) -> Slot {
    const BASES: [TimeBasis; 4] = [TimeBasis::Gnss, TimeBasis::Device, TimeBasis::Gateway, TimeBasis::Receipt];
    const REFERENCES: [AltitudeRef; 4] =
        [AltitudeRef::Ellipsoid, AltitudeRef::Msl, AltitudeRef::Pressure, AltitudeRef::Agl];
    const ACCURACIES: [Option<AccuracyBasis>; 4] =
        [None, Some(AccuracyBasis::Device), Some(AccuracyBasis::Class), Some(AccuracyBasis::Gateway)];
    let two = |shift: u32| (words[2] >> shift & 0b11) as usize;
    let fix = (words[2] & HAS_FIX != 0).then(|| Fix {
        position: bucket::position(words[0]),
        time: time_of(words[1]),
        received: time_of(words[3]),
        source: DeviceHandle((words[4] >> 32) as u32),
        time_basis: BASES[two(2)],
        speed_mps: float_of(words[5] >> 32),
        course_deg: float_of(words[5]),
        altitude: float_of(words[6] >> 32).map(|metres| Altitude { metres, reference: REFERENCES[two(4)] }),
        accuracy_m: float_of(words[6]),
        accuracy_basis: ACCURACIES[two(6)],
        flags: Flags::from_bits(words[1] as u16 & ((1 << TIME_SHIFT) - 1)).expect("only flags are stored"),
    });
    Slot {
        fix,
        contact_time: contact_of(words[2]),
        expected_interval_ms: interval_of(words[4]),
        traits: UnitTraits::default(),
    }
}

fn words_of_traits(traits: &UnitTraits) -> [u64; 2] {
    let organisation = traits.organisation.map_or(0, |one| 1 << 31 | u64::from(one.0) << 32);
    let class = u64::from(traits.covert) << 1 | (traits.kind as u64) << 2 | (traits.status as u64) << 10;
    [1 | class | organisation, traits.capabilities.bits()]
}

fn traits_of(words: [u64; 2]) -> Option<UnitTraits> {
    let byte = |shift: u32| (words[0] >> shift & 0xFF) as usize;
    (words[0] & 1 != 0).then(|| UnitTraits {
        kind: UnitKind::ALL[byte(2)],
        status: Status::ALL[byte(10)],
        organisation: (words[0] >> 31 & 1 != 0).then_some(OrganisationHandle((words[0] >> 32) as u32)),
        capabilities: Capabilities::from_bits(words[1]),
        covert: words[0] >> 1 & 1 != 0,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A fix of which only place and time matter.
    pub(crate) fn fix(lat_e7: i32, lon_e7: i32, time_ms: i64) -> Fix {
        let time = Timestamp::from_unix_ms(time_ms).unwrap();
        Fix {
            position: Position::from_e7(lat_e7, lon_e7).unwrap(),
            time,
            received: time,
            source: DeviceHandle(0),
            time_basis: TimeBasis::Gnss,
            speed_mps: None,
            course_deg: None,
            altitude: None,
            accuracy_m: None,
            accuracy_basis: None,
            flags: Flags::default(),
        }
    }

    prop_compose! {
        fn any_fix()(
            lat in -900_000_000..=900_000_000i32, lon in -1_800_000_000..1_800_000_000i32,
            time in Timestamp::MIN.unix_ms()..=Timestamp::MAX.unix_ms(), late in 0..99_999_999_999i64, source: u32,
            floats in proptest::array::uniform4(proptest::option::of(-1e9f32..1e9)),
            words in (0usize..4, 0usize..4, 0usize..4), flags in 0u16..2048,
        ) -> Fix {
            let fix = fix(lat, lon, time);
            let reference = [AltitudeRef::Ellipsoid, AltitudeRef::Msl, AltitudeRef::Pressure, AltitudeRef::Agl][words.0];
            Fix {
                received: fix.time.shifted_ms(late),
                source: DeviceHandle(source),
                time_basis: [TimeBasis::Gnss, TimeBasis::Device, TimeBasis::Gateway, TimeBasis::Receipt][words.1],
                speed_mps: floats[0],
                course_deg: floats[1],
                altitude: floats[2].map(|metres| Altitude { metres, reference }),
                accuracy_m: floats[3],
                accuracy_basis: [None, Some(AccuracyBasis::Device), Some(AccuracyBasis::Class), Some(AccuracyBasis::Gateway)][words.2],
                flags: Flags::from_bits(flags).unwrap(),
                ..fix
            }
        }
    }

    proptest! {
        #[test]
        fn slots_come_back_as_they_went_in(
            fix in proptest::option::of(any_fix()), contact in proptest::option::of(Timestamp::MIN.unix_ms()..=Timestamp::MAX.unix_ms()),
            interval in proptest::option::of(0..3_600_000u32),
        ) {
            let contact_time = contact.and_then(Timestamp::from_unix_ms);
            let expected_interval_ms = interval.filter(|_| fix.is_some());
            let slot = Slot { fix, contact_time, expected_interval_ms, traits: UnitTraits::default() };
            prop_assert_eq!(slot_of(words_of(&slot)), slot);
        }

        #[test]
        fn traits_come_back_as_they_went_in(kind in 0..UnitKind::ALL.len(), status in 0..Status::ALL.len(), organisation: Option<u32>, bits: u64, covert: bool) {
            let traits = UnitTraits {
                kind: UnitKind::ALL[kind],
                status: Status::ALL[status],
                organisation: organisation.map(OrganisationHandle),
                capabilities: Capabilities::from_bits(bits),
                covert,
            };
            prop_assert_eq!(traits_of(words_of_traits(&traits)), Some(traits));
        }
    }

    #[test]
    fn what_was_never_heard_of_has_no_slot() {
        let slots = Slots::new();
        assert_eq!(slots.slot(UnitHandle(5)), None);
        slots.enrol(UnitHandle(5), UnitTraits::default());
        assert_eq!((slots.slot(UnitHandle(5)), slots.slot(UnitHandle(6))), (Some(Slot::default()), None));
    }
}
