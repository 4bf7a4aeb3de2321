//! Random logs as an engine could have written them, the same for the same seed.

use engine::State;
use journal::{Enrolment, Entry};
use model::{
    Binding, DeviceHandle, DeviceId, Flags, Handling, Heard, Position, PositionReport, Press, PrincipalName, Step,
    TimeBasis, Timestamp, Unit, UnitHandle, UnitKind, UnitName, What,
};
use testkit::{Seeded, Shape};

const NOW_MS: i64 = 1_795_000_000_000;
/// Frames that may be sent again.
const REMEMBERED: usize = 64;

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOW_MS + ms).expect("it is a time")
}

/// The state that `entries` give, one by one: what all else is held against.
pub(crate) fn state_of(entries: &[Entry]) -> State {
    let mut state = State::default();
    entries.iter().for_each(|entry| drop(state.apply(entry)));
    state
}

/// Who reports, and what was sent.
pub(crate) struct History {
    random: Seeded,
    /// The unit that carries each device, its name, and where it is.
    devices: Vec<(UnitHandle, DeviceId, Position)>,
    units: Vec<UnitName>,
    sent: Vec<(usize, PositionReport)>,
    now_ms: i64,
    presses: u64,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        let random = Seeded::new(seed);
        Self { random, devices: Vec::new(), units: Vec::new(), sent: Vec::new(), now_ms: 0, presses: 0 }
    }

    /// The next `count` entries.
    pub(crate) fn next(&mut self, count: usize) -> Vec<Entry> {
        (0..count).map(|_| self.entry()).collect()
    }

    fn entry(&mut self) -> Entry {
        self.now_ms += (self.random.next() % 200) as i64;
        let is_small = self.units.len() < 4;
        match self.random.next() % 100 {
            _ if is_small => self.enrolment(),
            0 if self.units.len() < 5_000 => self.enrolment(),
            1 => Entry::Retire(UnitHandle((self.random.next() % self.units.len() as u64) as u32)),
            2 if self.random.next().is_multiple_of(2) => self.handling(),
            2 => self.press(),
            3 if self.random.next().is_multiple_of(2) => self.forget(),
            3 => Entry::Lost,
            4 => self.change(),
            5..9 => self.heard(What::Contact),
            9 => self.heard(What::LogOut),
            10..30 if !self.sent.is_empty() => self.again(),
            _ => self.report(),
        }
    }

    fn enrolment(&mut self) -> Entry {
        let handle = UnitHandle(self.units.len() as u32);
        self.units.push(UnitName::new(&format!("unit-{}", handle.0)).expect("it is a name"));
        let devices = (0..1 + self.random.next() % 2)
            .map(|_| {
                let number = self.devices.len() as u32;
                let device = DeviceId::of("test", &number.to_string()).expect("it is a name");
                let place = Shape::City.place(&mut self.random);
                self.devices.push((handle, device.clone(), place));
                (DeviceHandle(number), device)
            })
            .collect();
        Entry::Enrol(Enrolment { handle, unit: self.unit(handle), devices })
    }

    fn unit(&mut self, handle: UnitHandle) -> Unit {
        let kind = UnitKind::ALL[self.random.next() as usize % UnitKind::ALL.len()];
        let covert = self.random.next().is_multiple_of(8);
        Unit { kind, covert, ..Unit::named(self.units[handle.0 as usize].clone()) }
    }

    fn change(&mut self) -> Entry {
        let handle = UnitHandle((self.random.next() % self.units.len() as u64) as u32);
        Entry::Enrol(Enrolment { handle, unit: self.unit(handle), devices: Vec::new() })
    }

    fn press(&mut self) -> Entry {
        let device = self.device();
        self.presses += 1;
        let place = self.random.next().is_multiple_of(2).then(|| (self.devices[device].2, at(self.now_ms - 700)));
        let device = self.devices[device].1.clone();
        let press =
            Press { device, pressed_at: None, received_at: at(self.now_ms), is_delayed: place.is_none(), place };
        Entry::Press { number: self.presses, press }
    }

    fn forget(&mut self) -> Entry {
        let unit = UnitHandle((self.random.next() % self.units.len() as u64) as u32);
        Entry::Forget { unit, upto: at(self.now_ms - (self.random.next() % 4_000) as i64) }
    }

    fn handling(&mut self) -> Entry {
        let number = 1 + self.random.next() % self.presses.max(1);
        let reason = "false alarm".to_owned();
        let step = if self.random.next().is_multiple_of(3) { Step::Seen } else { Step::Cleared { reason } };
        let by = PrincipalName::new("desk-1").expect("it is a name");
        Entry::Handle(Handling { number, by, at: at(self.now_ms), step })
    }

    fn device(&mut self) -> usize {
        (self.random.next() % self.devices.len() as u64) as usize
    }

    fn heard(&mut self, what: What) -> Entry {
        let device = self.device();
        self.from(device, what)
    }

    fn from(&self, device: usize, what: What) -> Entry {
        let binding = Binding { device: DeviceHandle(device as u32), unit: self.devices[device].0 };
        Entry::Heard(Heard { binding, received: at(self.now_ms), what })
    }

    /// A frame once more, late by as long as it was remembered.
    fn again(&mut self) -> Entry {
        let chosen = (self.random.next() % self.sent.len() as u64) as usize;
        let (device, report) = self.sent[chosen];
        self.from(device, What::Report(report))
    }

    fn report(&mut self) -> Entry {
        let device = self.device();
        let place = self.devices[device].2;
        let far = if self.random.next().is_multiple_of(16) { 2_000_000 } else { 2_000 };
        let mut step = || (self.random.next() % (2 * far + 1)) as i32 - far as i32;
        let moved = Position::from_e7(place.lat_e7() + step(), place.lon_e7() + step()).expect("it stays in the city");
        self.devices[device].2 = moved;
        // Some come a day late, some are dated ahead, some not at all.
        let delay_ms = match self.random.next() % 16 {
            0 => (self.random.next() % 86_400_000) as i64,
            1 => -((self.random.next() % 600_000) as i64),
            _ => (self.random.next() % 3_000) as i64,
        };
        let time = (!self.random.next().is_multiple_of(8)).then(|| at(self.now_ms - delay_ms));
        let report = PositionReport {
            time,
            time_basis: if time.is_some() { TimeBasis::Gnss } else { TimeBasis::Receipt },
            valid: !self.random.next().is_multiple_of(16),
            flags: if self.random.next().is_multiple_of(16) { Flags::BACKLOG } else { Flags::default() },
            speed_mps: self.random.next().is_multiple_of(2).then_some(4.5),
            accuracy_m: self.random.next().is_multiple_of(2).then_some(20.0),
            ..PositionReport::at(moved)
        };
        if self.sent.len() == REMEMBERED {
            let oldest = (self.random.next() % REMEMBERED as u64) as usize;
            self.sent.swap_remove(oldest);
        }
        self.sent.push((device, report));
        self.from(device, What::Report(report))
    }
}

/// Exchanges entries with others near them, and repeats some: what a state must bear, whatever sense it makes.
pub(crate) fn shuffled(random: &mut Seeded, entries: &[Entry]) -> Vec<Entry> {
    let mut all = Vec::with_capacity(entries.len() * 2);
    for entry in entries {
        let copies = 1 + usize::from(random.next().is_multiple_of(4)) * (random.next() % 4) as usize;
        all.extend(std::iter::repeat_n(entry, copies).cloned());
    }
    for at in 0..all.len() {
        let other = (at + (random.next() % 32) as usize).min(all.len() - 1);
        all.swap(at, other);
    }
    all
}
