//! Zones over gRPC: the same rules as over HTTP.

use std::sync::Arc;

use geodesy::area_of;
use model::{
    Hours, Minimum, OrganisationName, Position, Rings, Settle, Shape, Span, Timestamp, UnitKind, Zone, ZoneName, limits,
};
use store::{IfMatch, ZoneVersion};
use tonic::{Code, Request, Response, Status};
use wire::proto;

use super::stubs::zones_server::Zones;
use crate::access::asker_of;
use crate::http::{Problem, zones};
use crate::run::Service;

pub(super) struct ZoneCalls {
    pub(super) service: Arc<Service>,
}

#[tonic::async_trait]
impl Zones for ZoneCalls {
    async fn list(
        &self,
        request: Request<proto::ListZonesRequest>,
    ) -> Result<Response<proto::ListZonesResponse>, Status> {
        let sight = self.service.sight(&asker_of(&request));
        let asked = request.into_inner();
        let limit = match asked.limit as usize {
            0 => limits::PAGE_FEATURES_MAX,
            limit if limit <= limits::PAGE_FEATURES_MAX => limit,
            limit => return Err(bad("limit", format!("{limit} is more than {}", limits::PAGE_FEATURES_MAX))),
        };
        let after = if asked.next.is_empty() { None } else { Some(name("next", &asked.next)?) };
        let versions = match asked.as_of_ms {
            None => self.service.zones.now().versions(|_, zone| after.as_ref().is_none_or(|after| zone.name > *after)),
            Some(ms) => {
                let as_of = time("as_of_ms", ms)?;
                self.service.stored(move |store| store.zones(as_of)).await.map_err(|problem| of_problem(&problem))?
            }
        };
        let is_wanted = |one: &&ZoneVersion| {
            (asked.layer == 0 || u32::from(one.zone.layer) == asked.layer)
                && after.as_ref().is_none_or(|after| one.zone.name > *after)
                && sight.sees(&one.zone)
        };
        let (mut page, mut points) = (proto::ListZonesResponse::default(), 0);
        for one in versions.iter().filter(is_wanted) {
            points += zones::points(&one.zone);
            let is_full = page.zones.len() >= limit || points > limits::PAGE_POINTS_MAX / 4;
            if let Some(last) = page.zones.last().filter(|_| is_full) {
                page.next.clone_from(&last.zone);
                break;
            }
            page.zones.push(message(one));
        }
        Ok(Response::new(page))
    }

    async fn read(&self, request: Request<proto::ReadZoneRequest>) -> Result<Response<proto::Zone>, Status> {
        let sight = self.service.sight(&asker_of(&request));
        let asked = request.into_inner();
        let name = name("zone", &asked.zone)?;
        let as_of = asked.as_of_ms.map(|ms| time("as_of_ms", ms)).transpose()?;
        let as_of = as_of.unwrap_or_else(|| self.service.engine.live().now());
        let wanted = name.clone();
        let found = self.service.stored(move |store| store.zone(&wanted, as_of)).await;
        let found = found.map_err(|problem| of_problem(&problem))?.filter(|found| sight.sees(&found.zone));
        let found = found.ok_or_else(|| of_problem(&zones::unknown(&name)))?;
        Ok(Response::new(message(&found)))
    }

    async fn write(&self, request: Request<proto::WriteZoneRequest>) -> Result<Response<proto::Zone>, Status> {
        let asker = asker_of(&request);
        let asked = request.into_inner();
        let if_match = match (asked.expected_version, asked.expect_absent) {
            (None, false) => IfMatch::Always,
            (None, true) => IfMatch::Absent,
            (Some(version), false) => IfMatch::Version(version),
            (Some(_), true) => return Err(bad("expect_absent", "stands alone")),
        };
        let now = self.service.engine.live().now();
        let (zone, effective) = zone(asked.zone.ok_or_else(|| bad("zone", "is missing"))?, now)?;
        let shape = zone.shape.clone();
        let looked_at = zones::blocking(move || area_of(&shape).map(drop)).await;
        looked_at.map_err(|error| bad("shape", error))?;
        let put = zones::put(&self.service, &asker, zone, effective, if_match).await;
        put.map(|put| Response::new(message(&put))).map_err(|problem| of_problem(&problem))
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteZoneRequest>,
    ) -> Result<Response<proto::DeleteZoneResponse>, Status> {
        let asker = asker_of(&request);
        let asked = request.into_inner();
        let if_match = asked.expected_version.map_or(IfMatch::Always, IfMatch::Version);
        let ended = zones::end(&self.service, &asker, name("zone", &asked.zone)?, if_match).await;
        ended.map_err(|problem| of_problem(&problem))?;
        Ok(Response::new(proto::DeleteZoneResponse {}))
    }
}

fn of_problem(problem: &Problem) -> Status {
    let code = match problem.status() {
        400 => Code::InvalidArgument,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 | 412 => Code::FailedPrecondition,
        _ => Code::Unavailable,
    };
    Status::new(code, problem.detail())
}

fn bad(field: &str, problem: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("`{field}`: {problem}"))
}

fn name(field: &str, text: &str) -> Result<ZoneName, Status> {
    ZoneName::new(text).map_err(|error| bad(field, error))
}

fn time(field: &str, ms: i64) -> Result<Timestamp, Status> {
    Timestamp::from_unix_ms(ms).ok_or_else(|| bad(field, format!("{ms} is no time of the years 0000 to 9999")))
}

fn hours(field: &str, texts: &[String]) -> Result<Vec<Hours>, Status> {
    texts.iter().map(|text| text.parse().map_err(|error: model::HoursError| bad(field, error))).collect()
}

fn place(place: Option<&proto::Place>) -> Result<Position, Status> {
    let place = place.ok_or_else(|| bad("shape", "a place is missing"))?;
    let outside = || bad("shape", format!("{}e-7, {}e-7 is no place on earth", place.lat_e7, place.lon_e7));
    Position::from_e7(place.lat_e7, place.lon_e7).ok_or_else(outside)
}

fn zone(asked: proto::Zone, now: Timestamp) -> Result<(Zone, Span), Status> {
    let minimum = |one: &proto::ZoneMinimum| {
        let kind = |word: &String| word.parse::<UnitKind>().map_err(|error| bad("minimum.kinds", error));
        let kinds = one.kinds.iter().map(kind).collect::<Result<_, _>>()?;
        Ok(Minimum { kinds, hours: hours("minimum.hours", &one.hours)?, at_least: one.at_least })
    };
    let organisation = match asked.organisation.as_str() {
        "" => None,
        text => Some(OrganisationName::new(text).map_err(|error| bad("organisation", error))?),
    };
    let settle = asked.settle.map_or_else(Settle::default, |one| Settle { margin_m: one.margin_m, time_s: one.time_s });
    let zone = Zone {
        name: name("zone", &asked.zone)?,
        label: asked.label,
        layer: u8::try_from(asked.layer).unwrap_or(u8::MAX),
        organisation,
        shape: shape(asked.shape.ok_or_else(|| bad("shape", "is missing"))?)?,
        utc_offset_min: i16::try_from(asked.utc_offset_min).unwrap_or(i16::MAX),
        hours: hours("hours", &asked.hours)?,
        minimum: asked.minimum.iter().map(minimum).collect::<Result<_, Status>>()?,
        settle,
        dwell_s: asked.dwell_s,
        stay_s_max: asked.stay_s_max,
    };
    let from = asked.valid_from_ms.map(|ms| time("valid_from_ms", ms)).transpose()?;
    let until = asked.valid_until_ms.map(|ms| time("valid_until_ms", ms)).transpose()?;
    Ok((zone, Span { from: from.unwrap_or(now), until }))
}

fn shape(asked: proto::zone::Shape) -> Result<Shape, Status> {
    match asked {
        proto::zone::Shape::Polygons(many) => {
            let ring = |ring: &proto::Ring| ring.places.iter().map(|one| place(Some(one))).collect();
            let polygon = |one: &proto::Polygon| one.rings.iter().map(ring).collect();
            Ok(Shape::Polygons(many.polygons.iter().map(polygon).collect::<Result<_, Status>>()?))
        }
        proto::zone::Shape::Circle(circle) => {
            Ok(Shape::Circle { centre: place(circle.centre.as_ref())?, radius_m: circle.radius_m })
        }
        proto::zone::Shape::Cells(cells) => Ok(Shape::Cells(cells.cells)),
    }
}

fn message(one: &ZoneVersion) -> proto::Zone {
    let texts = |hours: &[Hours]| hours.iter().map(Hours::to_string).collect();
    let minimum = |one: &Minimum| proto::ZoneMinimum {
        kinds: one.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        hours: texts(&one.hours),
        at_least: one.at_least,
    };
    let zone = &one.zone;
    proto::Zone {
        zone: zone.name.to_string(),
        label: zone.label.clone(),
        layer: zone.layer.into(),
        organisation: zone.organisation.as_ref().map_or(String::new(), ToString::to_string),
        shape: Some(drawn(&zone.shape)),
        utc_offset_min: zone.utc_offset_min.into(),
        hours: texts(&zone.hours),
        minimum: zone.minimum.iter().map(minimum).collect(),
        settle: Some(proto::ZoneSettle { margin_m: zone.settle.margin_m, time_s: zone.settle.time_s }),
        dwell_s: zone.dwell_s,
        stay_s_max: zone.stay_s_max,
        valid_from_ms: Some(one.effective.from.unix_ms()),
        valid_until_ms: one.effective.until.map(Timestamp::unix_ms),
        version: one.version,
    }
}

fn drawn(shape: &Shape) -> proto::zone::Shape {
    let place = |place: &Position| proto::Place { lat_e7: place.lat_e7(), lon_e7: place.lon_e7() };
    match shape {
        Shape::Polygons(polygons) => {
            let ring = |ring: &Vec<Position>| proto::Ring { places: ring.iter().map(place).collect() };
            let polygon = |rings: &Rings| proto::Polygon { rings: rings.iter().map(ring).collect() };
            proto::zone::Shape::Polygons(proto::MultiPolygon { polygons: polygons.iter().map(polygon).collect() })
        }
        Shape::Circle { centre, radius_m } => {
            proto::zone::Shape::Circle(proto::Circle { centre: Some(place(centre)), radius_m: *radius_m })
        }
        Shape::Cells(cells) => proto::zone::Shape::Cells(proto::ZoneCells { cells: cells.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read can be written back.
    #[test]
    fn a_zone_is_the_same_after_its_message() {
        let at = |lat, lon| Position::from_degrees(lat, lon).unwrap();
        let ring = vec![at(22.0, 108.0), at(22.0, 108.1), at(22.1, 108.1), at(22.0, 108.0)];
        let shapes = [
            Shape::Polygons(vec![vec![ring]]),
            Shape::Circle { centre: at(60.0, -180.0), radius_m: 12.5 },
            Shape::Cells(vec![7, u64::MAX]),
        ];
        let now = Timestamp::from_unix_ms(1_000).unwrap();
        for shape in shapes {
            let zone = Zone {
                name: ZoneName::new("beat-1").unwrap(),
                label: "one".to_owned(),
                layer: 3,
                organisation: Some(OrganisationName::new("west").unwrap()),
                shape,
                utc_offset_min: -90,
                hours: vec!["mon-fri 07:00-19:00".parse().unwrap()],
                minimum: vec![Minimum { kinds: vec![UnitKind::Car], hours: Vec::new(), at_least: 2 }],
                settle: Settle { margin_m: 12.5, time_s: 20 },
                dwell_s: Some(600),
                stay_s_max: None,
            };
            let effective = Span { from: now, until: Some(now.shifted_ms(1)) };
            let version = ZoneVersion { version: 7, zone, effective };
            let (back, span) = super::zone(message(&version), now).unwrap();
            assert_eq!((back, span), (version.zone, version.effective));
        }
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_named() {
        let now = Timestamp::from_unix_ms(0).unwrap();
        let refused = |zone: proto::Zone| super::zone(zone, now).unwrap_err().message().to_owned();
        let circle = proto::Circle { centre: None, radius_m: 1.0 };
        let bare = proto::Zone { zone: "a".to_owned(), ..proto::Zone::default() };
        assert_eq!(refused(proto::Zone::default()), "`zone`: name is empty");
        assert_eq!(refused(bare.clone()), "`shape`: is missing");
        let shape = Some(proto::zone::Shape::Circle(circle));
        assert_eq!(refused(proto::Zone { shape, ..bare }), "`shape`: a place is missing");
    }
}
