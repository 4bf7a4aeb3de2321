//! The way of every question, whatever brought it: a seat, the search, the figures.

use std::sync::Arc;
use std::time::Duration;

use query::{Class, DegradedNearest, Lane, Nearest, QueryError};

use crate::figures::{Outcome, QueryFigures, Stage};
use crate::run::Service;
use crate::seats::{NoSeat, Request, Seat, Seats};

/// Two timers of one deadline end within so much of each other: a caller who goes as shortly before it has run out of time.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Refused before any work.
    #[error("overloaded: lane {} would not be served within its deadline; ask again in {} ms, or with allow_degraded where that is known", lane.as_str(), retry_after.as_millis().max(1))]
    Overloaded {
        /// Of the query.
        lane: Lane,
        /// When those before it are expected to be done.
        retry_after: Duration,
    },
    /// The deadline passed before the search, or with its last step.
    #[error("out of time: the deadline of {} ms passed; ask later, or allow more", deadline.as_millis())]
    Late {
        /// Of the query.
        deadline: Duration,
    },
    /// The deadline passed during the search.
    #[error(transparent)]
    Search(#[from] QueryError),
}

impl Unanswered {
    const fn outcome(&self) -> Outcome {
        match self {
            Self::Overloaded { .. } | Self::Search(QueryError::TooManyUnits { .. }) => Outcome::Refused,
            _ => Outcome::OutOfTime,
        }
    }
}

/// What was found nearest, and whether only a circle was searched.
pub(crate) struct Found {
    pub(crate) nearest: Nearest,
    /// Radius of the circle of a degraded answer, in metres.
    pub(crate) searched_m: Option<f64>,
}

impl From<Nearest> for Found {
    fn from(nearest: Nearest) -> Self {
        Self { nearest, searched_m: None }
    }
}

impl From<DegradedNearest> for Found {
    fn from(degraded: DegradedNearest) -> Self {
        Self { nearest: degraded.nearest, searched_m: Some(degraded.searched_m) }
    }
}

/// For queries that have no degraded answer.
pub(crate) const fn whole<T>() -> Option<fn(Duration) -> Result<T, QueryError>> {
    None
}

impl Service {
    /// Searches for `request` as soon as there is a seat. `degraded` is what its caller takes instead of a refusal.
    ///
    /// The clock ends when the search has; the [`Sending`] keeps the seat until the answer is made.
    pub(crate) async fn search<T, D>(
        &self,
        request: Request,
        search: impl FnOnce(Duration) -> Result<T, QueryError>,
        degraded: Option<impl FnOnce(Duration) -> Result<D, QueryError>>,
    ) -> Result<(T, Sending), Unanswered>
    where
        D: Into<T>,
    {
        let asked_at = self.seats.now();
        let patient = Patient { service: self, request, has_gone: true };
        let seat = self.seats.take(request).await;
        patient.served();
        let answer = match seat {
            Ok(seat) => self.seated(request, asked_at, seat, search),
            Err(NoSeat::Late) => Err(Unanswered::Late { deadline: request.deadline }),
            Err(NoSeat::Overloaded { retry_after }) => {
                let refused = Unanswered::Overloaded { lane: request.lane, retry_after };
                degraded.map_or(Err(refused), |degraded| self.degraded(request, refused, degraded))
            }
        };
        if let Err(unanswered) = &answer {
            self.figures.ended(request.class, request.lane, unanswered.outcome());
        }
        answer
    }

    fn seated<T>(
        &self,
        request: Request,
        asked_at: Duration,
        seat: Seat,
        search: impl FnOnce(Duration) -> Result<T, QueryError>,
    ) -> Result<(T, Sending), Unanswered> {
        // Not when it was called: until its task ran again it still waited.
        let started = self.seats.now();
        let found = search(left(request, started)?)?;
        let done = self.seats.now();
        left(request, done)?;
        let figures = &self.figures;
        let spent = done.saturating_sub(request.read_at);
        figures.ended(request.class, request.lane, Outcome::Kept);
        if spent > self.seats.contract(request.class).objective() {
            figures.missed_objective(request.class, request.lane);
        }
        let stages = [
            (Stage::Whole, spent),
            (Stage::Queue, started.saturating_sub(asked_at)),
            (Stage::Search, done.saturating_sub(started)),
        ];
        figures.took(request.class, request.lane, &stages);
        Ok((found, self.sending(request, Some(seat), done)))
    }

    fn degraded<T, D: Into<T>>(
        &self,
        request: Request,
        refused: Unanswered,
        degraded: impl FnOnce(Duration) -> Result<D, QueryError>,
    ) -> Result<(T, Sending), Unanswered> {
        let Some(seat) = self.seats.take_degraded() else { return Err(refused) };
        let found = match degraded(left(request, self.seats.now())?) {
            Ok(found) => found.into(),
            Err(QueryError::TooManyUnits { .. }) => return Err(refused),
            Err(error) => return Err(error.into()),
        };
        drop(seat);
        let done = self.seats.now();
        left(request, done)?;
        self.figures.ended(request.class, request.lane, Outcome::Degraded);
        Ok((found, self.sending(request, None, done)))
    }

    fn sending(&self, request: Request, seat: Option<Seat>, since: Duration) -> Sending {
        let (figures, seats) = (Arc::clone(&self.figures), Arc::clone(&self.seats));
        Sending { figures, seats, class: request.class, lane: request.lane, since, seat }
    }
}

/// What `request` has left at `now`.
fn left(request: Request, now: Duration) -> Result<Duration, Unanswered> {
    let left = request.until().checked_sub(now).filter(|left| !left.is_zero());
    left.ok_or(Unanswered::Late { deadline: request.deadline })
}

/// A caller that waits for a seat; counted when it goes before it has an answer. One that goes when its deadline passes has run
/// out of time: gRPC ends a call by itself then, a moment before or after the seats do.
struct Patient<'a> {
    service: &'a Service,
    request: Request,
    has_gone: bool,
}

impl Patient<'_> {
    fn served(mut self) {
        self.has_gone = false;
    }
}

impl Drop for Patient<'_> {
    fn drop(&mut self) {
        if self.has_gone {
            let now = self.service.seats.now().saturating_add(TIMER_SLACK);
            let outcome = if now < self.request.until() { Outcome::Gone } else { Outcome::OutOfTime };
            self.service.figures.ended(self.request.class, self.request.lane, outcome);
        }
    }
}

/// An answer on its way. Measures from search done until it is dropped.
pub(crate) struct Sending {
    figures: Arc<QueryFigures>,
    seats: Arc<Seats>,
    class: Class,
    lane: Lane,
    since: Duration,
    seat: Option<Seat>,
}

impl Sending {
    /// The answer is made, and the next one may search.
    pub(crate) fn made(mut self) -> Self {
        self.seat = None;
        self
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let spent = self.seats.now().saturating_sub(self.since);
        self.figures.took(self.class, self.lane, &[(Stage::Send, spent)]);
    }
}
