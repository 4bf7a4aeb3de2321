use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Force, Protocol};

/// Most different reasons that are counted apart; the rest is `other`.
const REASONS_MAX: usize = 64;

/// What a run has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Time since the start of the run.
    pub elapsed: Duration,
    /// What happened on each protocol that has a target.
    pub protocols: BTreeMap<Protocol, ProtocolTally>,
    /// The forces that took no part since nobody listens to their protocol.
    pub left_out: Vec<LeftOut>,
}

/// What happened on one protocol. Where answers are promised, `reports == answered + unanswered`, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProtocolTally {
    /// Senders that take part: vehicle terminals, modems, gateways.
    pub senders: u64,
    /// Devices that take part.
    pub devices: u64,
    /// Connections that were made, reconnections included (UDP: sockets).
    pub connections: u64,
    /// Connections that stand now.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub connect_errors: u64,
    /// Connections that ended before the run did.
    pub lost: u64,
    /// Different reports sent.
    pub reports: u64,
    /// Frames sent: log-ons, heartbeats, batches, sentences and repetitions included.
    pub frames: u64,
    /// Frames sent again since no answer had come.
    pub resent: u64,
    /// Reports that the server settled, refused ones included. 0 where the protocol has no answers.
    pub answered: u64,
    /// Refusals by the server's reason; `login: ..` are refused log-ons, all others are among `answered`.
    pub refused: BTreeMap<String, u64>,
    /// Reports without an answer: still on their way, or lost. 0 where the protocol has no answers.
    pub unanswered: u64,
    /// Reports that were due and were not sent: no connection, or the end of the run came first.
    pub missed: u64,
    /// Writes that failed.
    pub send_errors: u64,
    /// Orders of the server that came (texts, polls, new intervals).
    pub orders: u64,
    /// Most time between the moment a report was due and its sending. Above a few ms the simulator or
    /// its peer is the bottleneck, and the offered load is less than it says.
    pub lag_max: Duration,
}

/// A force that takes no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub force: Force,
    /// The protocol that has no target.
    pub protocol: Protocol,
    /// How many units of it.
    pub units: usize,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { force, protocol, units } = self;
        write!(f, "{units} {} are left out: no target speaks {protocol}", force.title())
    }
}

impl Tally {
    /// Reports sent on all protocols.
    #[must_use]
    pub fn reports(&self) -> u64 {
        self.protocols.values().map(|one| one.reports).sum()
    }
}

/// A number that many connections add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one protocol, shared by its connections.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) senders: Count,
    pub(crate) devices: Count,
    pub(crate) connections: Count,
    pub(crate) connected: Count,
    pub(crate) connect_errors: Count,
    pub(crate) lost: Count,
    pub(crate) reports: Count,
    /// Those of `reports` for which the protocol promises an answer.
    pub(crate) promised: Count,
    pub(crate) frames: Count,
    pub(crate) resent: Count,
    pub(crate) answered: Count,
    pub(crate) missed: Count,
    pub(crate) send_errors: Count,
    pub(crate) orders: Count,
    lag_max_us: AtomicU64,
    refused: Mutex<BTreeMap<String, u64>>,
}

impl Counters {
    pub(crate) fn lag(&self, lag: Duration) {
        self.lag_max_us.fetch_max(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, reason: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !refused.contains_key(reason);
        let reason = if is_new && refused.len() >= REASONS_MAX { "other" } else { reason };
        *refused.entry(reason.to_owned()).or_default() += 1;
    }

    pub(crate) fn tally(&self) -> ProtocolTally {
        // Answers are read before what they answer, so that a reading in between never shows too many.
        let answered = self.answered.value();
        ProtocolTally {
            senders: self.senders.value(),
            devices: self.devices.value(),
            connections: self.connections.value(),
            connected: self.connected.value(),
            connect_errors: self.connect_errors.value(),
            lost: self.lost.value(),
            answered,
            unanswered: self.promised.value().saturating_sub(answered),
            reports: self.reports.value(),
            frames: self.frames.value(),
            resent: self.resent.value(),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            missed: self.missed.value(),
            send_errors: self.send_errors.value(),
            orders: self.orders.value(),
            lag_max: Duration::from_micros(self.lag_max_us.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_beyond_the_limit_are_counted_together() {
        let counters = Counters::default();
        for reason in 0..REASONS_MAX + 10 {
            counters.refuse(&format!("reason {reason}"));
        }
        let refused = counters.tally().refused;
        assert_eq!((refused.len(), refused.values().sum::<u64>()), (REASONS_MAX + 1, REASONS_MAX as u64 + 10));
        assert_eq!(refused["other"], 10);
    }
}
