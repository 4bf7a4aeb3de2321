use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use engine::WatchedZone;
use model::{Span, Timestamp, ZoneHandle, ZoneName, limits};
use query::{Class, QueryError};
use serde::Serialize;
use store::ZoneVersion;
use store::exchange::{ZoneRow, parse_zones_json};
use utoipa::ToSchema;

use super::super::ask::{Patience, sent, understood};
use super::super::params::Params;
use super::super::problem::Problem;
use super::{ZoneFeature, blocking, declared, of_file, whole};
use crate::Earth;
use crate::access::Asker;
use crate::rehearsal::{Gap, Overlapping, Survey, survey};
use crate::run::Service;
use crate::search;
use crate::zones::{InForce, Sight};

/// Version of a zone that is a draft: no store counts so far.
const DRAFT: u64 = u64::MAX;

/// Zones as GeoJSON: a FeatureCollection with `datum`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DraftBody {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "FeatureCollection")]
    kind: &'static str,
    /// wgs84, gcj02 or bd09.
    datum: String,
    features: Vec<ZoneFeature>,
}

/// What a draft would change. Nothing of it is stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rehearsal {
    as_of: String,
    /// Units that would be in other zones of a layer; at most 1000 of them.
    moves: Vec<Move>,
    /// How many there are in all.
    moves_total: u64,
    /// Each layer of the draft.
    layers: Vec<LayerBody>,
}

/// A unit that would change zone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Move {
    unit: String,
    layer: u8,
    /// Zones of that layer that hold it now.
    from: Vec<String>,
    /// Zones that would.
    to: Vec<String>,
}

/// Gaps and overlaps of a layer, found by looking at the places of a grid: what is smaller than `resolution_m` may be missed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LayerBody {
    layer: u8,
    /// Metres from one place of the grid to the next.
    resolution_m: f64,
    /// Ground that no zone of the layer would have, though one has it now or zones are all round it; the largest 100.
    gaps: Vec<GapBody>,
    /// Ground that two zones of the layer would have; the largest 100.
    overlaps: Vec<OverlapBody>,
}

/// Ground without a zone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapBody {
    area_m2: f64,
    /// A place in it: longitude, latitude.
    place: [f64; 2],
}

/// Ground of two zones.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverlapBody {
    zones: [String; 2],
    area_m2: f64,
    /// A place in it: longitude, latitude.
    place: [f64; 2],
}

/// Rehearses new borders: which units would change zone, and where zones of a layer would leave gaps or overlap. Zones that are not
/// in the draft stay as they are. Only zones and units that the caller sees are looked at.
#[utoipa::path(
    post,
    path = "/v1/zones/draft",
    params(
        ("datum" = Option<String>, Query, description = "wgs84, gcj02 or bd09, where the draft does not say it"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 250: a large draft needs more"),
        ("Muster-Lane" = Option<String>, Header, description = "emergency, dispatch, map or bulk; default map"),
    ),
    request_body = DraftBody,
    responses(
        (status = 200, body = Rehearsal),
        (status = 400, body = Problem, description = "Names the fault of a border by line, column and place"),
        (status = 503, body = Problem, description = "Overloaded: refused before any work; `Retry-After` says when to ask again"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn rehearse(
    State(service): State<Arc<Service>>,
    asker: Asker,
    patience: Patience,
    mut params: Params,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let datum = declared(&mut params)?;
    params.finish()?;
    let body = whole(body)?;
    let (before, sight, now) = (service.zones.now(), service.sight(&asker), service.engine.live().now());
    let made = blocking(move || {
        let rows = parse_zones_json(&body, datum.map(geodesy::Datum::as_str), &Earth)?;
        Ok(Draft::of(rows, before, &sight, now))
    });
    let draft = made.await.map_err(|error| of_file(&error));
    let request = patience.body_read(&service).request(&service, Class::List);
    let draft = understood(&service, request, draft)?;
    let rehearse = |left| draft.rehearse(&service, &asker, left);
    let (answer, sending) = service.search(request, rehearse, search::whole::<Rehearsal>()).await?;
    service.looked(&asker, "look.draft", answer.moves.iter().map(|one| one.unit.as_str())).await?;
    Ok(sent(&answer, sending))
}

struct Draft {
    now: Timestamp,
    /// All zones in force.
    before: Arc<InForce>,
    /// Which of them the caller sees in the layers of the draft.
    is_seen: Vec<bool>,
    /// What would be in force of these.
    after: InForce,
    layers: BTreeSet<u8>,
}

impl Draft {
    fn of(rows: Vec<ZoneRow>, before: Arc<InForce>, sight: &Sight, now: Timestamp) -> Self {
        let names: BTreeSet<ZoneName> = rows.iter().map(|row| row.zone.name.clone()).collect();
        let mut layers: BTreeSet<u8> = rows.iter().map(|row| row.zone.layer).collect();
        let moved = before.all().iter().filter(|one| names.contains(&one.zone.name) && sight.sees(&one.zone));
        layers.extend(moved.map(|one| one.zone.layer));
        let is_seen: Vec<bool> =
            before.all().iter().map(|one| layers.contains(&one.zone.layer) && sight.sees(&one.zone)).collect();
        let stays = before.versions(|at, zone| is_seen.get(at) == Some(&true) && !names.contains(&zone.name));
        let drawn = rows.into_iter().map(|row| ZoneVersion {
            version: DRAFT,
            zone: row.zone,
            effective: Span { from: now, until: None },
        });
        let mut versions: Vec<_> = stays.into_iter().chain(drawn).collect();
        versions.sort_by(|one, other| one.zone.name.cmp(&other.zone.name));
        let after = InForce::made(versions, &before);
        Self { now, before, is_seen, after, layers }
    }

    fn rehearse(&self, service: &Service, asker: &Asker, left: Duration) -> Result<Rehearsal, QueryError> {
        let until = service.seats.now().saturating_add(left);
        let (moves, moves_total) = self.moves(service, asker, left)?;
        let is_late = || service.seats.now() >= until;
        let mut layers = Vec::new();
        for layer in &self.layers {
            let held = |zones: &[ZoneHandle], of: &InForce| -> Vec<ZoneHandle> {
                let in_layer = |zone: &ZoneHandle| of.zone(*zone).is_some_and(|one| one.zone.layer == *layer);
                zones.iter().copied().filter(in_layer).collect()
            };
            let grounds = self.seen().filter(|one| one.zone.layer == *layer);
            let grounds = grounds.chain(self.after.all().iter().filter(|one| one.zone.layer == *layer));
            let survey = survey(&Survey {
                grounds: &grounds.map(|one| &*one.area).collect::<Vec<_>>(),
                layers: self.layers.len(),
                before: &|place| {
                    let mut found = Vec::new();
                    self.before.index.holding(place, &mut found);
                    found.retain(|zone| self.is_seen.get(zone.0 as usize) == Some(&true));
                    !held(&found, &self.before).is_empty()
                },
                after: &|place, found| {
                    self.after.index.holding(place, found);
                    *found = held(found, &self.after);
                },
                area: &|zone| self.after.zone(zone).map(|one| &*one.area),
                is_late: &is_late,
            });
            let Some(survey) = survey else { return Err(QueryError::DeadlineExceeded { examined: moves_total }) };
            layers.push(LayerBody {
                layer: *layer,
                resolution_m: survey.resolution_m,
                gaps: survey.gaps.iter().map(gap).collect(),
                overlaps: survey.overlaps.iter().filter_map(|one| self.overlap(one)).collect(),
            });
        }
        Ok(Rehearsal { as_of: self.now.to_string(), moves, moves_total, layers })
    }

    fn seen(&self) -> impl Iterator<Item = &WatchedZone> {
        self.before.all().iter().zip(&self.is_seen).filter(|(_, seen)| **seen).map(|(one, _)| one)
    }

    /// Units in other zones than now.
    fn moves(&self, service: &Service, asker: &Asker, left: Duration) -> Result<(Vec<Move>, u64), QueryError> {
        let live = service.engine.live();
        let (mut moves, mut total, mut found) = (Vec::new(), 0_u64, Vec::new());
        live.everywhere(&asker.scope, left, |unit, slot, place| {
            if slot.traits.covert {
                return;
            }
            self.before.index.holding(place, &mut found);
            found.retain(|zone| self.is_seen.get(zone.0 as usize) == Some(&true));
            let from = by_layer(&self.before, &found);
            self.after.index.holding(place, &mut found);
            let to = by_layer(&self.after, &found);
            for layer in from.keys().chain(to.keys()).copied().collect::<BTreeSet<u8>>() {
                let of = |zones: &BTreeMap<u8, Vec<String>>| zones.get(&layer).cloned().unwrap_or_default();
                let (from, to) = (of(&from), of(&to));
                if from == to {
                    continue;
                }
                total += 1;
                if moves.len() < limits::PAGE_FEATURES_MAX
                    && let Some(unit) = live.roster().unit(unit)
                {
                    moves.push(Move { unit: unit.name.to_string(), layer, from, to });
                }
            }
        })?;
        moves.sort_by(|one, other| (&one.unit, one.layer).cmp(&(&other.unit, other.layer)));
        Ok((moves, total))
    }

    fn overlap(&self, one: &Overlapping) -> Option<OverlapBody> {
        let name = |zone: ZoneHandle| Some(self.after.zone(zone)?.zone.name.to_string());
        let zones = [name(one.zones.0)?, name(one.zones.1)?];
        Some(OverlapBody { zones, area_m2: one.area_m2.round(), place: [one.place.lon_deg(), one.place.lat_deg()] })
    }
}

fn gap(gap: &Gap) -> GapBody {
    GapBody { area_m2: gap.area_m2.round(), place: [gap.place.lon_deg(), gap.place.lat_deg()] }
}

fn by_layer(set: &InForce, zones: &[ZoneHandle]) -> BTreeMap<u8, Vec<String>> {
    let mut layers: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for one in zones.iter().filter_map(|zone| set.zone(*zone)) {
        layers.entry(one.zone.layer).or_default().push(one.zone.name.to_string());
    }
    layers
}
