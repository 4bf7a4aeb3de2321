mod draft;
mod strength;
mod units;

pub(crate) use draft::{__path_rehearse, rehearse};
pub(crate) use strength::{__path_board, __path_strength, board, strength};
pub(crate) use units::{__path_units, units};

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::WatchedZone;
use geodesy::Datum;
use model::{Shape, Span, Timestamp, Zone, ZoneName, limits};
use serde::Serialize;
use serde_json::Value;
use store::exchange::{ExchangeError, parse_zone_json, write_zone_json};
use store::{By, ZoneVersion};
use utoipa::ToSchema;

use super::params::Params;
use super::precondition::if_match;
use super::problem::Problem;
use crate::Earth;
use crate::access::Asker;
use crate::run::Service;
use crate::zones::{InForce, Sight};

/// A zone as a GeoJSON Feature: a Polygon, a MultiPolygon, a Point with `radius_m`, or null with `h3_cells`. Its properties are `zone`,
/// `label`, `layer`, `org`, `hours`, `utc_offset`, `minimum`, `settle`, `dwell_s`, `stay_s_max`, `valid_from`, `valid_until`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ZoneFeature {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "Feature")]
    kind: &'static str,
    id: String,
    #[schema(value_type = Object)]
    properties: Value,
    #[schema(value_type = Option<Object>)]
    geometry: Value,
    /// Of the coordinates; so that what is read can be written back.
    #[schema(value_type = String, example = "wgs84")]
    datum: &'static str,
}

/// Zones by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ZoneCollection {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "FeatureCollection")]
    kind: &'static str,
    #[schema(value_type = String, example = "wgs84")]
    datum: &'static str,
    /// The instant at which they are in force.
    as_of: String,
    features: Vec<ZoneFeature>,
    /// The cursor of the next page; null on the last one.
    next: Option<String>,
}

impl ZoneFeature {
    fn of(zone: &Zone, effective: Span) -> Self {
        let mut feature = write_zone_json(zone, effective);
        let mut member = |name: &str| feature.remove(name).unwrap_or_default();
        Self {
            kind: "Feature",
            id: zone.name.to_string(),
            properties: member("properties"),
            geometry: member("geometry"),
            datum: Datum::Wgs84.as_str(),
        }
    }
}

/// Zones in force, by name.
#[utoipa::path(
    get,
    path = "/v1/zones",
    params(
        ("layer" = Option<u8>, Query, description = "Only this layer"),
        ("as_of" = Option<String>, Query, description = "RFC 3339: as they were, or will be; now when absent"),
        ("limit" = Option<u32>, Query, description = "Features on a page, 1 to 1000; default 1000. Fewer come where they have very many points"),
        ("next" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, body = ZoneCollection), (status = 400, body = Problem))
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    asker: Asker,
    mut params: Params,
) -> Result<Json<ZoneCollection>, Problem> {
    let layer: Option<u8> = params.parsed("layer")?;
    let (as_of, now) = (as_of(&mut params)?, service.engine.live().now());
    let (limit, after) = page(&mut params)?;
    params.finish()?;
    let sight = service.sight(&asker);
    let is_wanted = |zone: &Zone| {
        layer.is_none_or(|layer| zone.layer == layer)
            && after.as_ref().is_none_or(|after| zone.name > *after)
            && sight.sees(zone)
    };
    let mut page = PageOfZones { limit, points: 0, features: Vec::new(), next: None };
    match as_of {
        None => {
            let set = service.zones.now();
            let mut zones = set.after(after.as_ref()).filter(|(one, _)| is_wanted(&one.zone));
            zones.try_for_each(|(one, effective)| page.add(&one.zone, effective));
        }
        Some(as_of) => {
            let zones = service.stored(move |store| store.zones(as_of)).await?;
            let mut zones = zones.iter().filter(|one| is_wanted(&one.zone));
            zones.try_for_each(|one| page.add(&one.zone, one.effective));
        }
    }
    Ok(Json(ZoneCollection {
        kind: "FeatureCollection",
        datum: Datum::Wgs84.as_str(),
        as_of: as_of.unwrap_or(now).to_string(),
        features: page.features,
        next: page.next,
    }))
}

struct PageOfZones {
    limit: usize,
    points: usize,
    features: Vec<ZoneFeature>,
    next: Option<String>,
}

impl PageOfZones {
    /// Adds a zone; `None` when the page is full and the zone is of the next one.
    fn add(&mut self, zone: &Zone, effective: Span) -> Option<()> {
        let points = points(zone);
        let is_full = self.features.len() >= self.limit || self.points + points > limits::PAGE_POINTS_MAX;
        if is_full && !self.features.is_empty() {
            self.next = self.features.last().map(|last| last.id.clone());
            return None;
        }
        self.points += points;
        self.features.push(ZoneFeature::of(zone, effective));
        Some(())
    }
}

/// How many points or cells the shape of a zone has.
pub(crate) fn points(zone: &Zone) -> usize {
    match &zone.shape {
        Shape::Polygons(polygons) => polygons.iter().flatten().map(Vec::len).sum(),
        Shape::Cells(cells) => cells.len(),
        Shape::Circle { .. } => 1,
    }
}

/// One zone.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone}",
    params(
        ("zone" = String, Path, description = "Its name"),
        ("as_of" = Option<String>, Query, description = "RFC 3339: as it was, or will be; now when absent"),
    ),
    responses((status = 200, body = ZoneFeature, description = "With `ETag`"), (status = 404, body = Problem))
)]
pub(crate) async fn read(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(zone): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let name = name_of(&zone)?;
    let as_of = as_of(&mut params)?.unwrap_or_else(|| service.engine.live().now());
    params.finish()?;
    let wanted = name.clone();
    let found = service.stored(move |store| store.zone(&wanted, as_of)).await?;
    let sight = service.sight(&asker);
    let found = found.filter(|found| sight.sees(&found.zone)).ok_or_else(|| unknown(&name))?;
    Ok(answer(&found))
}

/// Puts a zone into force, from `valid_from` or now on. What was in force before stays written as it was.
#[utoipa::path(
    put,
    path = "/v1/zones/{zone}",
    params(
        ("zone" = String, Path, description = "Its name: 1 to 96 bytes without blanks and slashes; as in the properties"),
        ("datum" = Option<String>, Query, description = "wgs84, gcj02 or bd09, where the member `datum` of the feature does not say it; without either it is refused"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected, or *"),
        ("If-None-Match" = Option<String>, Header, description = "*: only if there is none of that name"),
    ),
    request_body = ZoneFeature,
    responses(
        (status = 200, body = ZoneFeature, description = "With `ETag`"),
        (status = 400, body = Problem, description = "Names the fault of a border by its place"),
        (status = 403, body = Problem, description = "Neither the zone nor its organisation is the caller's to change"),
        (status = 412, body = Problem, description = "It is not as expected"),
    )
)]
pub(crate) async fn write(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(zone): Path<String>,
    mut params: Params,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (name, if_match, datum) = (name_of(&zone)?, if_match(&headers)?, declared(&mut params)?);
    params.finish()?;
    let body = whole(body)?;
    let of_path = name.clone();
    let read = blocking(move || parse_zone_json(&body, datum.map(Datum::as_str), &Earth, &of_path)).await;
    let row = read.map_err(|error| of_file(&error))?;
    if row.zone.name != name {
        return Err(Problem::bad("zone", &row.zone.name, format!("the path says `{name}`")));
    }
    let now = service.engine.live().now();
    let effective = Span { from: row.from.unwrap_or(now), until: row.until };
    put(&service, &asker, row.zone, effective, if_match).await.map(|put| answer(&put))
}

/// Puts a zone into force, if it is the caller's to change.
pub(crate) async fn put(
    service: &Service,
    asker: &Asker,
    zone: Zone,
    effective: Span,
    if_match: store::IfMatch,
) -> Result<ZoneVersion, Problem> {
    let (now, wanted) = (service.engine.live().now(), zone.name.clone());
    let before = service.stored(move |store| store.zone_from(&wanted, now)).await?;
    let is_theirs = |zone: &Zone| service.may_draw(asker, zone.organisation.as_ref());
    // The same words for a name that is taken elsewhere: who may not see it must not learn of it.
    if !is_theirs(&zone) || !before.as_ref().is_none_or(|before| is_theirs(&before.zone)) {
        return Err(Problem::forbidden("this name and organisation are not yours to change"));
    }
    let principal = Arc::clone(&asker.principal);
    let work = move |store: &store::Store| {
        store.put_zone(&By { principal: &principal, now, reason: None }, &zone, effective, if_match)
    };
    let put = service.stored(work).await?;
    service.level_zones().await?;
    Ok(put)
}

/// Ends a zone now. Its past can still be asked for.
#[utoipa::path(
    delete,
    path = "/v1/zones/{zone}",
    params(
        ("zone" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected"),
    ),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem, description = "It is not as expected"))
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(zone): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (name, if_match) = (name_of(&zone)?, if_match(&headers)?);
    end(&service, &asker, name, if_match).await.map(|()| StatusCode::NO_CONTENT)
}

/// Ends a zone, if it is the caller's to change.
pub(crate) async fn end(
    service: &Service,
    asker: &Asker,
    name: ZoneName,
    if_match: store::IfMatch,
) -> Result<(), Problem> {
    let (now, wanted) = (service.engine.live().now(), name.clone());
    let before = service.stored(move |store| store.zone_from(&wanted, now)).await?;
    let sight = service.sight(asker);
    let before = before.filter(|before| sight.sees(&before.zone)).ok_or_else(|| unknown(&name))?;
    if !service.may_draw(asker, before.zone.organisation.as_ref()) {
        return Err(Problem::forbidden("this zone is not yours to change"));
    }
    let principal = Arc::clone(&asker.principal);
    let work = move |store: &store::Store| {
        store.delete_zone(&By { principal: &principal, now, reason: None }, &name, if_match)
    };
    service.stored(work).await?;
    service.level_zones().await
}

fn answer(found: &ZoneVersion) -> Response {
    let feature = ZoneFeature::of(&found.zone, found.effective);
    ([(header::ETAG, format!("\"{}\"", found.version))], Json(feature)).into_response()
}

pub(crate) fn name_of(text: &str) -> Result<ZoneName, Problem> {
    ZoneName::new(text).map_err(|error| Problem::bad("zone", text, error))
}

pub(crate) fn unknown(name: &ZoneName) -> Problem {
    Problem::not_found(format!("there is no zone `{name}`"))
}

/// The zone in force that the caller asks for, if it sees it.
fn seen<'a>(set: &'a InForce, sight: &Sight, name: &ZoneName) -> Result<&'a WatchedZone, Problem> {
    set.find(name).filter(|found| sight.sees(&found.zone)).ok_or_else(|| unknown(name))
}

fn as_of(params: &mut Params) -> Result<Option<Timestamp>, Problem> {
    let time = |text: String| {
        Timestamp::from_rfc3339(&text).ok_or_else(|| Problem::bad("as_of", &text, "is no time of RFC 3339"))
    };
    params.text("as_of")?.map(time).transpose()
}

fn declared(params: &mut Params) -> Result<Option<Datum>, Problem> {
    params.parsed("datum")
}

/// `limit` and `next` of lists of zones.
fn page(params: &mut Params) -> Result<(usize, Option<ZoneName>), Problem> {
    let limit = params.parsed("limit")?.unwrap_or(limits::PAGE_FEATURES_MAX);
    if !(1..=limits::PAGE_FEATURES_MAX).contains(&limit) {
        return Err(Problem::bad("limit", limit, format!("must be 1 to {}", limits::PAGE_FEATURES_MAX)));
    }
    let after = params.text("next")?;
    let after = after.map(|text| ZoneName::new(&text).map_err(|error| Problem::bad("next", &text, error)));
    Ok((limit, after.transpose()?))
}

/// All of a body, which its reader reads as GeoJSON.
fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is longer than {} bytes", limits::JSON_BYTES_MAX);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "bad-json", "The body cannot be read", error.body_text()),
    })
}

fn of_file(error: &ExchangeError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-json", "The body cannot be read", error)
}

/// Borders of ten thousand points take tens of milliseconds to look at.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("reading a zone ends without a panic")
}

#[cfg(test)]
mod tests;
