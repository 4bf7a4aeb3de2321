//! What nearest, within and the list of units ask in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, rejection::JsonRejection};
use axum::http::StatusCode;
use axum::http::request::Parts;
use geodesy::Datum;
use model::{Position, limits};
use query::{AskError, Filter, Include};

use super::params::Params;
use super::problem::Problem;
use crate::run::Service;

/// When the request was read and how long its caller will wait (`Muster-Deadline-Ms`).
pub(crate) struct Patience {
    started: Instant,
    asked: Option<Duration>,
}

impl<S: Send + Sync> FromRequestParts<S> for Patience {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        const HEADER: &str = "muster-deadline-ms";
        let started = Instant::now();
        let Some(value) = parts.headers.get(HEADER) else { return Ok(Self { started, asked: None }) };
        let text = String::from_utf8_lossy(value.as_bytes());
        let max = limits::DEADLINE_MAX.as_millis() as u64;
        let ms = text.parse().ok().filter(|ms| (1..=max).contains(ms));
        let bad = || Problem::bad("Muster-Deadline-Ms", &text, format!("must be a whole number from 1 to {max}"));
        Ok(Self { started, asked: Some(Duration::from_millis(ms.ok_or_else(bad)?)) })
    }
}

impl Patience {
    /// What is left of the deadline, of `default` where the caller set none.
    pub(crate) fn left(&self, default: Duration) -> Duration {
        self.asked.unwrap_or(default).saturating_sub(self.started.elapsed())
    }

    pub(crate) fn spent(&self) -> Duration {
        self.started.elapsed()
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
/// one must not look like an empty city.
pub(crate) fn filter(params: &mut Params, service: &Service) -> Result<Filter, Problem> {
    let roster = service.engine.live().roster();
    let mut filter = Filter::new().kinds(params.words("kind")?).statuses(params.words("status")?);
    for word in params.words::<String>("capability")? {
        let bit = roster.capability(&word);
        let bit =
            bit.ok_or_else(|| Problem::bad("capability", &word, format!("no unit has the capability {word:?}")))?;
        filter = filter.capability(bit);
    }
    for word in params.words::<String>("org")? {
        let found = roster.organisation(&word);
        let found = found.ok_or_else(|| Problem::bad("org", &word, format!("no unit belongs to {word:?}")))?;
        filter = filter.organisation(found);
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

/// Answers and refusals by class, for the histograms.
pub(crate) fn observed<T>(
    service: &Arc<Service>,
    class: &'static str,
    patience: &Patience,
    answer: Result<T, Problem>,
) -> Result<T, Problem> {
    let outcome = match &answer {
        Ok(_) => "answered",
        Err(problem) if problem.status() == 504 => "out_of_time",
        Err(_) => "refused",
    };
    service.metrics.query(class, outcome, patience.spent());
    answer
}
