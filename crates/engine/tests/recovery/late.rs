//! P9: frames that come one to five times, in any order and up to a day late, never move a unit back.

use std::sync::Arc;

use engine::State;
use engine::rules::Outcome;
use index::Change;
use journal::{Enrolment, Entry, Segments, Sequence};
use model::{
    Binding, Clock, DeviceHandle, DeviceId, Heard, Position, PositionReport, TimeBasis, Timestamp, Unit, UnitHandle,
    UnitName, What,
};
use testkit::{ManualClock, Seeded, SimDisk};

use crate::history::at;
use crate::{seeds, text};

const DEVICES: u32 = 4;
const FRAMES: i64 = 40;
const DAY_MS: u64 = 86_400_000;

/// A frame on its way.
#[derive(Debug, Clone, PartialEq)]
struct Delivery {
    received: Timestamp,
    device: u32,
    time: Timestamp,
    position: Position,
}

impl Delivery {
    fn entry(&self) -> Entry {
        let report =
            PositionReport { time: Some(self.time), time_basis: TimeBasis::Gnss, ..PositionReport::at(self.position) };
        let binding = Binding { device: DeviceHandle(self.device), unit: UnitHandle(self.device) };
        Entry::Heard(Heard { binding, received: self.received, what: What::Report(report) })
    }
}

#[derive(Debug, Default)]
struct Tally {
    deliveries: u64,
    late: u64,
    repeated: u64,
}

#[test]
fn late_and_repeated_frames_never_move_a_unit_back() {
    let tallies = seeds::each(2_000, "-p engine --test recovery late", |seed| {
        let deliveries = deliveries(&mut Seeded::new(seed));
        let entries: Vec<_> = (0..DEVICES).map(enrolment).chain(deliveries.iter().map(Delivery::entry)).collect();
        let tally = check_map(&entries)?;
        check_last_places(&entries, &deliveries)?;
        check_journal(seed, &entries)?;
        Ok(tally)
    });
    let sum = |field: fn(&Tally) -> u64| tallies.iter().map(field).sum::<u64>();
    let (deliveries, late) = (sum(|tally| tally.deliveries), sum(|tally| tally.late));
    assert!(late > 0, "nothing was late");
    println!("{} cases, {deliveries} deliveries, {late} late, {} repeated", tallies.len(), sum(|tally| tally.repeated));
}

fn enrolment(number: u32) -> Entry {
    let device = DeviceId::of("test", &number.to_string()).expect("it is a name");
    let unit = Unit::named(UnitName::new(&format!("unit-{number}")).expect("it is a name"));
    Entry::Enrol(Enrolment { handle: UnitHandle(number), unit, devices: vec![(DeviceHandle(number), device)] })
}

/// Each frame one to five times, each time up to a day late, in the order of receipt.
fn deliveries(random: &mut Seeded) -> Vec<Delivery> {
    let mut all = Vec::new();
    for device in 0..DEVICES {
        for frame in 0..FRAMES {
            // Some frames share their second with the one before, at another place.
            let time = at(1_000 * (frame - i64::from(random.next().is_multiple_of(8))));
            // Within the noise of a receiver: no step is a jump, whatever the order.
            let mut noise = || (random.next() % 8_000) as i32;
            let position = Position::from_e7(228_000_000 + noise(), 1_083_000_000 + noise()).expect("it is on earth");
            for _ in 0..1 + random.next() % 5 {
                let is_prompt = random.next().is_multiple_of(2);
                let delay_ms = random.next() % if is_prompt { 2_000 } else { DAY_MS };
                all.push(Delivery { received: time.shifted_ms(delay_ms as i64), device, time, position });
            }
        }
    }
    all.sort_by_key(|delivery| delivery.received);
    all
}

/// What is late or repeated changes no place; what is newest is the place at once.
fn check_map(entries: &[Entry]) -> Result<Tally, String> {
    let (mut state, mut tally) = (State::default(), Tally::default());
    let mut shown: Vec<Option<(Position, Timestamp)>> = vec![None; DEVICES as usize];
    for entry in entries {
        let effect = state.apply(entry);
        let Entry::Heard(heard) = entry else { continue };
        tally.deliveries += 1;
        let shown = &mut shown[heard.binding.unit.0 as usize];
        match (effect.outcome, effect.change) {
            (Some(Outcome::Newest), Some(Change::Place { fix, .. })) => {
                if shown.is_some_and(|(_, time)| fix.time < time) {
                    return Err(format!("moved back from {shown:?} to {fix:?}"));
                }
                *shown = Some((fix.position, fix.time));
            }
            (Some(Outcome::Late), Some(Change::Touch { .. })) => tally.late += 1,
            (Some(Outcome::Duplicate), Some(Change::Touch { .. })) => tally.repeated += 1,
            other => return Err(format!("{heard:?} gives {other:?}")),
        }
    }
    let last: Vec<_> = state.last_places().map(|(_, position, time)| Some((position, time))).collect();
    if last == shown { Ok(tally) } else { Err(format!("the map shows {shown:?}, the devices are at {last:?}")) }
}

/// The last place of each device is that of its delivery with the greatest order key.
fn check_last_places(entries: &[Entry], deliveries: &[Delivery]) -> Result<(), String> {
    let state = crate::history::state_of(entries);
    for (number, (_, position, time)) in (0..DEVICES).zip(state.last_places()) {
        let mut own: Vec<_> = deliveries.iter().enumerate().filter(|(_, one)| one.device == number).collect();
        own.sort_by_key(|(receipt, one)| (one.time.min(one.received), *receipt));
        let Some((_, newest)) = own.last() else { return Err("a device sent nothing".to_owned()) };
        if (newest.position, newest.time) != (position, time) {
            return Err(format!("device {number} is at {position:?} of {time}, its newest frame is {newest:?}"));
        }
    }
    Ok(())
}

/// Every delivery is in the journal, in order, however late.
pub(crate) fn check_journal(seed: u64, entries: &[Entry]) -> Result<(), String> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(0)));
    let mut log = Segments::open(Arc::new(SimDisk::new(seed)), clock).map_err(text)?;
    for group in entries.chunks(100) {
        if log.append(group).is_err() {
            log.reserve(64 << 10).and_then(|()| log.append(group)).map_err(text)?;
        }
    }
    log.sync().map_err(text)?;
    let mut found = Vec::new();
    log.read(Sequence(1), &mut |_, entry| found.push(entry)).map_err(text)?;
    if found == entries { Ok(()) } else { Err(format!("{} of {} are in the journal", found.len(), entries.len())) }
}
