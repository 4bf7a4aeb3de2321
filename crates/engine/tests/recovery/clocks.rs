//! P16: clocks that are wrong, drift or are set freeze no unit, and let none expire that was heard.

use engine::State;
use engine::rules::Outcome;
use index::{Change, Fix, Slot};
use journal::{Enrolment, Entry};
use model::{
    Binding, DeviceHandle, DeviceId, Flags, Heard, Position, PositionReport, TimeBasis, Timestamp, Unit, UnitHandle,
    UnitName, What,
};
use testkit::Seeded;

use crate::history::at;
use crate::{late, seeds};

const REPORTS: i64 = 60;
const INTERVAL_MS: i64 = 5_000;
const HOUR_MS: i64 = 3_600_000;
const TEN_YEARS_MS: u64 = 315_576_000_000;
const FUTURE_MS: i64 = 60_000;

/// A device's clock: by how much it is wrong, and how fast it drifts.
#[derive(Debug, Clone, Copy)]
enum DeviceClock {
    None,
    Wrong { offset_ms: i64, drift_ppm: i64 },
}

impl DeviceClock {
    fn any(random: &mut Seeded) -> Self {
        let mut within = |span: u64| (random.next() % (2 * span + 1)) as i64 - span as i64;
        let (near, some, far) = (within(5_000), within(120_000), within(TEN_YEARS_MS));
        let drift_ppm = within(1_000);
        match random.next() % 5 {
            0 => Self::None,
            1 => Self::Wrong { offset_ms: 0, drift_ppm: 0 },
            2 => Self::Wrong { offset_ms: near, drift_ppm },
            3 => Self::Wrong { offset_ms: some, drift_ppm },
            _ => Self::Wrong { offset_ms: far, drift_ppm },
        }
    }

    fn time(self, true_ms: i64) -> Option<Timestamp> {
        match self {
            Self::None => None,
            Self::Wrong { offset_ms, drift_ppm } => Some(at(true_ms + offset_ms + true_ms * drift_ppm / 1_000_000)),
        }
    }
}

fn enrolment() -> Entry {
    let device = DeviceId::of("test", "1").expect("it is a name");
    let unit = Unit::named(UnitName::new("unit-1").expect("it is a name"));
    Entry::Enrol(Enrolment { handle: UnitHandle(0), unit, devices: vec![(DeviceHandle(0), device)] })
}

fn heard(time: Option<Timestamp>, received: Timestamp, position: Position) -> Entry {
    let time_basis = if time.is_some() { TimeBasis::Device } else { TimeBasis::Receipt };
    let report = PositionReport { time, time_basis, ..PositionReport::at(position) };
    let binding = Binding { device: DeviceHandle(0), unit: UnitHandle(0) };
    Entry::Heard(Heard { binding, received, what: What::Report(report) })
}

fn place(random: &mut Seeded, step: i64) -> Position {
    // A slow way, so that no step is a jump.
    let lon_e7 = 1_083_000_000 + (random.next() % 500) as i32;
    Position::from_e7(228_000_000 + step as i32 * 900, lon_e7).expect("it is on earth")
}

/// The report that is applied is where the unit is now, dated as it must be.
fn apply(state: &mut State, entry: &Entry) -> Result<Slot, String> {
    let Entry::Heard(Heard { received, what: What::Report(report), .. }) = entry else {
        return Err("it is no report".to_owned());
    };
    let effect = state.apply(entry);
    let (Some(Outcome::Newest), Some(Change::Place { fix, contact, interval_ms, .. })) =
        (effect.outcome, effect.change)
    else {
        return Err(format!("frozen: {report:?} received {received} gives {effect:?}"));
    };
    let time = report.time.unwrap_or(*received);
    let is_future = time.ms_since(*received) > FUTURE_MS;
    let expected = (report.position, time.min(*received), *received, is_future);
    let shown = |fix: &Fix| (fix.position, fix.time, fix.received, fix.flags.contains(Flags::TIME_FUTURE));
    if shown(&fix) != expected {
        return Err(format!("{report:?} received {received} is shown as {fix:?}"));
    }
    Ok(Slot { fix: Some(fix), contact_time: Some(contact), expected_interval_ms: interval_ms, ..Slot::default() })
}

/// Neither too early nor too late: three and ten expected intervals, at least 15 and 50 s; 15 s is expected of whom is not known.
fn check_expiry(slot: &Slot, received: Timestamp) -> Result<(), String> {
    let age_ms = slot.fix_age_ms(received).ok_or("there is a fix")?;
    let interval_ms = slot.expected_interval_ms.map_or(15_000, i64::from);
    let (stale_ms, out_ms) = ((3 * interval_ms).max(15_000), (10 * interval_ms).max(50_000));
    for later_ms in [0, stale_ms - 1, stale_ms, stale_ms + 1, out_ms, out_ms + 1] {
        let now = received.shifted_ms(later_ms);
        let is_right = slot.is_stale(now) == (age_ms + later_ms > stale_ms);
        if !is_right || slot.is_out_of_contact(now) != (later_ms > out_ms) {
            return Err(format!("{later_ms} ms after {received} a wrong expiry: {slot:?}"));
        }
    }
    Ok(())
}

#[test]
fn a_wrong_device_clock_freezes_no_unit() {
    let futures = seeds::each(2_000, "-p engine --test recovery clocks", |seed| {
        let mut random = Seeded::new(seed);
        let clock = DeviceClock::any(&mut random);
        let (mut state, mut entries, mut futures) = (State::default(), vec![enrolment()], 0u64);
        state.apply(&entries[0]);
        for step in 0..REPORTS {
            let true_ms = step * INTERVAL_MS;
            let received = at(true_ms + (random.next() % 3_000) as i64);
            entries.push(heard(clock.time(true_ms), received, place(&mut random, step)));
            let slot = apply(&mut state, &entries[entries.len() - 1]).map_err(|error| format!("{clock:?}: {error}"))?;
            check_expiry(&slot, received).map_err(|error| format!("{clock:?}: {error}"))?;
            futures += u64::from(slot.fix.is_some_and(|fix| fix.flags.contains(Flags::TIME_FUTURE)));
        }
        late::check_journal(seed, &entries).map(|()| futures)
    });
    let flagged = futures.iter().sum::<u64>();
    assert!(flagged > 0, "nothing came from the future");
    println!(
        "{} clocks, {} reports, {flagged} from the future: 0 wrong",
        futures.len(),
        futures.len() as i64 * REPORTS
    );
}

/// Within a run the server's clock never goes back (`server/src/clock.rs`); between two runs it may have been set. A fix that came
/// from less than a minute ahead may then hold up its device until the clock is there; nothing holds it up for longer.
#[test]
fn a_server_clock_that_was_set_freezes_no_unit() {
    let counts = seeds::each(2_000, "-p engine --test recovery clocks", |seed| {
        let mut random = Seeded::new(seed);
        let clock = DeviceClock::any(&mut random);
        let (mut state, mut server_ms, mut set_at_ms) = (State::default(), 0, -FUTURE_MS);
        let (mut times_set, mut held_up) = (0u64, 0u64);
        state.apply(&enrolment());
        for step in 0..REPORTS {
            let true_ms = step * INTERVAL_MS;
            if random.next().is_multiple_of(8) {
                server_ms = [-HOUR_MS, 0, HOUR_MS][random.next() as usize % 3];
                state = State::from_bytes(&state.to_bytes()).map_err(crate::text)?;
                times_set += 1;
                set_at_ms = true_ms;
            }
            let received = at(true_ms + server_ms + (random.next() % 3_000) as i64);
            let entry = heard(clock.time(true_ms), received, place(&mut random, step));
            match apply(&mut state, &entry) {
                Ok(_) => {}
                Err(error) if error.starts_with("frozen") && true_ms - set_at_ms < FUTURE_MS => held_up += 1,
                Err(error) => return Err(format!("{clock:?}, the server is {server_ms} off: {error}")),
            }
        }
        Ok((times_set, held_up))
    });
    let (times_set, held_up) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!(
        "{} cases, {} reports, the clock was set {times_set} times: {held_up} reports waited, none longer than a minute",
        counts.len(),
        counts.len() as i64 * REPORTS
    );
}

#[test]
fn a_leap_second_freezes_no_unit() {
    let stamp = |hour, minute, second| Timestamp::from_civil((2016, 12, 31), (hour, minute, second), 0);
    let next_day = |second| Timestamp::from_civil((2017, 1, 1), (0, 0, second), 0);
    let stamps = [stamp(23, 59, 59), stamp(23, 59, 60), next_day(0), next_day(1)];
    let (mut state, mut random) = (State::default(), Seeded::new(1));
    state.apply(&enrolment());
    for (step, time) in (0..).zip(stamps) {
        assert!(time.is_some(), "it is a time");
        let received = at(step * 1_000);
        let shown = apply(&mut state, &heard(time, received, place(&mut random, step)));
        assert!(shown.is_ok(), "{shown:?}");
    }
}
