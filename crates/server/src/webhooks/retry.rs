use std::time::Duration;

use model::limits::WEBHOOK_WAIT_MAX;
use ring::rand::{SecureRandom as _, SystemRandom};

/// The longest wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How often something was tried in vain, and since when.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) tries: u32,
    /// Of the first failure, by the monotonic clock.
    since: Option<Duration>,
    give_up: Duration,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Wait(Duration),
    GiveUp,
}

impl Retry {
    pub(super) const fn new(give_up: Duration) -> Self {
        Self { tries: 0, since: None, give_up }
    }

    /// It failed at `now` of the monotonic clock.
    pub(super) fn failed(&mut self, now: Duration) -> Next {
        let since = *self.since.get_or_insert(now);
        self.tries = self.tries.saturating_add(1);
        if now.saturating_sub(since) >= self.give_up {
            return Next::GiveUp;
        }
        Next::Wait(wait(self.tries, chance()))
    }
}

/// Doubles with each failure up to a limit; of that, a part between a half and the whole, so that many do not come back at once.
fn wait(tries: u32, chance: f64) -> Duration {
    let doubled = 2u32.checked_pow(tries.saturating_sub(1)).and_then(|times| FIRST_WAIT.checked_mul(times));
    doubled.unwrap_or(WEBHOOK_WAIT_MAX).min(WEBHOOK_WAIT_MAX).mul_f64(0.5 + chance / 2.0)
}

/// Something from 0 up to 1.
fn chance() -> f64 {
    let mut bytes = [0u8; 2];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread() {
        let seconds = |tries| (wait(tries, 0.0).as_secs_f64(), wait(tries, 1.0).as_secs_f64());
        assert_eq!([seconds(1), seconds(2), seconds(9)], [(0.5, 1.0), (1.0, 2.0), (128.0, 256.0)]);
        assert_eq!([seconds(10), seconds(40), seconds(u32::MAX)], [(150.0, 300.0); 3]);
    }

    #[test]
    fn what_failed_for_long_enough_is_given_up() {
        let mut retry = Retry::new(Duration::from_secs(3_600));
        let start = Duration::from_secs(77);
        for after in [0, 1_800, 3_599] {
            assert!(matches!(retry.failed(start + Duration::from_secs(after)), Next::Wait(_)), "{after}");
        }
        assert_eq!((retry.failed(start + Duration::from_secs(3_600)), retry.tries), (Next::GiveUp, 4));
    }
}
