//! What nearest, within and the list of units ask in common.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, rejection::JsonRejection};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use geodesy::Datum;
use http_body::{Frame, SizeHint};
use model::{Position, limits};
use query::{AskError, Class, Filter, Include, Lane};
use serde::Serialize;

use super::params::Params;
use super::problem::Problem;
use crate::access::Asker;
use crate::figures::Outcome;
use crate::run::Service;
use crate::search::Sending;
use crate::seats::Request;

/// When the request was read, how long its caller will wait (`Muster-Deadline-Ms`), and its lane (`Muster-Lane`).
pub(crate) struct Patience {
    read_at: Duration,
    deadline: Option<Duration>,
    lane: Option<Lane>,
}

impl FromRequestParts<Arc<Service>> for Patience {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        let read_at = service.seats.now();
        let header = |name| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let max = limits::DEADLINE_MAX.as_millis() as u64;
        let deadline = header("muster-deadline-ms").map(|text| {
            let ms = text.parse().ok().filter(|ms| (1..=max).contains(ms)).map(Duration::from_millis);
            let rule = format!("must be a whole number from 1 to {max}");
            ms.ok_or_else(|| Problem::bad("Muster-Deadline-Ms", text, rule))
        });
        let lane = header("muster-lane")
            .map(|text| text.parse::<Lane>().map_err(|error| Problem::bad("Muster-Lane", text, error)));
        let asker = parts.extensions.get::<Asker>().expect("a handler is reached through the check of access only");
        let lane = asker.lane(lane.transpose()?).map_err(Problem::forbidden)?;
        Ok(Self { read_at, deadline: deadline.transpose()?, lane })
    }
}

impl Patience {
    /// The body has been read too: a slow sender does not use up the time of the search.
    pub(crate) fn body_read(self, service: &Service) -> Self {
        Self { read_at: service.seats.now(), ..self }
    }

    /// What the caller wants of a query of `class`.
    pub(crate) fn request(&self, service: &Service, class: Class) -> Request {
        Request {
            class,
            lane: self.lane.unwrap_or(class.lane()),
            read_at: self.read_at,
            deadline: self.deadline.unwrap_or(service.seats.contract(class).deadline()),
        }
    }
}

/// A place in the datum that the caller declared.
pub(crate) fn place(params: &mut Params, datum: Datum) -> Result<Position, Problem> {
    let (lat, lon) = (params.number("lat")?, params.number("lon")?);
    for (name, value, max) in [("lat", lat, 90.0), ("lon", lon, 180.0)] {
        if !(-max..=max).contains(&value) {
            return Err(Problem::bad(name, value, format!("`{name}` must lie between -{max} and {max} degrees")));
        }
    }
    datum.to_wgs84(lat, lon).ok_or_else(|| Problem::bad("lat", lat, "no place on earth in this datum"))
}

pub(crate) fn datum(params: &mut Params) -> Result<Datum, Problem> {
    Ok(params.parsed("datum")?.unwrap_or(Datum::Wgs84))
}

/// The filter of a request. Organisations and capabilities that nobody has are refused: a misspelt
/// one must not look like an empty city. Who does not see everything is not told which there are.
pub(crate) fn filter(params: &mut Params, asker: &Asker, service: &Service) -> Result<Filter, Problem> {
    let roster = service.engine.live().roster();
    let mut filter = Filter::new().kinds(params.words("kind")?).statuses(params.words("status")?);
    for word in params.words::<String>("capability")? {
        filter = match roster.capability(&word) {
            Some(bit) => filter.capability(bit),
            None if asker.sees_all() => {
                return Err(Problem::bad("capability", &word, format!("no unit has the capability {word:?}")));
            }
            None => filter.unknown_capability(),
        };
    }
    for word in params.words::<String>("org")? {
        filter = match roster.organisation(&word) {
            Some(found) => filter.organisation(found),
            None if asker.sees_all() => {
                return Err(Problem::bad("org", &word, format!("no unit belongs to {word:?}")));
            }
            None => filter.unknown_organisation(),
        };
    }
    for include in params.words::<Include>("include")? {
        filter = filter.include(include);
    }
    if let Some(seconds) = params.parsed::<f64>("max_age_s")? {
        let bad = || Problem::bad("max_age_s", seconds, "must be above 0 seconds and finite");
        let age = Duration::try_from_secs_f64(seconds).ok().filter(|age| !age.is_zero()).ok_or_else(bad)?;
        filter = filter.max_age(age).map_err(|error| of_ask(&error))?;
    }
    Ok(filter)
}

pub(crate) fn of_ask(error: &AskError) -> Problem {
    Problem::bad(error.field(), error.value(), error)
}

/// A JSON body, with the reader's own word of where it is wrong.
pub(crate) fn json<T>(body: Result<axum::Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|axum::Json(value)| value).map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is longer than {} bytes", limits::JSON_BYTES_MAX);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "bad-json", "The body cannot be read", error.body_text()),
    })
}

/// Counts a question that cannot be answered.
pub(crate) fn understood<T>(service: &Service, request: Request, ask: Result<T, Problem>) -> Result<T, Problem> {
    if ask.is_err() {
        service.figures.ended(request.class, request.lane, Outcome::Bad);
    }
    ask
}

/// The answer as bytes. Its seat is free once they are made; its time ends when the connection has taken them.
pub(crate) fn sent<T: Serialize>(answer: &T, sending: Sending) -> Response {
    let bytes = serde_json::to_vec(answer).expect("an answer is made of plain values");
    let body = Body::new(Told { bytes: Some(bytes.into()), _sending: sending.made() });
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A body of one piece that is dropped when the connection has taken it.
struct Told {
    bytes: Option<Bytes>,
    _sending: Sending,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}
