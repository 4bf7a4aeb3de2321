use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use index::{LiveIndex, UnitTraits};
use journal::{Enrolment, Entry};
use model::limits::{CAPABILITIES_MAX, DEVICES_PER_CHANGE_MAX, PENDING_CHANGES_MAX, UNITS_MAX};
use model::{
    Binding, Capabilities, DeviceHandle, DeviceId, OrganisationHandle, OrganisationName, Unit, UnitHandle, UnitName,
};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::pending::Pending;
use crate::state::State;

/// Who is on the map: units, the devices they carry, organisations and capability words, each with its
/// dense number. Names never lose their number while the server runs.
#[derive(Debug, Default)]
pub struct Roster {
    /// Held for the whole of a change, so that tables, log and index take changes in one order. Readers do not wait for it: the
    /// index may be in the middle of a batch.
    changing: Mutex<()>,
    devices: DashMap<DeviceId, Binding, RandomState>,
    /// Rises with every unit that is taken off.
    generation: AtomicU32,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    units: Vec<Arc<Unit>>,
    units_by_name: std::collections::BTreeMap<UnitName, UnitHandle>,
    devices: Vec<DeviceId>,
    carried: Carried,
    organisations: Vec<OrganisationName>,
    capabilities: Vec<String>,
}

/// The devices that a unit carries, or carried under a number that they have no more: a chain through all devices, four bytes each.
#[derive(Debug, Default)]
struct Carried {
    /// By unit, the device that it got last.
    last: Vec<DeviceHandle>,
    /// By device, the one that its unit got before.
    before: Vec<DeviceHandle>,
}

/// The end of a chain.
const NO_DEVICE: DeviceHandle = DeviceHandle(u32::MAX);

impl Carried {
    /// The next device, of which `unit` is.
    fn push(&mut self, unit: UnitHandle) {
        let (unit, device) = (unit.0 as usize, DeviceHandle(self.before.len() as u32));
        if self.last.len() <= unit {
            self.last.resize(unit + 1, NO_DEVICE);
        }
        self.before.push(std::mem::replace(&mut self.last[unit], device));
    }

    fn of(&self, unit: UnitHandle) -> impl Iterator<Item = DeviceHandle> {
        let last = self.last.get(unit.0 as usize).copied();
        let before = |device: &DeviceHandle| self.before.get(device.0 as usize).copied();
        std::iter::successors(last, before).take_while(|device| *device != NO_DEVICE)
    }
}

/// What becomes of a device that another unit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The change is refused.
    Refuse,
    /// It changes hands: the other unit keeps the place that it had from it, and gets no newer one.
    Move,
}

/// Why a unit was not taken into the roster. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// [`UNITS_MAX`] numbers of units are given; those of retired units are among them.
    #[error("{UNITS_MAX} units were taken since the journal began, retired ones among them: the limit")]
    TooManyUnits,
    /// [`PENDING_CHANGES_MAX`] changes wait for the journal.
    #[error("the journal does not keep up, or has no room: try again later")]
    TooManyPending,
    /// More than [`DEVICES_PER_CHANGE_MAX`] devices in one change.
    #[error(
        "{devices} devices are more than the {DEVICES_PER_CHANGE_MAX} allowed in one change: give the rest in further ones"
    )]
    TooManyDevices {
        /// How many.
        devices: usize,
    },
    /// [`CAPABILITIES_MAX`] words are there.
    #[error("capability {word:?} would be one more than the {CAPABILITIES_MAX} allowed")]
    TooManyCapabilities {
        /// The word too many.
        word: String,
    },
    /// Another unit carries the device.
    #[error("device `{device}` is carried by unit `{unit}`")]
    DeviceTaken {
        /// The device.
        device: DeviceId,
        /// Who carries it.
        unit: UnitName,
    },
}

impl Roster {
    /// Who carries `device`.
    #[must_use]
    pub fn binding(&self, device: &DeviceId) -> Option<Binding> {
        self.devices.get(device).map(|binding| *binding)
    }

    /// Rises whenever a binding may hold no longer: one that was asked for after a number was read holds while that number does.
    /// Units are fewer than numbers, so none comes twice.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Who was on the map when the journal ended, with what filters ask about each unit.
    pub(crate) fn of(state: &State) -> (Self, Vec<(UnitHandle, UnitTraits)>) {
        let (mut tables, mut traits) = (Tables::default(), Vec::new());
        for (number, (entry, unit)) in (0u32..).zip(state.units()) {
            let handle = UnitHandle(number);
            let is_on_the_map = entry.is_some() && !unit.is_retired;
            let entry = entry.cloned().unwrap_or_else(|| Arc::new(Unit::named(nobody())));
            if is_on_the_map {
                tables.units_by_name.insert(entry.name.clone(), handle);
                traits
                    .push((handle, tables.traits_of(&entry).expect("a unit that was taken once is within the limits")));
            }
            tables.units.push(entry);
        }
        let devices = DashMap::with_hasher(RandomState::default());
        for (number, (name, unit)) in (0u32..).zip(state.devices()) {
            // A device that changed hands has a newer number, and only that one counts.
            let is_newest = name.is_some_and(|name| state.newest(name) == Some(DeviceHandle(number)));
            let is_carried = is_newest && !state.is_retired(unit);
            let name = name.cloned().unwrap_or_else(|| DeviceId::new("?").expect("a mark is a name"));
            if is_carried {
                devices.insert(name.clone(), Binding { device: DeviceHandle(number), unit });
            }
            tables.devices.push(name);
            tables.carried.push(unit);
        }
        (
            Self { changing: Mutex::default(), devices, generation: AtomicU32::new(0), tables: RwLock::new(tables) },
            traits,
        )
    }

    /// Adds or changes a unit and gives it `devices` on top of those that it carries; gives its number. All or nothing; the change is on its way to
    /// the journal and in the index before anyone finds a new device.
    ///
    /// # Errors
    /// [`RosterError`] says which limit or device was in the way.
    pub(crate) fn enrol(
        &self,
        unit: Unit,
        devices: &[DeviceId],
        taken: Taken,
        pending: &Pending,
        index: &LiveIndex,
    ) -> Result<UnitHandle, RosterError> {
        let _changing = self.changing.lock();
        let mut tables = self.tables.write();
        let known = tables.units_by_name.get(&unit.name).copied();
        self.check(&tables, known, devices, taken, pending)?;
        let traits = tables.traits_of(&unit)?;
        let handle = known.unwrap_or(UnitHandle(tables.units.len() as u32));
        let entry = Arc::new(unit.clone());
        if known.is_none() {
            tables.units_by_name.insert(entry.name.clone(), handle);
            tables.units.push(entry);
        } else {
            tables.units[handle.0 as usize] = entry;
        }
        let mut added = Vec::new();
        for device in devices {
            let has_it = self.devices.get(device).is_some_and(|binding| binding.unit == handle);
            if !has_it && added.iter().all(|(_, one)| one != device) {
                let number = DeviceHandle(tables.devices.len() as u32);
                tables.devices.push(device.clone());
                tables.carried.push(handle);
                added.push((number, device.clone()));
            }
        }
        drop(tables);
        pending.push(Entry::Enrol(Enrolment { handle, unit, devices: added.clone() }));
        index.enrol(handle, traits);
        let mut has_moved = false;
        for (device, name) in added {
            has_moved |= self.devices.insert(name, Binding { device, unit: handle }).is_some();
        }
        if has_moved {
            // After the new bindings: who reads the new number finds them.
            self.generation.fetch_add(1, Ordering::Release);
        }
        Ok(handle)
    }

    fn check(
        &self,
        tables: &Tables,
        known: Option<UnitHandle>,
        devices: &[DeviceId],
        taken: Taken,
        pending: &Pending,
    ) -> Result<(), RosterError> {
        if devices.len() > DEVICES_PER_CHANGE_MAX {
            return Err(RosterError::TooManyDevices { devices: devices.len() });
        }
        for device in devices {
            let owner = self.devices.get(device).map(|binding| binding.unit).filter(|owner| Some(*owner) != known);
            if let Some(owner) = owner.filter(|_| taken == Taken::Refuse) {
                let unit = tables.units[owner.0 as usize].name.clone();
                return Err(RosterError::DeviceTaken { device: device.clone(), unit });
            }
        }
        if known.is_none() && tables.units.len() >= UNITS_MAX {
            return Err(RosterError::TooManyUnits);
        }
        if pending.len() >= PENDING_CHANGES_MAX {
            return Err(RosterError::TooManyPending);
        }
        Ok(())
    }

    /// Forgets a unit's name and devices; gives its number, which is not used again.
    pub(crate) fn remove(&self, name: &UnitName, pending: &Pending) -> Option<UnitHandle> {
        let _changing = self.changing.lock();
        let mut tables = self.tables.write();
        let handle = tables.units_by_name.remove(name)?;
        self.devices.retain(|_, binding| binding.unit != handle);
        // After the devices have gone: who reads the new number finds none of them.
        self.generation.fetch_add(1, Ordering::Release);
        pending.push(Entry::Retire(handle));
        Some(handle)
    }

    /// For whoever asks about many at once: no lock and no count of owners for each.
    #[must_use]
    pub fn look(&self) -> Look<'_> {
        Look(self.tables.read())
    }

    /// The unit behind a number.
    #[must_use]
    pub fn unit(&self, handle: UnitHandle) -> Option<Arc<Unit>> {
        self.tables.read().units.get(handle.0 as usize).cloned()
    }

    /// The number behind a name.
    #[must_use]
    pub fn find(&self, name: &UnitName) -> Option<UnitHandle> {
        self.tables.read().units_by_name.get(name).copied()
    }

    /// The devices that a unit carries now, with their names; the one that it got last comes first.
    #[must_use]
    pub fn devices_of(&self, unit: UnitHandle) -> Vec<(DeviceHandle, DeviceId)> {
        let tables = self.tables.read();
        let named = |device: DeviceHandle| Some((device, tables.devices.get(device.0 as usize)?.clone()));
        let all: Vec<_> = tables.carried.of(unit).filter_map(named).collect();
        drop(tables);
        // One that changed hands has another number by now.
        let is_carried = |(device, name): &(DeviceHandle, DeviceId)| {
            self.binding(name).is_some_and(|binding| (binding.device, binding.unit) == (*device, unit))
        };
        all.into_iter().filter(is_carried).collect()
    }

    /// Up to `limit` units by name, after the name `after`.
    #[must_use]
    pub fn page(&self, after: Option<&UnitName>, limit: usize) -> Vec<(UnitHandle, Arc<Unit>)> {
        use std::ops::Bound;
        let tables = self.tables.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = tables.units_by_name.range::<UnitName, _>((from, Bound::Unbounded)).take(limit);
        page.map(|(_, handle)| (*handle, tables.units[handle.0 as usize].clone())).collect()
    }

    /// The name behind a device's number.
    #[must_use]
    pub fn device(&self, handle: DeviceHandle) -> Option<DeviceId> {
        self.tables.read().devices.get(handle.0 as usize).cloned()
    }

    /// The number of an organisation that some unit belongs to.
    #[must_use]
    pub fn organisation(&self, name: &str) -> Option<OrganisationHandle> {
        let tables = self.tables.read();
        tables.organisations.iter().position(|one| one.as_str() == name).map(|at| OrganisationHandle(at as u32))
    }

    /// How many organisations have a number. It only grows, and what was asked for by name is no longer the whole once it has.
    #[must_use]
    pub fn organisations(&self) -> usize {
        self.tables.read().organisations.len()
    }

    /// The bit of a capability that some unit has.
    #[must_use]
    pub fn capability(&self, word: &str) -> Option<Capabilities> {
        let at = self.tables.read().capabilities.iter().position(|one| one == word)?;
        Capabilities::of_bit(at).ok()
    }

    /// One more than the highest number of a unit, retired ones among them.
    #[must_use]
    pub fn numbers(&self) -> u32 {
        self.tables.read().units.len() as u32
    }

    /// How many units are on the map; retired ones are not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.read().units_by_name.len()
    }

    /// Whether there is no unit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The roster while nobody changes it. Not to be kept: whoever enrols a unit waits for it.
pub struct Look<'a>(RwLockReadGuard<'a, Tables>);

impl Look<'_> {
    /// The unit behind a number.
    #[must_use]
    pub fn unit(&self, handle: UnitHandle) -> Option<&Unit> {
        self.0.units.get(handle.0 as usize).map(|unit| &**unit)
    }

    /// The name behind a device's number.
    #[must_use]
    pub fn device(&self, handle: DeviceHandle) -> Option<&DeviceId> {
        self.0.devices.get(handle.0 as usize)
    }

    /// Asks memory for what will be read soon, all entries first and then all names: they lie far from each other, and none of
    /// them waits for another.
    pub fn ask_for(&self, rows: impl Iterator<Item = (UnitHandle, Option<DeviceHandle>)> + Clone) {
        let first = |text: &str| text.as_bytes().first().copied().unwrap_or_default();
        let device = |device: Option<DeviceHandle>| device.and_then(|device| self.device(device)).map(DeviceId::as_str);
        let units = rows.clone().filter_map(|(unit, _)| self.unit(unit));
        let entries = units.clone().fold(0, |all, unit| all ^ unit.kind as usize ^ unit.name.as_str().len());
        let devices = rows.clone().filter_map(|(_, one)| device(one)).fold(0, |all, name| all ^ name.len());
        let names = units.fold(0, |all, unit| all ^ first(unit.name.as_str()));
        let sources = rows.filter_map(|(_, one)| device(one)).fold(0, |all, name| all ^ first(name));
        std::hint::black_box((entries, devices, names, sources));
    }
}

/// Stands at a number that was never given.
fn nobody() -> UnitName {
    UnitName::new("?").expect("a mark is a name")
}

impl Tables {
    fn traits_of(&mut self, unit: &Unit) -> Result<UnitTraits, RosterError> {
        let mut capabilities = Capabilities::default();
        for word in &unit.capabilities {
            let known = self.capabilities.iter().position(|one| one == word);
            let bit = known.unwrap_or(self.capabilities.len());
            let one = Capabilities::of_bit(bit)
                .map_err(|_| RosterError::TooManyCapabilities { word: word.chars().take(64).collect() })?;
            if known.is_none() {
                self.capabilities.push(word.clone());
            }
            capabilities = capabilities.with(one);
        }
        let organisation = unit.organisation.as_ref().map(|name| {
            let at = self.organisations.iter().position(|one| one == name).unwrap_or_else(|| {
                self.organisations.push(name.clone());
                self.organisations.len() - 1
            });
            OrganisationHandle(at as u32)
        });
        Ok(UnitTraits { kind: unit.kind, status: unit.status, organisation, capabilities, covert: unit.covert })
    }
}

impl query::Names for Roster {
    fn name(&self, unit: UnitHandle) -> UnitName {
        self.tables.read().units[unit.0 as usize].name.clone()
    }

    fn is_after(&self, unit: UnitHandle, name: &UnitName) -> bool {
        self.tables.read().units[unit.0 as usize].name > *name
    }
}

#[cfg(test)]
mod tests;
