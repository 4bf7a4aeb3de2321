use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::UnitView;
use geodesy::{Area, Vertex};
use model::{Position, UnitName, limits};
use query::{AskError, Explain, Filter, NearestAsk, WithinAsk};
use tokio_stream::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use wire::proto::{self, within_request};

use super::found::found;
use super::stubs::query_server::Query;
use crate::run::Service;

pub(super) struct Queries {
    pub(super) service: Arc<Service>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Query for Queries {
    type NearestStreamStream = Answers<proto::NearestResponse>;
    type WatchStream = Answers<proto::WatchEvent>;

    async fn nearest(
        &self,
        request: Request<proto::NearestRequest>,
    ) -> Result<Response<proto::NearestResponse>, Status> {
        let deadline = deadline(request.metadata(), limits::NEAREST_DEADLINE);
        nearest(&self.service, request.into_inner(), deadline).map(Response::new)
    }

    async fn nearest_stream(
        &self,
        request: Request<Streaming<proto::NearestRequest>>,
    ) -> Result<Response<Self::NearestStreamStream>, Status> {
        let service = Arc::clone(&self.service);
        // A question that cannot be answered says so in its place; the stream goes on.
        let answers = request.into_inner().map(move |question| {
            let question = question?;
            let request_id = question.request_id;
            Ok(nearest(&service, question, limits::NEAREST_DEADLINE).unwrap_or_else(|status| proto::NearestResponse {
                request_id,
                error: status.message().to_owned(),
                ..proto::NearestResponse::default()
            }))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn within(&self, request: Request<proto::WithinRequest>) -> Result<Response<proto::WithinResponse>, Status> {
        let deadline = deadline(request.metadata(), limits::WITHIN_DEADLINE);
        within(&self.service, request.into_inner(), deadline).map(Response::new)
    }

    async fn watch(&self, _: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("events come with zones; until then ask again"))
    }
}

/// gRPC's own deadline, where the caller set a shorter one than `default` or up to the longest allowed.
fn deadline(metadata: &MetadataMap, default: Duration) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout);
    asked.map_or(default, |asked| asked.min(limits::DEADLINE_MAX))
}

/// Up to eight digits and a unit, as in `100m` (gRPC over HTTP/2, "Timeout").
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.checked_mul(3_600)?)),
        "M" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn nearest(
    service: &Service,
    request: proto::NearestRequest,
    deadline: Duration,
) -> Result<proto::NearestResponse, Status> {
    let started = Instant::now();
    let answer = answer_nearest(service, request, deadline);
    service.metrics.query("nearest", outcome(&answer), started.elapsed());
    answer
}

fn within(
    service: &Service,
    request: proto::WithinRequest,
    deadline: Duration,
) -> Result<proto::WithinResponse, Status> {
    let started = Instant::now();
    let answer = answer_within(service, request, deadline);
    service.metrics.query("within", outcome(&answer), started.elapsed());
    answer
}

fn outcome<T>(answer: &Result<T, Status>) -> &'static str {
    match answer {
        Ok(_) => "answered",
        Err(status) if status.code() == tonic::Code::DeadlineExceeded => "out_of_time",
        Err(_) => "refused",
    }
}

fn answer_nearest(
    service: &Service,
    request: proto::NearestRequest,
    deadline: Duration,
) -> Result<proto::NearestResponse, Status> {
    let mut ask = NearestAsk::new(place("centre", request.centre)?).filter(filter(request.filter, service)?);
    if request.k > 0 {
        ask = ask.k(request.k as usize).map_err(of_ask)?;
    }
    if let Some(metres) = request.max_distance_m {
        ask = ask.max_distance_m(metres).map_err(of_ask)?;
    }
    if request.explain {
        ask = ask.explain(Explain::Name);
    }
    let live = service.engine.live();
    let answer = live.nearest(&ask, deadline).map_err(out_of_time)?;
    let units = answer.found.iter().filter_map(|one| {
        let view = UnitView { unit: live.roster().unit(one.unit)?, slot: one.slot };
        Some(found(service, &view, answer.as_of, Some((one.distance_m, one.bearing_deg))))
    });
    Ok(proto::NearestResponse {
        units: units.collect(),
        omitted: omitted(&answer.omitted),
        as_of_ms: answer.as_of.unix_ms(),
        degraded: false,
        request_id: request.request_id,
        error: String::new(),
        alarms: service.alarms().into_iter().map(String::from).collect(),
    })
}

fn answer_within(
    service: &Service,
    request: proto::WithinRequest,
    deadline: Duration,
) -> Result<proto::WithinResponse, Status> {
    let mut ask = WithinAsk::new(area(request.area)?).filter(filter(request.filter, service)?);
    if request.limit > 0 {
        ask = ask.limit(request.limit as usize).map_err(of_ask)?;
    }
    if !request.next.is_empty() {
        ask = ask.after(UnitName::new(&request.next).map_err(|error| bad("next", error))?);
    }
    let live = service.engine.live();
    let answer = live.within(&ask, deadline).map_err(out_of_time)?;
    let units = answer.found.iter().filter_map(|one| {
        let view = UnitView { unit: live.roster().unit(one.unit)?, slot: one.slot };
        Some(found(service, &view, answer.as_of, one.distance_m.zip(one.bearing_deg)))
    });
    Ok(proto::WithinResponse {
        units: units.collect(),
        omitted: omitted(&answer.omitted),
        as_of_ms: answer.as_of.unix_ms(),
        next: answer.next.map(|name| name.to_string()).unwrap_or_default(),
        alarms: service.alarms().into_iter().map(String::from).collect(),
    })
}

fn omitted(omitted: &query::Omitted) -> Vec<proto::Omitted> {
    let of =
        |(reason, units): (query::OmittedReason, u64)| proto::Omitted { reason: reason.as_str().to_owned(), units };
    omitted.iter().map(of).collect()
}

fn bad(field: &str, problem: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("`{field}`: {problem}"))
}

fn of_ask(error: AskError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn out_of_time(error: query::QueryError) -> Status {
    Status::deadline_exceeded(error.to_string())
}

fn place(field: &str, place: Option<proto::Place>) -> Result<Position, Status> {
    let place = place.ok_or_else(|| bad(field, "is missing"))?;
    let outside = || bad(field, format!("{}e-7, {}e-7 is no place on earth", place.lat_e7, place.lon_e7));
    Position::from_e7(place.lat_e7, place.lon_e7).ok_or_else(outside)
}

fn vertex(place: &proto::Place) -> Result<Vertex, Status> {
    let outside = || bad("polygons", format!("{}e-7, {}e-7 is no place on earth", place.lat_e7, place.lon_e7));
    Vertex::from_e7(place.lat_e7, place.lon_e7).ok_or_else(outside)
}

fn area(area: Option<within_request::Area>) -> Result<Area, Status> {
    let made = match area.ok_or_else(|| bad("area", "is missing"))? {
        within_request::Area::Circle(circle) => Area::circle(place("circle.centre", circle.centre)?, circle.radius_m),
        within_request::Area::Polygons(many) => {
            let ring = |ring: proto::Ring| ring.places.iter().map(vertex).collect();
            let polygon = |one: proto::Polygon| one.rings.into_iter().map(ring).collect();
            let polygons: Result<Vec<Vec<Vec<Vertex>>>, Status> = many.polygons.into_iter().map(polygon).collect();
            Area::polygons(&polygons?)
        }
    };
    made.map_err(|error| bad("area", error))
}

fn filter(filter: Option<proto::Filter>, service: &Service) -> Result<Filter, Status> {
    let Some(asked) = filter else { return Ok(Filter::new()) };
    let roster = service.engine.live().roster();
    let mut filter = Filter::new().kinds(words("kinds", &asked.kinds)?).statuses(words("statuses", &asked.statuses)?);
    for word in &asked.capabilities {
        let bit = roster.capability(word).ok_or_else(|| bad("capabilities", format!("no unit has {word:?}")))?;
        filter = filter.capability(bit);
    }
    for word in &asked.organisations {
        let found =
            roster.organisation(word).ok_or_else(|| bad("organisations", format!("no unit belongs to {word:?}")))?;
        filter = filter.organisation(found);
    }
    for include in words("include", &asked.include)? {
        filter = filter.include(include);
    }
    if let Some(seconds) = asked.max_age_s {
        let age = Duration::try_from_secs_f64(seconds).map_err(|error| bad("max_age_s", error))?;
        filter = filter.max_age(age).map_err(of_ask)?;
    }
    Ok(filter)
}

fn words<T: FromStr<Err: ToString>>(field: &str, words: &[String]) -> Result<Vec<T>, Status> {
    words.iter().map(|word| word.parse().map_err(|error: T::Err| bad(field, error.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_read_as_grpc_writes_them() {
        assert_eq!(timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(timeout("5"), None);
        assert_eq!(timeout(""), None);
    }
}
