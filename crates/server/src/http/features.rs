use std::collections::BTreeMap;

use engine::{Explained as ExplainedUnit, Look, SourceView, UnitView};
use geodesy::Datum;
use index::Slot;
use ingest::LostGateways;
use model::{Flags, Timestamp, Unit, UnitHandle, UnitRecord};
use query::LeftOut;
use serde::Serialize;
use utoipa::ToSchema;

use super::units::{DutyBody, RiderBody};
use crate::run::Service;

/// A GeoJSON FeatureCollection of units.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Collection {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "FeatureCollection")]
    kind: &'static str,
    /// The instant at which all ages hold.
    pub(crate) as_of: String,
    /// Trouble of the server itself: `engine_stopped`, `journal_low`, `journal_full`, `journal_failed`, `clock_set_back`, `events_failed`,
    /// `certificate`, `certificate_expiring`, `token_keys`; empty when all is well.
    #[schema(value_type = Vec<String>)]
    alarms: Vec<&'static str>,
    /// The datum of the coordinates, as declared in the question.
    #[schema(value_type = String, example = "wgs84")]
    pub(crate) datum: &'static str,
    pub(crate) features: Vec<Feature>,
    /// With `allow_degraded=true` in overload: the answer is complete within `searched_m`, and knows nothing beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<bool>,
    /// How far a degraded answer looked, in metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) searched_m: Option<f64>,
    /// How many units were left out, by reason. Nearest: those nearer than the farthest fresh unit of a full answer;
    /// of an answer with fewer than `k` fresh ones, all within reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) omitted: Option<BTreeMap<&'static str, u64>>,
    /// Only where the caller does not see every unit: a fresh unit that it may not see is nearer than the last of these, or would be one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nearer_outside_scope: Option<bool>,
    /// With `explain=true`: who was left out and why, in the order of the rank, at most 100. Never covert units, nor those that the caller may not see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) explained: Option<Vec<Explained>>,
    /// With `explain=true`: how many more would be named, were it not for the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) explained_rest: Option<u64>,
    /// Who counted. `on_duty`: units off duty are left out. `all`: no unit has a duty yet, and so every unit counts. Either way the
    /// filter and the default candidates hold: no community, aircraft, busy or covert units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) candidates: Option<&'static str>,
    /// The cursor of the next page; null on the last one.
    pub(crate) next: Option<String>,
}

impl Collection {
    /// The names of all units in it, those left out by name among them.
    pub(crate) fn units(&self) -> impl Iterator<Item = &str> {
        let left_out = self.explained.iter().flatten().map(|one| one.unit.as_str());
        self.features.iter().map(Feature::name).chain(left_out)
    }
}

/// A unit that was left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explained {
    pub(crate) unit: String,
    /// As in `omitted`.
    #[schema(value_type = String)]
    pub(crate) reason: &'static str,
    /// Geodesic metres from the place asked for.
    pub(crate) distance_m: f64,
    /// Seconds at `as_of`; null when it has left the map meanwhile.
    pub(crate) fix_age_s: Option<f64>,
}

impl Explained {
    pub(crate) fn of(left_out: &LeftOut, unit: &Unit) -> Self {
        Self {
            unit: unit.name.to_string(),
            reason: left_out.reason.as_str(),
            distance_m: round(left_out.distance_m),
            fix_age_s: left_out.fix_age_ms.map(|ms| ms as f64 / 1_000.0),
        }
    }
}

/// To a centimetre, or a hundredth of a degree.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A GeoJSON Feature of one unit; `geometry` is null while it has no place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Feature {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "Feature")]
    kind: &'static str,
    id: String,
    geometry: Option<Point>,
    properties: Properties,
}

impl Feature {
    /// The unit's name.
    pub(crate) fn name(&self) -> &str {
        &self.id
    }

    /// Adds what its devices say, at the instant of its ages.
    pub(crate) fn explain(&mut self, explained: &ExplainedUnit, service: &Service, as_of: Timestamp) {
        let sources = explained.sources.iter().map(|one| SourceBody::of(one, service, as_of));
        self.properties.sources = Some(sources.collect());
    }

    /// Adds which zones hold its place.
    pub(crate) fn write_zones(&mut self, zones: Vec<String>) {
        self.properties.zones = Some(zones);
    }

    /// Adds what people have written down of the unit.
    pub(crate) fn write_down(&mut self, record: &UnitRecord, crew: Vec<RiderBody>) {
        self.properties.duty = record.duty.as_ref().map(DutyBody::of);
        self.properties.crew = Some(crew).filter(|crew| !crew.is_empty());
        self.properties.call_sign = Some(record.call_sign.clone()).filter(|text| !text.is_empty());
        self.properties.assignment = record.assignment.as_ref().and_then(|(_, said)| said.of.text().map(str::to_owned));
        self.properties.status_owner = record.status_said.as_ref().map(|(owner, _)| owner.as_str());
        self.properties.external = Some(record.external.iter().cloned().collect());
    }
}

/// A GeoJSON Point: longitude, latitude in degrees.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Point {
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "Point")]
    kind: &'static str,
    coordinates: [f64; 2],
}

/// What is known of a unit. Null is unknown, never a guess.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Properties {
    unit: String,
    #[schema(value_type = String)]
    kind: &'static str,
    #[schema(value_type = String)]
    status: &'static str,
    org: Option<String>,
    /// Geodesic metres from the place asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    distance_m: Option<f64>,
    /// Degrees clockwise from north, from the place asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    bearing_deg: Option<f64>,
    /// The least and the most metres that it can be away by now: less and more than `distance_m` by its accuracy (30 m where it states none), and by what
    /// its kind can go at its greatest speed in the age of the fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<f64>>, min_items = 2, max_items = 2)]
    possible_m: Option<[f64; 2]>,
    /// When the place was true.
    fix_time: Option<String>,
    /// Seconds since then, at `as_of`.
    fix_age_s: Option<f64>,
    /// Seconds since anything was heard, at `as_of`.
    contact_age_s: Option<f64>,
    /// The fix is older than three expected intervals, at least 15 s.
    stale: bool,
    /// Nothing was heard for ten expected intervals, at least 50 s.
    out_of_contact: bool,
    /// Radius that holds the true place in 95 of 100 cases.
    accuracy_m: Option<f32>,
    /// Who says so: device, class or gateway.
    #[schema(value_type = Option<String>)]
    accuracy_basis: Option<&'static str>,
    /// The device that the place comes from.
    source: Option<String>,
    /// Whose clock dates the fix: gnss, device, gateway or receipt.
    #[schema(value_type = Option<String>)]
    time_basis: Option<&'static str>,
    speed_mps: Option<f32>,
    course_deg: Option<f32>,
    altitude_m: Option<f32>,
    /// ellipsoid, msl, pressure or agl.
    #[schema(value_type = Option<String>)]
    altitude_ref: Option<&'static str>,
    /// False: the journal does not hold this place, a restart forgets it. Null without a place.
    stored: Option<bool>,
    #[schema(value_type = Vec<String>)]
    flags: Vec<&'static str>,
    /// What it is called on the radio. In the answer about one unit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_sign: Option<String>,
    /// Its names in other systems. In the answer about one unit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    external: Option<BTreeMap<String, String>>,
    /// When it is on duty, and in which zone. In the answer about one unit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    duty: Option<DutyBody>,
    /// Who rides in it, as far as the caller sees them. In the answer about one unit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    crew: Option<Vec<RiderBody>>,
    /// What it is sent to. In the answer about one unit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    assignment: Option<String>,
    /// Who said the status that stands: cad or terminal. In the answer about one unit only; absent: it is that of its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    status_owner: Option<&'static str>,
    /// The zones that hold its place now, of those that the caller sees. In the answer about one unit with a place only.
    #[serde(skip_serializing_if = "Option::is_none")]
    zones: Option<Vec<String>>,
    /// The emergency button of one of its devices was pressed and nobody cleared it.
    emergency: bool,
    /// With `explain=true` in the question about one unit: what each device that it carries says, the source of its place first.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<SourceBody>>,
}

/// The newest place of one device of a unit. Null is unknown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceBody {
    device: String,
    /// Degrees, WGS-84.
    lat: Option<f64>,
    /// Degrees, WGS-84.
    lon: Option<f64>,
    /// When the place was true.
    fix_time: Option<String>,
    /// Seconds since then.
    fix_age_s: Option<f64>,
    /// Radius that holds the true place in 95 of 100 cases; null where the device states none.
    accuracy_m: Option<f32>,
    /// How often it reports, learned, in seconds.
    interval_s: Option<f64>,
    /// The unit's place is this one.
    is_source: bool,
    /// Of the source, why it is: only (no other device gave a place), newest_at_start, was_stale (the source before was), smaller_circle (in which the unit
    /// can be by it), clock_was_set. Of others, why they are not: no_place, silent, held_jump (a second place must confirm
    /// it), stale, next (the source is stale: its next place takes over), older, not_clearly_better.
    #[schema(value_type = String)]
    why: &'static str,
    /// A second session speaks for the device, too, and is held: what it says moves nothing.
    second_session: bool,
}

impl SourceBody {
    fn of(view: &SourceView, service: &Service, as_of: Timestamp) -> Self {
        let (source, seconds) = (view.source.as_ref(), |ms: i64| ms as f64 / 1_000.0);
        Self {
            device: view.device.to_string(),
            lat: source.map(|source| source.position.lat_deg()),
            lon: source.map(|source| source.position.lon_deg()),
            fix_time: source.map(|source| source.time.to_string()),
            fix_age_s: source.map(|source| seconds(as_of.ms_since(source.time).max(0))),
            accuracy_m: source.and_then(|source| source.accuracy_m),
            interval_s: source.and_then(|source| source.interval_ms).map(|ms| seconds(i64::from(ms))),
            is_source: view.is_source,
            why: view.why.as_str(),
            second_session: service.setting.holders.has_second(view.number),
        }
    }
}

/// Both ages of a unit in seconds; `None` where there is no place, or nothing was heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    pub(crate) fix_s: Option<f64>,
    pub(crate) contact_s: Option<f64>,
}

pub(crate) fn ages_of(slot: &Slot, as_of: Timestamp) -> Ages {
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    Ages { fix_s: slot.fix_age_ms(as_of).map(seconds), contact_s: slot.contact_age_ms(as_of).map(seconds) }
}

/// The flag of a unit whose place came through a gateway that is lost, and that was not heard since.
pub(crate) fn lost_word(lost: &LostGateways<'_>, slot: &Slot) -> Option<&'static str> {
    let source = slot.fix.as_ref()?.source;
    lost.has(source, slot.contact_time).then_some("gateway_lost")
}

/// What a feature is made with: the instant, the datum, and who is in distress.
pub(crate) struct Maker<'a> {
    service: &'a Service,
    as_of: Timestamp,
    datum: Datum,
    distressed: Vec<model::UnitName>,
    lost: LostGateways<'a>,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(service: &'a Service, as_of: Timestamp, datum: Datum) -> Self {
        let live = service.engine.live();
        let distressed = match live.emergencies().count() {
            0 => Vec::new(),
            _ => live.ringing(&query::Scope::everything()).into_iter().filter_map(|emergency| emergency.unit).collect(),
        };
        Self { service, as_of, datum, distressed, lost: service.setting.gateways.lost() }
    }

    /// An answer of `features`, without anything left out.
    pub(crate) fn collection(&self, features: Vec<Feature>, next: Option<String>) -> Collection {
        Collection {
            kind: "FeatureCollection",
            as_of: self.as_of.to_string(),
            alarms: self.service.alarms(),
            datum: self.datum.as_str(),
            features,
            degraded: None,
            searched_m: None,
            omitted: None,
            explained: None,
            explained_rest: None,
            nearer_outside_scope: None,
            candidates: None,
            next,
        }
    }

    /// Units of an answer, with distance and bearing where a place was asked for: by one look into the roster.
    pub(crate) fn features<'r>(
        &self,
        rows: impl Iterator<Item = (UnitHandle, &'r Slot, Option<(f64, f64)>)> + Clone,
    ) -> Vec<Feature> {
        let look = self.service.engine.live().roster().look();
        look.ask_for(rows.clone().map(|(unit, slot, _)| (unit, slot.fix.as_ref().map(|fix| fix.source))));
        rows.filter_map(|(unit, slot, way)| Some(self.made(&look, look.unit(unit)?, slot, way))).collect()
    }

    /// One unit.
    pub(crate) fn feature(&self, view: &UnitView) -> Feature {
        self.made(&self.service.engine.live().roster().look(), &view.unit, &view.slot, None)
    }

    fn made(&self, look: &Look<'_>, unit: &Unit, slot: &Slot, distance_and_bearing: Option<(f64, f64)>) -> Feature {
        let ages = ages_of(slot, self.as_of);
        let fix = slot.fix.as_ref();
        let possible_m = distance_and_bearing.and_then(|(distance, _)| query::possible_m(distance, slot, self.as_of));
        let geometry = fix.map(|fix| {
            let (lat, lon) = self.datum.from_wgs84(fix.position);
            Point { kind: "Point", coordinates: [lon, lat] }
        });
        let properties = Properties {
            unit: unit.name.to_string(),
            kind: unit.kind.as_str(),
            status: unit.status.as_str(),
            org: unit.organisation.as_ref().map(ToString::to_string),
            distance_m: distance_and_bearing.map(|(distance, _)| round(distance)),
            bearing_deg: distance_and_bearing.map(|(_, bearing)| round(bearing)),
            possible_m: possible_m.map(|both| both.map(round)),
            fix_time: fix.map(|fix| fix.time.to_string()),
            fix_age_s: ages.fix_s,
            contact_age_s: ages.contact_s,
            stale: slot.is_stale(self.as_of),
            out_of_contact: slot.is_out_of_contact(self.as_of),
            accuracy_m: fix.and_then(|fix| fix.accuracy_m),
            accuracy_basis: fix.and_then(|fix| fix.accuracy_basis).map(model::AccuracyBasis::as_str),
            source: fix.and_then(|fix| look.device(fix.source)).map(ToString::to_string),
            time_basis: fix.map(|fix| fix.time_basis.as_str()),
            speed_mps: fix.and_then(|fix| fix.speed_mps),
            course_deg: fix.and_then(|fix| fix.course_deg),
            altitude_m: fix.and_then(|fix| fix.altitude).map(|altitude| altitude.metres),
            altitude_ref: fix.and_then(|fix| fix.altitude).map(|altitude| altitude.reference.as_str()),
            stored: fix.map(|fix| !fix.flags.contains(Flags::NOT_STORED)),
            flags: fix.into_iter().flat_map(|fix| fix.flags.words()).chain(lost_word(&self.lost, slot)).collect(),
            call_sign: None,
            external: None,
            duty: None,
            crew: None,
            assignment: None,
            status_owner: None,
            zones: None,
            emergency: self.distressed.contains(&unit.name),
            sources: None,
        };
        Feature { kind: "Feature", id: unit.name.to_string(), geometry, properties }
    }
}
