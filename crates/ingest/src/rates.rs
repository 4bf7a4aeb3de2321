use std::sync::atomic::{AtomicU32, Ordering};

use model::{DeviceHandle, Timestamp};

use crate::by_number::ByNumber;

/// Parts of a second in which rates are reckoned.
const PER_SECOND: u32 = 10_000;
/// So many fixes of a backlog count as one: a terminal that comes out of a dead spot brings hours at once, and what is refused is lost.
const BACKLOG_SHARE: u32 = 10;

/// How many fixes each device may bring. Four bytes for each device, and a read and a write of them for each fix.
pub struct DeviceRates {
    /// By device: until when its fixes so far would last at the sustained rate, in parts of a second, over the wrap.
    lasts: ByNumber<AtomicU32>,
    /// Parts of a second that one fix lasts.
    fix: u32,
    /// How far ahead of the clock fixes may last.
    burst: u32,
}

impl DeviceRates {
    /// Most fixes a second, sustained, that a limit may be.
    pub const PER_S_MAX: u32 = 1_000;
    /// Most fixes at once that a limit may be.
    pub const BURST_MAX: u32 = 100_000;

    /// At most `per_s` fixes a second, sustained, and `burst` at once; both are taken into 1 to their limits.
    #[must_use]
    pub fn new(per_s: u32, burst: u32) -> Self {
        let fix = PER_SECOND / per_s.clamp(1, Self::PER_S_MAX);
        Self { lasts: ByNumber::default(), fix, burst: fix.saturating_mul(burst.clamp(1, Self::BURST_MAX)) }
    }

    /// Whether one more fix of `device`, heard at `now`, is within its rate; it is counted then.
    ///
    /// Two sessions that speak for one device at the same instant may both pass where one should: the limit is for floods. A clock that
    /// jumps gives every device its burst anew.
    pub(crate) fn has_room(&self, device: DeviceHandle, now: Timestamp, is_backlog: bool) -> bool {
        let Some(lasts) = self.lasts.at(device.0) else { return true };
        let now = (now.unix_ms() as u32).wrapping_mul(PER_SECOND / 1_000);
        let ahead = lasts.load(Ordering::Relaxed).wrapping_sub(now);
        // Further ahead than any fix can last is behind.
        let ahead = if ahead > self.burst { 0 } else { ahead };
        let cost = if is_backlog { self.fix / BACKLOG_SHARE } else { self.fix };
        let after = ahead.saturating_add(cost);
        let has_room = after <= self.burst;
        if has_room {
            lasts.store(now.wrapping_add(after), Ordering::Relaxed);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_795_000_000_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(START_MS + ms).unwrap()
    }

    /// How many of `fixes` at `ms` pass.
    fn passed(rates: &DeviceRates, device: u32, ms: i64, fixes: u32, is_backlog: bool) -> u32 {
        (0..fixes).filter(|_| rates.has_room(DeviceHandle(device), at(ms), is_backlog)).count() as u32
    }

    #[test]
    fn a_device_has_a_burst_and_then_its_rate_and_none_takes_from_another() {
        let rates = DeviceRates::new(20, 200);
        assert_eq!(passed(&rates, 1, 0, 300, false), 200);
        assert_eq!(passed(&rates, 1, 49, 10, false), 0);
        assert_eq!(passed(&rates, 1, 1_000, 300, false), 20);
        assert_eq!(passed(&rates, 2, 1_000, 300, false), 200);
        assert_eq!(passed(&rates, 1, 60_000, 300, false), 200, "and never saves up more than its burst");
    }

    #[test]
    fn a_steady_device_below_its_rate_is_never_refused() {
        let rates = DeviceRates::new(20, 200);
        // Across the wrap of the four bytes, which comes each five days.
        for tick in 0..10_000_000 / 50 {
            assert!(rates.has_room(DeviceHandle(7), at(tick * 50 * 50), false), "{tick}");
        }
    }

    #[test]
    fn a_backlog_counts_for_a_tenth() {
        let rates = DeviceRates::new(20, 200);
        assert_eq!(passed(&rates, 1, 0, 10_000, true), 2_000);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let rates = DeviceRates::new(20, 200);
        assert_eq!(passed(&rates, 1, 3_600_000, 300, false), 200);
        assert_eq!(passed(&rates, 1, 0, 300, false), 200);
    }

    #[test]
    fn limits_that_are_none_are_taken_into_their_range() {
        assert_eq!(passed(&DeviceRates::new(0, 0), 1, 0, 3, false), 1);
        assert_eq!(passed(&DeviceRates::new(u32::MAX, u32::MAX), 1, 0, 200_000, false), 100_000);
    }
}
