//! Joins [`Admission`] to tasks: a query takes a [`Seat`] at once, waits for one, or is refused.
//!
//! A search runs on the thread that read its question, which saves two changes of thread; seats bound how many do, and the
//! runtime has more threads than there are seats, so that sockets are read while all seats are taken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use parking_lot::Mutex;
use query::{Admission, Class, Contract, Lane, Offer, Ticket, Turn};
use tokio::sync::oneshot;

use crate::contract::ContractConfig;

/// Who asks, since when, and for how long the answer is of use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) class: Class,
    pub(crate) lane: Lane,
    /// On the clock of [`Seats::now`].
    pub(crate) read_at: Duration,
    pub(crate) deadline: Duration,
}

impl Request {
    /// When the answer is too late, on the clock of [`Seats::now`].
    pub(crate) const fn until(self) -> Duration {
        self.read_at.saturating_add(self.deadline)
    }
}

/// Why a query has no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// It would not have been answered in time.
    Overloaded { retry_after: Duration },
    /// Its deadline passed while it waited.
    Late,
}

/// All seats and who waits for one.
pub(crate) struct Seats {
    desk: Mutex<Desk>,
    clock: Arc<dyn Clock>,
    contracts: [Contract; Class::ALL.len()],
}

struct Desk {
    admission: Admission,
    /// Who waits: its class, and where to call it.
    calls: HashMap<Ticket, (Call, Class)>,
}

/// Tells one who waits what has become of it.
type Call = oneshot::Sender<Result<Seat, NoSeat>>;

impl Desk {
    /// Whose turn it is. Nothing is allocated when it is nobody's.
    fn called(&mut self, now: Duration) -> Vec<(Turn, Call, Class)> {
        let mut called = Vec::new();
        while let Some(turn) = self.admission.turn(now) {
            let (Turn::Start(ticket) | Turn::Late(ticket)) = turn;
            let (call, class) = self.calls.remove(&ticket).expect("who waits can be called");
            called.push((turn, call, class));
        }
        called
    }
}

impl Seats {
    pub(crate) fn new(config: &ContractConfig, clock: Arc<dyn Clock>) -> Self {
        let contracts = Class::ALL.map(|class| config.contract(class));
        let room = config.room();
        Self { desk: Mutex::new(Desk { admission: Admission::new(room), calls: HashMap::new() }), clock, contracts }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(crate) const fn contract(&self, class: Class) -> Contract {
        self.contracts[class as usize]
    }

    /// From now on a query of `class` is taken to hold its seat for `held`.
    #[cfg(test)]
    pub(crate) fn suppose(&self, class: Class, held: Duration) {
        let mut desk = self.desk.lock();
        let now = self.now();
        assert_eq!(desk.admission.offer(Lane::Emergency, class, now, Duration::MAX), Offer::Start);
        desk.admission.leave(class, held);
    }

    /// How many search and how many wait in each lane, now.
    pub(crate) fn taken(&self) -> (usize, [usize; Lane::ALL.len()]) {
        let desk = self.desk.lock();
        (desk.admission.searching(), Lane::ALL.map(|lane| desk.admission.waiting(lane)))
    }

    /// A seat for `request`. Cost when one is free: a lock that is held for some nanoseconds.
    pub(crate) async fn take(self: &Arc<Self>, request: Request) -> Result<Seat, NoSeat> {
        let now = self.now();
        let mut waiting = {
            let mut desk = self.desk.lock();
            if let Some(retry_after) = self.crowded(&mut desk.admission, request, now) {
                return Err(NoSeat::Overloaded { retry_after });
            }
            match desk.admission.offer(request.lane, request.class, now, request.until()) {
                Offer::Start => return Ok(self.seat(request.class, now)),
                Offer::Refuse { retry_after } => return Err(NoSeat::Overloaded { retry_after }),
                Offer::Late => return Err(NoSeat::Late),
                Offer::Wait(ticket) => {
                    let (call, called) = oneshot::channel();
                    desk.calls.insert(ticket, (call, request.class));
                    Waiting { seats: Arc::clone(self), lane: request.lane, ticket, called }
                }
            }
        };
        let left = request.until().saturating_sub(now);
        match tokio::time::timeout(left, &mut waiting.called).await {
            Ok(Ok(turn)) => turn,
            // Nobody drops a call that is not answered: this is the timer.
            Ok(Err(_)) | Err(_) => Err(NoSeat::Late),
        }
    }

    /// Half of the objective is for waiting, half for the search. What is late already is that, and not refused.
    fn crowded(&self, admission: &mut Admission, request: Request, now: Duration) -> Option<Duration> {
        let waited = now.saturating_sub(request.read_at);
        let patience = self.contract(request.class).objective() / 2;
        (now < request.until()).then(|| admission.crowded(request.lane, now, waited, patience)).flatten()
    }

    /// A seat for a degraded search, if one is free. It does not wait.
    pub(crate) fn take_degraded(self: &Arc<Self>) -> Option<DegradedSeat> {
        self.desk.lock().admission.offer_degraded().then(|| DegradedSeat { seats: Arc::clone(self) })
    }

    fn seat(self: &Arc<Self>, class: Class, since: Duration) -> Seat {
        Seat { seats: Arc::clone(self), class, since }
    }

    fn leave(self: &Arc<Self>, class: Class, since: Duration) {
        let now = self.now();
        // Left and taken under one lock: nobody who comes between finds a seat free that another waits for.
        let called = {
            let mut desk = self.desk.lock();
            desk.admission.leave(class, now.saturating_sub(since));
            desk.called(now)
        };
        // Outside the lock: a seat that nobody takes any more is dropped here, and comes back to this function.
        for (turn, call, class) in called {
            let turn = match turn {
                Turn::Start(_) => Ok(self.seat(class, now)),
                Turn::Late(_) => Err(NoSeat::Late),
            };
            let _ = call.send(turn);
        }
    }
}

/// The right to search. Dropping it lets the next one search.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    class: Class,
    since: Duration,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.leave(self.class, self.since);
    }
}

/// The right to one degraded search.
pub(crate) struct DegradedSeat {
    seats: Arc<Seats>,
}

impl Drop for DegradedSeat {
    fn drop(&mut self) {
        self.seats.desk.lock().admission.leave_degraded();
    }
}

/// Takes itself out of the queue when its caller has gone or its time is over.
struct Waiting {
    seats: Arc<Seats>,
    lane: Lane,
    ticket: Ticket,
    called: oneshot::Receiver<Result<Seat, NoSeat>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut desk = self.seats.desk.lock();
        let waited = desk.admission.withdraw(self.lane, self.ticket);
        // The call is dropped after the lock: what it may hold is a seat.
        let call = waited.then(|| desk.calls.remove(&self.ticket));
        drop(desk);
        drop(call);
    }
}

#[cfg(test)]
mod tests;
