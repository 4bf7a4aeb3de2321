use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use model::limits::{EVENTS_PAGE_MAX, EVENTS_RECENT_MAX};
use model::{Event, EventKind};
use parking_lot::RwLock;
use store::StoreError;
use store::events::Events;
use tokio::sync::watch;

/// An event, and the text that it is sent as, made by whoever sends it first.
#[derive(Debug)]
pub struct Noted {
    /// What happened.
    pub event: Event,
    /// For the reader's use.
    pub text: OnceLock<Box<str>>,
}

/// Some events in their order.
#[derive(Debug)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Arc<Noted>>,
    /// Numbers that were asked for and are no longer there: the first and the last of them.
    pub gap: Option<(u64, u64)>,
}

/// The events on disk, with the newest of them at hand: ten thousand listeners do not read a file.
#[derive(Debug)]
pub(crate) struct Recent {
    events: Arc<Events>,
    newest: RwLock<VecDeque<Arc<Noted>>>,
    last: watch::Sender<u64>,
    has_failed: AtomicBool,
}

impl Recent {
    pub(crate) fn of(events: Arc<Events>) -> Result<Self, StoreError> {
        let (_, last) = events.span()?;
        Ok(Self {
            events,
            newest: RwLock::default(),
            last: watch::Sender::new(last),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Shows events that are on disk.
    pub(crate) fn show(&self, events: Vec<Event>) {
        let Some(last) = events.last().map(|event| event.number) else { return };
        let mut newest = self.newest.write();
        newest.extend(events.into_iter().map(|event| Arc::new(Noted { event, text: OnceLock::new() })));
        let surplus = newest.len().saturating_sub(EVENTS_RECENT_MAX);
        newest.drain(..surplus);
        drop(newest);
        self.last.send_replace(last);
    }

    pub(crate) fn set_failed(&self, has_failed: bool) {
        self.has_failed.store(has_failed, Ordering::Relaxed);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Tells the number of the last event whenever there is a new one.
    pub(crate) fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Marks of one kind that are on disk.
    pub(crate) fn marks(&self, kind: EventKind) -> Result<Vec<String>, StoreError> {
        self.events.marks(kind)
    }

    /// A page that needs no disk.
    pub(crate) fn at_hand(&self, after: u64) -> Option<EventPage> {
        let newest = self.newest.read();
        let first = newest.front().map_or(*self.last.borrow() + 1, |noted| noted.event.number);
        if after + 1 < first {
            return None;
        }
        let from = newest.partition_point(|noted| noted.event.number <= after);
        let events = newest.range(from..).take(EVENTS_PAGE_MAX).cloned().collect();
        Some(EventPage { events, gap: None })
    }

    /// Up to a page of events after number `after`. Reads the file only for those that are not at hand.
    pub(crate) fn after(&self, after: u64) -> Result<EventPage, StoreError> {
        if let Some(page) = self.at_hand(after) {
            return Ok(page);
        }
        let events = self.events.after(after, EVENTS_PAGE_MAX)?;
        let next = match events.first() {
            Some(event) => event.number,
            None => self.events.span()?.1 + 1,
        };
        let gap = (next > after + 1).then(|| (after + 1, next - 1));
        let noted = |event| Arc::new(Noted { event, text: OnceLock::new() });
        Ok(EventPage { events: events.into_iter().map(noted).collect(), gap })
    }
}
