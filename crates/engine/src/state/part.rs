use std::collections::HashMap;

use foldhash::fast::RandomState;
use index::{Change, Source};
use journal::{Enrolment, Entry};
use model::{Binding, DeviceHandle, Heard, Shards, UnitHandle, What};

use super::{AHEAD, Device, Effect, PlacedBy, State};

/// The state of one shard's units and of their devices. A device never changes its shard: one that another unit takes up gets a new
/// number. Presses are in every shard, each with the newest place that the shard knows.
///
/// With one shard it is the whole state. With several, units and devices have dense numbers of their own inside: a table of the
/// whole city in each shard would be as many cities in memory.
#[derive(Debug)]
pub(crate) struct Part {
    state: State,
    numbers: Option<Numbers>,
}

/// The numbers of a shard beside those of the whole.
#[derive(Debug)]
struct Numbers {
    shards: Shards,
    shard: usize,
    within: HashMap<DeviceHandle, DeviceHandle, RandomState>,
    /// By number within the shard.
    devices: Vec<DeviceHandle>,
}

impl Part {
    /// `state`, cut into shards.
    pub(crate) fn all_of(state: State, shards: Shards) -> Vec<Self> {
        if shards == Shards::ONE {
            return vec![Self { state, numbers: None }];
        }
        let State { units, devices, mut names, presses, last_press } = state;
        let mut parts: Vec<_> = (0..shards.count()).map(|shard| Self::empty(shards, shard)).collect();
        for (number, (device, name)) in (0..).map(DeviceHandle).zip(devices.into_iter().zip(names.devices.drain(..))) {
            let Self { state, numbers } = &mut parts[shards.of(device.unit)];
            let within = numbers.as_mut().expect("there are several shards").give(number);
            *state.device_mut(within) = Device { unit: shards.within(device.unit), ..device };
            if let Some(name) = name {
                state.names.give(within, &name);
            }
        }
        for (number, (mut unit, entry)) in (0..).map(UnitHandle).zip(units.into_iter().zip(names.units.drain(..))) {
            let Self { state, numbers } = &mut parts[shards.of(number)];
            if let Some(fix) = &mut unit.fix {
                fix.source = numbers.as_mut().expect("there are several shards").give(fix.source);
            }
            if let Some(sources) = &mut unit.sources {
                sources.renumber(|device| numbers.as_mut().expect("there are several shards").give(device));
            }
            *state.unit_mut(shards.within(number)) = unit;
            state.names.units[shards.within(number).0 as usize] = entry;
        }
        for Self { state, .. } in &mut parts {
            (state.last_press, state.presses) = (last_press, presses.clone());
            state.presses.values_mut().for_each(|ringing| ringing.placed_by = PlacedBy::Press);
        }
        parts
    }

    fn empty(shards: Shards, shard: usize) -> Self {
        let numbers = Numbers { shards, shard, within: HashMap::default(), devices: Vec::new() };
        Self { state: State::default(), numbers: Some(numbers) }
    }

    /// The whole that these are the parts of.
    pub(crate) fn joined(parts: Vec<Self>) -> State {
        let mut whole = State::default();
        for Self { state, numbers } in parts {
            let Some(Numbers { shards, shard, devices: handles, .. }) = numbers else { return state };
            let State { units, devices, names, presses, last_press } = state;
            for (within, (mut unit, entry)) in (0..).map(UnitHandle).zip(units.into_iter().zip(names.units)) {
                if let Some(fix) = &mut unit.fix {
                    fix.source = handles[fix.source.0 as usize];
                }
                if let Some(sources) = &mut unit.sources {
                    sources.renumber(|device| handles[device.0 as usize]);
                }
                let number = shards.unit(shard, within);
                *whole.unit_mut(number) = unit;
                whole.names.units[number.0 as usize] = entry;
            }
            for (number, (device, name)) in handles.iter().zip(devices.into_iter().zip(names.devices)) {
                // A number of which nothing was known when the shards were cut is in the first, its device perhaps in another by now.
                *whole.device_mut(*number) = Device { unit: shards.unit(shard, device.unit), ..device };
                if let Some(name) = name {
                    whole.names.give(*number, &name);
                }
            }
            whole.last_press = last_press;
            for (name, mut ringing) in presses {
                ringing.placed_by = ringing.placed_by.renumbered(&handles);
                let newest = whole.presses.entry(name).or_insert_with(|| ringing.clone());
                if ringing.placed_by > newest.placed_by {
                    *newest = ringing;
                }
            }
        }
        whole
    }

    /// Applies the next entry of this shard; a press is one of every shard. The unit of a change has its number within the shard, as
    /// the shard's index has it.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Effect {
        let Self { state, numbers: Some(numbers) } = self else { return self.state.apply(entry) };
        let mut effect = match entry {
            Entry::Heard(heard) => state.heard(&numbers.heard(heard)),
            Entry::Enrol(enrolment) => state.apply(&Entry::Enrol(numbers.enrolment(enrolment))),
            Entry::Retire(unit) => state.apply(&Entry::Retire(numbers.shards.within(*unit))),
            Entry::Forget { unit, upto } => state.forget(numbers.shards.within(*unit), *upto),
            Entry::Press { .. } | Entry::Handle(_) | Entry::Lost => state.apply(entry),
        };
        if let Some(change) = &mut effect.change {
            numbers.name_source(change);
        }
        if let Some(located) = &mut effect.located {
            located.by = located.by.renumbered(&numbers.devices);
        }
        effect
    }

    /// Applies what concerns this shard of a batch that is for all.
    pub(crate) fn apply_own(&mut self, batch: &[Entry]) {
        let Some((shards, shard)) = self.numbers.as_ref().map(|numbers| (numbers.shards, numbers.shard)) else {
            return self.state.apply_batch(batch);
        };
        let is_own = |entry: &&Entry| match entry {
            Entry::Heard(heard) => shards.of(heard.binding.unit) == shard,
            Entry::Enrol(enrolment) => shards.of(enrolment.handle) == shard,
            Entry::Retire(unit) | Entry::Forget { unit, .. } => shards.of(*unit) == shard,
            Entry::Press { .. } | Entry::Handle(_) | Entry::Lost => true,
        };
        let (mut own, mut some) = (batch.iter().filter(is_own), Vec::with_capacity(AHEAD));
        loop {
            some.extend(own.by_ref().take(AHEAD));
            if some.is_empty() {
                return;
            }
            self.look_ahead(some.iter().filter_map(|entry| match entry {
                Entry::Heard(heard) => Some(heard.binding),
                _ => None,
            }));
            some.drain(..).for_each(|entry| drop(self.apply(entry)));
        }
    }

    /// As [`State::look_ahead`]: reads what some entries will change, so that the memory of all is on its way at once.
    pub(crate) fn look_ahead(&self, bindings: impl Iterator<Item = Binding>) {
        match &self.numbers {
            None => self.state.look_ahead(bindings),
            Some(numbers) => self.state.look_ahead(bindings.map(|binding| numbers.known(binding))),
        }
    }

    /// Whether reports of this unit are no longer wanted.
    pub(crate) fn is_retired(&self, unit: UnitHandle) -> bool {
        self.state.is_retired(self.within(unit))
    }

    /// The number of a unit within the shard.
    pub(crate) fn within(&self, unit: UnitHandle) -> UnitHandle {
        self.numbers.as_ref().map_or(Shards::ONE, |numbers| numbers.shards).within(unit)
    }

    /// As [`State::sources`], of a unit by its number within the shard; devices by their numbers in the whole.
    pub(crate) fn sources(&self, within: UnitHandle) -> impl Iterator<Item = (DeviceHandle, &Source)> {
        let whole = move |device: DeviceHandle| match &self.numbers {
            None => device,
            Some(numbers) => numbers.devices[device.0 as usize],
        };
        self.state.sources(within).map(move |(device, source)| (whole(device), source))
    }

    /// As [`State::mark_not_stored`], of a number within the shard.
    pub(crate) fn mark_not_stored(&mut self, within: UnitHandle) -> Option<Change> {
        let mut change = self.state.mark_not_stored(within)?;
        if let Some(numbers) = &self.numbers {
            numbers.name_source(&mut change);
        }
        Some(change)
    }
}

impl Numbers {
    /// The number of a device within the shard, a new one if it has none.
    fn give(&mut self, device: DeviceHandle) -> DeviceHandle {
        *self.within.entry(device).or_insert_with(|| {
            self.devices.push(device);
            DeviceHandle(self.devices.len() as u32 - 1)
        })
    }

    /// A binding within the shard. A device without a number there has one that no table has.
    fn known(&self, binding: Binding) -> Binding {
        let device = self.within.get(&binding.device).copied().unwrap_or(DeviceHandle(u32::MAX));
        Binding { device, unit: self.shards.within(binding.unit) }
    }

    fn heard(&mut self, heard: &Heard) -> Heard {
        let mut binding = self.known(heard.binding);
        // Only reports are remembered by device.
        if matches!(heard.what, What::Report(_)) && binding.device == DeviceHandle(u32::MAX) {
            binding.device = self.give(heard.binding.device);
        }
        Heard { binding, ..*heard }
    }

    fn enrolment(&mut self, enrolment: &Enrolment) -> Enrolment {
        Enrolment {
            handle: self.shards.within(enrolment.handle),
            unit: enrolment.unit.clone(),
            devices: enrolment.devices.iter().map(|(number, name)| (self.give(*number), name.clone())).collect(),
        }
    }

    /// Readers know a source by its number in the whole.
    fn name_source(&self, change: &mut Change) {
        if let Change::Place { fix, .. } = change {
            fix.source = self.devices[fix.source.0 as usize];
        }
    }
}
