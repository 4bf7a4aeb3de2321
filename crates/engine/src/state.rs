use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use index::{Change, Fix, Slot, Source};
use journal::codec::{Decoder, Encoder};
use journal::{Enrolment, Entry, Malformed};
use model::{
    Binding, DeviceHandle, DeviceId, Flags, Handling, Heard, Position, PositionReport, Press, PrincipalName, Step,
    Timestamp, Unit, UnitHandle, UnitKind, What,
};

use crate::fusion::{Sources, Verdict, judge};
use crate::rules::{DeviceState, Judged, Outcome};

mod forget;
mod part;

pub(crate) use part::Part;

/// The layout of a laid state. A greater number is a newer version of Muster.
const LAYOUT: u8 = 2;
/// Units had no sources: those that have several devices have them again once these report.
const LAYOUT_WITHOUT_SOURCES: u8 = 1;

/// So many entries ahead memory is asked for: enough to keep it busy, and not more than the nearest cache holds.
pub(crate) const AHEAD: usize = 32;

/// Everything that the entries of the journal say, as a pure function of them in their order. The live engine, recovery and
/// the maker of snapshots each apply entries to one of these.
#[derive(Debug, Default)]
pub struct State {
    units: Vec<UnitState>,
    devices: Vec<Device>,
    /// Beside `units` and `devices`: what reports do not touch.
    names: Names,
    /// What rings, by device.
    presses: BTreeMap<DeviceId, Ringing>,
    /// The number of the last press.
    last_press: u64,
}

/// Entries of the roster and names, by number; `None` for a number that was never given.
#[derive(Debug, Default)]
struct Names {
    units: Vec<Option<Arc<Unit>>>,
    devices: Vec<Option<DeviceId>>,
    /// The highest number of each name: a device that was taken up again has a new one.
    numbers: HashMap<DeviceId, DeviceHandle, RandomState>,
}

impl Names {
    fn give(&mut self, number: DeviceHandle, name: &DeviceId) {
        self.devices[number.0 as usize] = Some(name.clone());
        let newest = self.numbers.entry(name.clone()).or_insert(number);
        *newest = number.max(*newest);
    }
}

/// What reports change of one unit: two cache lines.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct UnitState {
    /// As in its entry of the roster.
    kind: UnitKind,
    pub(crate) is_retired: bool,
    pub(crate) fix: Option<Fix>,
    pub(crate) interval_ms: Option<u32>,
    pub(crate) contact: Option<Timestamp>,
    /// Only of those that several devices gave places of: elsewhere, so that the others pay nothing.
    pub(crate) sources: Option<Box<Sources>>,
}

impl Default for UnitState {
    fn default() -> Self {
        Self { kind: UnitKind::Unknown, is_retired: false, fix: None, interval_ms: None, contact: None, sources: None }
    }
}

/// What reports change of one device: a cache line.
#[derive(Debug, Clone, Default)]
#[repr(align(64))]
struct Device {
    unit: UnitHandle,
    rules: DeviceState,
}

/// An emergency that nobody cleared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ringing {
    pub(crate) number: u64,
    /// `place` follows the device.
    pub(crate) press: Press,
    /// Who has seen it first, and when.
    pub(crate) seen: Option<(PrincipalName, Timestamp)>,
    placed_by: PlacedBy,
}

/// Where the place of what rings comes from; what is greater is newer. A device's name has a higher number each time a unit takes it up,
/// and is not heard by an older one any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PlacedBy {
    /// The press itself, or what was known when the shards were cut.
    #[default]
    Press,
    /// What its device had said before, if it had.
    Before(DeviceHandle),
    /// What its device said afterwards.
    After(DeviceHandle),
}

impl PlacedBy {
    /// The same with the numbers that stand in `devices`.
    fn renumbered(self, devices: &[DeviceHandle]) -> Self {
        let number = |device: DeviceHandle| devices[device.0 as usize];
        match self {
            Self::Press => self,
            Self::Before(device) => Self::Before(number(device)),
            Self::After(device) => Self::After(number(device)),
        }
    }
}

/// A device that rings, and its newest place.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// Its name.
    pub device: DeviceId,
    /// Where, and when that was true; `None` when that is not known.
    pub place: Option<(Position, Timestamp)>,
    /// Who says so.
    pub by: PlacedBy,
}

/// What an entry changed.
#[derive(Debug, Default)]
pub struct Effect {
    /// What became of it, if it was a report.
    pub outcome: Option<Outcome>,
    /// What changes on the map.
    pub change: Option<Change>,
    /// A device that rings is now here.
    pub located: Option<Located>,
    /// What is known of a device of a unit with several has changed too: [`State::sources`].
    pub has_sources: bool,
}

impl State {
    /// Applies the next entry.
    pub fn apply(&mut self, entry: &Entry) -> Effect {
        match entry {
            Entry::Heard(heard) => self.heard(heard),
            Entry::Enrol(enrolment) => {
                self.enrol(enrolment);
                Effect::default()
            }
            Entry::Retire(unit) => {
                let unit = self.unit_mut(*unit);
                // Its kind stays, as its entry does: a state that was read from a snapshot has it too.
                *unit = UnitState { kind: unit.kind, is_retired: true, ..UnitState::default() };
                Effect::default()
            }
            Entry::Press { number, press } => self.press(*number, press),
            Entry::Handle(handling) => {
                self.handle(handling);
                Effect::default()
            }
            Entry::Forget { unit, upto } => self.forget(*unit, *upto),
            Entry::Lost => Effect::default(),
        }
    }

    /// Applies a batch. Much faster than one by one when the batch is large: the memory of all its units and devices is
    /// asked for before the first is needed.
    pub fn apply_batch(&mut self, batch: &[Entry]) {
        for some in batch.chunks(AHEAD) {
            self.look_ahead(some.iter().filter_map(|entry| match entry {
                Entry::Heard(heard) => Some(heard.binding),
                _ => None,
            }));
            some.iter().for_each(|entry| drop(self.apply(entry)));
        }
    }

    /// Reads what up to [`AHEAD`] entries will change, so that the memory of all is on its way at once.
    pub(crate) fn look_ahead(&self, bindings: impl Iterator<Item = Binding>) {
        std::hint::black_box(bindings.map(|binding| self.touch_memory(binding)).fold(0, |all, one| all ^ one));
    }

    /// Reads both ends of what an entry of `binding` will change.
    fn touch_memory(&self, binding: Binding) -> usize {
        let unit = self.units.get(binding.unit.0 as usize).map_or(0, |unit| {
            let fix = unit.fix.as_ref().map_or(0, |fix| fix.source.0 as usize ^ fix.position.lat_e7() as usize);
            usize::from(unit.is_retired) ^ fix ^ usize::from(unit.contact.is_some())
        });
        let device = self.devices.get(binding.device.0 as usize);
        unit ^ device.map_or(0, |device| device.unit.0 as usize ^ device.rules.touch_memory())
    }

    /// Whether reports of this unit are no longer wanted.
    #[must_use]
    pub fn is_retired(&self, unit: UnitHandle) -> bool {
        self.units.get(unit.0 as usize).is_some_and(|unit| unit.is_retired)
    }

    /// The entry in the roster of a number, retired units too.
    #[must_use]
    pub fn unit(&self, handle: UnitHandle) -> Option<&Unit> {
        self.names.units.get(handle.0 as usize)?.as_deref()
    }

    /// The name of a device's number.
    #[must_use]
    pub fn device(&self, handle: DeviceHandle) -> Option<&DeviceId> {
        self.names.devices.get(handle.0 as usize)?.as_ref()
    }

    /// Every unit by number: its entry in the roster, and what reports changed.
    pub(crate) fn units(&self) -> impl Iterator<Item = (Option<&Arc<Unit>>, &UnitState)> {
        self.names.units.iter().map(Option::as_ref).zip(&self.units)
    }

    /// Every device by number: its name, and who carries or carried it.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (Option<&DeviceId>, UnitHandle)> {
        self.names.devices.iter().map(Option::as_ref).zip(self.devices.iter().map(|device| device.unit))
    }

    /// The newest number of a device.
    pub(crate) fn newest(&self, device: &DeviceId) -> Option<DeviceHandle> {
        self.names.numbers.get(device).copied()
    }

    pub(crate) fn ringing(&self) -> impl Iterator<Item = &Ringing> {
        self.presses.values()
    }

    pub(crate) const fn last_press(&self) -> u64 {
        self.last_press
    }

    /// The newest place of every device that has one, by its name.
    pub fn last_places(&self) -> impl Iterator<Item = (&DeviceId, Position, Timestamp)> {
        self.devices.iter().zip(&self.names.devices).filter_map(|(device, name)| {
            let (position, time) = device.rules.last_place()?;
            Some((name.as_ref()?, position, time))
        })
    }

    /// What each device of a unit says, where several gave places.
    pub fn sources(&self, unit: UnitHandle) -> impl Iterator<Item = (DeviceHandle, &Source)> {
        let unit = self.units.get(unit.0 as usize);
        unit.and_then(|unit| unit.sources.as_deref()).into_iter().flat_map(Sources::iter)
    }

    fn unit_mut(&mut self, unit: UnitHandle) -> &mut UnitState {
        let at = unit.0 as usize;
        if self.units.len() <= at {
            self.units.resize_with(at + 1, UnitState::default);
            self.names.units.resize(at + 1, None);
        }
        &mut self.units[at]
    }

    fn device_mut(&mut self, device: DeviceHandle) -> &mut Device {
        let at = device.0 as usize;
        if self.devices.len() <= at {
            self.devices.resize_with(at + 1, Device::default);
            self.names.devices.resize(at + 1, None);
        }
        &mut self.devices[at]
    }

    fn enrol(&mut self, enrolment: &Enrolment) {
        self.unit_mut(enrolment.handle).kind = enrolment.unit.kind;
        self.names.units[enrolment.handle.0 as usize] = Some(Arc::new(enrolment.unit.clone()));
        for (number, name) in &enrolment.devices {
            self.device_mut(*number).unit = enrolment.handle;
            self.names.give(*number, name);
        }
    }

    /// Repeated bits are one emergency. Its place is the newest that the device gave, in the frame or before.
    fn press(&mut self, number: u64, press: &Press) -> Effect {
        self.last_press = self.last_press.max(number);
        if self.presses.contains_key(&press.device) {
            return Effect::default();
        }
        let device = self.names.numbers.get(&press.device).copied();
        let before = device.and_then(|number| self.devices[number.0 as usize].rules.last_place());
        let placed_by = device.map_or(PlacedBy::Press, PlacedBy::Before);
        let place = [press.place, before].into_iter().flatten().max_by_key(|(_, time)| *time);
        let press = Press { place, ..press.clone() };
        let located = Some(Located { device: press.device.clone(), place, by: placed_by });
        self.presses.insert(press.device.clone(), Ringing { number, press, seen: None, placed_by });
        Effect { located, ..Effect::default() }
    }

    /// A person has seen an emergency, or cleared it; one that is over stays so.
    fn handle(&mut self, handling: &Handling) {
        let Some(ringing) = self.presses.values_mut().find(|ringing| ringing.number == handling.number) else { return };
        match &handling.step {
            Step::Seen => drop(ringing.seen.get_or_insert_with(|| (handling.by.clone(), handling.at))),
            Step::Cleared { .. } => {
                let device = ringing.press.device.clone();
                self.presses.remove(&device);
            }
        }
    }

    fn heard(&mut self, heard: &Heard) -> Effect {
        match &heard.what {
            What::Report(report) => self.report(heard, report),
            What::Contact | What::LogOut => {
                let change = Some(self.touch(heard.binding.unit, heard.received));
                Effect { change, has_sources: self.hear_source(heard, None), ..Effect::default() }
            }
        }
    }

    /// A device was heard without a place that counts; whether its unit has several that gave one.
    fn hear_source(&mut self, heard: &Heard, holds_jump: Option<bool>) -> bool {
        let sources = &mut self.unit_mut(heard.binding.unit).sources;
        if let Some(sources) = sources {
            sources.hear(heard.binding.device, heard.received, holds_jump);
        }
        sources.is_some()
    }

    fn touch(&mut self, unit: UnitHandle, contact: Timestamp) -> Change {
        let state = self.unit_mut(unit);
        state.contact = state.contact.max(Some(contact));
        Change::Touch { unit, contact }
    }

    fn report(&mut self, heard: &Heard, report: &PositionReport) -> Effect {
        let (unit, received) = (heard.binding.unit, heard.received);
        let kind = self.unit_mut(unit).kind;
        let device = self.device_mut(heard.binding.device);
        // Known from its enrolment, unless that was damaged in the log.
        device.unit = unit;
        let judged = device.rules.judge(report, received, kind);
        let outcome = Some(judged.outcome);
        let mut located = None;
        let change = match judged.outcome {
            Outcome::Newest => {
                let interval_ms = device.rules.interval_ms();
                if !self.presses.is_empty() {
                    located = self.locate(heard.binding.device, (report.position, judged.order_time));
                }
                self.place(unit, fix_of(heard, report, judged), interval_ms, received, kind)
            }
            Outcome::HeldJump => self.flag_jump(heard),
            Outcome::Duplicate | Outcome::Late | Outcome::NoFix => self.touch(unit, received),
        };
        let has_sources = match judged.outcome {
            Outcome::Newest => self.unit_mut(unit).sources.is_some(),
            Outcome::HeldJump => self.hear_source(heard, Some(true)),
            Outcome::Duplicate | Outcome::Late | Outcome::NoFix => self.hear_source(heard, None),
        };
        Effect { outcome, change: Some(change), located, has_sources }
    }

    fn locate(&mut self, device: DeviceHandle, place: (Position, Timestamp)) -> Option<Located> {
        let name = self.names.devices[device.0 as usize].as_ref()?;
        let (ringing, by) = (self.presses.get_mut(name)?, PlacedBy::After(device));
        (ringing.press.place, ringing.placed_by) = (Some(place), by);
        Some(Located { device: name.clone(), place: Some(place), by })
    }

    fn place(
        &mut self,
        unit: UnitHandle,
        fix: Fix,
        interval_ms: Option<u32>,
        now: Timestamp,
        kind: UnitKind,
    ) -> Change {
        let state = self.unit_mut(unit);
        let (mut shown, mut of_shown_ms) = (fix, interval_ms);
        if let Some(current) = state.fix {
            let slot = Slot { fix: state.fix, expected_interval_ms: state.interval_ms, ..Slot::default() };
            let verdict = judge(&current, slot.is_stale(now), &fix, now, kind);
            if verdict == Verdict::Stays {
                (shown, of_shown_ms) = (current, state.interval_ms);
            }
            let is_split = state.weigh(&current, &fix, interval_ms, verdict, now);
            if verdict == Verdict::Stays && is_split == current.flags.contains(Flags::SPLIT) {
                return self.touch(unit, now);
            }
            shown.flags = shown.flags.without(Flags::SPLIT);
            shown.flags.set_if(is_split, Flags::SPLIT);
        }
        (state.fix, state.interval_ms, state.contact) = (Some(shown), of_shown_ms, state.contact.max(Some(now)));
        Change::Place { unit, fix: shown, contact: now, interval_ms: of_shown_ms }
    }

    /// The place stays; that another one waits for confirmation is shown on it.
    fn flag_jump(&mut self, heard: &Heard) -> Change {
        let (unit, contact) = (heard.binding.unit, heard.received);
        let touch = self.touch(unit, contact);
        let state = self.unit_mut(unit);
        match &mut state.fix {
            Some(fix) if fix.source == heard.binding.device => {
                fix.flags = fix.flags.with(Flags::JUMP);
                Change::Place { unit, fix: *fix, contact, interval_ms: state.interval_ms }
            }
            _ => touch,
        }
    }

    /// Marks the place of a unit as one that the journal will never hold. From then on this is no function of the log any more,
    /// and ends with the process.
    pub(crate) fn mark_not_stored(&mut self, unit: UnitHandle) -> Option<Change> {
        let UnitState { fix, contact, interval_ms, .. } = self.units.get_mut(unit.0 as usize)?;
        let (fix, contact) = (fix.as_mut()?, (*contact)?);
        fix.flags = fix.flags.with(Flags::NOT_STORED);
        Some(Change::Place { unit, fix: *fix, contact, interval_ms: *interval_ms })
    }

    /// Lays all of it; the same state gives the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        to.byte(LAYOUT);
        to.varint(self.units.len() as u64);
        for (entry, unit) in self.units() {
            to.option(entry.map(|entry| &**entry), Encoder::unit);
            unit.lay(&mut to);
        }
        to.varint(self.devices.len() as u64);
        for (device, name) in self.devices.iter().zip(&self.names.devices) {
            to.option(name.as_ref(), |to, name| to.text(name.as_str()));
            to.varint(u64::from(device.unit.0));
            device.rules.lay(&mut to);
        }
        to.varint(self.last_press);
        to.varint(self.presses.len() as u64);
        for Ringing { number, press, seen, .. } in self.presses.values() {
            to.varint(*number);
            journal::lay_press(&mut to, press);
            to.option(seen.as_ref(), |to, (by, at)| {
                to.text(by.as_str());
                to.time(*at);
            });
        }
        to.into_bytes()
    }

    /// Reads what [`Self::to_bytes`] laid.
    ///
    /// # Errors
    /// [`Malformed`] when another version laid it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::over(bytes);
        let layout = from.byte("layout")?;
        if !(LAYOUT_WITHOUT_SOURCES..=LAYOUT).contains(&layout) {
            return Err(Malformed { field: "layout" });
        }
        let mut state = Self::default();
        for _ in 0..from.number("units")? {
            let entry = from.option("unit", Decoder::unit)?.map(Arc::new);
            let kind = entry.as_ref().map_or(UnitKind::Unknown, |entry| entry.kind);
            state.names.units.push(entry);
            state.units.push(UnitState::read(&mut from, kind, layout)?);
        }
        for number in 0..from.number("devices")? {
            state.names.devices.push(None);
            if let Some(name) = from.option("device", Decoder::device)? {
                state.names.give(DeviceHandle(number), &name);
            }
            let unit = UnitHandle(from.number("unit")?);
            state.devices.push(Device { unit, rules: DeviceState::read(&mut from)? });
        }
        state.last_press = from.varint("last press")?;
        for _ in 0..from.number("presses")? {
            let (number, press) = (from.varint("number")?, journal::read_press(&mut from)?);
            let seen = if layout >= 2 { from.option("seen", read_seen)? } else { None };
            let ringing = Ringing { number, press, seen, placed_by: PlacedBy::Press };
            state.presses.insert(ringing.press.device.clone(), ringing);
        }
        if from.left() == 0 { Ok(state) } else { Err(Malformed { field: "end of the state" }) }
    }
}

const _: () = assert!(size_of::<UnitState>() == 128 && size_of::<Device>() == 64);

fn read_seen(from: &mut Decoder<'_>) -> Result<(PrincipalName, Timestamp), Malformed> {
    let by = PrincipalName::new(from.text("seen by")?).map_err(|_| Malformed { field: "seen by" })?;
    Ok((by, from.time("seen at")?))
}

impl UnitState {
    /// Takes the newest place of a device beside `current`, where there are several; whether the unit is split then.
    fn weigh(&mut self, current: &Fix, fix: &Fix, interval_ms: Option<u32>, verdict: Verdict, now: Timestamp) -> bool {
        if self.sources.is_none() {
            if current.source == fix.source {
                return false;
            }
            self.sources = Some(Box::new(Sources::of(current, self.interval_ms)));
        }
        let Some(sources) = &mut self.sources else { return false };
        sources.take(fix, interval_ms, current.source);
        match verdict {
            Verdict::TakesOver(became) => {
                sources.took_over(fix.source, became);
                sources.settle(fix.source, now, self.kind)
            }
            Verdict::GoesOn | Verdict::Stays => sources.settle(current.source, now, self.kind),
        }
    }

    fn lay(&self, to: &mut Encoder) {
        to.byte(u8::from(self.is_retired));
        to.option(self.fix, lay_fix);
        to.option(self.interval_ms, |to, interval| to.varint(u64::from(interval)));
        to.option(self.contact, Encoder::time);
        to.option(self.sources.as_deref(), |to, sources| sources.lay(to));
    }

    fn read(from: &mut Decoder<'_>, kind: UnitKind, layout: u8) -> Result<Self, Malformed> {
        Ok(Self {
            kind,
            is_retired: from.truth("is_retired")?,
            fix: from.option("fix", read_fix)?,
            interval_ms: from.option("interval", |from| from.number("interval"))?,
            contact: from.option("contact", |from| from.time("contact"))?,
            sources: match layout {
                LAYOUT_WITHOUT_SOURCES => None,
                _ => from.option("sources", Sources::read)?.map(Box::new),
            },
        })
    }
}

fn lay_fix(to: &mut Encoder, fix: Fix) {
    to.position(fix.position);
    to.time(fix.time);
    to.time(fix.received);
    to.varint(u64::from(fix.source.0));
    to.time_basis(fix.time_basis);
    to.option(fix.speed_mps, Encoder::f32);
    to.option(fix.course_deg, Encoder::f32);
    to.option(fix.altitude, Encoder::altitude);
    to.option(fix.accuracy_m, Encoder::f32);
    to.option(fix.accuracy_basis, Encoder::accuracy_basis);
    to.flags(fix.flags);
}

fn read_fix(from: &mut Decoder<'_>) -> Result<Fix, Malformed> {
    Ok(Fix {
        position: from.position()?,
        time: from.time("fix time")?,
        received: from.time("received")?,
        source: DeviceHandle(from.number("source")?),
        time_basis: from.time_basis()?,
        speed_mps: from.option("speed_mps", |from| from.f32("speed_mps"))?,
        course_deg: from.option("course_deg", |from| from.f32("course_deg"))?,
        altitude: from.option("altitude", Decoder::altitude)?,
        accuracy_m: from.option("accuracy_m", |from| from.f32("accuracy_m"))?,
        accuracy_basis: from.option("accuracy_basis", Decoder::accuracy_basis)?,
        flags: from.flags()?,
    })
}

fn fix_of(heard: &Heard, report: &PositionReport, judged: Judged) -> Fix {
    Fix {
        position: report.position,
        time: judged.order_time,
        received: heard.received,
        source: heard.binding.device,
        time_basis: if report.time.is_some() { report.time_basis } else { model::TimeBasis::Receipt },
        speed_mps: report.speed_mps,
        course_deg: report.course_deg,
        altitude: report.altitude,
        accuracy_m: report.accuracy_m,
        accuracy_basis: report.accuracy_basis,
        flags: judged.flags,
    }
}

#[cfg(test)]
mod tests;
