//! Random entries of every kind, the same for the same seed.

use journal::{Enrolment, Entry};
use model::{
    AccuracyBasis, Altitude, AltitudeRef, Binding, DeviceHandle, DeviceId, Flags, Handling, Heard, OrganisationName,
    Position, PositionReport, Press, PrincipalName, Status, Step, TimeBasis, Timestamp, Unit, UnitHandle, UnitKind,
    UnitName, What,
};
use testkit::{Seeded, Shape};

/// `count` entries, mostly reports, as in a log.
pub(crate) fn batch(random: &mut Seeded, count: usize) -> Vec<Entry> {
    (0..count).map(|_| entry(random)).collect()
}

fn entry(random: &mut Seeded) -> Entry {
    match random.next() % 20 {
        0 => {
            Entry::Enrol(Enrolment { handle: UnitHandle(number(random)), unit: unit(random), devices: devices(random) })
        }
        1 => Entry::Retire(UnitHandle(number(random))),
        2 => Entry::Press { number: random.next() >> (random.next() % 64), press: press(random) },
        3 if random.next().is_multiple_of(2) => Entry::Lost,
        3 if random.next().is_multiple_of(2) => Entry::Forget { unit: UnitHandle(number(random)), upto: time(random) },
        3 => Entry::Handle(handling(random)),
        4 => heard(random, What::Contact),
        5 => heard(random, What::LogOut),
        _ => {
            let report = report(random);
            heard(random, What::Report(report))
        }
    }
}

fn handling(random: &mut Seeded) -> Handling {
    let reason = "x".repeat((random.next() % 1_025) as usize);
    let step = if random.next().is_multiple_of(2) { Step::Seen } else { Step::Cleared { reason } };
    let by = PrincipalName::new("desk-1").expect("it is a name");
    Handling { number: random.next() >> (random.next() % 64), by, at: time(random), step }
}

fn heard(random: &mut Seeded, what: What) -> Entry {
    let binding = Binding { device: DeviceHandle(number(random)), unit: UnitHandle(number(random)) };
    Entry::Heard(Heard { binding, received: time(random), what })
}

/// With everything that the log keeps, each part there or not: the device is in the binding, and a report without a time of
/// its own is dated by its receipt.
fn report(random: &mut Seeded) -> PositionReport {
    let time = perhaps(random, time);
    let basis =
        [TimeBasis::Gnss, TimeBasis::Device, TimeBasis::Gateway, TimeBasis::Receipt][random.next() as usize % 4];
    PositionReport {
        time,
        time_basis: if time.is_some() { basis } else { TimeBasis::Receipt },
        valid: is_lucky(random),
        flags: Flags::from_bits(random.next() as u16 % 1_024).expect("ten flags have a meaning"),
        speed_mps: perhaps(random, |random| random.between(0.0, 90.0) as f32),
        course_deg: perhaps(random, |random| random.between(0.0, 360.0) as f32),
        altitude: perhaps(random, altitude),
        accuracy_m: perhaps(random, |random| random.between(0.0, 500.0) as f32),
        accuracy_basis: perhaps(random, |random| {
            [AccuracyBasis::Device, AccuracyBasis::Class, AccuracyBasis::Gateway][random.next() as usize % 3]
        }),
        ..PositionReport::at(Shape::Globe.place(random))
    }
}

fn altitude(random: &mut Seeded) -> Altitude {
    let all = [AltitudeRef::Ellipsoid, AltitudeRef::Msl, AltitudeRef::Pressure, AltitudeRef::Agl];
    Altitude { metres: random.between(-400.0, 9_000.0) as f32, reference: all[random.next() as usize % 4] }
}

fn press(random: &mut Seeded) -> Press {
    let place = |random: &mut Seeded| -> (Position, Timestamp) { (Shape::City.place(random), time(random)) };
    Press {
        device: device(random),
        pressed_at: perhaps(random, time),
        received_at: time(random),
        is_delayed: is_lucky(random),
        place: perhaps(random, place),
    }
}

fn unit(random: &mut Seeded) -> Unit {
    let number = random.next() % 1_000_000;
    let words = random.next() % 4;
    Unit {
        name: UnitName::new(&format!("桂A{number}警")).expect("it is a name"),
        kind: UnitKind::ALL[random.next() as usize % UnitKind::ALL.len()],
        status: Status::ALL[random.next() as usize % Status::ALL.len()],
        organisation: perhaps(random, |_| {
            OrganisationName::new(&format!("station-{}", number % 7)).expect("it is a name")
        }),
        capabilities: (0..words).map(|word| format!("word{word}")).collect(),
        covert: is_lucky(random),
    }
}

fn devices(random: &mut Seeded) -> Vec<(DeviceHandle, DeviceId)> {
    (0..random.next() % 3).map(|_| (DeviceHandle(number(random)), device(random))).collect()
}

fn device(random: &mut Seeded) -> DeviceId {
    DeviceId::of("jt808", &(random.next() % 100_000).to_string()).expect("it is a name")
}

/// Mostly now, sometimes any time at all.
fn time(random: &mut Seeded) -> Timestamp {
    let now = 1_795_000_000_000 + (random.next() % 3_600_000) as i64;
    let span = (Timestamp::MAX.unix_ms() - Timestamp::MIN.unix_ms()) as u64;
    let any = Timestamp::MIN.unix_ms() + (random.next() % span) as i64;
    Timestamp::from_unix_ms(if random.next().is_multiple_of(10) { any } else { now }).expect("it is within all time")
}

/// Of any length in bytes.
fn number(random: &mut Seeded) -> u32 {
    (random.next() as u32) >> (random.next() % 32)
}

fn perhaps<T>(random: &mut Seeded, make: impl FnOnce(&mut Seeded) -> T) -> Option<T> {
    is_lucky(random).then(|| make(random))
}

fn is_lucky(random: &mut Seeded) -> bool {
    random.next().is_multiple_of(2)
}
