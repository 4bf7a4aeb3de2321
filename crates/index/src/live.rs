use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use model::limits::UNITS_MAX;
use model::{Timestamp, UnitHandle};
use parking_lot::Mutex;

use crate::bucket::Bucket;
use crate::directory::Directory;
use crate::moves::Moves;
use crate::pages::Pages;
use crate::slot::Slots;
use crate::sync::{AtomicU32, Ordering};
use crate::writer::Writer;
use crate::{Fix, Slot, UnitTraits};

/// Buckets that there can be: four units each, where 64 have room.
pub(crate) const BUCKETS_MAX: usize = UNITS_MAX / 4;

/// One change of one unit, for [`Shard::apply`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// It is here now.
    Place {
        /// Which unit.
        unit: UnitHandle,
        /// Where.
        fix: Fix,
        /// When it was heard.
        contact: Timestamp,
        /// How often the source reports, if that is learned.
        interval_ms: Option<u32>,
    },
    /// It was heard, without a place.
    Touch {
        /// Which unit.
        unit: UnitHandle,
        /// When.
        contact: Timestamp,
    },
}

impl Change {
    #[inline]
    pub(crate) const fn unit(&self) -> UnitHandle {
        match self {
            Self::Place { unit, .. } | Self::Touch { unit, .. } => *unit,
        }
    }

    /// The same of another unit.
    pub(crate) const fn of(self, unit: UnitHandle) -> Self {
        match self {
            Self::Place { fix, contact, interval_ms, .. } => Self::Place { unit, fix, contact, interval_ms },
            Self::Touch { contact, .. } => Self::Touch { unit, contact },
        }
    }
}

/// Where every unit of a shard is now; units go by their numbers within the shard. One writer at a time, any number of readers. A
/// reader waits for the stores of one slot and for nothing else; it sees each unit that has a place exactly once (`moves.rs` says why), and each slot whole.
///
/// An update is a slot and a place in a bucket: two cache lines. The directory is written when a bucket splits, which
/// is seldom.
#[derive(Debug)]
pub struct Shard {
    shared: Shared,
    writer: Mutex<Writer>,
}

/// What readers and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) slots: Slots,
    pub(crate) buckets: Pages<Bucket, 7>,
    pub(crate) directory: ArcSwap<Directory>,
    pub(crate) moves: Moves,
    located: AtomicUsize,
    /// One more than the highest number of a unit that ever had a place.
    pub(crate) units: AtomicU32,
}

impl Shared {
    #[inline]
    pub(crate) fn bucket(&self, number: u32) -> &Bucket {
        self.buckets.seen(number).expect("a bucket that is named was made")
    }

    pub(crate) fn count(&self, unit: UnitHandle, by: isize) {
        self.located.fetch_add(by as usize, Ordering::Relaxed);
        self.units.fetch_max(unit.0 + 1, Ordering::Relaxed);
    }
}

impl Default for Shard {
    fn default() -> Self {
        let shared = Shared {
            slots: Slots::new(),
            buckets: Pages::for_up_to(BUCKETS_MAX),
            directory: ArcSwap::from_pointee(Directory::of(Vec::new())),
            moves: Moves::default(),
            located: AtomicUsize::new(0),
            units: AtomicU32::new(0),
        };
        let writer = Mutex::new(Writer::new(&shared));
        Self { shared, writer }
    }
}

impl Shard {
    /// Makes room for `unit`, or changes what filters ask about it.
    pub fn enrol(&self, unit: UnitHandle, traits: UnitTraits) {
        self.writer.lock().enrol(&self.shared, unit, traits);
    }

    /// Applies changes in their order. Fastest in batches of 32 and more: the memory of later ones is on its way while the
    /// first is applied.
    pub fn apply(&self, changes: &[Change]) {
        let mut writer = self.writer.lock();
        writer.apply(&self.shared, changes);
        writer.tidy(&self.shared);
    }

    /// Takes a unit off the map; what filters ask about it stays.
    pub fn withdraw(&self, unit: UnitHandle) {
        self.writer.lock().withdraw(&self.shared, unit);
    }

    /// What is known of `unit`; `None` when it was never heard of.
    #[must_use]
    pub fn slot(&self, unit: UnitHandle) -> Option<Slot> {
        self.shared.slots.slot(unit)
    }

    /// What filters ask about `unit`; `None` when it was never enrolled. Cost: one read.
    #[must_use]
    pub fn traits(&self, unit: UnitHandle) -> Option<UnitTraits> {
        self.shared.slots.traits(unit)
    }

    /// Loads a little of the slot of `unit`, which will be read soon.
    pub(crate) fn touch(&self, unit: UnitHandle) -> u64 {
        self.shared.slots.touch(unit)
    }

    /// How many units have a place.
    #[must_use]
    pub fn located(&self) -> usize {
        self.shared.located.load(Ordering::Relaxed)
    }

    /// Bytes in use, pages and tables that are not full included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let directory = self.shared.directory.load().tree.bytes();
        self.shared.slots.bytes() + self.shared.buckets.bytes() + directory + self.writer.lock().bytes()
    }

    pub(crate) const fn shared(&self) -> &Shared {
        &self.shared
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn check(&self) -> (usize, usize) {
        self.writer.lock().check(&self.shared)
    }
}
