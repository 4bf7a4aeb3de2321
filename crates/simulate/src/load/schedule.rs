use std::time::Duration;

use crate::rng::{Rng, hashed};

/// When the parts of a load are due: a pure function of seed and rate.
///
/// The gaps are those of many independent callers (exponential), so there are bursts, as there are in a control room.
/// Times rise, and never end. Nothing that a server does can move them.
#[derive(Debug, Clone)]
pub struct Schedule {
    gaps: Rng,
    rate_hz: f64,
    at_s: f64,
    number: u64,
    seed: u64,
}

/// One thing that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When, since the start.
    pub at: Duration,
    /// An evenly spread number of its own, to choose what is sent.
    pub hash: u64,
}

impl Schedule {
    /// The schedule of `seed` with `rate_hz` times a second on average. Nothing is due at a rate of 0 or below.
    #[must_use]
    pub fn new(seed: u64, rate_hz: f64) -> Self {
        Self { gaps: Rng::of(&[seed, 0x5343_4845_4455_4C45]), rate_hz, at_s: 0.0, number: 0, seed }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let is_running = self.rate_hz.is_finite() && self.rate_hz > 0.0;
        if !is_running {
            return None;
        }
        // The logarithm's argument is above 0, since `between` leaves its upper end out.
        self.at_s -= (1.0 - self.gaps.between(0.0, 1.0)).ln() / self.rate_hz;
        self.number += 1;
        Some(Due { at: Duration::try_from_secs_f64(self.at_s).ok()?, hash: hashed(&[self.seed, self.number]) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Seed and rate alone say what is due, in order, and as often as the rate says.
        #[test]
        fn a_schedule_is_a_pure_function_of_seed_and_rate(seed: u64, rate_hz in 0.5f64..100_000.0) {
            const COUNT: usize = 4_000;
            let dues: Vec<Due> = Schedule::new(seed, rate_hz).take(COUNT).collect();
            prop_assert_eq!(&dues, &Schedule::new(seed, rate_hz).take(COUNT).collect::<Vec<_>>());
            prop_assert!(dues.windows(2).all(|pair| pair[0].at <= pair[1].at));
            // The time of the last is the sum of 4,000 gaps: within eight standard deviations, 12.7 per cent.
            let took_s = dues[COUNT - 1].at.as_secs_f64() * rate_hz / COUNT as f64;
            prop_assert!((0.87..1.13).contains(&took_s), "{}", took_s);
            prop_assert_ne!(&dues, &Schedule::new(seed ^ 1, rate_hz).take(COUNT).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_is_due_at_no_rate() {
        assert_eq!(Schedule::new(1, 0.0).next(), None);
        assert_eq!(Schedule::new(1, f64::NAN).next(), None);
    }
}
