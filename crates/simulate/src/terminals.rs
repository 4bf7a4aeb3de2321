//! The device's side of each wire format, without I/O: what to say when, and what the answers mean.
//! Written from the protocols' descriptions and not from `wire`'s decoders, so that each can check the other.

pub(crate) mod beacon;
pub(crate) mod jt808;
pub(crate) mod muster;
pub(crate) mod nmea;
pub(crate) mod taip;

use std::time::Duration;

use bytes::BytesMut;

use crate::tally::Counters;

/// An instant that never comes.
pub(crate) const NEVER: Duration = Duration::MAX;
/// How late a report may be sent after its connection was down; an older one is missed, and counted.
pub(crate) const LATE_MAX: Duration = Duration::from_secs(1);

/// Why a connection is given up. The terminal connects again after a while.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Fault {
    /// The server does not want this terminal.
    #[error("{what} refused: {reason}")]
    Refused { what: &'static str, reason: String },
    /// The server is silent.
    #[error("no answer to {what} within {seconds} s")]
    NoAnswer { what: &'static str, seconds: u64 },
    /// The server's bytes are none of this protocol.
    #[error("answer is unintelligible: {detail}")]
    Garbled { detail: String },
}

/// What carries the bytes of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Stream,
    Datagrams,
}

/// One sender: a vehicle terminal, a modem, a gateway. Times count from the start of the run.
pub(crate) trait Terminal: Send {
    /// Begins to report at `now`; what would have been due before is nobody's.
    fn switch_on(&mut self, now: Duration);

    /// A connection stands: forgets the old one, adds what is said first.
    fn open(&mut self, now: Duration, out: &mut BytesMut);

    /// When it wants to [`Self::speak`] next; [`NEVER`] while it waits for an answer.
    fn wake(&self) -> Duration;

    /// When its next report is due, whether it may be sent or not.
    fn next_report(&self) -> Duration;

    /// Adds one frame or batch that is due at `now`.
    fn speak(&mut self, now: Duration, out: &mut BytesMut) -> Result<(), Fault>;

    /// Takes whole answers from the front of `inbox`.
    fn hear(&mut self, now: Duration, inbox: &mut BytesMut, out: &mut BytesMut) -> Result<(), Fault>;

    /// How many frames with reports wait for their answer.
    fn outstanding(&self) -> usize;

    /// Drops the reports due before `limit` and counts them as missed.
    fn miss_before(&mut self, limit: Duration);

    /// Where it counts.
    fn counters(&self) -> &Counters;
}

/// When one device reports: at a time of its own within its interval, and then regularly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cadence {
    interval: Duration,
    due: Duration,
}

impl Cadence {
    /// `interval` is above 0. The first reports of many devices lie evenly spread over the interval,
    /// whichever of them are taken (multiples of the golden ratio).
    pub(crate) fn new(interval: Duration, device: usize) -> Self {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let share = ((device as f64 + 0.5) * GOLDEN).fract();
        Self { interval, due: interval.mul_f64(share) }
    }

    pub(crate) const fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) const fn due(&self) -> Duration {
        self.due
    }

    pub(crate) fn advance(&mut self) {
        self.due = self.due.saturating_add(self.interval);
    }

    /// Moves on to the first report at `limit` or later; gives how many lie before it.
    pub(crate) fn skip_to(&mut self, limit: Duration) -> u64 {
        let mut skipped = 0;
        while self.due < limit {
            self.advance();
            skipped += 1;
        }
        skipped
    }
}

/// Adds `content`'s XOR as two upper-case hexadecimal digits.
pub(crate) fn push_xor_hex(text: &mut String, content: &str) {
    use std::fmt::Write as _;
    let xor = content.bytes().fold(0, |sum, byte| sum ^ byte);
    let _ = write!(text, "{xor:02X}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cadences_spread_evenly_over_the_interval() {
        let interval = Duration::from_secs(5);
        let mut tenths = [0u32; 10];
        for device in 700..1_700 {
            tenths[(Cadence::new(interval, device).due().as_secs_f64() * 2.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (97..=103).contains(count)), "{tenths:?}");
    }

    #[test]
    fn skipping_counts_what_is_passed_over() {
        let mut cadence = Cadence::new(Duration::from_secs(2), 0);
        let first = cadence.due();
        assert_eq!(cadence.skip_to(first), 0);
        assert_eq!(cadence.skip_to(first + Duration::from_secs(5)), 3);
        assert_eq!(cadence.due(), first + Duration::from_secs(6));
    }
}
