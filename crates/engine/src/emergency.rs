use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use model::{DeviceId, Position, Timestamp, UnitName, limits};
use parking_lot::Mutex;

/// A pressed emergency button, as long as nobody cleared it. It belongs to the device that was
/// pressed and shows that device's last fix, never a fused one.
#[derive(Debug, Clone, PartialEq)]
pub struct Emergency {
    /// Rises with each; its name.
    pub number: u64,
    /// The device.
    pub device: DeviceId,
    /// The unit that carries it, filled in for readers; `None` for an unknown device: it rings all the same.
    pub unit: Option<UnitName>,
    /// When it was pressed, by the device's clock.
    pub pressed_at: Option<Timestamp>,
    /// When we first heard of it.
    pub received_at: Timestamp,
    /// When we last heard it repeated.
    pub repeated_at: Timestamp,
    /// It came out of a backlog.
    pub is_delayed: bool,
    /// The device's last fix and when that was true.
    pub place: Option<(Position, Timestamp)>,
}

/// The emergencies that are not cleared. Repeated bits are one emergency.
#[derive(Debug, Default)]
pub struct Emergencies {
    active: Mutex<BTreeMap<DeviceId, Emergency>>,
    count: AtomicUsize,
    numbers: AtomicU64,
    overflowed: AtomicU64,
}

impl Emergencies {
    /// Rings, or keeps ringing. Returns whether it is a new one.
    pub fn ring(&self, mut emergency: Emergency) -> bool {
        let mut active = self.active.lock();
        if let Some(known) = active.get_mut(&emergency.device) {
            known.repeated_at = known.repeated_at.max(emergency.received_at);
            return false;
        }
        if active.len() >= limits::EMERGENCIES_MAX {
            // Ten thousand buttons at once are an attack; the first ten thousand stay.
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        emergency.number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        active.insert(emergency.device.clone(), emergency);
        self.count.store(active.len(), Ordering::Release);
        true
    }

    /// Gives the device's emergency, if there is one, its newest fix. Free when nothing rings.
    pub fn locate(&self, device: &DeviceId, place: (Position, Timestamp)) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(emergency) = self.active.lock().get_mut(device) {
            emergency.place = Some(place);
        }
    }

    /// All that ring now, oldest first.
    #[must_use]
    pub(crate) fn active(&self) -> Vec<Emergency> {
        let mut all: Vec<_> = self.active.lock().values().cloned().collect();
        all.sort_by_key(|emergency| emergency.number);
        all
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
