use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use engine::UnitView;
use model::limits;
use query::{Explain, NearestAsk};

use super::ask::{Patience, datum, filter, observed, of_ask, place};
use super::features::{Collection, Explained, Maker};
use super::params::Params;
use super::problem::Problem;
use crate::run::Service;

/// What an answer says about its candidates while nobody told us who is on duty.
const CANDIDATES: &str =
    "police units not busy, off duty or covert; units of unknown kind or status count, since there are no duty data";

/// The k nearest units to a place: fresh ones first, then stale ones, nearest first, ties by name.
///
/// Filters act before `k`. Units out of contact are left out. `omitted` says how many and why.
#[utoipa::path(
    get,
    path = "/v1/nearest",
    params(
        ("lat" = f64, Query, description = "Latitude in degrees, -90 to 90"),
        ("lon" = f64, Query, description = "Longitude in degrees, -180 to 180"),
        ("datum" = Option<String>, Query, description = "wgs84 (default), gcj02 or bd09: of the question and of the answer"),
        ("k" = Option<u32>, Query, description = "How many, 1 to 1000; default 10"),
        ("kind" = Option<String>, Query, description = "Only these kinds, separated by commas"),
        ("status" = Option<String>, Query, description = "Only these statuses, separated by commas"),
        ("capability" = Option<String>, Query, description = "Must have all of these"),
        ("org" = Option<String>, Query, description = "Only of these organisations"),
        ("include" = Option<String>, Query, description = "Widens the default candidates: community, air, busy, off_duty"),
        ("max_age_s" = Option<f64>, Query, description = "Leave out older fixes; seconds, above 0"),
        ("max_distance_m" = Option<f64>, Query, description = "Leave out what is farther; metres, above 0"),
        ("explain" = Option<bool>, Query, description = "Name those left out, at most 100"),
        ("allow_degraded" = Option<bool>, Query, description = "Accepted; the server never degrades answers yet"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 100"),
    ),
    responses(
        (status = 200, body = Collection),
        (status = 400, body = Problem, description = "A parameter cannot be used; `field` and `value` name it"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn nearest(
    State(service): State<Arc<Service>>,
    patience: Patience,
    params: Params,
) -> Result<Json<Collection>, Problem> {
    let answer = answer(&service, &patience, params);
    observed(&service, "nearest", &patience, answer).map(Json)
}

fn answer(service: &Service, patience: &Patience, mut params: Params) -> Result<Collection, Problem> {
    let datum = datum(&mut params)?;
    let centre = place(&mut params, datum)?;
    let mut ask = NearestAsk::new(centre).filter(filter(&mut params, service)?);
    if let Some(k) = params.parsed("k")? {
        ask = ask.k(k).map_err(|error| of_ask(&error))?;
    }
    if let Some(metres) = params.parsed("max_distance_m")? {
        ask = ask.max_distance_m(metres).map_err(|error| of_ask(&error))?;
    }
    let explains = params.parsed("explain")?.unwrap_or(false);
    let _: Option<bool> = params.parsed("allow_degraded")?;
    params.finish()?;
    if explains {
        ask = ask.explain(Explain::Name);
    }
    let live = service.engine.live();
    let found = live.nearest(&ask, patience.left(limits::NEAREST_DEADLINE))?;
    let maker = Maker::new(service, found.as_of, datum);
    let features = found.found.iter().filter_map(|one| {
        let view = UnitView { unit: live.roster().unit(one.unit)?, slot: one.slot };
        Some(maker.feature(&view, Some((one.distance_m, one.bearing_deg))))
    });
    let mut answer = maker.collection(features.collect(), None);
    answer.omitted = Some(found.omitted.iter().map(|(reason, units)| (reason.as_str(), units)).collect());
    answer.candidates = Some(CANDIDATES);
    answer.explained = explains.then(|| {
        let named = found.omitted.named().iter();
        named
            .filter_map(|(unit, reason)| {
                Some(Explained { unit: live.roster().unit(*unit)?.name.to_string(), reason: reason.as_str() })
            })
            .collect()
    });
    Ok(answer)
}
