use std::collections::BTreeMap;

use model::{AccuracyBasis, Flags, Position, PositionReport, TimeBasis, Timestamp};
use simulate::{Force, Forces};
use testkit::Seeded;

/// What goes wrong in the field: the share of units (0 to 1) to which each trouble belongs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Troubles {
    /// For two minutes of every ten the receiver has no fix; its reports say so and repeat the last place.
    pub no_fix: f64,
    /// For three minutes of every ten there is no mobile network. Terminals that store send all of it afterwards within ten seconds, beside new
    /// reports; modems lose it. Radios have their own network.
    pub backlog: f64,
    /// Everything that the unit carries falls silent in the warm-up and stays so; the unit moves on.
    pub silent: f64,
    /// One report in twenty is 2 to 20 km off and says that it is good.
    pub jumps: f64,
    /// Of officers: the terminal is off, the radio alone reports, once a minute.
    pub radio_only: f64,
    /// Of officers: the radio lies in the nearest car and drives on with it.
    pub radio_left: f64,
    /// Of officers: the terminal lies in the nearest car and drives on with it.
    pub terminal_left: f64,
}

impl Troubles {
    /// Only the real cadences and delays.
    pub const NONE: Self = Self {
        no_fix: 0.0,
        backlog: 0.0,
        silent: 0.0,
        jumps: 0.0,
        radio_only: 0.0,
        radio_left: 0.0,
        terminal_left: 0.0,
    };
    /// All at once.
    pub const ALL: Self = Self {
        no_fix: 0.10,
        backlog: 0.10,
        silent: 0.03,
        jumps: 0.03,
        radio_only: 0.10,
        radio_left: 0.05,
        terminal_left: 0.05,
    };
}

/// One report on its way: who sent it, what it says, when it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    pub(super) unit: u32,
    /// Counted over all units.
    pub(super) device: u32,
    pub(super) received: Timestamp,
    pub(super) what: PositionReport,
    /// The receiver had a fix, and the device was where the unit was.
    pub(super) is_true: bool,
}

/// The city and its devices, second by second.
pub(super) struct World<'a> {
    forces: &'a Forces,
    start: Timestamp,
    devices: Vec<Device>,
    silent_from_ms: Vec<Option<i64>>,
    /// Reports by the second in which they come.
    coming: BTreeMap<i64, Vec<Report>>,
    random: Seeded,
}

struct Device {
    unit: u32,
    slot: usize,
    interval_ms: i64,
    due_ms: i64,
    channel: Channel,
    no_fix: Option<Spells>,
    outages: Option<Spells>,
    jumps: bool,
    is_off: bool,
    /// Since when it lies in which car.
    left: Option<(i64, usize)>,
}

/// What a wire format and its network do to a report. The delays are assumptions; the scenario has none.
#[derive(Debug, Clone, Copy)]
struct Channel {
    delay_ms: (f64, f64),
    is_radio: bool,
    /// Sends what it could not send once it can again.
    stores: bool,
    /// Says how good its place is.
    states_accuracy: bool,
}

impl Channel {
    fn of(protocol: &str) -> Self {
        let channel = |delay_ms, states_accuracy| Self { delay_ms, is_radio: false, stores: false, states_accuracy };
        match protocol {
            "tetra-lip" | "lrrp" => Self { is_radio: true, ..channel((2_000.0, 6_000.0), true) },
            "jt808" => Self { stores: true, ..channel((500.0, 1_500.0), false) },
            "nmea" | "taip" => channel((300.0, 1_000.0), false),
            "cot" | "owntracks" => Self { stores: true, ..channel((300.0, 2_000.0), true) },
            _ => channel((200.0, 500.0), true),
        }
    }
}

/// So long of every so long.
#[derive(Debug, Clone, Copy)]
struct Spells {
    phase_ms: i64,
    length_ms: i64,
}

const PERIOD_MS: i64 = 600_000;

impl Spells {
    fn new(length_ms: i64, random: &mut Seeded) -> Self {
        Self { phase_ms: random.between(0.0, PERIOD_MS as f64) as i64, length_ms }
    }

    /// How long the spell that holds `at_ms` lasts already.
    fn since_ms(&self, at_ms: i64) -> Option<i64> {
        let since_ms = (at_ms + self.phase_ms).rem_euclid(PERIOD_MS);
        (since_ms < self.length_ms).then_some(since_ms)
    }
}

/// Devices that will be left somewhere are left within this time.
const LEFT_WITHIN_MS: f64 = 300_000.0;
/// What was stored is sent within this time.
const SENDING_MS: i64 = 10_000;

impl<'a> World<'a> {
    pub(super) fn new(forces: &'a Forces, start: Timestamp, seed: u64, troubles: &Troubles) -> Self {
        let mut world = Self {
            forces,
            start,
            devices: Vec::with_capacity(forces.devices()),
            silent_from_ms: Vec::with_capacity(forces.units()),
            coming: BTreeMap::new(),
            random: Seeded::new(seed ^ 0xDE1A),
        };
        // A draw of its own for each trouble, so that one trouble more does not move the others.
        let mut draws: [Seeded; 7] = std::array::from_fn(|trouble| Seeded::new(seed ^ (trouble as u64 + 1) << 32));
        for unit in 0..forces.units() {
            world.take_up(unit, troubles, &mut draws);
        }
        world
    }

    fn take_up(&mut self, unit: usize, troubles: &Troubles, draws: &mut [Seeded; 7]) {
        let is_officer = self.forces.force(unit) == Force::Officer;
        let [no_fix, backlog, silent, jumps, radio_only, radio_left, terminal_left] = draws;
        let has = |draw: &mut Seeded, share: f64| (draw.unit() < share, Seeded::new(draw.next()));
        let (no_fix, mut of_no_fix) = has(no_fix, troubles.no_fix);
        let (backlog, mut of_backlog) = has(backlog, troubles.backlog);
        let (silent, mut of_silent) = has(silent, troubles.silent);
        let (jumps, _) = has(jumps, troubles.jumps);
        let (radio_only, _) = has(radio_only, troubles.radio_only);
        let (radio_left, mut of_radio) = has(radio_left, troubles.radio_left);
        let (terminal_left, mut of_terminal) = has(terminal_left, troubles.terminal_left);
        let no_fix = no_fix.then(|| Spells::new(120_000, &mut of_no_fix));
        let outages = backlog.then(|| Spells::new(180_000, &mut of_backlog));
        self.silent_from_ms.push(silent.then(|| of_silent.between(0.0, 600_000.0) as i64));
        for (slot, device) in self.forces.devices_of(unit).into_iter().enumerate() {
            let channel = Channel::of(device.id.protocol());
            let interval_ms = device.interval.as_millis() as i64;
            let left = match channel.is_radio {
                true => radio_left.then(|| self.leave(unit, &mut of_radio)),
                false => (is_officer && terminal_left).then(|| self.leave(unit, &mut of_terminal)),
            };
            // Spread evenly over the interval, whichever devices are taken (multiples of the golden ratio).
            let share = (self.devices.len() as f64 * 0.618_033_988_749_894_9).fract();
            self.devices.push(Device {
                unit: unit as u32,
                slot,
                interval_ms,
                due_ms: (share * interval_ms as f64) as i64,
                channel,
                no_fix,
                outages: outages.filter(|_| !channel.is_radio),
                jumps,
                is_off: is_officer && radio_only && !channel.is_radio,
                left,
            });
        }
    }

    /// When a device of `unit` is left, and in which car: the one that is nearest then.
    fn leave(&self, unit: usize, random: &mut Seeded) -> (i64, usize) {
        let at_ms = random.between(0.0, LEFT_WITHIN_MS) as i64;
        let at = |unit: usize| self.forces.truth(unit, self.start.shifted_ms(at_ms)).position;
        let here = at(unit);
        let off = |unit: usize| {
            let there = at(unit);
            i64::from(there.lat_e7() - here.lat_e7()).pow(2) + i64::from(there.lon_e7() - here.lon_e7()).pow(2)
        };
        let cars = (0..self.forces.units()).filter(|unit| self.forces.force(*unit) == Force::Car);
        (at_ms, cars.min_by_key(|car| off(*car)).unwrap_or(unit))
    }

    /// Whether nothing is heard of `unit` any more.
    pub(super) fn is_silent(&self, unit: u32, at_ms: i64) -> bool {
        self.silent_from_ms[unit as usize].is_some_and(|from| from <= at_ms)
    }

    /// Each device by its number: its unit, and its place among the unit's devices.
    pub(super) fn devices(&self) -> impl Iterator<Item = (u32, usize)> {
        self.devices.iter().map(|device| (device.unit, device.slot))
    }

    /// What comes in this second, in the order in which it comes. To be asked second by second from 0.
    pub(super) fn second(&mut self, second: i64) -> Vec<Report> {
        let end_ms = (second + 1) * 1_000;
        for number in 0..self.devices.len() {
            while self.devices[number].due_ms < end_ms {
                let due_ms = self.devices[number].due_ms;
                self.devices[number].due_ms += self.devices[number].interval_ms;
                if let Some((received_ms, report)) = self.report(number, due_ms) {
                    self.coming.entry(received_ms.div_euclid(1_000)).or_default().push(report);
                }
            }
        }
        let mut reports = self.coming.remove(&second).unwrap_or_default();
        reports.sort_by_key(|report| (report.received, report.device));
        reports
    }

    /// What a device sends of this instant and when it comes, if it does.
    fn report(&mut self, number: usize, due_ms: i64) -> Option<(i64, Report)> {
        let device = &self.devices[number];
        let (lowest, highest) = device.channel.delay_ms;
        let (delay_ms, wildness) = (self.random.between(lowest, highest) as i64, self.random.unit());
        let mut direction = Seeded::new(self.random.next());
        if device.is_off || self.is_silent(device.unit, due_ms) {
            return None;
        }
        let away = device.left.filter(|(from_ms, _)| *from_ms <= due_ms).map(|(_, car)| car);
        let without_fix_ms = device.no_fix.and_then(|spells| spells.since_ms(due_ms));
        let mut what = self.receive(device, away, due_ms, due_ms - without_fix_ms.unwrap_or(0));
        what.valid = without_fix_ms.is_none();
        let is_wild = device.jumps && what.valid && wildness < 0.05;
        if is_wild {
            what.position = far_off(what.position, &mut direction);
        }
        let outage_ms = device.outages.and_then(|spells| Some((spells.since_ms(due_ms)?, spells.length_ms)));
        let received_ms = match outage_ms {
            Some(_) if !device.channel.stores => return None,
            Some((since_ms, length_ms)) => {
                what.flags = what.flags.with(Flags::BACKLOG);
                due_ms - since_ms + length_ms + delay_ms + since_ms * SENDING_MS / length_ms
            }
            None => due_ms + delay_ms,
        };
        let received = self.start.shifted_ms(received_ms);
        let is_true = what.valid && !is_wild && away.is_none();
        Some((received_ms, Report { unit: device.unit, device: number as u32, received, what, is_true }))
    }

    /// The frame dated `due_ms` with the place of `place_ms`.
    fn receive(&self, device: &Device, away: Option<usize>, due_ms: i64, place_ms: i64) -> PositionReport {
        let unit = away.unwrap_or(device.unit as usize);
        let fix = self.forces.fix(unit, device.slot, self.start.shifted_ms(place_ms));
        let accuracy_m = device.channel.states_accuracy.then_some(fix.accuracy_m);
        PositionReport {
            time: Some(self.start.shifted_ms(due_ms)),
            time_basis: TimeBasis::Gnss,
            speed_mps: Some(fix.speed_mps),
            course_deg: fix.course_deg,
            accuracy_m,
            accuracy_basis: accuracy_m.map(|_| AccuracyBasis::Device),
            ..PositionReport::at(fix.position)
        }
    }
}

/// 2 to 20 km from `here`.
fn far_off(here: Position, random: &mut Seeded) -> Position {
    let (north, east) = random.between(0.0, std::f64::consts::TAU).sin_cos();
    let metres = random.between(2_000.0, 20_000.0);
    let (lat, lon) = ((north * metres / 0.011_1) as i32, (east * metres / 0.010_3) as i32);
    Position::from_e7(here.lat_e7() + lat, here.lon_e7() + lon).expect("the city is not at the end of the earth")
}
