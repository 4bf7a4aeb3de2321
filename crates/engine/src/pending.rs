use std::collections::VecDeque;

use journal::Entry;
use parking_lot::Mutex;

/// Changes that are made at once, and wait for the writer to put them into the journal before any report that comes after them.
/// They count here until they are stored, so that a journal without room is seen by whoever would add more.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// How many the writer has in its hands.
    lent: usize,
}

impl Pending {
    /// Adds one. Called under the lock of what it changes, so that the order is the same in both.
    pub(crate) fn push(&self, entry: Entry) {
        self.0.lock().entries.push_back(entry);
    }

    /// The oldest, at least one if there is any, up to `entries_max` and `bytes_max`. They are given back, or done with, before
    /// others are lent.
    pub(crate) fn lend(&self, entries_max: usize, bytes_max: usize) -> Vec<Entry> {
        let mut waiting = self.0.lock();
        let count = fitting(waiting.entries.iter().take(entries_max), bytes_max);
        waiting.lent = count;
        waiting.entries.drain(..count).collect()
    }

    /// What was lent found no room: it is the oldest again.
    pub(crate) fn give_back(&self, entries: Vec<Entry>) {
        let mut waiting = self.0.lock();
        waiting.lent = 0;
        entries.into_iter().rev().for_each(|entry| waiting.entries.push_front(entry));
    }

    /// What was lent is stored.
    pub(crate) fn done(&self) {
        self.0.lock().lent = 0;
    }

    /// How many are not stored.
    pub(crate) fn len(&self) -> usize {
        let waiting = self.0.lock();
        waiting.entries.len() + waiting.lent
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
