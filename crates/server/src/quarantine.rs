use std::collections::HashMap;

use model::limits::QUARANTINE_DEVICES_MAX;
use model::{DeviceId, Timestamp};
use parking_lot::Mutex;

/// Devices that no unit carries: never in an answer, listed until somebody enrols them. Their emergencies ring all the same.
#[derive(Debug, Default)]
pub(crate) struct Quarantine(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    devices: HashMap<DeviceId, Stranger>,
    /// Times that one was heard which found no room in the list.
    overflowed: u64,
}

/// A device in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub(crate) first_heard: Timestamp,
    pub(crate) last_heard: Timestamp,
    /// How often it was asked who it is; at least once for each of its reports.
    pub(crate) asked: u64,
}

impl Quarantine {
    /// Nobody knows `device`, which is heard at `now`. Cost: a look-up under a lock; only strangers pay it.
    pub(crate) fn hear(&self, device: &DeviceId, now: Timestamp) {
        let mut kept = self.0.lock();
        let is_full = kept.devices.len() >= QUARANTINE_DEVICES_MAX;
        match kept.devices.get_mut(device) {
            Some(known) => (known.last_heard, known.asked) = (now, known.asked + 1),
            None if is_full => kept.overflowed += 1,
            None => {
                let stranger = Stranger { first_heard: now, last_heard: now, asked: 1 };
                kept.devices.insert(device.clone(), stranger);
            }
        }
    }

    /// Those that `is_stranger` still, after the name `after`, at most `limit`; the others are forgotten. And the overflow.
    pub(crate) fn list(
        &self,
        after: Option<&DeviceId>,
        limit: usize,
        is_stranger: impl Fn(&DeviceId) -> bool,
    ) -> (Vec<(DeviceId, Stranger)>, u64) {
        let mut kept = self.0.lock();
        kept.devices.retain(|device, _| is_stranger(device));
        let listed = kept.devices.iter().filter(|(device, _)| after.is_none_or(|after| *device > after));
        let mut all: Vec<_> = listed.map(|(device, stranger)| (device.clone(), *stranger)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.truncate(limit);
        (all, kept.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_costs_bounded_memory_and_is_counted() {
        let (quarantine, now) = (Quarantine::default(), Timestamp::from_unix_ms(1_795_000_000_000).unwrap());
        let device = |number: usize| DeviceId::of("test", &number.to_string()).unwrap();
        for number in 0..QUARANTINE_DEVICES_MAX + 7 {
            quarantine.hear(&device(number), now);
        }
        quarantine.hear(&device(0), now.shifted_ms(5));
        let (listed, overflowed) = quarantine.list(None, 2, |one| *one != device(1));
        assert_eq!((listed.len(), overflowed), (2, 7));
        assert_eq!(listed[0].0, device(0));
        assert_eq!((listed[0].1.asked, listed[0].1.last_heard.ms_since(now)), (2, 5));
        assert_eq!(quarantine.list(Some(&device(0)), 1, |_| true).0[0].0, device(10), "1 is known and forgotten");
    }
}
