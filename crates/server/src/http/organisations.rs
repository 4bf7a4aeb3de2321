use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use geodesy::Datum;
use model::{Command, Organisation, OrganisationName, Rings, Timestamp};
use serde::{Deserialize, Serialize};
use store::{By, Versioned};
use utoipa::ToSchema;

use super::ask::json;
use super::precondition::if_match;
use super::problem::Problem;
use super::within::Place;
use crate::access::Asker;
use crate::run::Service;

/// An organisation as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganisationAsk {
    /// What people call it.
    #[serde(default)]
    label: String,
    /// Whom it belongs to; absent at the top.
    parent: Option<String>,
    /// A GeoJSON Polygon or MultiPolygon, with `datum`; absent: those of the organisations below it. Only callers of no
    /// organisation set or change one; for others the one that is stored, or none.
    territory: Option<Territory>,
    /// wgs84, gcj02 or bd09: of the territory. A territory without one is refused.
    datum: Option<String>,
}

/// The ground an organisation answers for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", deny_unknown_fields)]
pub(crate) enum Territory {
    /// Rings of [longitude, latitude]; first and last place are equal.
    Polygon {
        /// Outline and holes.
        coordinates: Vec<Vec<Place>>,
    },
    /// Several polygons.
    MultiPolygon {
        /// Polygons.
        coordinates: Vec<Vec<Vec<Place>>>,
    },
}

/// An organisation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrganisationBody {
    org: String,
    label: String,
    parent: Option<String>,
    /// WGS-84.
    territory: Option<Territory>,
    /// Under whose operational command it is now.
    commanded_by: Vec<String>,
}

/// The organisations that the caller sees, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrganisationList {
    organisations: Vec<OrganisationBody>,
}

/// Operational command for a time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandAsk {
    /// By whom.
    under: String,
    /// RFC 3339; absent: now.
    from: Option<String>,
    /// RFC 3339, after `from`.
    until: String,
}

/// All organisations that the caller sees: its own and those below it.
#[utoipa::path(get, path = "/v1/organisations", responses((status = 200, body = OrganisationList)))]
pub(crate) async fn list(State(service): State<Arc<Service>>, asker: Asker) -> Result<Json<OrganisationList>, Problem> {
    let (all, commands) = service.stored(|store| Ok((store.organisations()?, store.commands()?))).await?;
    let now = service.engine.live().now();
    let seen = all.into_iter().filter(|one| service.commands(&asker, &one.value.name));
    let organisations = seen.map(|one| body(one.value, &commands, now)).collect();
    Ok(Json(OrganisationList { organisations }))
}

/// One organisation.
#[utoipa::path(
    get,
    path = "/v1/organisations/{organisation}",
    params(("organisation" = String, Path, description = "Its name")),
    responses((status = 200, body = OrganisationBody, description = "With `ETag`"), (status = 404, body = Problem))
)]
pub(crate) async fn read(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(organisation): Path<String>,
) -> Result<Response, Problem> {
    let name = name_of("organisation", &organisation)?;
    answer(&service, &asker, name).await
}

/// Adds or changes an organisation.
#[utoipa::path(
    put,
    path = "/v1/organisations/{organisation}",
    params(
        ("organisation" = String, Path, description = "Its name: 1 to 96 bytes without blanks and slashes"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected, or *"),
        ("If-None-Match" = Option<String>, Header, description = "*: only if there is none of that name"),
    ),
    request_body = OrganisationAsk,
    responses(
        (status = 200, body = OrganisationBody, description = "With `ETag`"),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "Not below the caller's own organisation, or a territory that is not the stored one from a caller of an organisation"),
        (status = 409, body = Problem, description = "A cycle, a parent that is not there, too deep"),
        (status = 412, body = Problem, description = "It is not as expected"),
    )
)]
pub(crate) async fn write(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(organisation): Path<String>,
    headers: HeaderMap,
    body: Result<Json<OrganisationAsk>, JsonRejection>,
) -> Result<Response, Problem> {
    let name = name_of("organisation", &organisation)?;
    let if_match = if_match(&headers)?;
    let OrganisationAsk { label, parent, territory, datum } = json(body)?;
    let parent = parent.map(|parent| name_of("parent", &parent)).transpose()?;
    // A new one must hang below one's own; one's own stays where it is.
    let is_theirs = parent.as_ref().is_some_and(|parent| service.commands(&asker, parent));
    let is_known = service.knows(&name).await?;
    if !asker.is_of_the_whole() && !(is_theirs && (!is_known || service.commands(&asker, &name))) {
        return Err(Problem::forbidden("only organisations below your own may be changed, and stay there"));
    }
    let territory = territory_of(territory, datum)?;
    let changed = Organisation { name: name.clone(), label, parent, territory };
    crate::access::ground(&changed).map_err(|error| Problem::bad("territory", "", error))?;
    if !asker.is_of_the_whole() {
        may_have_ground(&service, &changed).await?;
    }
    let (now, principal) = (service.engine.live().now(), Arc::clone(&asker.principal));
    let by = move |store: &store::Store| {
        store.put_organisation(&By { principal: &principal, now, reason: None }, &changed, if_match)
    };
    service.stored(by).await?;
    service.level().await?;
    answer(&service, &asker, name).await
}

/// Ground shows the units of others: an organisation has none that those of the whole did not give it.
async fn may_have_ground(service: &Service, changed: &Organisation) -> Result<(), Problem> {
    if changed.territory.is_empty() {
        return Ok(());
    }
    let name = changed.name.clone();
    let stored = service.stored(move |store| store.organisation(&name)).await?;
    if stored.is_some_and(|stored| stored.value.territory == changed.territory) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "a territory shows the units on it: only administrators of no organisation set or change one",
    ))
}

/// Removes an organisation that nothing depends on.
#[utoipa::path(
    delete,
    path = "/v1/organisations/{organisation}",
    params(
        ("organisation" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected"),
    ),
    responses(
        (status = 204),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Organisations, units or tokens depend on it"),
        (status = 412, body = Problem, description = "It is not as expected"),
    )
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(organisation): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let name = name_of("organisation", &organisation)?;
    let if_match = if_match(&headers)?;
    if !service.commands(&asker, &name) || asker.principal.organisation.as_ref() == Some(&name) {
        return Err(unknown(&name));
    }
    let now = service.engine.live().now();
    let gone = move |store: &store::Store| {
        store.delete_organisation(&By { principal: &asker.principal, now, reason: None }, &name, if_match)
    };
    service.stored(gone).await?;
    service.level().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts an organisation, with all below it, under the command of another for a time; ends by itself.
#[utoipa::path(
    put,
    path = "/v1/organisations/{organisation}/command",
    params(("organisation" = String, Path, description = "Who is commanded")),
    request_body = CommandAsk,
    responses((status = 200, body = OrganisationBody), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub(crate) async fn command(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(organisation): Path<String>,
    body: Result<Json<CommandAsk>, JsonRejection>,
) -> Result<Response, Problem> {
    let name = name_of("organisation", &organisation)?;
    let CommandAsk { under, from, until } = json(body)?;
    let under = name_of("under", &under)?;
    if !service.commands(&asker, &name) || !service.commands(&asker, &under) {
        return Err(unknown(&name));
    }
    let now = service.engine.live().now();
    let time = |field: &str, text: String| {
        Timestamp::from_rfc3339(&text).ok_or_else(|| Problem::bad(field, &text, "is no time of RFC 3339"))
    };
    let from = from.map_or(Ok(now), |from| time("from", from))?;
    let command = Command { organisation: name.clone(), under, from, until: time("until", until)? };
    let principal = Arc::clone(&asker.principal);
    let put = move |store: &store::Store| {
        store.put_command(&By { principal: &principal, now, reason: None }, &command, store::IfMatch::Always)
    };
    service.stored(put).await?;
    service.level().await?;
    answer(&service, &asker, name).await
}

async fn answer(service: &Service, asker: &Asker, name: OrganisationName) -> Result<Response, Problem> {
    if !service.commands(asker, &name) {
        return Err(unknown(&name));
    }
    let wanted = name.clone();
    let (found, commands) = service.stored(move |store| Ok((store.organisation(&wanted)?, store.commands()?))).await?;
    let Versioned { version, value } = found.ok_or_else(|| unknown(&name))?;
    let etag = format!("\"{version}\"");
    Ok(([(header::ETAG, etag)], Json(body(value, &commands, service.engine.live().now()))).into_response())
}

fn body(organisation: Organisation, commands: &[Versioned<Command>], now: Timestamp) -> OrganisationBody {
    let holding = commands.iter().map(|command| &command.value);
    let holding = holding.filter(|command| command.organisation == organisation.name && command.holds(now));
    OrganisationBody {
        commanded_by: holding.map(|command| command.under.to_string()).collect(),
        org: organisation.name.to_string(),
        label: organisation.label,
        parent: organisation.parent.map(|parent| parent.to_string()),
        territory: geojson(&organisation.territory),
    }
}

fn geojson(territory: &[Rings]) -> Option<Territory> {
    let place = |at: &model::Position| Place::Flat([at.lon_deg(), at.lat_deg()]);
    let rings = |rings: &Rings| rings.iter().map(|ring| ring.iter().map(place).collect()).collect();
    match territory {
        [] => None,
        [one] => Some(Territory::Polygon { coordinates: rings(one) }),
        many => Some(Territory::MultiPolygon { coordinates: many.iter().map(rings).collect() }),
    }
}

fn territory_of(territory: Option<Territory>, datum: Option<String>) -> Result<Vec<Rings>, Problem> {
    let polygons = match territory {
        None => return Ok(Vec::new()),
        Some(Territory::Polygon { coordinates }) => vec![coordinates],
        Some(Territory::MultiPolygon { coordinates }) => coordinates,
    };
    let datum = datum.ok_or_else(|| {
        Problem::bad(
            "datum",
            "",
            "say in which datum the territory is: wgs84, gcj02 or bd09 (they differ by up to 700 m)",
        )
    })?;
    let datum: Datum = datum.parse().map_err(|error| Problem::bad("datum", &datum, error))?;
    let ring = |ring: &Vec<Place>| ring.iter().map(|place| super::within::place(place, datum)).collect();
    let polygon = |rings: &Vec<Vec<Place>>| rings.iter().map(ring).collect::<Result<Rings, Problem>>();
    polygons.iter().map(polygon).collect()
}

fn name_of(field: &str, text: &str) -> Result<OrganisationName, Problem> {
    OrganisationName::new(text).map_err(|error| Problem::bad(field, text, error))
}

fn unknown(name: &OrganisationName) -> Problem {
    Problem::not_found(format!("there is no organisation `{name}`"))
}
