use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{Clock, Timestamp};

/// The machine's clocks, as one that never goes back.
///
/// A wall clock that is set back would date what comes in before what is there, and freeze the map; ages would shrink, and an
/// old place would look new. So a step back is ridden out on the monotonic clock until the wall clock has caught up, and shown
/// as an alarm. A step forward is followed at once: it makes places look older than they are, never newer.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    /// The most by which the wall clock was ever ahead of the monotonic one, in milliseconds.
    ahead_ms: AtomicI64,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now(), ahead_ms: AtomicI64::new(i64::MIN) }
    }
}

impl SystemClock {
    /// By how much the wall clock was set back and has not caught up, in milliseconds.
    #[must_use]
    pub fn behind_ms(&self) -> i64 {
        let (monotonic_ms, wall_ms) = self.read();
        (self.ahead_ms.load(Ordering::Relaxed).saturating_sub(wall_ms - monotonic_ms)).max(0)
    }

    fn read(&self) -> (i64, i64) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (self.started.elapsed().as_millis() as i64, wall.as_millis() as i64)
    }

    fn at(&self, monotonic_ms: i64, wall_ms: i64) -> Timestamp {
        let ahead_ms = wall_ms - monotonic_ms;
        let before_ms = self.ahead_ms.fetch_max(ahead_ms, Ordering::Relaxed);
        Timestamp::from_unix_ms(monotonic_ms + ahead_ms.max(before_ms)).unwrap_or(Timestamp::MAX)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let (monotonic_ms, wall_ms) = self.read();
        self.at(monotonic_ms, wall_ms)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_step_back_is_ridden_out_and_a_step_forward_is_followed() {
        let clock = SystemClock::default();
        let at = |monotonic, wall| clock.at(monotonic, wall).unix_ms();
        assert_eq!(at(0, 10 * HOUR), 10 * HOUR);
        assert_eq!(at(5, 9 * HOUR + 5), 10 * HOUR + 5, "an hour back: time goes on");
        assert_eq!(at(HOUR + 5, 10 * HOUR + 5), 11 * HOUR + 5);
        assert_eq!(at(HOUR + 6, 12 * HOUR), 12 * HOUR, "a step forward beyond it");
    }

    #[test]
    fn a_clock_that_was_not_set_is_not_behind() {
        let clock = SystemClock::default();
        clock.now();
        assert!(clock.behind_ms() < 1_000);
    }
}
