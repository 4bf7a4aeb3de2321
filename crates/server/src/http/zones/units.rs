use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use geodesy::Datum;
use model::UnitName;
use query::{Class, Within, WithinAsk};

use super::super::ask::{Patience, datum, filter, of_ask, sent, understood};
use super::super::features::Collection;
use super::super::params::Params;
use super::super::problem::Problem;
use super::super::within;
use super::{name_of, seen};
use crate::access::Asker;
use crate::run::Service;
use crate::search::whole;

/// Every unit in a zone, by name, as `POST /v1/within` has them. Units out of contact are there with their ages.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone}/units",
    params(
        ("zone" = String, Path, description = "Its name"),
        ("datum" = Option<String>, Query, description = "wgs84 (default), gcj02 or bd09: of the answer"),
        ("kind" = Option<String>, Query, description = "Only these kinds, separated by commas"),
        ("status" = Option<String>, Query, description = "Only these statuses"),
        ("capability" = Option<String>, Query, description = "Only units that have all of these"),
        ("org" = Option<String>, Query, description = "Only of these organisations"),
        ("include" = Option<String>, Query, description = "Accepted as elsewhere; everyone in the zone is there anyway"),
        ("max_age_s" = Option<f64>, Query, description = "Leaves out older fixes, seconds"),
        ("limit" = Option<u32>, Query, description = "Features on a page, 1 to 1000; default 1000"),
        ("next" = Option<String>, Query, description = "The `next` of the page before"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 250"),
        ("Muster-Lane" = Option<String>, Header, description = "emergency, dispatch, map or bulk; default map. With log-on, role viewer may name map and bulk only, and map is its default"),
    ),
    responses(
        (status = 200, body = Collection),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem, description = "Overloaded: refused before any work; `Retry-After` says when to ask again"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn units(
    State(service): State<Arc<Service>>,
    asker: Asker,
    patience: Patience,
    Path(zone): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    let request = patience.request(&service, Class::Within);
    let (ask, datum) = understood(&service, request, asked(&service, &asker, &zone, params))?;
    let live = service.engine.live();
    let (found, sending) = service.search(request, |left| live.within(&ask, left), whole::<Within>()).await?;
    let answer = within::answer(&service, datum, found);
    service.looked(&asker, "look.zone", answer.units()).await?;
    Ok(sent(&answer, sending))
}

fn asked(service: &Service, asker: &Asker, zone: &str, mut params: Params) -> Result<(WithinAsk, Datum), Problem> {
    let name = name_of(zone)?;
    let (set, sight) = (service.zones.now(), service.sight(asker));
    let area = (*seen(&set, &sight, &name)?.area).clone();
    let datum = datum(&mut params)?;
    let mut ask = WithinAsk::new(area, asker.scope.clone()).filter(filter(&mut params, asker, service)?);
    if let Some(limit) = params.parsed("limit")? {
        ask = ask.limit(limit).map_err(|error| of_ask(&error))?;
    }
    if let Some(next) = params.text("next")? {
        ask = ask.after(UnitName::new(&next).map_err(|error| Problem::bad("next", &next, error))?);
    }
    params.finish()?;
    Ok((ask, datum))
}
