use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use engine::WatchedZone;
use model::{Timestamp, Zone, ZoneHandle};
use query::{Class, QueryError, Strength};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::ask::{Patience, sent, understood};
use super::super::params::Params;
use super::super::problem::Problem;
use super::{name_of, page, seen};
use crate::access::Asker;
use crate::run::Service;
use crate::search::whole;
use crate::zones::InForce;

/// Who is in a zone, counted: units that the caller sees.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ZoneStrength {
    zone: String,
    layer: u8,
    org: Option<String>,
    /// Whether it is within its hours.
    watched: bool,
    /// Every minimum in force now is kept.
    enough: bool,
    /// Its minimums in force now.
    minimum: Vec<Need>,
    /// By kind, then status.
    #[schema(value_type = Object)]
    units: BTreeMap<&'static str, BTreeMap<&'static str, HeadsBody>>,
    /// How many were left out, by reason: covert, which only those are told who see all units.
    #[schema(value_type = Object)]
    omitted: BTreeMap<&'static str, u32>,
}

/// A minimum and how many there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Need {
    /// Kinds that count; empty: all police kinds.
    #[schema(value_type = Vec<String>)]
    kinds: Vec<&'static str>,
    at_least: u32,
    /// How many count: not off duty, not out of contact.
    have: u32,
}

/// Units by how well their places are known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeadsBody {
    fresh: u32,
    stale: u32,
    /// They count for no minimum.
    out_of_contact: u32,
}

/// The strength of one zone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StrengthAnswer {
    as_of: String,
    #[serde(flatten)]
    zone: ZoneStrength,
    /// With `rollup=true`: all zones of the organisation and those below it that the caller sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollup: Option<Rollup>,
}

/// Zones of a tree of organisations together.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rollup {
    /// How many zones.
    zones: usize,
    /// How many of them keep a minimum that is in force now not.
    short: usize,
    /// Each unit counts once, in however many of the zones it is.
    #[schema(value_type = Object)]
    units: BTreeMap<&'static str, BTreeMap<&'static str, HeadsBody>>,
}

/// The strength of the zones of a layer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Board {
    as_of: String,
    /// By name.
    zones: Vec<ZoneStrength>,
    /// The cursor of the next page; null on the last one.
    next: Option<String>,
}

/// How many units are in a zone, by kind and status, and whether they are enough.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone}/strength",
    params(
        ("zone" = String, Path, description = "Its name"),
        ("rollup" = Option<bool>, Query, description = "true: also all zones of its organisation and those below, summed"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 250"),
        ("Muster-Lane" = Option<String>, Header, description = "emergency, dispatch, map or bulk; default map"),
    ),
    responses(
        (status = 200, body = StrengthAnswer),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem, description = "Overloaded: refused before any work; `Retry-After` says when to ask again"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn strength(
    State(service): State<Arc<Service>>,
    asker: Asker,
    patience: Patience,
    Path(zone): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let request = patience.request(&service, Class::Within);
    let (set, sight) = (service.zones.now(), service.sight(&asker));
    let rolls_up = params.parsed::<bool>("rollup");
    let asked = name_of(&zone).and_then(|name| Ok((name, rolls_up?.unwrap_or(false))));
    let (name, rolls_up) = understood(&service, request, asked)?;
    params.finish()?;
    let one = seen(&set, &sight, &name)?;
    let tree = one.zone.organisation.as_ref().filter(|_| rolls_up);
    let tree = tree.map(|top| service.scopes.under(top, service.engine.live().now()));
    let live = service.engine.live();
    let count = |left: Duration| {
        let (as_of, mut own) = (live.now(), Strength::default());
        if !rolls_up {
            live.inside(&one.area, &asker.scope, left, |_, slot, _| own.add(slot, as_of))?;
            return Ok((as_of, own, None));
        }
        let is_of_tree = |zone: &Zone| match (&tree, &zone.organisation) {
            (Some(tree), Some(organisation)) => tree.contains(organisation) && sight.sees(zone),
            _ => zone.name == name,
        };
        let counted = Counted::of(&service, &asker, &set, &is_of_tree, as_of, left)?;
        let at = set.all().iter().position(|one| one.zone.name == name).unwrap_or_default();
        own = counted.by_zone.get(&ZoneHandle(at as u32)).cloned().unwrap_or_default();
        let zones: Vec<_> = (0..).zip(set.all()).filter(|(_, one)| is_of_tree(&one.zone)).collect();
        let is_short = |at: u32, one: &WatchedZone| {
            let nobody = Strength::default();
            let strength = counted.by_zone.get(&ZoneHandle(at)).unwrap_or(&nobody);
            one.zone.is_watched(as_of) && !strength.keeps(one.zone.needs(as_of))
        };
        let short = zones.iter().filter(|(at, one)| is_short(*at, one)).count();
        Ok((as_of, own, Some(Rollup { zones: zones.len(), short, units: by_kind(&counted.together) })))
    };
    let ((as_of, own, rollup), sending) =
        service.search(request, count, whole::<(Timestamp, Strength, Option<Rollup>)>()).await?;
    let answer = StrengthAnswer { as_of: as_of.to_string(), zone: body(&one.zone, &own, as_of, &asker), rollup };
    Ok(sent(&answer, sending))
}

/// The strength of all zones of a layer that the caller sees, counted in one pass over the units.
#[utoipa::path(
    get,
    path = "/v1/zones/strength",
    params(
        ("layer" = u8, Query, description = "Which layer"),
        ("limit" = Option<u32>, Query, description = "Zones on a page, 1 to 1000; default 1000"),
        ("next" = Option<String>, Query, description = "The `next` of the page before"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 250"),
        ("Muster-Lane" = Option<String>, Header, description = "emergency, dispatch, map or bulk; default map"),
    ),
    responses(
        (status = 200, body = Board),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "Overloaded: refused before any work; `Retry-After` says when to ask again"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn board(
    State(service): State<Arc<Service>>,
    asker: Asker,
    patience: Patience,
    mut params: Params,
) -> Result<Response, Problem> {
    let request = patience.request(&service, Class::List);
    let asked = params.parsed::<u8>("layer").and_then(|layer| {
        let layer = layer.ok_or_else(|| Problem::bad("layer", "", "`layer` is missing"))?;
        let (limit, after) = page(&mut params)?;
        params.finish()?;
        Ok((layer, limit, after))
    });
    let (layer, limit, after) = understood(&service, request, asked)?;
    let (set, sight, live) = (service.zones.now(), service.sight(&asker), service.engine.live());
    let is_wanted =
        |zone: &Zone| zone.layer == layer && sight.sees(zone) && after.as_ref().is_none_or(|after| zone.name > *after);
    let count = |left: Duration| {
        let as_of = live.now();
        let wanted: Vec<_> = (0..).zip(set.all()).filter(|(_, one)| is_wanted(&one.zone)).take(limit + 1).collect();
        let counted = Counted::of(&service, &asker, &set, &is_wanted, as_of, left)?;
        let nobody = Strength::default();
        let row = |(at, one): &(u32, &WatchedZone)| {
            body(&one.zone, counted.by_zone.get(&ZoneHandle(*at)).unwrap_or(&nobody), as_of, &asker)
        };
        let zones: Vec<_> = wanted.iter().take(limit).map(row).collect();
        let next = zones.last().filter(|_| wanted.len() > limit).map(|last| last.zone.clone());
        Ok(Board { as_of: as_of.to_string(), zones, next })
    };
    let (board, sending) = service.search(request, count, whole::<Board>()).await?;
    Ok(sent(&board, sending))
}

/// Units counted in one pass.
struct Counted {
    by_zone: HashMap<ZoneHandle, Strength>,
    together: Strength,
}

impl Counted {
    fn of(
        service: &Service,
        asker: &Asker,
        set: &InForce,
        is_wanted: &dyn Fn(&Zone) -> bool,
        as_of: Timestamp,
        left: Duration,
    ) -> Result<Self, QueryError> {
        let wanted: Vec<bool> = set.all().iter().map(|one| is_wanted(&one.zone)).collect();
        let mut counted = Self { by_zone: HashMap::new(), together: Strength::default() };
        let mut holding = Vec::new();
        service.engine.live().everywhere(&asker.scope, left, |_, slot, place| {
            set.index.holding(place, &mut holding);
            holding.retain(|zone| wanted.get(zone.0 as usize).is_some_and(|wanted| *wanted));
            for zone in &holding {
                counted.by_zone.entry(*zone).or_default().add(slot, as_of);
            }
            if !holding.is_empty() {
                counted.together.add(slot, as_of);
            }
        })?;
        Ok(counted)
    }
}

fn body(zone: &Zone, strength: &Strength, as_of: Timestamp, asker: &Asker) -> ZoneStrength {
    let covert = (strength.covert() > 0 && asker.sees_all()).then_some(("covert", strength.covert()));
    let need = |minimum: &model::Minimum| Need {
        kinds: minimum.kinds.iter().map(|kind| kind.as_str()).collect(),
        at_least: minimum.at_least,
        have: strength.of(minimum),
    };
    ZoneStrength {
        zone: zone.name.to_string(),
        layer: zone.layer,
        org: zone.organisation.as_ref().map(ToString::to_string),
        watched: zone.is_watched(as_of),
        enough: strength.keeps(zone.needs(as_of)),
        minimum: zone.needs(as_of).map(need).collect(),
        units: by_kind(strength),
        omitted: covert.into_iter().collect(),
    }
}

fn by_kind(strength: &Strength) -> BTreeMap<&'static str, BTreeMap<&'static str, HeadsBody>> {
    let mut kinds: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (kind, status, heads) in strength.heads() {
        let body = HeadsBody { fresh: heads.fresh, stale: heads.stale, out_of_contact: heads.out_of_contact };
        kinds.entry(kind.as_str()).or_default().insert(status.as_str(), body);
    }
    kinds
}
