use std::collections::VecDeque;

use journal::Entry;
use model::Shards;
use parking_lot::{Mutex, MutexGuard};

/// Changes that are made at once, and wait for a writer to put them into the journal before any report that comes after them, and then
/// for the shards that they concern. They count here until they are applied, so that a journal without room is seen by whoever
/// would add more.
#[derive(Debug)]
pub(crate) struct Pending {
    shards: Shards,
    waiting: Mutex<Waiting>,
    order: Mutex<Vec<Vec<Entry>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// How many writers have in their hands, or are stored and wait for a shard.
    lent: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Self::of(Shards::ONE)
    }
}

impl Pending {
    /// Nothing waits.
    pub(crate) fn of(shards: Shards) -> Self {
        Self { shards, waiting: Mutex::default(), order: Mutex::new(vec![Vec::new(); shards.count()]) }
    }

    /// Adds one. Called under the lock of what it changes, so that the order is the same in both.
    pub(crate) fn push(&self, entry: Entry) {
        self.waiting.lock().entries.push_back(entry);
    }

    /// Waits until no other writer appends.
    pub(crate) fn order(&self) -> Order<'_> {
        Order { pending: self, stored: self.order.lock() }
    }

    /// The oldest, at least one if there is any, up to `entries_max` and `bytes_max`. They are given back, or handed on, before
    /// others are lent.
    pub(crate) fn lend(&self, entries_max: usize, bytes_max: usize) -> Vec<Entry> {
        let mut waiting = self.waiting.lock();
        let count = fitting(waiting.entries.iter().take(entries_max), bytes_max);
        waiting.lent += count;
        waiting.entries.drain(..count).collect()
    }

    /// So many that were stored are applied.
    pub(crate) fn done(&self, count: usize) {
        self.waiting.lock().lent -= count;
    }

    /// How many are not stored, or wait for a shard.
    pub(crate) fn len(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.entries.len() + waiting.lent
    }
}

/// The right to append to the journal. Who has it knows whether a change of its own shard was stored that it has not applied yet: the
/// order of entries in the journal is the order in which a shard applies those of its units.
pub(crate) struct Order<'a> {
    pending: &'a Pending,
    stored: MutexGuard<'a, Vec<Vec<Entry>>>,
}

impl Order<'_> {
    /// How many wait for the journal.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.waiting.lock().entries.len()
    }

    /// What was lent found no room: it is the oldest again.
    pub(crate) fn give_back(&self, entries: Vec<Entry>) {
        let mut waiting = self.pending.waiting.lock();
        waiting.lent -= entries.len();
        entries.into_iter().rev().for_each(|entry| waiting.entries.push_front(entry));
    }

    /// What was lent is stored: each shard finds its own. A press concerns all, since any may have its device.
    pub(crate) fn hand_on(&mut self, entries: Vec<Entry>) {
        let shards = self.pending.shards;
        for entry in entries {
            match &entry {
                Entry::Enrol(enrolment) => self.stored[shards.of(enrolment.handle)].push(entry),
                Entry::Retire(unit) | Entry::Forget { unit, .. } => self.stored[shards.of(*unit)].push(entry),
                Entry::Heard(heard) => self.stored[shards.of(heard.binding.unit)].push(entry),
                Entry::Press { .. } | Entry::Handle(_) | Entry::Lost => {
                    self.pending.waiting.lock().lent += shards.count() - 1;
                    self.stored.iter_mut().for_each(|stored| stored.push(entry.clone()));
                }
            }
        }
    }

    /// Whether something is stored that `shard` has not applied.
    pub(crate) fn has_for(&self, shard: usize) -> bool {
        !self.stored[shard].is_empty()
    }

    /// What `shard` has to apply, in order.
    pub(crate) fn take(&mut self, shard: usize) -> Vec<Entry> {
        std::mem::take(&mut self.stored[shard])
    }
}

/// How many of the first `entries` may be appended at once: at least one, if there is any.
pub(crate) fn fitting<'a>(entries: impl Iterator<Item = &'a Entry>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let within = |(at, entry): &(usize, &Entry)| {
        bytes += entry.bytes_max();
        *at == 0 || bytes <= bytes_max
    };
    entries.enumerate().take_while(within).count()
}
