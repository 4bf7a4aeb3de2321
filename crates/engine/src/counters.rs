use std::sync::atomic::{AtomicU64, Ordering};

use crate::rules::Outcome;

/// What became of admitted reports. admitted = the sum of all outcomes, once the queue is empty.
#[derive(Debug, Default)]
pub struct Counters {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    retired: AtomicU64,
    unstored: AtomicU64,
    contacts: AtomicU64,
    batches: AtomicU64,
}

/// What became of one batch, counted by its own thread.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    outcomes: [u64; Outcome::ALL.len()],
    contacts: u64,
}

impl Tally {
    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
    }

    pub(crate) fn contact(&mut self) {
        self.contacts += 1;
    }
}

impl Counters {
    /// Adds what became of a batch.
    pub(crate) fn add(&self, tally: &Tally) {
        for (all, some) in self.outcomes.iter().zip(tally.outcomes) {
            all.fetch_add(some, Ordering::Relaxed);
        }
        self.contacts.fetch_add(tally.contacts, Ordering::Relaxed);
    }

    pub(crate) fn retired(&self) {
        self.retired.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unstored(&self, reports: usize) {
        self.unstored.fetch_add(reports as u64, Ordering::Relaxed);
    }

    pub(crate) fn batch(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports by what became of them, each with its stable word. `retired`: the unit was taken off the map.
    /// `refused_unstored`: the journal had no room or had failed, and nothing was applied.
    pub fn reports(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let outcomes = Outcome::ALL.iter().zip(&self.outcomes);
        let outcomes = outcomes.map(|(outcome, count)| (outcome.as_str(), count.load(Ordering::Relaxed)));
        let others = [("retired", &self.retired), ("refused_unstored", &self.unstored)];
        outcomes.chain(others.map(|(word, count)| (word, count.load(Ordering::Relaxed))))
    }

    /// All reports applied so far, whatever became of them.
    #[must_use]
    pub fn reports_total(&self) -> u64 {
        self.outcomes.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Contacts without a place.
    #[must_use]
    pub fn contacts(&self) -> u64 {
        self.contacts.load(Ordering::Relaxed)
    }

    /// Batches applied; each part of one that was parted for several shards.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}
