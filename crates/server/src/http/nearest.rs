use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use geodesy::Datum;
use query::{Class, Explain, NearestAsk, Rank};

use super::ask::{Patience, datum, filter, of_ask, place, sent, understood};
use super::features::{Collection, Explained, Maker};
use super::params::Params;
use super::problem::Problem;
use crate::access::Asker;
use crate::run::Service;
use crate::search::Found;

/// The k nearest units to a place: fresh ones first, then stale ones, each by `rank`, ties by name.
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
        ("rank" = Option<String>, Query, description = "distance (default), or possible: how far a unit can be at most by now, the second number of `possible_m`"),
        ("explain" = Option<bool>, Query, description = "Name those left out, at most 100"),
        ("allow_degraded" = Option<bool>, Query, description = "When the query would be refused: answer it within `searched_m` metres only, with `degraded`: true. What is in that circle is complete"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 100"),
        ("Muster-Lane" = Option<String>, Header, description = "emergency, dispatch, map or bulk; default dispatch. With log-on, role viewer may name map and bulk only, and map is its default"),
    ),
    responses(
        (status = 200, body = Collection),
        (status = 400, body = Problem, description = "A parameter cannot be used; `field` and `value` name it"),
        (status = 503, body = Problem, description = "Overloaded: refused before any work; `Retry-After` says when to ask again"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn nearest(
    State(service): State<Arc<Service>>,
    asker: Asker,
    patience: Patience,
    params: Params,
) -> Result<Response, Problem> {
    let request = patience.request(&service, Class::Nearest);
    let asked = understood(&service, request, Asked::of(&service, &asker, params))?;
    let live = service.engine.live();
    let degraded = (asked.overload == Overload::Degrade).then_some(|left| live.nearest_degraded(&asked.ask, left));
    let (found, sending) =
        service.search(request, |left| live.nearest(&asked.ask, left).map(Found::from), degraded).await?;
    let mut answer = answer(&service, &asked, &found);
    answer.nearer_outside_scope = (!asker.sees_all()).then_some(found.nearest.nearer_outside_scope);
    service.looked(&asker, "look.nearest", answer.units()).await?;
    Ok(sent(&answer, sending))
}

/// What its caller takes when a query cannot be answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overload {
    Refuse,
    Degrade,
}

struct Asked {
    ask: NearestAsk,
    datum: Datum,
    explain: Explain,
    overload: Overload,
}

impl Asked {
    fn of(service: &Service, asker: &Asker, mut params: Params) -> Result<Self, Problem> {
        let datum = datum(&mut params)?;
        let centre = place(&mut params, datum)?;
        let mut ask = NearestAsk::new(centre, asker.scope.clone()).filter(filter(&mut params, asker, service)?);
        if let Some(k) = params.parsed("k")? {
            ask = ask.k(k).map_err(|error| of_ask(&error))?;
        }
        if let Some(metres) = params.parsed("max_distance_m")? {
            ask = ask.max_distance_m(metres).map_err(|error| of_ask(&error))?;
        }
        let rank = params.parsed::<Rank>("rank")?.unwrap_or_default();
        let explain = if params.parsed("explain")?.unwrap_or(false) { Explain::Name } else { Explain::Count };
        let degrades = params.parsed("allow_degraded")?.unwrap_or(false);
        params.finish()?;
        let overload = if degrades { Overload::Degrade } else { Overload::Refuse };
        Ok(Self { ask: ask.rank(rank).explain(explain), datum, explain, overload })
    }
}

fn answer(service: &Service, asked: &Asked, found: &Found) -> Collection {
    let (searched_m, found) = (found.searched_m, &found.nearest);
    let maker = Maker::new(service, found.as_of, asked.datum);
    let rows = found.found.iter().map(|one| (one.unit, &one.slot, Some((one.distance_m, one.bearing_deg))));
    let mut answer = maker.collection(maker.features(rows), None);
    answer.omitted = Some(found.omitted.iter().map(|(reason, units)| (reason.as_str(), units)).collect());
    answer.candidates = Some(service.candidates());
    answer.degraded = searched_m.map(|_| true);
    answer.searched_m = searched_m;
    if asked.explain == Explain::Name {
        let look = service.engine.live().roster().look();
        let named = found.omitted.named().iter();
        answer.explained = Some(named.filter_map(|one| Some(Explained::of(one, look.unit(one.unit)?))).collect());
        answer.explained_rest = Some(found.omitted.unnamed());
    }
    answer
}
