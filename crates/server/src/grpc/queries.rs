use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use geodesy::{Area, Vertex};
use model::{Position, UnitHandle, UnitName, limits};
use query::{AskError, Class, Explain, Filter, Lane, NearestAsk, Rank, WithinAsk};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use wire::proto::{self, within_request};

use super::ahead::Answers;
use super::found::{lay_left_out, lay_omitted, units};
use super::laid::Laid;
use super::stubs::query_server::Query;
use crate::access::{Asker, asker_of};
use crate::figures::Outcome;
use crate::run::Service;
use crate::search::{Found, Unanswered, whole};
use crate::seats;

pub(super) struct Queries {
    pub(super) service: Arc<Service>,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Query for Queries {
    type NearestStreamStream = Streamed<Laid>;
    type WatchStream = Streamed<proto::WatchEvent>;

    async fn nearest(&self, request: Request<proto::NearestRequest>) -> Result<Response<Laid>, Status> {
        let patience = Patience::of(&self.service, &request)?;
        let asked = patience.request(&self.service, Class::Nearest);
        nearest(&self.service, &asker_of(&request), request.into_inner(), asked).await.map(Response::new)
    }

    async fn nearest_stream(
        &self,
        request: Request<Streaming<proto::NearestRequest>>,
    ) -> Result<Response<Self::NearestStreamStream>, Status> {
        let service = Arc::clone(&self.service);
        // The deadline of the call is that of the whole stream; each question has the one of its class.
        let (patience, asker) = (Patience { deadline: None, ..Patience::of(&service, &request)? }, asker_of(&request));
        let clock = Arc::clone(&service.seats);
        // No task for a question: what is there is answered at once, and leaves in as few frames as hold it.
        let answer = move |(read_at, question): (Duration, Result<proto::NearestRequest, Status>)| {
            let (service, asker) = (Arc::clone(&service), asker.clone());
            let asked = Patience { read_at, ..patience };
            async move {
                // Rights end with their token, also on a stream that is open.
                let asker = service.still(&asker).map_err(|denied| Status::unauthenticated(denied.to_string()))?;
                answer_in_place(&service, &asker, question?, asked).await
            }
        };
        let answers = Answers::to(request.into_inner(), move || clock.now(), answer);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn within(&self, request: Request<proto::WithinRequest>) -> Result<Response<Laid>, Status> {
        let patience = Patience::of(&self.service, &request)?;
        let asked = patience.request(&self.service, Class::Within);
        within(&self.service, &asker_of(&request), request.into_inner(), asked).await.map(Response::new)
    }

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(super::events::watch(&self.service, request)?)))
    }
}

/// When the request was read, how long its caller will wait (gRPC's own deadline), and its lane.
#[derive(Clone, Copy)]
struct Patience {
    read_at: Duration,
    deadline: Option<Duration>,
    lane: Option<Lane>,
}

impl Patience {
    fn of<T>(service: &Service, request: &Request<T>) -> Result<Self, Status> {
        let metadata = request.metadata();
        let text = |name| metadata.get(name).map(|value| String::from_utf8_lossy(value.as_encoded_bytes()));
        let deadline = text("grpc-timeout").and_then(|text| timeout(&text));
        let lane = text("muster-lane").map(|text| text.parse().map_err(|error| bad("muster-lane", error)));
        let deadline = deadline.map(|asked| asked.min(limits::DEADLINE_MAX));
        let lane = asker_of(request).lane(lane.transpose()?).map_err(Status::permission_denied)?;
        Ok(Self { read_at: service.seats.now(), deadline, lane })
    }

    fn request(&self, service: &Service, class: Class) -> seats::Request {
        seats::Request {
            class,
            lane: self.lane.unwrap_or(class.lane()),
            read_at: self.read_at,
            deadline: self.deadline.unwrap_or(service.seats.contract(class).deadline()),
        }
    }
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

/// A question that cannot be answered says so in its place; the stream goes on.
async fn answer_in_place(
    service: &Service,
    asker: &Asker,
    question: proto::NearestRequest,
    patience: Patience,
) -> Result<Laid, Status> {
    let request_id = question.request_id;
    let answer = nearest(service, asker, question, patience.request(service, Class::Nearest)).await;
    Ok(answer.unwrap_or_else(|status| {
        Laid::of(&proto::NearestResponse {
            request_id,
            error: status.message().to_owned(),
            error_code: status.code().into(),
            ..proto::NearestResponse::default()
        })
    }))
}

async fn nearest(
    service: &Service,
    asker: &Asker,
    question: proto::NearestRequest,
    request: seats::Request,
) -> Result<Laid, Status> {
    let (request_id, degrades) = (question.request_id, question.allow_degraded);
    let ask = understood(service, request, nearest_ask(service, asker, question))?;
    let live = service.engine.live();
    let degraded = degrades.then_some(|left| live.nearest_degraded(&ask, left));
    let search = |left| live.nearest(&ask, left).map(Found::from);
    let (answer, sending) = service.search(request, search, degraded).await.map_err(unanswered)?;
    let (searched_m, answer) = (answer.searched_m, answer.nearest);
    let rows = answer.found.iter().map(|one| (one.unit, &one.slot, Some((one.distance_m, one.bearing_deg))));
    let lost = service.setting.gateways.lost();
    let mut laid = units(&live.roster().look(), rows, &lost, answer.as_of);
    lay_omitted(&mut laid, &answer.omitted);
    laid.number(3, answer.as_of.unix_ms().cast_unsigned());
    laid.number(4, searched_m.is_some().into());
    laid.number(5, request_id);
    service.alarms().into_iter().for_each(|alarm| laid.element(7, alarm));
    laid.double_if_known(8, searched_m);
    laid.number(10, answer.nearer_outside_scope.into());
    lay_left_out(&mut laid, &live.roster().look(), &answer.omitted);
    laid.text(13, service.candidates());
    drop(sending);
    let named = answer.omitted.named().iter().map(|one| one.unit);
    looked(service, asker, "look.nearest", answer.found.iter().map(|one| one.unit).chain(named)).await?;
    Ok(laid)
}

/// Puts who was seen into the audit.
async fn looked(
    service: &Service,
    asker: &Asker,
    action: &'static str,
    units: impl Iterator<Item = UnitHandle>,
) -> Result<(), Status> {
    // Made only where somebody has logged on. A number keeps its name, so these are the names that were laid.
    let roster = service.engine.live().roster();
    let seen = units.filter_map(|unit| roster.unit(unit)).map(|unit| unit.name.to_string());
    service.looked(asker, action, seen).await.map_err(|error| Status::unavailable(error.to_string()))
}

fn nearest_ask(service: &Service, asker: &Asker, question: proto::NearestRequest) -> Result<NearestAsk, Status> {
    let mut ask = NearestAsk::new(place("centre", question.centre)?, asker.scope.clone()).filter(filter(
        question.filter,
        asker,
        service,
    )?);
    if question.k > 0 {
        ask = ask.k(question.k as usize).map_err(of_ask)?;
    }
    if let Some(metres) = question.max_distance_m {
        ask = ask.max_distance_m(metres).map_err(of_ask)?;
    }
    ask = match proto::Rank::try_from(question.rank) {
        Ok(proto::Rank::Unspecified | proto::Rank::Distance) => ask,
        Ok(proto::Rank::Possible) => ask.rank(Rank::Possible),
        Err(_) => return Err(bad("rank", format!("{} is no rank", question.rank))),
    };
    Ok(if question.explain { ask.explain(Explain::Name) } else { ask })
}

async fn within(
    service: &Service,
    asker: &Asker,
    question: proto::WithinRequest,
    request: seats::Request,
) -> Result<Laid, Status> {
    let ask = understood(service, request, within_ask(service, asker, question))?;
    let live = service.engine.live();
    let (answer, sending) =
        service.search(request, |left| live.within(&ask, left), whole::<query::Within>()).await.map_err(unanswered)?;
    let rows = answer.found.iter().map(|one| (one.unit, &one.slot, one.distance_m.zip(one.bearing_deg)));
    let lost = service.setting.gateways.lost();
    let mut laid = units(&live.roster().look(), rows, &lost, answer.as_of);
    lay_omitted(&mut laid, &answer.omitted);
    laid.number(3, answer.as_of.unix_ms().cast_unsigned());
    laid.text(4, answer.next.as_ref().map_or("", |name| name.as_str()));
    service.alarms().into_iter().for_each(|alarm| laid.element(5, alarm));
    drop(sending);
    looked(service, asker, "look.within", answer.found.iter().map(|one| one.unit)).await?;
    Ok(laid)
}

fn within_ask(service: &Service, asker: &Asker, question: proto::WithinRequest) -> Result<WithinAsk, Status> {
    let mut ask =
        WithinAsk::new(area(question.area)?, asker.scope.clone()).filter(filter(question.filter, asker, service)?);
    if question.limit > 0 {
        ask = ask.limit(question.limit as usize).map_err(of_ask)?;
    }
    if !question.next.is_empty() {
        ask = ask.after(UnitName::new(&question.next).map_err(|error| bad("next", error))?);
    }
    Ok(ask)
}

/// Counts a question that cannot be answered.
fn understood<T>(service: &Service, request: seats::Request, ask: Result<T, Status>) -> Result<T, Status> {
    if ask.is_err() {
        service.figures.ended(request.class, request.lane, Outcome::Bad);
    }
    ask
}

fn unanswered(unanswered: Unanswered) -> Status {
    let Unanswered::Overloaded { retry_after, .. } = unanswered else {
        return Status::deadline_exceeded(unanswered.to_string());
    };
    let mut status = Status::resource_exhausted(unanswered.to_string());
    let ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
    // The word by which gRPC clients with a retry policy wait.
    status.metadata_mut().insert("grpc-retry-pushback-ms", ms.into());
    status
}

fn bad(field: &str, problem: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("`{field}`: {problem}"))
}

fn of_ask(error: AskError) -> Status {
    Status::invalid_argument(error.to_string())
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

fn filter(filter: Option<proto::Filter>, asker: &Asker, service: &Service) -> Result<Filter, Status> {
    let Some(asked) = filter else { return Ok(Filter::new()) };
    few("capabilities", &asked.capabilities)?;
    few("organisations", &asked.organisations)?;
    let roster = service.engine.live().roster();
    let mut filter = Filter::new().kinds(words("kinds", &asked.kinds)?).statuses(words("statuses", &asked.statuses)?);
    for word in &asked.capabilities {
        filter = match roster.capability(word) {
            Some(bit) => filter.capability(bit),
            None if asker.sees_all() => return Err(bad("capabilities", format!("no unit has {word:?}"))),
            None => filter.unknown_capability(),
        };
    }
    for word in &asked.organisations {
        filter = match roster.organisation(word) {
            Some(found) => filter.organisation(found),
            None if asker.sees_all() => return Err(bad("organisations", format!("no unit belongs to {word:?}"))),
            None => filter.unknown_organisation(),
        };
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

/// Refuses a list that would be looked through for each unit, or for each name, for too long.
fn few(field: &str, words: &[String]) -> Result<(), Status> {
    if words.len() > limits::FILTER_WORDS_MAX {
        return Err(bad(field, format!("{} words are more than {}", words.len(), limits::FILTER_WORDS_MAX)));
    }
    Ok(())
}

fn words<T: FromStr<Err: ToString>>(field: &str, words: &[String]) -> Result<Vec<T>, Status> {
    few(field, words)?;
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
