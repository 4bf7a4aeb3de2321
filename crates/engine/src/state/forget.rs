use index::Change;
use model::{DeviceHandle, Timestamp, UnitHandle};

use super::{Effect, State, UnitState};

impl State {
    /// Forgets where a unit was, if its place is of `upto` or before: what its sources say, and the places of all devices that
    /// gave it one, or a snapshot would hold them for good. When it was heard stays known, and what rings has its place. There
    /// is a change if something was forgotten.
    pub(crate) fn forget(&mut self, unit: UnitHandle, upto: Timestamp) -> Effect {
        let Some(state) = self.units.get_mut(unit.0 as usize) else { return Effect::default() };
        let Some(fix) = state.fix.filter(|fix| fix.time <= upto) else { return Effect::default() };
        let UnitState { sources, contact, .. } = state;
        let (sources, contact) = (sources.take(), contact.unwrap_or(fix.received));
        (state.fix, state.interval_ms) = (None, None);
        let mut devices = vec![fix.source];
        match sources {
            // One more had the place of the oldest taken out of the list, and only its device knows whose it was.
            Some(sources) if sources.is_full() => {
                let all = (0..).map(DeviceHandle).zip(&self.devices);
                devices.extend(all.filter(|(_, device)| device.unit == unit).map(|(number, _)| number));
            }
            Some(sources) => devices.extend(sources.iter().map(|(device, _)| device)),
            None => {}
        }
        for device in devices {
            if let Some(device) = self.devices.get_mut(device.0 as usize) {
                device.rules.forget(upto);
            }
        }
        Effect { change: Some(Change::Touch { unit, contact }), ..Effect::default() }
    }
}
