use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Timestamp;
use parking_lot::Mutex;

use crate::listeners::Heard;

/// So many failures after each other are no hiccup.
const FAILURES_OF_AN_ALARM: u32 = 3;

/// How a webhook fares, for whoever asks. Figures are of this process.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Which webhook of its name it is.
    pub(super) made: u64,
    /// Among all who are told events.
    pub(crate) heard: Arc<Heard>,
    /// Events that were delivered.
    pub(crate) delivered: AtomicU64,
    /// Tries that failed.
    pub(crate) failures: AtomicU64,
    /// Events that were given up.
    pub(crate) given_up: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

/// Failures without a success since.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) since: Timestamp,
    pub(crate) failures: u32,
    /// What was wrong the last time.
    pub(crate) why: String,
}

impl Progress {
    pub(super) fn new(made: u64, principal: String, now: Timestamp) -> Self {
        let (after, lost) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            made,
            heard: Arc::new(Heard { principal, over: "webhook", since: now, after, lost }),
            delivered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            trouble: Mutex::default(),
        }
    }

    /// All up to this event is done with.
    pub(crate) fn after(&self) -> u64 {
        self.heard.after.load(Ordering::Relaxed)
    }

    pub(super) fn set_after(&self, after: u64) {
        self.heard.after.store(after, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, now: Timestamp, why: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.trouble.lock();
        let before = trouble.as_ref().map_or((now, 0), |trouble| (trouble.since, trouble.failures));
        *trouble = Some(Trouble { since: before.0, failures: before.1.saturating_add(1), why });
    }

    pub(super) fn succeeded(&self, events: usize) {
        self.delivered.fetch_add(events as u64, Ordering::Relaxed);
        *self.trouble.lock() = None;
    }

    /// What is wrong now.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }

    /// Whether a person should look at it.
    pub(super) fn is_failing(&self) -> bool {
        self.trouble.lock().as_ref().is_some_and(|trouble| trouble.failures >= FAILURES_OF_AN_ALARM)
    }

    pub(super) fn forget_trouble(&self) {
        *self.trouble.lock() = None;
    }
}
