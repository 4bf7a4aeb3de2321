//! The rules of time and order for one device's fixes: pure, so that the same reports in the same
//! order always give the same state.

use journal::Malformed;
use journal::codec::{Decoder, Encoder};
use model::{Flags, Position, PositionReport, Timestamp, UnitKind, limits};

/// Two fixes farther apart than the kind can go, by more than this, are a jump. Covers receiver noise.
const JUMP_SLACK_M: f64 = 150.0;
/// Longer silences teach nothing about how often a device reports.
const INTERVAL_MS_MAX: i64 = 3_600_000;

/// What is remembered of one device.
#[derive(Debug, Clone, Default)]
pub struct DeviceState {
    /// The newest fix, by order key.
    last: Option<Ordered>,
    /// A jump that waits for a second fix. Seldom there: elsewhere, so that a device is one cache line.
    held: Option<Box<Ordered>>,
    /// How often it reports, learned, in milliseconds.
    interval_ms: Option<u32>,
}

/// A fix with its order key. Of two equal times the later received is the newer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered {
    /// min(event time, receipt time).
    order_time: Timestamp,
    /// The event time as sent.
    time: Option<Timestamp>,
    position: Position,
    flags: Flags,
}

impl Ordered {
    fn lay(to: &mut Encoder, this: Self) {
        to.time(this.order_time);
        to.option(this.time, Encoder::time);
        to.position(this.position);
        to.flags(this.flags);
    }

    fn read(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            order_time: from.time("order time")?,
            time: from.option("time", |from| from.time("time"))?,
            position: from.position()?,
            flags: from.flags()?,
        })
    }
}

/// What becomes of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is the device's newest fix.
    Newest,
    /// The same device, time, place and flags as the newest.
    Duplicate,
    /// Older than the newest: for tracks, not for the map.
    Late,
    /// Farther than the kind can go: waits for a second fix.
    HeldJump,
    /// The receiver had no fix: contact only.
    NoFix,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Newest, Self::Duplicate, Self::Late, Self::HeldJump, Self::NoFix];

    /// The stable word under which it is counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::HeldJump => "held_jump",
            Self::NoFix => "no_fix",
        }
    }
}

/// A report after the rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What became of it.
    pub outcome: Outcome,
    /// When the place was true, for its age: never after its receipt.
    pub order_time: Timestamp,
    /// The report's flags with what the rules add.
    pub flags: Flags,
}

impl DeviceState {
    /// Judges `report` and remembers it.
    pub fn judge(&mut self, report: &PositionReport, received: Timestamp, kind: UnitKind) -> Judged {
        let event_time = report.time.unwrap_or(received);
        let order_time = event_time.min(received);
        let mut flags = report.flags;
        flags.set_if(event_time > received.after(limits::FUTURE_TOLERANCE), Flags::TIME_FUTURE);
        let judged = |outcome, flags| Judged { outcome, order_time, flags };
        if !report.valid {
            return judged(Outcome::NoFix, flags);
        }
        self.follow_the_clock(received);
        let fix = Ordered { order_time, time: report.time, position: report.position, flags: report.flags };
        let Some(last) = self.last else {
            self.last = Some(fix);
            return judged(Outcome::Newest, flags);
        };
        let same = |other: &Ordered| {
            fix.time.is_some() && (fix.time, fix.position, fix.flags) == (other.time, other.position, other.flags)
        };
        if same(&last) || self.held.as_deref().is_some_and(same) {
            return judged(Outcome::Duplicate, flags);
        }
        if order_time < last.order_time {
            return judged(Outcome::Late, flags);
        }
        if is_jump(&last, &fix, kind) {
            let confirms = |held: &Ordered| held.order_time <= order_time && !is_jump(held, &fix, kind);
            if !self.held.as_deref().is_some_and(confirms) {
                self.held = Some(Box::new(fix));
                return judged(Outcome::HeldJump, flags);
            }
            flags = flags.with(Flags::JUMP);
        }
        self.learn_interval(order_time.ms_since(last.order_time));
        self.held = None;
        self.last = Some(fix);
        judged(Outcome::Newest, flags)
    }

    /// No fix is dated after its receipt. One that is far ahead of the clock was received before the clock was set back, between
    /// two runs: how long ago nobody knows. It counts as of now, so that it cannot freeze the device until the clock is there again.
    fn follow_the_clock(&mut self, now: Timestamp) {
        for fix in [self.last.as_mut(), self.held.as_deref_mut()].into_iter().flatten() {
            if is_before_the_clock_was_set(fix.order_time, now) {
                fix.order_time = now;
            }
        }
    }

    /// How often the device reports, learned from its fixes.
    #[must_use]
    pub const fn interval_ms(&self) -> Option<u32> {
        self.interval_ms
    }

    /// Reads a little, so that the rest is on its way when [`Self::judge`] comes.
    pub(crate) fn touch_memory(&self) -> usize {
        self.interval_ms.unwrap_or(0) as usize
    }

    /// Forgets places of `upto` and before; how often the device reports stays known.
    pub(crate) fn forget(&mut self, upto: Timestamp) {
        self.last = self.last.filter(|last| last.order_time > upto);
        self.held = self.held.take().filter(|held| held.order_time > upto);
    }

    /// The newest place and when it was true.
    #[must_use]
    pub fn last_place(&self) -> Option<(Position, Timestamp)> {
        self.last.map(|last| (last.position, last.order_time))
    }

    /// Lays everything remembered, for a snapshot.
    pub(crate) fn lay(&self, to: &mut Encoder) {
        to.option(self.last, Ordered::lay);
        to.option(self.held.as_deref().copied(), Ordered::lay);
        to.option(self.interval_ms, |to, interval| to.varint(u64::from(interval)));
    }

    /// Reads what [`Self::lay`] laid.
    pub(crate) fn read(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            last: from.option("last", Ordered::read)?,
            held: from.option("held", Ordered::read)?.map(Box::new),
            interval_ms: from.option("interval", |from| from.number("interval"))?,
        })
    }

    /// A running mean that follows a change of cadence within a few reports.
    fn learn_interval(&mut self, gap_ms: i64) {
        if !(1..=INTERVAL_MS_MAX).contains(&gap_ms) {
            return;
        }
        let gap_ms = gap_ms as u32;
        self.interval_ms = Some(match self.interval_ms {
            None => gap_ms,
            Some(mean) => mean - mean / 4 + gap_ms / 4,
        });
    }
}

/// Whether what is dated `order_time` was received when the clock stood more than a minute later than `now`. Sessions may hand over
/// their reports a moment out of order; that is not meant.
pub(crate) fn is_before_the_clock_was_set(order_time: Timestamp, now: Timestamp) -> bool {
    order_time > now.after(limits::FUTURE_TOLERANCE)
}

/// Whether the way from `earlier` to `later` is farther than `kind` can go in that time.
fn is_jump(earlier: &Ordered, later: &Ordered, kind: UnitKind) -> bool {
    let seconds = (later.order_time.ms_since(earlier.order_time)).max(0) as f64 / 1_000.0;
    let reach_m = kind.speed_mps_max() * seconds + JUMP_SLACK_M;
    // The exact distance costs a microsecond; nearly every step is within the slack.
    let step = |from: i32, to: i32| f64::from(from.abs_diff(to));
    let step_e7 = step(earlier.position.lat_e7(), later.position.lat_e7())
        + step(earlier.position.lon_e7(), later.position.lon_e7());
    let longest_m = step_e7 * 0.011_2;
    longest_m > reach_m && geodesy::distance_m(earlier.position, later.position) > reach_m
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_795_000_000_000 + second * 1_000).unwrap()
    }

    /// The sum of both differences did not fit 32 bits: one device could end the writer.
    #[test]
    fn a_step_from_one_end_of_the_earth_to_the_other_is_a_jump() {
        let mut device = DeviceState::default();
        for (second, (lat, lon)) in (0..).zip([(-90.0, -180.0), (90.0, 179.999_999_9)]) {
            let report = PositionReport::at(Position::from_degrees(lat, lon).unwrap());
            let outcome = device.judge(&report, at(second), UnitKind::Car).outcome;
            assert_eq!(outcome, if second == 0 { Outcome::Newest } else { Outcome::HeldJump });
        }
    }

    fn report(second: i64, lat_e7: i32) -> PositionReport {
        let position = Position::from_e7(lat_e7, 1_083_000_000).unwrap();
        PositionReport { time: Some(at(second)), ..PositionReport::at(position) }
    }

    fn outcome(state: &mut DeviceState, second: i64, lat_e7: i32, received: i64) -> Outcome {
        state.judge(&report(second, lat_e7), at(received), UnitKind::Car).outcome
    }

    const LAT: i32 = 228_000_000;
    const KILOMETRE: i32 = 90_000;

    #[test]
    fn a_late_report_never_moves_a_device_back() {
        let mut state = DeviceState::default();
        assert_eq!(outcome(&mut state, 10, LAT, 10), Outcome::Newest);
        assert_eq!(outcome(&mut state, 5, LAT + 1, 11), Outcome::Late);
        assert_eq!(state.last_place().unwrap().1, at(10));
    }

    #[test]
    fn a_duplicate_has_the_same_time_place_and_flags() {
        let mut state = DeviceState::default();
        outcome(&mut state, 10, LAT, 10);
        assert_eq!(outcome(&mut state, 10, LAT, 12), Outcome::Duplicate);
        assert_eq!(outcome(&mut state, 10, LAT + 1, 12), Outcome::Newest);
        let mut pressed = report(10, LAT + 1);
        pressed.flags = Flags::EMERGENCY;
        assert_eq!(state.judge(&pressed, at(12), UnitKind::Car).outcome, Outcome::Newest);
    }

    #[test]
    fn a_fix_from_the_future_cannot_freeze_the_unit() {
        let mut state = DeviceState::default();
        let future = state.judge(&report(100_000, LAT), at(10), UnitKind::Car);
        assert!(future.flags.contains(Flags::TIME_FUTURE));
        assert_eq!((future.outcome, future.order_time), (Outcome::Newest, at(10)));
        assert_eq!(outcome(&mut state, 15, LAT + 1, 15), Outcome::Newest);
    }

    #[test]
    fn a_jump_waits_for_a_second_fix() {
        let mut state = DeviceState::default();
        outcome(&mut state, 0, LAT, 0);
        assert_eq!(outcome(&mut state, 5, LAT + 20 * KILOMETRE, 5), Outcome::HeldJump);
        // Back where it was: the jump was a lie.
        assert_eq!(outcome(&mut state, 10, LAT + 10, 10), Outcome::Newest);
        assert_eq!(outcome(&mut state, 15, LAT + 20 * KILOMETRE, 15), Outcome::HeldJump);
        let confirmed = state.judge(&report(20, LAT + 20 * KILOMETRE + 100), at(20), UnitKind::Car);
        assert_eq!(confirmed.outcome, Outcome::Newest);
        assert!(confirmed.flags.contains(Flags::JUMP));
    }

    #[test]
    fn without_a_fix_nothing_moves() {
        let mut state = DeviceState::default();
        let mut none = report(10, LAT);
        none.valid = false;
        assert_eq!(state.judge(&none, at(10), UnitKind::Car).outcome, Outcome::NoFix);
        assert_eq!(state.last_place(), None);
    }

    #[test]
    fn the_interval_is_learned() {
        let mut state = DeviceState::default();
        for step in 0..20 {
            outcome(&mut state, step * 5, LAT + step as i32, step * 5);
        }
        assert_eq!(state.interval_ms(), Some(5_000));
    }

    proptest::proptest! {
        /// The last place is the one with the greatest order key, whatever the order of arrival.
        #[test]
        fn shuffled_and_repeated_reports_end_at_the_newest(seconds in proptest::collection::vec(0i64..100, 1..60)) {
            let mut state = DeviceState::default();
            for second in &seconds {
                outcome(&mut state, *second, LAT + *second as i32, 1_000);
            }
            let newest = *seconds.iter().max().unwrap();
            proptest::prop_assert_eq!(state.last_place().unwrap().1, at(newest));
        }
    }
}
