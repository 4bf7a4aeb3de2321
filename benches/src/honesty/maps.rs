use engine::State;
use engine::rules::{DeviceState, Outcome as Judgement};
use index::{Change, Fix, LiveIndex, Slot, UnitTraits};
use journal::{Enrolment, Entry};
use model::{
    Binding, DeviceHandle, Heard, Position, Status, TimeBasis, Timestamp, UnitHandle, UnitKind, UnitName, What,
};
use query::{Deadline, NearestAsk, Scope};
use simulate::Forces;

use super::score::K;
use super::world::{Report, World};

/// A way to make a map out of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    /// Where everyone is: nothing is wrong, by definition.
    Truth,
    /// What a receiver that is with the unit says at this very instant: only its noise is left.
    Noise,
    /// The newest fix that has come and is true: what cadence and delay leave, for someone who knows which device lies.
    NewestTrue,
    /// Muster.
    Muster,
    /// Muster's rules for each device, and of a unit's devices always the one with the newest fix.
    Freshest,
    /// Muster, but stale places are ranked among fresh ones until the unit is out of contact.
    StaleAmong,
    /// Muster, but a moving unit is ranked where speed and course have carried it since its fix.
    CarriedOn,
    /// The last report received wins: no event time, no validity, no age.
    LastReceived,
}

impl Map {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Truth,
        Self::Noise,
        Self::NewestTrue,
        Self::Muster,
        Self::Freshest,
        Self::StaleAmong,
        Self::CarriedOn,
        Self::LastReceived,
    ];
}

/// How a map ranks a place: all of one class before all of the next; the last is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Fresh,
    Stale,
    Gone,
}

/// What a map knows at one instant, by unit.
#[derive(Debug, Clone)]
pub(super) struct Known(Vec<Option<(Position, Class)>>);

impl Known {
    pub(super) fn truth(forces: &Forces, now: Timestamp) -> Self {
        let place = |unit| Some((forces.truth(unit, now).position, Class::Fresh));
        Self((0..forces.units()).map(place).collect())
    }

    pub(super) fn place(&self, unit: u32) -> Option<(Position, Class)> {
        self.0[unit as usize]
    }

    pub(super) fn position(&self, unit: u32) -> Option<Position> {
        self.place(unit).map(|(position, _)| position)
    }
}

/// All maps; each hears all reports.
pub(super) struct Maps<'a> {
    forces: &'a Forces,
    kinds: Vec<UnitKind>,
    names: Vec<UnitName>,
    state: State,
    index: LiveIndex,
    devices: Vec<DeviceState>,
    freshest: Vec<Slot>,
    newest_true: Vec<Option<(Timestamp, Position)>>,
    last_received: Vec<Option<Position>>,
}

impl<'a> Maps<'a> {
    pub(super) fn new(forces: &'a Forces, world: &World<'_>) -> Self {
        let units = forces.units();
        let (mut state, index) = (State::default(), LiveIndex::new());
        let (mut kinds, mut names) = (Vec::with_capacity(units), Vec::with_capacity(units));
        let mut device = world.devices().zip(0..).peekable();
        for (number, (unit, ids)) in (0..).zip(forces.roster()) {
            kinds.push(unit.kind);
            names.push(unit.name.clone());
            let traits = UnitTraits { kind: unit.kind, status: Status::Available, ..UnitTraits::default() };
            index.enrol(UnitHandle(number), traits);
            let mut numbers = Vec::new();
            while let Some(((_, slot), handle)) = device.next_if(|((of, _), _)| *of == number) {
                numbers.push((DeviceHandle(handle), ids[slot].clone()));
            }
            let _ = state.apply(&Entry::Enrol(Enrolment { handle: UnitHandle(number), unit, devices: numbers }));
        }
        Self {
            forces,
            kinds,
            names,
            state,
            index,
            devices: vec![DeviceState::default(); forces.devices()],
            freshest: vec![Slot::default(); units],
            newest_true: vec![None; units],
            last_received: vec![None; units],
        }
    }

    pub(super) fn hear(&mut self, report: &Report) {
        let unit = report.unit as usize;
        self.last_received[unit] = Some(report.what.position);
        if report.is_true {
            self.newest_true[unit] = self.newest_true[unit].max_by_time((report.what.time, report.what.position));
        }
        self.hear_freshest(report);
        let binding = Binding { device: DeviceHandle(report.device), unit: UnitHandle(report.unit) };
        let heard = Heard { binding, received: report.received, what: What::Report(report.what) };
        if let Some(change) = self.state.apply(&Entry::Heard(heard)).change {
            self.index.apply(std::slice::from_ref::<Change>(&change));
        }
    }

    fn hear_freshest(&mut self, report: &Report) {
        let (unit, device) = (report.unit as usize, report.device as usize);
        let judged = self.devices[device].judge(&report.what, report.received, self.kinds[unit]);
        let slot = &mut self.freshest[unit];
        slot.contact_time = slot.contact_time.max(Some(report.received));
        if judged.outcome == Judgement::Newest && slot.fix.is_none_or(|fix| fix.time < judged.order_time) {
            slot.expected_interval_ms = self.devices[device].interval_ms();
            slot.fix = Some(Fix {
                position: report.what.position,
                time: judged.order_time,
                received: report.received,
                source: DeviceHandle(report.device),
                time_basis: TimeBasis::Gnss,
                speed_mps: None,
                course_deg: None,
                altitude: None,
                accuracy_m: None,
                accuracy_basis: None,
                flags: judged.flags,
            });
        }
    }

    /// What `map` knows now.
    pub(super) fn known(&self, map: Map, truth: &Known, now: Timestamp) -> Known {
        let of =
            |place: &dyn Fn(u32) -> Option<(Position, Class)>| Known((0..self.kinds.len() as u32).map(place).collect());
        let fresh = |position: Position| (position, Class::Fresh);
        let muster = |unit: u32| self.index.slot(UnitHandle(unit)).unwrap_or_default();
        match map {
            Map::Truth => truth.clone(),
            Map::Noise => of(&|unit| {
                let slot = self.forces.force(unit as usize).devices() - 1;
                Some(fresh(self.forces.fix(unit as usize, slot, now).position))
            }),
            Map::NewestTrue => of(&|unit| self.newest_true[unit as usize].map(|(_, position)| fresh(position))),
            Map::LastReceived => of(&|unit| self.last_received[unit as usize].map(fresh)),
            Map::Muster => of(&|unit| place_of(&muster(unit), now)),
            Map::Freshest => of(&|unit| place_of(&self.freshest[unit as usize], now)),
            Map::StaleAmong => of(&|unit| {
                let (position, class) = place_of(&muster(unit), now)?;
                Some((position, if class == Class::Stale { Class::Fresh } else { class }))
            }),
            Map::CarriedOn => of(&|unit| {
                let slot = muster(unit);
                let (position, class) = place_of(&slot, now)?;
                Some((slot.fix.map_or(position, |fix| carried_on(&fix, now)), class))
            }),
        }
    }

    /// Muster's own answer.
    pub(super) fn nearest(&self, centre: Position, now: Timestamp) -> Vec<u32> {
        let ask = NearestAsk::new(centre, Scope::everything()).k(K).expect("it is a small number");
        let answer = query::nearest(&self.index, &ask, self, now, &Deadline::never()).expect("nothing ends a search");
        answer.found.iter().map(|found| found.unit.0).collect()
    }
}

impl query::Names for Maps<'_> {
    fn name(&self, unit: UnitHandle) -> UnitName {
        self.names[unit.0 as usize].clone()
    }
}

/// The newer of what is there and what comes.
trait Newer {
    fn max_by_time(self, other: (Option<Timestamp>, Position)) -> Self;
}

impl Newer for Option<(Timestamp, Position)> {
    fn max_by_time(self, (time, position): (Option<Timestamp>, Position)) -> Self {
        match (self, time) {
            (Some(known), Some(time)) if known.0 >= time => Some(known),
            (known, None) => known,
            (_, Some(time)) => Some((time, position)),
        }
    }
}

fn place_of(slot: &Slot, now: Timestamp) -> Option<(Position, Class)> {
    let class = match (slot.is_out_of_contact(now), slot.is_stale(now)) {
        (true, _) => Class::Gone,
        (false, true) => Class::Stale,
        (false, false) => Class::Fresh,
    };
    Some((slot.fix?.position, class))
}

/// Where a unit would be if it had kept speed and course, for at most ten seconds.
fn carried_on(fix: &Fix, now: Timestamp) -> Position {
    let (Some(speed_mps), Some(course_deg)) = (fix.speed_mps, fix.course_deg) else { return fix.position };
    let metres = f64::from(speed_mps) * (now.ms_since(fix.time) as f64 / 1_000.0).clamp(0.0, 10.0);
    let (east, north) = f64::from(course_deg).to_radians().sin_cos();
    let (lat, lon) = ((north * metres / 0.011_1) as i32, (east * metres / 0.010_3) as i32);
    Position::from_e7(fix.position.lat_e7() + lat, fix.position.lon_e7() + lon).unwrap_or(fix.position)
}
