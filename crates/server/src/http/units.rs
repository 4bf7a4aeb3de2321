use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use geodesy::Datum;
use model::{
    DeviceId, OrganisationName, Span, Status, Timestamp, Unit, UnitKind, UnitName, UnitRecord, ZoneName, limits,
};
use query::{Class, Explain, QueryError, Scope};
use serde::{Deserialize, Serialize};
use store::{By, Store, Versioned};
use utoipa::ToSchema;

use super::ask::{Patience, json, sent, understood};
use super::features::{Collection, Feature, Maker};
use super::params::Params;
use super::precondition::if_match;
use super::problem::Problem;
use crate::access::Asker;
use crate::run::Service;
use crate::search::whole;

/// A unit as it is written.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UnitBody {
    /// foot, car, motorcycle, armed_car, helicopter, drone, boat, post, video_post, community or unknown (default).
    pub(crate) kind: Option<String>,
    /// available, busy, off_duty or unknown (default).
    pub(crate) status: Option<String>,
    /// Name of the organisation.
    pub(crate) org: Option<String>,
    /// Words; at most 64 different ones in one server.
    pub(crate) capabilities: Vec<String>,
    /// Left out of default answers.
    pub(crate) covert: bool,
    /// What it is called on the radio; absent: stays.
    pub(crate) call_sign: Option<String>,
    /// Its names in other systems, such as a CAD: system to name; absent: stay.
    #[schema(value_type = Option<Object>)]
    pub(crate) external: Option<BTreeMap<String, String>>,
    /// When it is on duty, and in which zone; absent: stays. Outside it the unit is off duty.
    pub(crate) duty: Option<DutyBody>,
    /// Who rides in it, each a unit of its own; absent: stays, empty: nobody. At most 256.
    pub(crate) crew: Option<Vec<RiderBody>>,
    /// Devices that it carries, `protocol:id`, at most 64 in one change; they come on top of those it has.
    pub(crate) devices: Vec<String>,
}

/// A shift.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DutyBody {
    /// RFC 3339; absent: from now on.
    from: Option<String>,
    /// RFC 3339; absent: without end.
    until: Option<String>,
    /// The zone that is its beat: leaving it is an event `beat_left`; may be absent.
    zone: Option<String>,
}

/// Somebody who rides in a vehicle.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RiderBody {
    /// Name of the unit that the person is.
    unit: String,
    /// RFC 3339; absent: from now on.
    from: Option<String>,
    /// RFC 3339; absent: without end.
    until: Option<String>,
}

impl RiderBody {
    fn checked(&self, now: Timestamp) -> Result<(UnitName, Span), Problem> {
        let unit = UnitName::new(&self.unit).map_err(|error| Problem::bad("crew.unit", &self.unit, error))?;
        Ok((unit, span("crew", self.from.as_ref(), self.until.as_ref(), now)?))
    }

    pub(crate) fn of((unit, span): &(UnitName, Span)) -> Self {
        Self { unit: unit.to_string(), from: from_text(span), until: span.until.map(|until| until.to_string()) }
    }
}

fn from_text(span: &Span) -> Option<String> {
    (span.from > Timestamp::MIN).then(|| span.from.to_string())
}

fn span(field: &str, from: Option<&String>, until: Option<&String>, now: Timestamp) -> Result<Span, Problem> {
    let time = |text: Option<&String>| {
        let no_time = |text: &str| Problem::bad(field, text, "is no time of RFC 3339");
        text.map(|text| Timestamp::from_rfc3339(text).ok_or_else(|| no_time(text))).transpose()
    };
    Ok(Span { from: time(from)?.unwrap_or(now), until: time(until)? })
}

impl DutyBody {
    pub(crate) fn of((span, zone): &(Span, String)) -> Self {
        let zone = Some(zone.clone()).filter(|zone| !zone.is_empty());
        Self { from: from_text(span), until: span.until.map(|until| until.to_string()), zone }
    }

    fn checked(self, now: Timestamp) -> Result<(Span, String), Problem> {
        let span = span("duty", self.from.as_ref(), self.until.as_ref(), now)?;
        let zone = self.zone.unwrap_or_default();
        if !zone.is_empty() {
            ZoneName::new(&zone).map_err(|error| Problem::bad("duty.zone", &zone, error))?;
        }
        Ok((span, zone))
    }
}

impl UnitBody {
    /// Checks every word.
    pub(crate) fn checked(self, name: UnitName) -> Result<(Unit, Vec<DeviceId>), Problem> {
        let mut capabilities = self.capabilities;
        capabilities.sort();
        capabilities.dedup();
        if let Some(word) = capabilities.iter().find(|word| word.is_empty() || word.len() > limits::NAME_BYTES_MAX) {
            return Err(Problem::bad("capabilities", word, "a capability has 1 to 96 bytes"));
        }
        if self.devices.len() > limits::DEVICES_PER_CHANGE_MAX {
            let rule = format!(
                "one change gives at most {} devices; give the rest in further ones",
                limits::DEVICES_PER_CHANGE_MAX
            );
            return Err(Problem::bad("devices", format!("{} devices", self.devices.len()), rule));
        }
        let device = |id: &String| DeviceId::new(id).map_err(|error| Problem::bad("devices", id, error));
        let unit = Unit {
            name,
            kind: word("kind", self.kind)?.unwrap_or(UnitKind::Unknown),
            status: word("status", self.status)?.unwrap_or(Status::Unknown),
            organisation: match self.org {
                None => None,
                Some(org) => Some(OrganisationName::new(&org).map_err(|error| Problem::bad("org", &org, error))?),
            },
            capabilities,
            covert: self.covert,
        };
        Ok((unit, self.devices.iter().map(device).collect::<Result<_, _>>()?))
    }
}

fn word<T: std::str::FromStr<Err: ToString>>(field: &str, text: Option<String>) -> Result<Option<T>, Problem> {
    let parse = |text: String| text.parse().map_err(|error: T::Err| Problem::bad(field, &text, error.to_string()));
    text.map(parse).transpose()
}

pub(crate) fn name_of(text: &str) -> Result<UnitName, Problem> {
    UnitName::new(text).map_err(|error| Problem::bad("unit", text, error))
}

/// All units by name, with their places.
#[utoipa::path(
    get,
    path = "/v1/units",
    params(
        ("kind" = Option<String>, Query, description = "Only these kinds, separated by commas"),
        ("org" = Option<String>, Query, description = "Only of these organisations"),
        ("limit" = Option<u32>, Query, description = "Features on a page, 1 to 1000; default 1000"),
        ("next" = Option<String>, Query, description = "The `next` of the page before"),
        ("Muster-Deadline-Ms" = Option<u32>, Header, description = "1 to 10000; default 250"),
        ("Muster-Lane" = Option<String>, Header, description = "emergency, dispatch, map or bulk; default map. With log-on, role viewer may name map and bulk only, and map is its default"),
    ),
    responses(
        (status = 200, body = Collection),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "Overloaded: refused before any work; `Retry-After` says when to ask again"),
        (status = 504, body = Problem, description = "Out of time: never a shorter answer"),
    )
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    asker: Asker,
    patience: Patience,
    params: Params,
) -> Result<Response, Problem> {
    let request = patience.request(&service, Class::List);
    let page = understood(&service, request, Page::of(params))?;
    let (answer, sending) =
        service.search(request, |left| page.collect(&service, &asker.scope, left), whole::<Collection>()).await?;
    service.looked(&asker, "look.units", answer.units()).await?;
    Ok(sent(&answer, sending))
}

/// Which units are listed.
struct Page {
    kinds: Vec<UnitKind>,
    organisations: Vec<String>,
    limit: usize,
    after: Option<UnitName>,
}

impl Page {
    fn of(mut params: Params) -> Result<Self, Problem> {
        let kinds = params.words("kind")?;
        let organisations = params.words("org")?;
        let limit = params.parsed("limit")?.unwrap_or(limits::PAGE_FEATURES_MAX);
        if !(1..=limits::PAGE_FEATURES_MAX).contains(&limit) {
            return Err(Problem::bad("limit", limit, format!("must be 1 to {}", limits::PAGE_FEATURES_MAX)));
        }
        let after = params.text("next")?.map(|text| name_of(&text)).transpose()?;
        params.finish()?;
        Ok(Self { kinds, organisations, limit, after })
    }

    fn has(&self, unit: &Unit) -> bool {
        let in_organisation =
            || unit.organisation.as_ref().is_some_and(|org| self.organisations.iter().any(|one| one == org.as_str()));
        (self.kinds.is_empty() || self.kinds.contains(&unit.kind))
            && (self.organisations.is_empty() || in_organisation())
    }

    /// The page, if it is made within `left`. The clock is looked at once for each page of the roster.
    fn collect(&self, service: &Service, scope: &Scope, left: Duration) -> Result<Collection, QueryError> {
        let until = service.seats.now().saturating_add(left);
        let live = service.engine.live();
        let maker = Maker::new(service, live.now(), Datum::Wgs84);
        let (mut features, mut after, mut examined) = (Vec::new(), self.after.clone(), 0);
        loop {
            if service.seats.now() >= until {
                return Err(QueryError::DeadlineExceeded { examined });
            }
            let page = live.page(after.as_ref(), limits::PAGE_FEATURES_MAX, scope);
            let Some(last) = page.next else { break };
            after = Some(last);
            examined += page.examined as u64;
            for view in page.views.iter().filter(|view| self.has(&view.unit)) {
                if features.len() == self.limit {
                    let last: Option<&Feature> = features.last();
                    let next = last.map(|feature| feature.name().to_owned());
                    return Ok(maker.collection(features, next));
                }
                features.push(maker.feature(view));
            }
        }
        Ok(maker.collection(features, None))
    }
}

/// One unit and where it is; with `explain=true` what each of its devices says, and why its place is that of one of them.
#[utoipa::path(
    get,
    path = "/v1/units/{unit}",
    params(
        ("unit" = String, Path, description = "Its name"),
        ("explain" = Option<bool>, Query, description = "Add `sources`: the newest place of each device that it carries, and why it counts or does not"),
    ),
    responses(
        (status = 200, body = Feature, description = "With `ETag` when it is written down in the store"),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    )
)]
pub(crate) async fn read(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(unit): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let name = name_of(&unit)?;
    let explain = if params.parsed("explain")?.unwrap_or(false) { Explain::Name } else { Explain::Count };
    params.finish()?;
    answer(&service, &asker, name, explain).await
}

/// Adds a unit, or changes one. 200 means: it is stored.
#[utoipa::path(
    put,
    path = "/v1/units/{unit}",
    params(
        ("unit" = String, Path, description = "Its name: 1 to 96 bytes without blanks and slashes"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected, or *"),
        ("If-None-Match" = Option<String>, Header, description = "*: only if there is none of that name"),
    ),
    request_body = UnitBody,
    responses(
        (status = 200, body = Feature, description = "With `ETag`"),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "Neither the unit nor its organisation is the caller's to change"),
        (status = 409, body = Problem, description = "A limit is reached, or another unit carries a device"),
        (status = 412, body = Problem, description = "It is not as expected"),
        (status = 503, body = Problem, description = "The change is made and not stored yet"),
    )
)]
pub(crate) async fn write(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(unit): Path<String>,
    headers: HeaderMap,
    body: Result<Json<UnitBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let (name, if_match) = (name_of(&unit)?, if_match(&headers)?);
    let body = json(body)?;
    let (call_sign, external) = (body.call_sign.clone(), body.external.clone());
    let crew = body.crew.iter().flatten().map(|rider| rider.checked(service.engine.live().now()));
    let crew = body.crew.is_some().then(|| crew.collect::<Result<Vec<_>, _>>()).transpose()?;
    let duty = body.duty.clone().map(|duty| duty.checked(service.engine.live().now())).transpose()?;
    let (unit, devices) = body.checked(name.clone())?;
    let (live, now) = (service.engine.live(), service.engine.live().now());
    let before = live.unit(&name, &Scope::everything()).map(|view| view.unit.organisation.clone());
    let is_theirs = |organisation: &Option<OrganisationName>| match organisation {
        Some(organisation) => service.commands(&asker, organisation),
        None => asker.is_of_the_whole(),
    };
    // The same words for a name that is taken elsewhere: who may not see it must not learn of it.
    if !is_theirs(&unit.organisation) || !before.as_ref().is_none_or(is_theirs) {
        return Err(Problem::forbidden("this name and organisation are not yours to change"));
    }
    let (wanted, principal) = (name.clone(), Arc::clone(&asker.principal));
    let put = move |store: &Store| {
        let known = store.unit(&wanted)?.map(|found| found.value);
        let mut record = UnitRecord { unit: unit.clone(), ..known.unwrap_or_else(|| UnitRecord::of(unit)) };
        record.call_sign = call_sign.unwrap_or(record.call_sign);
        record.external = external.map_or(record.external, |external| external.into_iter().collect());
        record.duty = duty.or(record.duty);
        record.crew = crew.unwrap_or(record.crew);
        let from_now = Span { from: now, until: None };
        for device in devices {
            if !record.devices.iter().any(|(one, span)| *one == device && span.holds(now)) {
                record.devices.push((device, from_now));
            }
        }
        store.put_unit(&By { principal: &principal, now, reason: None }, &record, if_match)
    };
    service.stored(put).await?;
    service.level().await?;
    service.settle().await?;
    answer(&service, &asker, name, Explain::Count).await
}

/// Takes a unit off the map. Its devices are unknown from then on.
#[utoipa::path(
    delete,
    path = "/v1/units/{unit}",
    params(
        ("unit" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "The ETag that is expected"),
    ),
    responses(
        (status = 204),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It rides in a vehicle"),
        (status = 412, body = Problem, description = "It is not as expected"),
    )
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(unit): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (name, if_match) = (name_of(&unit)?, if_match(&headers)?);
    let live = service.engine.live();
    let seen = live.unit(&name, &asker.scope).ok_or_else(|| unknown(&name))?;
    if !seen.unit.organisation.as_ref().map_or(asker.is_of_the_whole(), |one| service.commands(&asker, one)) {
        return Err(Problem::forbidden("this unit is not yours to change"));
    }
    let (now, wanted) = (live.now(), name.clone());
    let retire = move |store: &Store| {
        // One that a device made of itself, or a file of units, is in the roster only.
        if store.unit(&wanted)?.is_none() {
            return Ok(());
        }
        store.retire_unit(&By { principal: &asker.principal, now, reason: None }, &wanted, if_match).map(drop)
    };
    service.stored(retire).await?;
    service.level().await?;
    service.engine.retire(&name);
    service.settle().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A unit with its place. Whatever it answers, it is a look, and in the audit before it leaves.
pub(crate) async fn answer(
    service: &Service,
    asker: &Asker,
    name: UnitName,
    explain: Explain,
) -> Result<Response, Problem> {
    let live = service.engine.live();
    if live.unit(&name, &asker.scope).is_none() {
        return Err(unknown(&name));
    }
    service.looked(asker, "look.unit", [name.as_str()].into_iter()).await?;
    let wanted = name.clone();
    let found = service.stored(move |store| store.unit(&wanted)).await?;
    let as_of = live.now();
    let maker = Maker::new(service, as_of, Datum::Wgs84);
    let mut feature = match explain {
        Explain::Count => maker.feature(&live.unit(&name, &asker.scope).ok_or_else(|| unknown(&name))?),
        Explain::Name => {
            let explained = live.explain(&name, &asker.scope).ok_or_else(|| unknown(&name))?;
            let mut feature = maker.feature(&explained.view);
            feature.explain(&explained, service, as_of);
            feature
        }
    };
    let place = live.unit(&name, &asker.scope).and_then(|view| Some(view.slot.fix?.position));
    if let Some(place) = place {
        let (set, sight) = (service.zones.now(), service.sight(asker));
        let zones = set.holding(place).filter(|one| sight.sees(&one.zone));
        feature.write_zones(zones.map(|one| one.zone.name.to_string()).collect());
    }
    let Some(Versioned { version, value }) = found else { return Ok(Json(feature).into_response()) };
    // Who rides in it is told to who sees the rider.
    let sees = |rider: &UnitName| live.unit(rider, &asker.scope).is_some();
    let riders = value.crew.iter().filter(|(rider, _)| sees(rider)).map(RiderBody::of).collect();
    feature.write_down(&value, riders);
    Ok(([(header::ETAG, format!("\"{version}\""))], Json(feature)).into_response())
}

pub(crate) fn unknown(name: &UnitName) -> Problem {
    Problem::not_found(format!("there is no unit `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::config::{Config, Data};

    /// Two such changes were one batch too large for a segment, and ended the writer.
    #[test]
    fn a_change_with_too_many_devices_is_refused_by_name() {
        let of = |devices: usize| UnitBody {
            devices: (0..devices).map(|number| format!("muster:{number}")).collect(),
            ..UnitBody::default()
        };
        let checked = |devices| of(devices).checked(UnitName::new("car-7").unwrap()).map(|(_, devices)| devices.len());
        assert_eq!(checked(limits::DEVICES_PER_CHANGE_MAX).ok(), Some(64));
        let refused = checked(limits::DEVICES_PER_CHANGE_MAX + 1).unwrap_err();
        let refused = serde_json::to_value(&refused).unwrap();
        assert_eq!((&refused["status"], &refused["field"]), (&400.into(), &"devices".into()));
    }

    #[tokio::test]
    async fn a_list_that_is_not_made_in_the_time_left_is_out_of_time() {
        let config = Config { http: "127.0.0.1:0".parse().unwrap(), grpc: None, data: Data::Off, ..Config::default() };
        let server = Server::start(&config).await.unwrap();
        let unit = UnitBody::default().checked(name_of("a").unwrap()).unwrap().0;
        server.enrol(unit, &[]).unwrap();
        let page = Page { kinds: Vec::new(), organisations: Vec::new(), limit: 1_000, after: None };
        let late = page.collect(server.service(), &Scope::everything(), Duration::ZERO).err();
        assert_eq!(late, Some(QueryError::DeadlineExceeded { examined: 0 }));
        assert!(page.collect(server.service(), &Scope::everything(), limits::DEADLINE_MAX).is_ok());
        server.stop().await;
    }

    #[tokio::test]
    async fn a_retired_unit_is_not_counted_as_on_the_map() {
        let config = Config { http: "127.0.0.1:0".parse().unwrap(), grpc: None, data: Data::Off, ..Config::default() };
        let server = Server::start(&config).await.unwrap();
        for name in ["a", "b"] {
            server.enrol(UnitBody::default().checked(name_of(name).unwrap()).unwrap().0, &[]).unwrap();
        }
        assert!(server.service().engine.retire(&name_of("a").unwrap()));
        assert_eq!(server.service().engine.live().roster().len(), 1);
        server.stop().await;
    }
}
