use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::Response;
use geodesy::{Area, Datum, Vertex};
use model::{Position, UnitName};
use query::{Class, Within, WithinAsk};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Patience, datum, filter, json, of_ask, sent, understood};
use super::features::{Collection, Maker};
use super::params::Params;
use super::problem::Problem;
use crate::access::Asker;
use crate::run::Service;
use crate::search::whole;

/// An area: a GeoJSON Polygon or MultiPolygon (first ring outline, others holes), or a Point with `radius_m`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", deny_unknown_fields)]
pub(crate) enum AreaBody {
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
    /// A circle.
    Point {
        /// Its centre.
        coordinates: Place,
        /// Geodesic metres, above 0, at most 1,000,000.
        radius_m: f64,
    },
}

/// Longitude, latitude and, if need be, an altitude that is ignored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Place {
    /// Longitude, latitude.
    Flat([f64; 2]),
    /// With an altitude.
    High([f64; 3]),
}

/// Every unit in an area, by name. Units out of contact are there with their ages.
#[utoipa::path(
    post,
    path = "/v1/within",
    params(
        ("datum" = Option<String>, Query, description = "wgs84 (default), gcj02 or bd09: of the area and of the answer"),
        ("kind" = Option<String>, Query, description = "Only these kinds, separated by commas"),
        ("status" = Option<String>, Query, description = "Only these statuses"),
        ("capability" = Option<String>, Query, description = "Must have all of these"),
        ("org" = Option<String>, Query, description = "Only of these organisations"),
        ("max_age_s" = Option<f64>, Query, description = "Leave out older fixes; seconds, above 0"),
        ("limit" = Option<u32>, Query, description = "Features on a page, 1 to 1000; default 1000"),
        ("next" = Option<String>, Query, description = "The `next` of the page before"),
        ("allow_degraded" = Option<bool>, Query, description = "Only false: an area has no degraded answer, and true is refused"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 250"),
        ("Muster-Lane" = Option<String>, Header, description = "emergency, dispatch, map or bulk; default map. With log-on, role viewer may name map and bulk only, and map is its default"),
    ),
    request_body = AreaBody,
    responses(
        (status = 200, body = Collection),
        (status = 400, body = Problem, description = "The area or a parameter cannot be used"),
        (status = 413, body = Problem, description = "The body is longer than 1 MiB"),
        (status = 503, body = Problem, description = "Overloaded: refused before any work; `Retry-After` says when to ask again"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn within(
    State(service): State<Arc<Service>>,
    asker: Asker,
    patience: Patience,
    params: Params,
    body: Result<Json<AreaBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let request = patience.body_read(&service).request(&service, Class::Within);
    let asked = json(body).and_then(|area| asked(&service, &asker, params, area));
    let (ask, datum) = understood(&service, request, asked)?;
    let live = service.engine.live();
    let (found, sending) = service.search(request, |left| live.within(&ask, left), whole::<Within>()).await?;
    let answer = answer(&service, datum, found);
    service.looked(&asker, "look.within", answer.units()).await?;
    Ok(sent(&answer, sending))
}

fn asked(service: &Service, asker: &Asker, mut params: Params, area: AreaBody) -> Result<(WithinAsk, Datum), Problem> {
    let datum = datum(&mut params)?;
    let mut ask =
        WithinAsk::new(area_of(area, datum)?, asker.scope.clone()).filter(filter(&mut params, asker, service)?);
    if let Some(limit) = params.parsed("limit")? {
        ask = ask.limit(limit).map_err(|error| of_ask(&error))?;
    }
    if let Some(next) = params.text("next")? {
        ask = ask.after(UnitName::new(&next).map_err(|error| Problem::bad("next", &next, error))?);
    }
    if params.parsed("allow_degraded")?.unwrap_or(false) {
        let detail =
            "an area has no degraded answer: a part of it would hide who is in the rest; ask for a smaller area";
        return Err(Problem::bad("allow_degraded", "true", detail));
    }
    params.finish()?;
    Ok((ask, datum))
}

pub(crate) fn answer(service: &Service, datum: Datum, found: Within) -> Collection {
    let maker = Maker::new(service, found.as_of, datum);
    let rows = found.found.iter().map(|one| (one.unit, &one.slot, one.distance_m.zip(one.bearing_deg)));
    let mut answer = maker.collection(maker.features(rows), found.next.map(|name| name.to_string()));
    answer.omitted = Some(found.omitted.iter().map(|(reason, units)| (reason.as_str(), units)).collect());
    answer
}

fn area_of(body: AreaBody, datum: Datum) -> Result<Area, Problem> {
    let area = match body {
        AreaBody::Point { coordinates, radius_m } => {
            let centre = place(&coordinates, datum)?;
            Area::circle(centre, radius_m)
        }
        AreaBody::Polygon { coordinates } => Area::polygons(&[rings(&coordinates, datum)?]),
        AreaBody::MultiPolygon { coordinates } => {
            let polygons = coordinates.iter().map(|polygon| rings(polygon, datum));
            Area::polygons(&polygons.collect::<Result<Vec<_>, _>>()?)
        }
    };
    area.map_err(|error| Problem::bad("coordinates", "", error))
}

fn rings(polygon: &[Vec<Place>], datum: Datum) -> Result<Vec<Vec<Vertex>>, Problem> {
    let ring = |ring: &Vec<Place>| ring.iter().map(|place| vertex(place, datum)).collect();
    polygon.iter().map(ring).collect()
}

/// In WGS-84 a corner may lie at +180 degrees; the other datums end far from there.
fn vertex(corner: &Place, datum: Datum) -> Result<Vertex, Problem> {
    let (Place::Flat([lon, lat]) | Place::High([lon, lat, _])) = *corner;
    match datum {
        Datum::Wgs84 => Vertex::from_degrees(lat, lon).ok_or_else(|| outside(lat, lon)),
        _ => place(corner, datum).map(Vertex::from),
    }
}

pub(crate) fn place(place: &Place, datum: Datum) -> Result<Position, Problem> {
    let (Place::Flat([lon, lat]) | Place::High([lon, lat, _])) = *place;
    datum.to_wgs84(lat, lon).ok_or_else(|| outside(lat, lon))
}

fn outside(lat: f64, lon: f64) -> Problem {
    let detail = "must be [longitude, latitude] in degrees, -180 to 180 and -90 to 90";
    Problem::bad("coordinates", format!("[{lon}, {lat}]"), detail)
}
