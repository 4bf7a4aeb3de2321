use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use model::limits::{GATEWAY_AWAY_MAX, GATEWAY_INTERVALS_MAX, GATEWAY_SILENCE_MIN};
use model::{SenderName, Timestamp};

use super::GatewayView;

/// A gateway that was heard once may be one that says a word each half minute.
const INTERVAL_UNKNOWN: Duration = Duration::from_secs(30);
/// No time of an event.
const NEVER: u64 = u64::MAX;

/// One gateway. Frames of its connections change it at the same time, and each of its numbers alone is true enough.
#[derive(Debug)]
pub(super) struct Known {
    name: SenderName,
    number: u32,
    first_heard: Timestamp,
    /// Wall clock, in milliseconds since 1970.
    heard_unix_ms: AtomicI64,
    /// Monotonic, in microseconds; so are the others.
    heard_us: AtomicU64,
    /// 0 before the second frame.
    interval_us: AtomicU64,
    frames: AtomicU64,
    sessions: AtomicU32,
    /// When the last connection ended; [`NEVER`] while there is one, or none was there.
    left_us: AtomicU64,
    /// What was told of it last.
    is_told_lost: AtomicBool,
}

impl Known {
    pub(super) fn new(name: SenderName, number: u32, first_heard: Timestamp, now: Duration) -> Self {
        Self {
            name,
            number,
            first_heard,
            heard_unix_ms: AtomicI64::new(first_heard.unix_ms()),
            heard_us: AtomicU64::new(micros(now)),
            interval_us: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            sessions: AtomicU32::new(0),
            left_us: AtomicU64::new(NEVER),
            // It may have been lost before the start: whoever remembers that is told that it is heard.
            is_told_lost: AtomicBool::new(true),
        }
    }

    pub(super) fn name(&self) -> &str {
        let name = self.name.as_str();
        name.strip_prefix("gateway:").unwrap_or(name)
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// When it was heard last.
    pub(super) fn heard(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.heard_unix_ms.load(Ordering::Relaxed)).unwrap_or(self.first_heard)
    }

    /// A frame came.
    pub(super) fn hear(&self, wall: Timestamp, now: Duration) {
        self.heard_unix_ms.store(wall.unix_ms(), Ordering::Relaxed);
        let now = micros(now);
        let gap = now.saturating_sub(self.heard_us.swap(now, Ordering::Relaxed));
        if self.frames.fetch_add(1, Ordering::Relaxed) > 0 {
            let known = self.interval_us.load(Ordering::Relaxed);
            self.interval_us.store(learned(known, gap), Ordering::Relaxed);
        }
    }

    pub(super) fn open(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.left_us.store(NEVER, Ordering::Relaxed);
    }

    pub(super) fn close(&self, now: Duration) {
        if self.sessions.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.left_us.store(micros(now), Ordering::Relaxed);
        }
    }

    pub(super) fn is_lost(&self, now: Duration) -> bool {
        let now = micros(now);
        let left = self.left_us.load(Ordering::Relaxed);
        let heard = self.heard_us.load(Ordering::Relaxed);
        // A datagram after the last connection's end is a sign of life too.
        let is_away = left != NEVER && heard <= left && now.saturating_sub(left) > micros(GATEWAY_AWAY_MAX);
        is_away || now.saturating_sub(heard) > micros(self.silence_max())
    }

    /// Whether it was lost or found since this was asked last.
    pub(super) fn turns(&self, now: Duration) -> bool {
        let is_lost = self.is_lost(now);
        self.is_told_lost.swap(is_lost, Ordering::Relaxed) != is_lost
    }

    pub(super) fn is_told_lost(&self) -> bool {
        self.is_told_lost.load(Ordering::Relaxed)
    }

    fn interval(&self) -> Option<Duration> {
        let learned = self.interval_us.load(Ordering::Relaxed);
        (learned > 0).then(|| Duration::from_micros(learned))
    }

    fn silence_max(&self) -> Duration {
        let interval = self.interval().unwrap_or(INTERVAL_UNKNOWN);
        interval.saturating_mul(GATEWAY_INTERVALS_MAX).max(GATEWAY_SILENCE_MIN)
    }

    /// Without its units.
    pub(super) fn view(&self, now: Duration) -> GatewayView {
        let heard_us = self.heard_us.load(Ordering::Relaxed);
        GatewayView {
            gateway: self.name().to_owned(),
            first_heard: self.first_heard,
            last_heard: self.heard(),
            heard_age: Duration::from_micros(micros(now).saturating_sub(heard_us)),
            interval: self.interval(),
            frames: self.frames.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
            units: 0,
            is_lost: self.is_lost(now),
        }
    }
}

/// The interval with one more gap: an average of the last eight or so. A gap that is far longer counts for a quarter of itself at
/// once: a gateway whose devices have gone to sleep falls back to its heartbeats, and is taken for lost once, not each time.
fn learned(interval_us: u64, gap_us: u64) -> u64 {
    if interval_us == 0 {
        return gap_us.max(1);
    }
    let average = interval_us.saturating_sub(interval_us / 8).saturating_add(gap_us / 8);
    average.max(gap_us / 4).max(1)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NEVER).min(NEVER - 1)
}
