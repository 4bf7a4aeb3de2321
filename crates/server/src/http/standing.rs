//! Standing queries: they tell by events when their answer is another one.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use geodesy::Datum;
use model::{
    NameError, OrganisationName, Standing, StandingFilter, StandingQuestion, Timestamp, UnitName, UnknownWord, ZoneName,
};
use serde::{Deserialize, Serialize};
use store::{By, StandingRecord};
use utoipa::ToSchema;

use super::ask::json;
use super::problem::Problem;
use crate::access::Asker;
use crate::listeners::Sight;
use crate::run::Service;

/// A new standing query: exactly one of `nearest`, `strength` and `near`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StandingAsk {
    /// What it is asked for: 1 to 128 bytes.
    incident: String,
    /// RFC 3339, at most 24 hours from now: it ends then.
    until: String,
    nearest: Option<NearestBody>,
    strength: Option<StrengthBody>,
    near: Option<NearBody>,
}

/// Tells who the nearest to a place are when they, or their order, are others for two looks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NearestBody {
    /// Degrees, -90 to 90.
    lat: f64,
    /// Degrees, -180 to 180.
    lon: f64,
    /// wgs84 (default), gcj02 or bd09: of the question. Answers are wgs84.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datum: Option<String>,
    /// How many: 1 to 20.
    k: u32,
    /// Only these kinds; naming one includes it. Never community.
    #[serde(default)]
    kind: Vec<String>,
    /// Only these statuses; naming one includes it.
    #[serde(default)]
    status: Vec<String>,
    /// Must have all of these.
    #[serde(default)]
    capability: Vec<String>,
    /// Only of these organisations.
    #[serde(default)]
    org: Vec<String>,
}

/// Tells when a zone has fewer units than that for two looks, and when it has enough again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StrengthBody {
    zone: String,
    /// Which kinds count; empty: all but community. Units off duty, covert or out of contact do not count.
    #[serde(default)]
    kind: Vec<String>,
    /// 1 to 10,000.
    fewer_than: u32,
}

/// Tells when a unit comes within so many metres of another, and when they are 1.2 times as far apart. A stale place brings nobody
/// near and takes nobody away.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NearBody {
    unit: String,
    other: String,
    /// Above 0, at most 50,000.
    metres: f64,
}

/// A standing query.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingBody {
    /// Its number.
    standing: u64,
    incident: String,
    created: String,
    until: String,
    /// Who asked.
    owner: String,
    /// With whose sight it is answered, and who hears of it; null: the whole.
    org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<NearestBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<StrengthBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    near: Option<NearBody>,
    /// What was told last: below or enough, near or apart, answered; null: nothing yet.
    #[schema(value_type = Option<String>)]
    answer: Option<&'static str>,
}

/// Standing queries by number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingList {
    as_of: String,
    standing: Vec<StandingBody>,
}

/// Asks a standing query. It is looked at once a second with what its owner's organisation sees then; its first answer and each
/// other one become an event `standing`, and its end an event `standing_ended` (`/v1/events?kind=standing,standing_ended`), which
/// are told to that organisation, and to those above it that see all units in them. It outlives a restart of the server and its owner's token. It ends at
/// `until`, when it is deleted, or when a unit or zone that it names has not been seen for 30 s.
#[utoipa::path(
    post,
    path = "/v1/standing",
    request_body = StandingAsk,
    responses(
        (status = 201, body = StandingBody, description = "With `Location`"),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "It would follow a volunteer or a covert unit"),
        (status = 404, body = Problem, description = "A unit or zone that it names is not there"),
        (status = 409, body = Problem, description = "There are 1,000 already, or 200 of the organisation"),
    )
)]
pub(crate) async fn add(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Json<StandingAsk>, JsonRejection>,
) -> Result<Response, Problem> {
    let StandingAsk { incident, until, nearest, strength, near } = json(body)?;
    let end = Timestamp::from_rfc3339(&until).ok_or_else(|| Problem::bad("until", &until, "is no time of RFC 3339"))?;
    let question = match (nearest, strength, near) {
        (Some(nearest), None, None) => nearest.question()?,
        (None, Some(strength), None) => strength.question()?,
        (None, None, Some(near)) => near.question()?,
        _ => return Err(Problem::bad("nearest", "", "exactly one of `nearest`, `strength` and `near` is asked")),
    };
    let now = service.engine.live().now();
    let standing = Standing::new(Arc::clone(&asker.principal), &incident, now, end, question);
    let standing = standing.map_err(|error| Problem::bad(error.field(), "", error))?;
    service.may_follow(standing.organisation(), standing.question())?;
    let kept = standing.clone();
    let number = service.stored(move |store| {
        let by = By { principal: &asker.principal, now, reason: None };
        store.add_standing(&by, &kept)
    });
    let number = number.await?;
    let body = body_of(&service, &StandingRecord { number, standing, ended: None });
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/standing/{number}"))], Json(body)).into_response())
}

/// The standing queries of the caller's organisation, and of those below it whose units it all sees.
#[utoipa::path(get, path = "/v1/standing", responses((status = 200, body = StandingList)))]
pub(crate) async fn list(State(service): State<Arc<Service>>, asker: Asker) -> Result<Json<StandingList>, Problem> {
    let open = open(&service, &asker).await?;
    let as_of = service.engine.live().now().to_string();
    Ok(Json(StandingList { as_of, standing: open.iter().map(|record| body_of(&service, record)).collect() }))
}

/// One standing query.
#[utoipa::path(
    get,
    path = "/v1/standing/{standing}",
    params(("standing" = u64, Path, description = "Its number")),
    responses((status = 200, body = StandingBody), (status = 404, body = Problem))
)]
pub(crate) async fn read(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(standing): Path<String>,
) -> Result<Json<StandingBody>, Problem> {
    let found = find(&service, &asker, &standing).await?;
    Ok(Json(body_of(&service, &found)))
}

/// Ends a standing query; the event `standing_ended` says so within two seconds.
#[utoipa::path(
    delete,
    path = "/v1/standing/{standing}",
    params(("standing" = u64, Path, description = "Its number")),
    responses((status = 204), (status = 404, body = Problem))
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(standing): Path<String>,
) -> Result<StatusCode, Problem> {
    let number = find(&service, &asker, &standing).await?.number;
    let now = service.engine.live().now();
    let gone = service.stored(move |store| {
        let by = By { principal: &asker.principal, now, reason: None };
        store.delete_standing(&by, number)
    });
    gone.await.map(|()| StatusCode::NO_CONTENT)
}

/// Those that the caller may know of.
async fn open(service: &Service, asker: &Asker) -> Result<Vec<StandingRecord>, Problem> {
    let all = service.stored(|store| store.standing()).await?;
    let sight = Sight::of(service, asker);
    let is_seen = |record: &StandingRecord| {
        let named = match record.standing.question() {
            StandingQuestion::Near { unit, other, .. } => vec![unit.clone(), other.clone()],
            _ => Vec::new(),
        };
        record.ended.is_none() && sight.sees_standing(record.standing.organisation(), named.into_iter())
    };
    Ok(all.into_iter().filter(is_seen).collect())
}

async fn find(service: &Service, asker: &Asker, standing: &str) -> Result<StandingRecord, Problem> {
    let number: u64 = standing.parse().map_err(|error| Problem::bad("standing", standing, error))?;
    let found = open(service, asker).await?.into_iter().find(|record| record.number == number);
    found.ok_or_else(|| Problem::not_found(format!("there is no standing query `{number}`")))
}

impl NearestBody {
    fn question(self) -> Result<StandingQuestion, Problem> {
        let Self { lat, lon, datum, k, kind, status, capability, org } = self;
        for (name, value, max) in [("lat", lat, 90.0), ("lon", lon, 180.0)] {
            if !(-max..=max).contains(&value) {
                return Err(Problem::bad(name, value, format!("must lie between -{max} and {max} degrees")));
            }
        }
        let read = |text: String| text.parse::<Datum>().map_err(|error| Problem::bad("datum", &text, error));
        let datum = datum.map_or(Ok(Datum::Wgs84), read)?;
        let place = datum.to_wgs84(lat, lon);
        let place = place.ok_or_else(|| Problem::bad("lat", lat, "no place on earth in this datum"))?;
        let name = |text: &String| OrganisationName::new(text).map_err(|error| Problem::bad("org", text, error));
        let only = StandingFilter {
            kinds: words("kind", &kind)?,
            statuses: words("status", &status)?,
            capabilities: capability,
            organisations: org.iter().map(name).collect::<Result<_, _>>()?,
        };
        Ok(StandingQuestion::Nearest { place, k, only })
    }
}

impl StrengthBody {
    fn question(self) -> Result<StandingQuestion, Problem> {
        let Self { zone, kind, fewer_than } = self;
        let kinds = words("kind", &kind)?;
        let zone = ZoneName::new(&zone).map_err(|error| Problem::bad("zone", &zone, error))?;
        Ok(StandingQuestion::Strength { zone, kinds, fewer_than })
    }
}

impl NearBody {
    fn question(self) -> Result<StandingQuestion, Problem> {
        let Self { unit, other, metres } = self;
        let bad = |field: &str, text: &str, error: NameError| Problem::bad(field, text, error);
        let unit = UnitName::new(&unit).map_err(|error| bad("unit", &unit, error))?;
        let other = UnitName::new(&other).map_err(|error| bad("other", &other, error))?;
        Ok(StandingQuestion::Near { unit, other, metres })
    }
}

fn words<T: std::str::FromStr<Err = UnknownWord>>(field: &str, words: &[String]) -> Result<Vec<T>, Problem> {
    words.iter().map(|word| word.parse().map_err(|error| Problem::bad(field, word, error))).collect()
}

fn body_of(service: &Service, record: &StandingRecord) -> StandingBody {
    let StandingRecord { number, standing, .. } = record;
    let mut body = StandingBody {
        standing: *number,
        incident: standing.incident().to_owned(),
        created: standing.created().to_string(),
        until: standing.until().to_string(),
        owner: standing.owner().name.to_string(),
        org: standing.organisation().map(ToString::to_string),
        nearest: None,
        strength: None,
        near: None,
        answer: service.standings.told(*number).map(|state| word(&state)),
    };
    fn words<T: ToString>(some: &[T]) -> Vec<String> {
        some.iter().map(ToString::to_string).collect()
    }
    match standing.question() {
        StandingQuestion::Nearest { place, k, only } => {
            body.nearest = Some(NearestBody {
                lat: place.lat_deg(),
                lon: place.lon_deg(),
                datum: None,
                k: *k,
                kind: words(&only.kinds),
                status: words(&only.statuses),
                capability: only.capabilities.clone(),
                org: words(&only.organisations),
            });
        }
        StandingQuestion::Strength { zone, kinds, fewer_than } => {
            body.strength = Some(StrengthBody { zone: zone.to_string(), kind: words(kinds), fewer_than: *fewer_than });
        }
        StandingQuestion::Near { unit, other, metres } => {
            body.near = Some(NearBody { unit: unit.to_string(), other: other.to_string(), metres: *metres });
        }
    }
    body
}

/// A state as it is shown: the digest of an answer says nothing to anybody.
fn word(state: &str) -> &'static str {
    let known = ["below", "enough", "near", "apart"];
    known.into_iter().find(|word| *word == state).unwrap_or("answered")
}
