//! Who may search now, who waits, and who is refused before any work is done.
//!
//! Pure: no clock, no task, no lock. Time comes in with each call, so that a seed repeats every decision.

use std::collections::VecDeque;
use std::time::Duration;

use model::limits;

use crate::{Class, Lane};

/// One new measurement weighs an eighth: some ten queries tell a new load from an outlier.
const WEIGHT: u64 = 8;
/// Waits that were too long have come for so long: this is no burst, and waiting longer will not end it.
const CROWDED_AFTER: Duration = Duration::from_millis(100);
/// Longest time between two of them. Bursts leave longer ones.
const CROWDED_GAP: Duration = Duration::from_millis(20);

/// How many may search at once, and how many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    seats: usize,
}

impl Room {
    /// With `seats` seats for every lane; dispatch and emergency have [`limits::RESERVED_SEATS`] more, each its own.
    /// `None` for no seat, or more than [`limits::QUERY_SEATS_MAX`].
    #[must_use]
    pub fn new(seats: usize) -> Option<Self> {
        (1..=limits::QUERY_SEATS_MAX).contains(&seats).then_some(Self { seats })
    }

    /// A query of `lane` starts only while fewer than this search.
    #[must_use]
    pub const fn ceiling(self, lane: Lane) -> usize {
        match lane {
            Lane::Emergency => self.seats + 2 * limits::RESERVED_SEATS,
            Lane::Dispatch => self.seats + limits::RESERVED_SEATS,
            Lane::Map | Lane::Bulk => self.seats,
        }
    }

    /// Most that search at once, whatever their lanes.
    #[must_use]
    pub const fn seats_in_all(self) -> usize {
        self.ceiling(Lane::Emergency)
    }

    /// A query of `lane` is refused when so many wait in its lane and in those before it; `None`: never refused.
    ///
    /// Falls from lane to lane, so that whatever refuses one lane refuses those after it.
    #[must_use]
    pub const fn waiting_max(self, lane: Lane) -> Option<usize> {
        match lane {
            Lane::Emergency => None,
            Lane::Dispatch => Some(limits::DISPATCH_WAITING_MAX),
            Lane::Map => Some(limits::MAP_WAITING_MAX),
            Lane::Bulk => Some(limits::BULK_WAITING_MAX),
        }
    }
}

/// Names a query that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What becomes of a query that asks for a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It has a seat: search, then [`Admission::leave`].
    Start,
    /// It waits for its [`Turn`].
    Wait(Ticket),
    /// It could not be answered in time: no work was done.
    Refuse {
        /// When those before it are expected to be done.
        retry_after: Duration,
    },
    /// Its deadline has passed already.
    Late,
}

/// What becomes of a query that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has a seat: search, then [`Admission::leave`].
    Start(Ticket),
    /// Its deadline passed while it waited: no work was done.
    Late(Ticket),
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    ticket: Ticket,
    class: Class,
    until: Duration,
}

/// Seats, the queues before them, and what a seat is held for on average.
#[derive(Debug, Clone)]
pub struct Admission {
    room: Room,
    searching: [usize; Class::ALL.len()],
    degraded: usize,
    waiting: [VecDeque<Waiter>; Lane::ALL.len()],
    /// How many of each class wait in each lane, so that no queue is walked to estimate a wait.
    waiting_by_class: [[usize; Class::ALL.len()]; Lane::ALL.len()],
    /// Moving averages in nanoseconds; 0 before the first measurement.
    held_ns: [u64; Class::ALL.len()],
    last_ticket: u64,
    /// The first and the last of the waits that were too long, no two of them further apart than [`CROWDED_GAP`].
    too_long: Option<(Duration, Duration)>,
}

impl Admission {
    /// All seats are free.
    #[must_use]
    pub fn new(room: Room) -> Self {
        Self {
            room,
            searching: [0; Class::ALL.len()],
            degraded: 0,
            waiting: Default::default(),
            waiting_by_class: Default::default(),
            held_ns: [0; Class::ALL.len()],
            last_ticket: 0,
            too_long: None,
        }
    }

    /// When a query of `lane` ought to ask again that has waited for `waited` already and ought to start within `patience`; `None`: it
    /// may be offered. Cost: some nanoseconds.
    ///
    /// In a burst a query waits as long as its deadline lets it. But a queue that stands would make every answer as late as that,
    /// and answers no more for it: once waits longer than `patience` have come for 100 ms, those that would wait longer are refused.
    /// Emergencies never are. What refuses one lane refuses those after it.
    pub fn crowded(&mut self, lane: Lane, now: Duration, waited: Duration, patience: Duration) -> Option<Duration> {
        let is_next = self.searching() < self.room.ceiling(lane) && self.waiting_up_to(lane) == 0;
        let wait = if is_next { Duration::ZERO } else { self.expected_wait(lane) };
        if waited.saturating_add(wait) <= patience {
            return None;
        }
        let since = match self.too_long {
            Some((since, last)) if now.saturating_sub(last) <= CROWDED_GAP => since,
            _ => now,
        };
        self.too_long = Some((since, now));
        let is_refused = lane != Lane::Emergency && now.saturating_sub(since) >= CROWDED_AFTER;
        is_refused.then_some(wait)
    }

    /// A query asks for a seat at `now` and can use an answer before `until`. Cost: some nanoseconds; a queue is never walked.
    ///
    /// It starts only when nobody of its lane or of one before it waits: a seat that is free is theirs first. Refused only when it
    /// cannot start: an average that was spoilt by an outlier heals by itself once load falls.
    pub fn offer(&mut self, lane: Lane, class: Class, now: Duration, until: Duration) -> Offer {
        if now >= until {
            return Offer::Late;
        }
        if self.searching() < self.room.ceiling(lane) && self.waiting_up_to(lane) == 0 {
            self.searching[class as usize] += 1;
            return Offer::Start;
        }
        if let Some(waiting_max) = self.room.waiting_max(lane) {
            let wait = self.expected_wait(lane);
            let is_full = self.waiting_up_to(lane) >= waiting_max;
            if is_full || now.saturating_add(wait).saturating_add(self.held(class)) > until {
                return Offer::Refuse { retry_after: wait };
            }
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting[lane as usize].push_back(Waiter { ticket, class, until });
        self.waiting_by_class[lane as usize][class as usize] += 1;
        Offer::Wait(ticket)
    }

    /// A seat that was held for `held` is free again. Ask for [`Self::turn`] until there is none, before anything else is asked.
    ///
    /// # Panics
    /// When nobody of `class` has a seat: seats are counted wrongly.
    pub fn leave(&mut self, class: Class, held: Duration) {
        let searching = &mut self.searching[class as usize];
        *searching = searching.checked_sub(1).expect("who leaves has a seat");
        let held_ns = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX).max(1);
        let average = &mut self.held_ns[class as usize];
        *average = if *average == 0 { held_ns } else { *average - *average / WEIGHT + held_ns / WEIGHT };
    }

    /// Whose turn it is at `now`: the first lane first, in each lane who came first.
    pub fn turn(&mut self, now: Duration) -> Option<Turn> {
        for lane in Lane::ALL {
            let Some(first) = self.waiting[lane as usize].front() else { continue };
            let is_late = first.until <= now;
            if !is_late && self.searching() >= self.room.ceiling(lane) {
                continue;
            }
            let waiter = self.waiting[lane as usize].pop_front()?;
            self.waiting_by_class[lane as usize][waiter.class as usize] -= 1;
            if is_late {
                return Some(Turn::Late(waiter.ticket));
            }
            self.searching[waiter.class as usize] += 1;
            return Some(Turn::Start(waiter.ticket));
        }
        None
    }

    /// A query of `lane` no longer waits; whether it did. Cost: walks the queue of the lane.
    pub fn withdraw(&mut self, lane: Lane, ticket: Ticket) -> bool {
        let queue = &mut self.waiting[lane as usize];
        let Some(at) = queue.iter().position(|waiter| waiter.ticket == ticket) else { return false };
        let Some(waiter) = queue.remove(at) else { return false };
        self.waiting_by_class[lane as usize][waiter.class as usize] -= 1;
        true
    }

    /// Whether a degraded search may start now: at most [`limits::DEGRADED_SEATS`] at once. Then [`Self::leave_degraded`].
    pub const fn offer_degraded(&mut self) -> bool {
        let is_free = self.degraded < limits::DEGRADED_SEATS;
        if is_free {
            self.degraded += 1;
        }
        is_free
    }

    /// A degraded search is done.
    ///
    /// # Panics
    /// When there is none: they are counted wrongly.
    pub const fn leave_degraded(&mut self) {
        self.degraded = self.degraded.checked_sub(1).expect("who leaves was let in");
    }

    /// How many search now, degraded searches not among them.
    #[must_use]
    pub fn searching(&self) -> usize {
        self.searching.iter().sum()
    }

    /// How many wait in `lane`.
    #[must_use]
    pub fn waiting(&self, lane: Lane) -> usize {
        self.waiting[lane as usize].len()
    }

    /// How long a seat is held by a query of `class` on average; zero before the first.
    #[must_use]
    pub const fn held(&self, class: Class) -> Duration {
        Duration::from_nanos(self.held_ns[class as usize])
    }

    fn waiting_up_to(&self, lane: Lane) -> usize {
        self.waiting[..=lane as usize].iter().map(VecDeque::len).sum()
    }

    /// The work before a new query of `lane`, shared by the seats that it may use. Those who search are taken to need their
    /// whole average again: how long they have searched says little about what is left.
    fn expected_wait(&self, lane: Lane) -> Duration {
        let work_ns = Class::ALL.into_iter().fold(0u64, |work_ns, class| {
            let waiting: usize = self.waiting_by_class[..=lane as usize].iter().map(|of| of[class as usize]).sum();
            let queries = (waiting + self.searching[class as usize]) as u64;
            work_ns.saturating_add(queries.saturating_mul(self.held_ns[class as usize]))
        });
        Duration::from_nanos(work_ns / self.room.ceiling(lane) as u64)
    }
}
