//! What is said of a unit by the hour: status and assignment.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use model::{OrganisationName, Owner, Said, SaidOf, Sight, Status, Timestamp, UnitRecord};
use query::Explain;
use serde::Deserialize;
use store::{By, IfMatch, Store};
use utoipa::ToSchema;

use super::ask::json;
use super::features::Feature;
use super::problem::Problem;
use super::units::{answer, name_of, unknown};
use crate::access::Asker;
use crate::run::Service;

/// Who says it, when it was so, and its key, as they were sent. Each body has these of its own: a flattened one would take a
/// misspelt member in silence.
struct Saying {
    owner: Option<String>,
    time: Option<String>,
    source: Option<String>,
    idempotency_key: Option<String>,
}

/// A change of status.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusAsk {
    /// available, busy, off_duty, unknown; null takes back what this owner said.
    status: Option<String>,
    /// cad (default) stands before terminal, and that before the record of the unit.
    owner: Option<String>,
    /// RFC 3339; absent: now. Nothing older than what the same owner said is taken.
    time: Option<String>,
    /// Which system or person says so; at most 128 bytes.
    source: Option<String>,
    /// Makes it one change however often it is sent: at most 128 bytes, kept for 72 hours.
    idempotency_key: Option<String>,
}

/// A change of assignment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentAsk {
    /// An incident, a task: at most 128 bytes; null takes it back.
    assignment: Option<String>,
    /// An organisation whose principals see the unit, wherever it is, while this assignment stands and until `until`.
    for_org: Option<String>,
    /// RFC 3339, at most 24 hours from now; needed with `for_org`.
    until: Option<String>,
    /// cad (default) stands before terminal, and that before the record of the unit.
    owner: Option<String>,
    /// RFC 3339; absent: now. Nothing older than what the same owner said is taken.
    time: Option<String>,
    /// Which system or person says so; at most 128 bytes.
    source: Option<String>,
    /// Makes it one change however often it is sent: at most 128 bytes, kept for 72 hours.
    idempotency_key: Option<String>,
}

/// Says what a unit can take on. 200 means: it is stored, also when it was repeated or late.
#[utoipa::path(
    put,
    path = "/v1/units/{unit}/status",
    params(("unit" = String, Path, description = "Its name")),
    request_body = StatusAsk,
    responses(
        (status = 200, body = Feature),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "The unit is seen, and not the caller's to direct"),
        (status = 404, body = Problem),
        (status = 503, body = Problem, description = "The change is made and not stored yet"),
    )
)]
pub(crate) async fn status(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(unit): Path<String>,
    body: Result<Json<StatusAsk>, JsonRejection>,
) -> Result<Response, Problem> {
    let StatusAsk { status, owner, time, source, idempotency_key } = json(body)?;
    let saying = Saying { owner, time, source, idempotency_key };
    let read = |text: String| text.parse::<Status>().map_err(|error| Problem::bad("status", &text, error));
    let status = status.map(read).transpose()?;
    say(&service, asker, &unit, SaidOf::Status(status), saying, None).await
}

/// Says what a unit is sent to. 200 means: it is stored, also when it was repeated or late. With `for_org` and `until` it is lent to
/// the sight of another organisation; the next assignment of the same owner, or none, ends that at once.
#[utoipa::path(
    put,
    path = "/v1/units/{unit}/assignment",
    params(("unit" = String, Path, description = "Its name")),
    request_body = AssignmentAsk,
    responses(
        (status = 200, body = Feature),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "The unit is seen, and not the caller's to direct"),
        (status = 404, body = Problem),
        (status = 503, body = Problem, description = "The change is made and not stored yet"),
    )
)]
pub(crate) async fn assignment(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(unit): Path<String>,
    body: Result<Json<AssignmentAsk>, JsonRejection>,
) -> Result<Response, Problem> {
    let AssignmentAsk { assignment, for_org, until, owner, time, source, idempotency_key } = json(body)?;
    let saying = Saying { owner, time, source, idempotency_key };
    let lent = Lent::read(for_org, until)?;
    if lent.is_some() && assignment.is_none() {
        return Err(Problem::bad("for_org", "", "a unit that is sent to nothing is lent to nobody"));
    }
    say(&service, asker, &unit, SaidOf::Assignment(assignment), saying, lent).await
}

/// To whose sight a unit is lent, and until when.
struct Lent {
    organisation: OrganisationName,
    until: Timestamp,
}

impl Lent {
    fn read(for_org: Option<String>, until: Option<String>) -> Result<Option<Self>, Problem> {
        let (organisation, until) = match (for_org, until) {
            (None, None) => return Ok(None),
            (Some(organisation), Some(until)) => (organisation, until),
            (Some(_), None) => return Err(Problem::bad("until", "", "a unit is lent for a time: say when it ends")),
            (None, Some(until)) => return Err(Problem::bad("for_org", until, "an end without whom it is for")),
        };
        let read = OrganisationName::new(&organisation);
        Ok(Some(Self {
            organisation: read.map_err(|error| Problem::bad("for_org", &organisation, error))?,
            until: time_of("until", &until)?,
        }))
    }
}

fn time_of(field: &str, text: &str) -> Result<Timestamp, Problem> {
    Timestamp::from_rfc3339(text).ok_or_else(|| Problem::bad(field, text, "is no time of RFC 3339"))
}

async fn say(
    service: &Service,
    asker: Asker,
    unit: &str,
    of: SaidOf,
    saying: Saying,
    lent: Option<Lent>,
) -> Result<Response, Problem> {
    let name = name_of(unit)?;
    let live = service.engine.live();
    let seen = live.unit(&name, &asker.scope).ok_or_else(|| unknown(&name))?;
    if !seen.unit.organisation.as_ref().map_or(asker.is_of_the_whole(), |one| service.commands(&asker, one)) {
        return Err(Problem::forbidden("this unit is not yours to direct"));
    }
    let now = live.now();
    let Saying { owner, time, source, idempotency_key } = saying;
    let owner =
        owner.map_or(Ok(Owner::Cad), |text| text.parse().map_err(|error| Problem::bad("owner", &text, error)))?;
    let time = time.map_or(Ok(now), |text| time_of("time", &text))?;
    if time.ms_since(now) > model::limits::FUTURE_TOLERANCE.as_millis() as i64 {
        return Err(Problem::bad("time", time, "is more than 60 s ahead of the server's clock"));
    }
    let sight = lent.map(|Lent { organisation, until }| Sight { unit: name.clone(), organisation, from: now, until });
    let said = Said { of, time, source: source.unwrap_or_default() };
    let (wanted, principal, unit) = (name.clone(), Arc::clone(&asker.principal), (*seen.unit).clone());
    let taken = move |store: &Store| {
        let by = By { principal: &principal, now, reason: None };
        // A unit that a device made of itself is written down with the first word said of it.
        if store.unit(&wanted)?.is_none() {
            store.put_unit(&by, &UnitRecord::of(unit), IfMatch::Absent)?;
        }
        store.say_and_lend(&by, &wanted, owner, &said, idempotency_key.as_deref(), sight.as_ref())
    };
    service.stored(taken).await?;
    service.level().await?;
    service.settle().await?;
    answer(service, &asker, name, Explain::Count).await
}
