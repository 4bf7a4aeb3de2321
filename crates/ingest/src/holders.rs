//! Who speaks for a device where two sessions say that they are it: the first holds it, the later one is held and flagged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::limits::{SECOND_SESSIONS_MAX, TAKEOVER_SILENCE};
use model::{Clock, DeviceHandle, DeviceId, Timestamp};

use crate::by_number::ByNumber;

/// When a later session may speak for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takeover {
    /// At once, whatever others do: a device goes from gateway to gateway, and may be heard by two of them.
    AtOnce,
    /// Once the session before has ended, or is silent for three times as long as it is between two of its reports, at least
    /// [`TAKEOVER_SILENCE`] and at most its idle deadline: a terminal has one connection, or one address that its datagrams come from.
    WhenSilent,
}

/// The rule of each protocol. One that is not here brings what others say, as gRPC and HTTP do: [`Takeover::AtOnce`].
const TAKEOVERS: &[(&str, Takeover)] = &[
    ("jt808", Takeover::WhenSilent),
    ("nmea", Takeover::WhenSilent),
    ("taip", Takeover::WhenSilent),
    ("muster", Takeover::AtOnce),
];

impl Takeover {
    fn of(protocol: &str) -> Self {
        let rule = TAKEOVERS.iter().find(|(name, _)| *name == protocol);
        rule.map_or(Self::AtOnce, |(_, rule)| *rule)
    }
}

/// Which session speaks for each device, over all listeners.
pub struct Holders {
    clock: Arc<dyn Clock>,
    /// By device, the number of its session; 0: none yet.
    by_device: ByNumber<AtomicU64>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// Sessions that have not ended.
    open: HashMap<u64, Arc<Life>>,
    seconds: HashMap<DeviceHandle, SecondSession>,
}

/// When a session gave something last, and after which silence it may lose its devices.
#[derive(Debug)]
struct Life {
    heard_ms: AtomicU64,
    /// The longest time between two of its reports, of late.
    gap_ms: AtomicU64,
    idle: Duration,
}

/// A device that a second session speaks for, too, and is not heard by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondSession {
    /// Its name.
    pub device: DeviceId,
    /// The protocol of the later session.
    pub protocol: &'static str,
    /// When it was held first.
    pub first_held: Timestamp,
    /// When it was held last.
    pub last_held: Timestamp,
    /// What of it was held since: reports and contacts.
    pub held: u64,
}

impl Holders {
    /// Nobody speaks yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, by_device: ByNumber::default(), table: Mutex::default() }
    }

    /// Devices that a second session was held of within the last two minutes, or since; by name, at most `limit`.
    #[must_use]
    pub fn second_sessions(&self, limit: usize) -> Vec<SecondSession> {
        let now = self.clock.now();
        let mut all: Vec<_> = self.table().seconds.values().filter(|one| one.is_of_now(now)).cloned().collect();
        all.sort_by(|a, b| a.device.cmp(&b.device));
        all.truncate(limit);
        all
    }

    /// Whether a second session speaks for `device` now. A look-up under a lock.
    #[must_use]
    pub fn has_second(&self, device: DeviceHandle) -> bool {
        let now = self.clock.now();
        self.table().seconds.get(&device).is_some_and(|one| one.is_of_now(now))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn open(&self, idle: Duration) -> (u64, Arc<Life>) {
        let life = Arc::new(Life { heard_ms: AtomicU64::new(self.now_ms()), gap_ms: AtomicU64::new(0), idle });
        let mut table = self.table();
        table.last += 1;
        let number = table.last;
        table.open.insert(number, Arc::clone(&life));
        (number, life)
    }

    /// Notes that a session was held. Beyond [`SECOND_SESSIONS_MAX`] those of long ago are forgotten; if none is, nothing is noted: it is
    /// counted as refused all the same.
    fn note(&self, number: DeviceHandle, device: &DeviceId, protocol: &'static str) {
        let now = self.clock.now();
        let mut table = self.table();
        if table.seconds.len() >= SECOND_SESSIONS_MAX && !table.seconds.contains_key(&number) {
            table.seconds.retain(|_, one| one.is_of_now(now));
            if table.seconds.len() >= SECOND_SESSIONS_MAX {
                return;
            }
        }
        let first = SecondSession { device: device.clone(), protocol, first_held: now, last_held: now, held: 0 };
        let second = table.seconds.entry(number).or_insert(first);
        (second.protocol, second.last_held, second.held) = (protocol, now, second.held + 1);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecondSession {
    fn is_of_now(&self, now: Timestamp) -> bool {
        now.ms_since(self.last_held) <= model::limits::IDLE_DEADLINE.as_millis() as i64
    }
}

/// One session's side.
pub(crate) struct Hold {
    holders: Arc<Holders>,
    takeover: Takeover,
    protocol: &'static str,
    idle: Duration,
    /// Once it spoke for a device.
    own: Option<(u64, Arc<Life>)>,
}

impl Hold {
    /// Of a session of `protocol`, whose listener ends those that are silent for `idle`.
    pub(crate) fn new(holders: Arc<Holders>, protocol: &'static str, idle: Duration) -> Self {
        Self { holders, takeover: Takeover::of(protocol), protocol, idle, own: None }
    }

    /// Whether the session speaks for `device`, which takes one read where it did before. It does from now on where nobody else does.
    pub(crate) fn has(&mut self, number: DeviceHandle, device: &DeviceId) -> bool {
        if self.takeover == Takeover::AtOnce {
            return true;
        }
        // Numbers beyond the table have no holder.
        let Some(entry) = self.holders.by_device.at(number.0) else { return true };
        let now_ms = self.holders.now_ms();
        let (own, life) = self.own.get_or_insert_with(|| self.holders.open(self.idle));
        let holder = entry.load(Ordering::Acquire);
        if holder != *own {
            let is_alive = holder != 0 && {
                let table = self.holders.table();
                table.open.get(&holder).is_some_and(|life| life.is_heard(now_ms))
            };
            // Of two that come at once the first one wins.
            if is_alive || entry.compare_exchange(holder, *own, Ordering::AcqRel, Ordering::Acquire).is_err() {
                self.holders.note(number, device, self.protocol);
                return false;
            }
            if holder != 0 {
                self.holders.table().seconds.remove(&number);
            }
        }
        life.hear(now_ms);
        true
    }
}

impl Life {
    fn hear(&self, now_ms: u64) {
        let gap_ms = now_ms.saturating_sub(self.heard_ms.swap(now_ms, Ordering::Relaxed));
        let known_ms = self.gap_ms.load(Ordering::Relaxed);
        // A long gap is forgotten over some reports: the terminal may have another cadence now.
        self.gap_ms.store(gap_ms.max(known_ms - known_ms / 8), Ordering::Relaxed);
    }

    /// Whether it is no more silent than it is now and then. A dropped link is not seen from here: it is the silence that tells.
    fn is_heard(&self, now_ms: u64) -> bool {
        let silent_ms = now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed));
        let usual = Duration::from_millis(self.gap_ms.load(Ordering::Relaxed).saturating_mul(3));
        Duration::from_millis(silent_ms) < usual.max(TAKEOVER_SILENCE).min(self.idle)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((own, _)) = &self.own {
            self.holders.table().open.remove(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::ManualClock;

    use super::*;

    const IDLE: Duration = Duration::from_secs(120);

    struct Place {
        clock: Arc<ManualClock>,
        holders: Arc<Holders>,
    }

    impl Place {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_795_000_000_000).unwrap()));
            Self { holders: Arc::new(Holders::new(Arc::clone(&clock) as _)), clock }
        }

        fn session(&self, protocol: &'static str) -> Hold {
            Hold::new(Arc::clone(&self.holders), protocol, IDLE)
        }
    }

    fn has(session: &mut Hold, number: u32) -> bool {
        session.has(DeviceHandle(number), &DeviceId::of("jt808", &number.to_string()).unwrap())
    }

    #[test]
    fn each_protocol_has_its_rule() {
        let with_rule: Vec<_> = TAKEOVERS.iter().map(|(name, _)| *name).collect();
        let missing: Vec<_> =
            wire::PROTOCOLS.iter().map(|protocol| protocol.name).filter(|name| !with_rule.contains(name)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn a_later_session_is_held_and_flagged_until_the_first_is_silent_for_three_of_its_intervals() {
        let place = Place::new();
        let [mut first, mut later] = ["jt808", "taip"].map(|protocol| place.session(protocol));
        assert!(has(&mut first, 7));
        place.clock.advance(Duration::from_secs(14));
        assert!(!has(&mut later, 7) && has(&mut later, 8), "another device is its own");
        assert!(has(&mut first, 7), "the first goes on");
        place.clock.advance(Duration::from_secs(41));
        assert!(!has(&mut later, 7) && place.holders.has_second(DeviceHandle(7)), "it was silent for 14 s before");
        let [second] = &*place.holders.second_sessions(10) else { panic!("there is one") };
        assert_eq!((second.device.as_str(), second.protocol, second.held), ("jt808:7", "taip", 2));
        place.clock.advance(Duration::from_secs(1));
        assert!(has(&mut later, 7), "silent for 42 s");
        assert!(place.holders.second_sessions(10).is_empty());
        assert!(!has(&mut first, 7), "it is the later one now");
    }

    /// One that reports each minute is silent for its idle deadline at most, one that reports each second for 15 s.
    #[test]
    fn who_lost_its_link_is_heard_again_soon() {
        for (interval_s, silence_s) in [(1, 15), (60, 120)] {
            let place = Place::new();
            let [mut before, mut after] = ["jt808"; 2].map(|protocol| place.session(protocol));
            for _ in 0..5 {
                assert!(has(&mut before, 7));
                place.clock.advance(Duration::from_secs(interval_s));
            }
            assert!(has(&mut before, 7));
            place.clock.advance(Duration::from_secs(silence_s - 1));
            assert!(!has(&mut after, 7));
            place.clock.advance(Duration::from_secs(1));
            assert!(has(&mut after, 7), "after {silence_s} s");
        }
    }

    #[test]
    fn a_session_that_ends_leaves_its_devices_at_once() {
        let place = Place::new();
        let [mut first, mut later] = ["jt808"; 2].map(|protocol| place.session(protocol));
        assert!(has(&mut first, 7) && !has(&mut later, 7));
        drop(first);
        assert!(has(&mut later, 7) && !place.holders.has_second(DeviceHandle(7)));
        drop(later);
        assert!(place.holders.table().open.is_empty());
    }

    #[test]
    fn a_radio_goes_from_gateway_to_gateway() {
        let place = Place::new();
        let [mut first, mut later] = ["muster"; 2].map(|protocol| place.session(protocol));
        assert!(has(&mut first, 7) && has(&mut later, 7) && has(&mut first, 7));
    }

    #[test]
    fn a_flood_of_second_sessions_costs_bounded_memory() {
        let place = Place::new();
        let [mut first, mut later] = ["jt808"; 2].map(|protocol| place.session(protocol));
        let count = SECOND_SESSIONS_MAX as u32 + 5;
        assert!((0..count).all(|number| has(&mut first, number) && !has(&mut later, number)));
        assert_eq!(place.holders.second_sessions(usize::MAX).len(), SECOND_SESSIONS_MAX);
    }
}
