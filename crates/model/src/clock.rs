use std::time::Duration;

use crate::Timestamp;

/// Where time comes from. A trait, so that a test can be years long and a seed can repeat it.
pub trait Clock: Send + Sync {
    /// Wall time, UTC. May step when the machine's clock is set.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start; never steps. All deadlines and time-outs use this one.
    fn monotonic(&self) -> Duration;
}
