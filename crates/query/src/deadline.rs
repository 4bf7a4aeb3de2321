use std::time::Duration;

use model::Clock;

/// The clock is looked at once in this many units.
const CHECK_INTERVAL: u64 = 256;

/// When an answer is too late, or too much work, to be given.
#[derive(Clone, Copy)]
pub struct Deadline<'a> {
    clock: Option<&'a dyn Clock>,
    until: Duration,
    units_max: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The deadline passed first. Ours, or the caller's when the question is too large for its deadline.
    #[error("out of time after {examined} units; ask for less, or allow more with Muster-Deadline-Ms")]
    DeadlineExceeded {
        /// How many units had been looked at.
        examined: u64,
    },
    /// More units than a degraded search may look at.
    #[error("{examined} units are more than a degraded search may look at; ask for less, or later")]
    TooManyUnits {
        /// How many units had been looked at.
        examined: u64,
    },
}

impl<'a> Deadline<'a> {
    /// Passes `after` from now.
    #[must_use]
    pub fn after(clock: &'a dyn Clock, after: Duration) -> Self {
        Self { until: clock.monotonic() + after, clock: Some(clock), units_max: u64::MAX }
    }

    /// Never passes.
    #[must_use]
    pub const fn never() -> Self {
        Self { clock: None, until: Duration::MAX, units_max: u64::MAX }
    }

    /// The same, and no more than `units_max` units are looked at.
    #[must_use]
    pub(crate) const fn with_units_max(self, units_max: u64) -> Self {
        Self { units_max, ..self }
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.clock.is_some_and(|clock| clock.monotonic() >= self.until)
    }

    /// Looks at the clock when `examined` is due for it.
    pub(crate) fn check(&self, examined: u64) -> Result<(), QueryError> {
        if examined > self.units_max {
            return Err(QueryError::TooManyUnits { examined });
        }
        if examined.is_multiple_of(CHECK_INTERVAL) && self.has_passed() {
            return Err(QueryError::DeadlineExceeded { examined });
        }
        Ok(())
    }
}
