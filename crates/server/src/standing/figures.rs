use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::StandingQuestion;

/// The words of [`StandingQuestion::as_str`].
pub(crate) const QUESTIONS: [&str; 3] = ["nearest", "strength", "near"];

/// What standing queries did since the start.
#[derive(Debug, Default)]
pub(crate) struct StandingFigures {
    /// How many there are.
    pub(crate) open: AtomicU64,
    looks: [AtomicU64; QUESTIONS.len()],
    ns: [AtomicU64; QUESTIONS.len()],
    /// Looks that waited for the next second because the time of this one was used up.
    pub(crate) postponed: AtomicU64,
    /// Looks that took too long.
    pub(crate) late: AtomicU64,
    /// Other answers, told as events.
    pub(crate) told: AtomicU64,
}

impl StandingFigures {
    pub(super) fn looked(&self, question: &StandingQuestion, spent: Duration) {
        let at = QUESTIONS.iter().position(|word| *word == question.as_str()).unwrap_or_default();
        self.looks[at].fetch_add(1, Ordering::Relaxed);
        self.ns[at].fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// By question: its word, looks, and the time they took.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (&'static str, u64, Duration)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (0..QUESTIONS.len())
            .map(move |at| (QUESTIONS[at], read(&self.looks[at]), Duration::from_nanos(read(&self.ns[at]))))
    }
}
