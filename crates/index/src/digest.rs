use model::limits::UNITS_MAX;
use model::{Status, Timestamp, UnitHandle, UnitKind};

use crate::UnitTraits;
use crate::slot::{STALE_MS_MIN, out_of_contact_after_ms, stale_after_ms};

const UNIT_BITS: u32 = 24;
const _: () = assert!(UNITS_MAX < 1 << UNIT_BITS && UnitKind::ALL.len() <= 16 && Status::ALL.len() <= 4);

/// A digest says until when a fix is surely fresh in steps of so many seconds, so that most reports leave it as it is: a
/// line less to be written. Half of the least age of a stale fix.
const FRESH_STEP_S: i64 = 8;
const _: () = assert!(2 * FRESH_STEP_S * 1_000 <= STALE_MS_MIN + 1_000);

/// Until when a fix is surely fresh: seconds since 1970, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreshUntil(u32);

impl FreshUntil {
    /// Of a fix of `time` whose unit was heard at `contact`.
    #[inline]
    pub(crate) fn of(time: Timestamp, contact: Timestamp, interval_ms: Option<u32>) -> Self {
        let fresh_until_ms = time.unix_ms() + stale_after_ms(interval_ms);
        let until_ms = fresh_until_ms.min(contact.unix_ms() + out_of_contact_after_ms(interval_ms));
        let until_s = until_ms.div_euclid(FRESH_STEP_S * 1_000) * FRESH_STEP_S;
        // Outside 1970 to 2106 it is never surely fresh.
        Self(u32::try_from(until_s).unwrap_or(0))
    }
}

/// What a search can tell of a unit without its slot: who, what, and until when it is surely fresh.
///
/// ```text
/// bits 63..32   seconds since 1970 until which the fix is not stale
/// bit  31       covert
/// bits 29..28   status
/// bits 27..24   kind
/// bits 23..0    unit
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u64);

impl Digest {
    /// Of a unit without a fix.
    pub(crate) fn new(unit: UnitHandle, traits: &UnitTraits) -> Self {
        Self(u64::from(unit.0)).with_traits(traits)
    }

    pub(crate) const fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The same unit with another fix.
    #[inline]
    pub(crate) const fn fresh_until(self, until: FreshUntil) -> Self {
        Self(self.0 & u32::MAX as u64 | (until.0 as u64) << 32)
    }

    /// The same unit and fix with other traits.
    pub(crate) fn with_traits(self, traits: &UnitTraits) -> Self {
        let class = u64::from(traits.covert) << 7 | (traits.status as u64) << 4 | traits.kind as u64;
        Self(self.0 & !(0xFF << UNIT_BITS) | class << UNIT_BITS)
    }

    /// Who.
    #[inline]
    #[must_use]
    pub const fn unit(self) -> UnitHandle {
        UnitHandle(self.0 as u32 & ((1 << UNIT_BITS) - 1))
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> UnitKind {
        UnitKind::ALL[(self.0 >> UNIT_BITS & 0xF) as usize]
    }

    /// What it can take on.
    #[must_use]
    pub fn status(self) -> Status {
        Status::ALL[(self.0 >> (UNIT_BITS + 4) & 0b11) as usize]
    }

    /// Whether it is left out of default answers.
    #[must_use]
    pub const fn covert(self) -> bool {
        self.0 >> (UNIT_BITS + 7) & 1 == 1
    }

    /// Whether its fix is not stale, and the unit therefore not out of contact. `false` says nothing: the slot knows.
    #[inline]
    #[must_use]
    pub fn is_surely_fresh(self, as_of: Timestamp) -> bool {
        // No instant before 1970 is surely anything.
        (0..((self.0 >> 32) as i64) * 1_000).contains(&as_of.unix_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OUT_OF_CONTACT_MS_MIN, Slot};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms).unwrap()
    }

    proptest::proptest! {
        /// What the digest calls fresh, the slot calls fresh and in contact.
        #[test]
        fn surely_fresh_is_fresh(time_ms in -9_000_000_000i64..9_000_000_000_000, interval in proptest::option::of(0u32..4_000_000), later in -5_000i64..60_000_000, silent in 0..90_000i64) {
            let fix = crate::slot::tests::fix(1, 2, time_ms);
            let slot = Slot { fix: Some(fix), contact_time: Some(at(time_ms - silent)), expected_interval_ms: interval, ..Slot::default() };
            let digest = Digest::new(UnitHandle(7), &slot.traits)
                .fresh_until(FreshUntil::of(fix.time, at(time_ms - silent), interval));
            let as_of = at(time_ms + later);
            let is_fresh = digest.is_surely_fresh(as_of);
            proptest::prop_assert!(!is_fresh || !(slot.is_stale(as_of) || slot.is_out_of_contact(as_of)));
            proptest::prop_assert!(is_fresh || later > STALE_MS_MIN - FRESH_STEP_S * 1_000 || later + silent > OUT_OF_CONTACT_MS_MIN - FRESH_STEP_S * 1_000 || !(0..4_294_900_000_000).contains(&time_ms));
        }
    }

    #[test]
    fn traits_come_back_as_they_went_in() {
        let fix = crate::slot::tests::fix(1, 2, 1_795_000_000_000);
        for (kind, status) in
            UnitKind::ALL.iter().flat_map(|kind| Status::ALL.iter().map(move |status| (*kind, *status)))
        {
            for covert in [false, true] {
                let traits = UnitTraits { kind, status, covert, ..UnitTraits::default() };
                let unit = UnitHandle(UNITS_MAX as u32);
                let with_fix = |digest: Digest| digest.fresh_until(FreshUntil::of(fix.time, fix.time, None));
                let first = with_fix(Digest::new(unit, &UnitTraits::default()));
                assert_eq!(first.with_traits(&traits), with_fix(Digest::new(unit, &traits)));
                let digest = first.with_traits(&traits);
                assert_eq!(
                    (digest.unit(), digest.kind(), digest.status(), digest.covert()),
                    (unit, kind, status, covert)
                );
            }
        }
    }
}
