use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use journal::Entry;
use model::{DeviceId, Handling, Position, Press, PrincipalName, Step, Timestamp, UnitName, limits};
use parking_lot::Mutex;

use crate::pending::Pending;
use crate::state::{Located, PlacedBy, State};

/// A pressed emergency button, as long as nobody cleared it. It belongs to the device that was
/// pressed and shows that device's last fix, never a fused one.
#[derive(Debug, Clone, PartialEq)]
pub struct Emergency {
    /// Rises with each; its name. The same after a restart.
    pub number: u64,
    /// The device.
    pub device: DeviceId,
    /// The unit that carries it, filled in for readers; `None` for an unknown device: it rings all the same.
    pub unit: Option<UnitName>,
    /// When it was pressed, by the device's clock.
    pub pressed_at: Option<Timestamp>,
    /// When we first heard of it.
    pub received_at: Timestamp,
    /// When we last heard it repeated; after a restart `received_at` until the next time.
    pub repeated_at: Timestamp,
    /// It came out of a backlog.
    pub is_delayed: bool,
    /// The device's last fix and when that was true.
    pub place: Option<(Position, Timestamp)>,
    /// Who has seen it first, and when.
    pub seen: Option<(PrincipalName, Timestamp)>,
}

impl Emergency {
    fn of(number: u64, press: Press) -> Self {
        Self {
            seen: None,
            number,
            device: press.device,
            unit: None,
            pressed_at: press.pressed_at,
            received_at: press.received_at,
            repeated_at: press.received_at,
            is_delayed: press.is_delayed,
            place: press.place,
        }
    }
}

/// The emergencies that are not cleared. Repeated bits are one emergency.
#[derive(Debug, Default)]
pub struct Emergencies {
    active: Mutex<BTreeMap<DeviceId, Active>>,
    /// Devices whose emergency was cleared while the button was still down, by when it was last heard so.
    cleared: Mutex<BTreeMap<DeviceId, Timestamp>>,
    /// How many these are.
    held: AtomicUsize,
    count: AtomicUsize,
    numbers: AtomicU64,
    overflowed: AtomicU64,
}

/// What rings, and where its place comes from: shards tell of the places of one name, each in its own time.
#[derive(Debug)]
struct Active {
    emergency: Emergency,
    placed_by: PlacedBy,
}

impl Active {
    const fn of(emergency: Emergency) -> Self {
        Self { emergency, placed_by: PlacedBy::Press }
    }
}

impl Emergencies {
    /// What rang when the journal ended.
    pub(crate) fn of(state: &State) -> Self {
        let all: BTreeMap<_, _> = state
            .ringing()
            .map(|ringing| Emergency {
                seen: ringing.seen.clone(),
                ..Emergency::of(ringing.number, ringing.press.clone())
            })
            .map(|emergency| (emergency.device.clone(), Active::of(emergency)))
            .collect();
        Self {
            count: AtomicUsize::new(all.len()),
            active: Mutex::new(all),
            numbers: AtomicU64::new(state.last_press()),
            overflowed: AtomicU64::default(),
            cleared: Mutex::default(),
            held: AtomicUsize::default(),
        }
    }

    /// Rings, or keeps ringing; a new one is on its way to the journal. Returns whether it is new.
    pub(crate) fn ring(&self, press: Press, pending: &Pending) -> bool {
        let mut active = self.active.lock();
        if let Some(known) = active.get_mut(&press.device) {
            known.emergency.repeated_at = known.emergency.repeated_at.max(press.received_at);
            return false;
        }
        if self.is_still_down(&press) {
            return false;
        }
        if active.len() >= limits::EMERGENCIES_MAX {
            // Ten thousand buttons at once are an attack; the first ten thousand stay.
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        pending.push(Entry::Press { number, press: press.clone() });
        active.insert(press.device.clone(), Active::of(Emergency::of(number, press)));
        self.count.store(active.len(), Ordering::Release);
        true
    }

    /// Numbers up to this one were told already, whatever the journal kept of them.
    pub(crate) fn number_after(&self, told: u64) {
        self.numbers.fetch_max(told, Ordering::Relaxed);
    }

    /// Whether one of that number rings.
    pub(crate) fn rings(&self, number: u64) -> bool {
        self.active.lock().values().any(|active| active.emergency.number == number)
    }

    /// Whether a press is one that was cleared already: the button was never heard released since, and is heard again and again.
    fn is_still_down(&self, press: &Press) -> bool {
        if press.is_delayed || self.held.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut cleared = self.cleared.lock();
        let Some(heard) = cleared.get_mut(&press.device) else { return false };
        let quiet_ms = limits::EMERGENCY_RELEASE_AFTER.as_millis() as i64;
        if press.received_at.ms_since(*heard) <= quiet_ms {
            *heard = press.received_at.max(*heard);
            return true;
        }
        cleared.remove(&press.device);
        self.held.store(cleared.len(), Ordering::Release);
        false
    }

    /// Whether some button may still be down though its emergency was cleared.
    pub(crate) fn has_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }

    /// A device reported with its button up: the next press is a new one.
    pub(crate) fn release(&self, device: &DeviceId) {
        let mut cleared = self.cleared.lock();
        cleared.remove(device);
        self.held.store(cleared.len(), Ordering::Release);
    }

    /// Notes what a person did about an emergency, on its way to the journal; gives the emergency as it is then, `None` when none
    /// of that number rings.
    pub(crate) fn handle(&self, handling: Handling, pending: &Pending) -> Option<Emergency> {
        let mut active = self.active.lock();
        let device = active.values().find(|active| active.emergency.number == handling.number);
        let device = device.map(|active| active.emergency.device.clone())?;
        let handled = match &handling.step {
            Step::Seen => {
                let emergency = &mut active.get_mut(&device)?.emergency;
                emergency.seen.get_or_insert_with(|| (handling.by.clone(), handling.at));
                emergency.clone()
            }
            Step::Cleared { .. } => {
                let emergency = active.remove(&device)?.emergency;
                self.count.store(active.len(), Ordering::Release);
                let mut cleared = self.cleared.lock();
                cleared.insert(device, emergency.repeated_at);
                self.held.store(cleared.len(), Ordering::Release);
                emergency
            }
        };
        pending.push(Entry::Handle(handling));
        Some(handled)
    }

    /// Gives the device's emergency, if there is one, its newest fix, unless it has one of a newer number of the device.
    pub(crate) fn locate(&self, located: &Located) {
        let mut active = self.active.lock();
        if let Some(active) = active.get_mut(&located.device).filter(|active| active.placed_by <= located.by) {
            (active.emergency.place, active.placed_by) = (located.place, located.by);
        }
    }

    /// All that ring now, oldest first.
    #[must_use]
    pub(crate) fn active(&self) -> Vec<Emergency> {
        let mut all: Vec<_> = self.active.lock().values().map(|active| active.emergency.clone()).collect();
        all.sort_by_key(|emergency| emergency.number);
        all
    }

    /// The devices that ring at a place that `is_near` picks. Free when nothing rings.
    pub(crate) fn near(&self, is_near: impl Fn(Position) -> bool) -> Vec<DeviceId> {
        if self.count() == 0 {
            return Vec::new();
        }
        let active = self.active.lock();
        let all = active.values().map(|active| &active.emergency);
        let near = all.filter(|emergency| emergency.place.is_some_and(|(place, _)| is_near(place)));
        near.map(|emergency| emergency.device.clone()).collect()
    }

    /// How many ring now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many were not kept because [`limits::EMERGENCIES_MAX`] rang already.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }
}
