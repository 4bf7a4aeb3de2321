use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use engine::Noted;
use futures_util::stream;
use model::Event;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_stream::Stream;
use utoipa::ToSchema;

use super::params::Params;
use super::problem::Problem;
use crate::access::Asker;
use crate::listeners::{Listener, Told, Wanted};
use crate::run::Service;

/// What changes, as Server-Sent Events, one for each event: `id` is its number, `event` its kind, `data` a JSON object with
/// `number kind time noted unit org zone place detail` (what is not known is left out). A listener that comes again with
/// `Last-Event-ID` goes on after it; events that were removed meanwhile are told as one event `gap` with `from` and `until`.
/// Events leave once they, and the report that says so, are on stable storage; those of a unit in their order.
#[utoipa::path(
    get,
    path = "/v1/events",
    params(
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was heard; without it, and without `after`, from now on"),
        ("after" = Option<u64>, Query, description = "The same for who can set no header; 0: all that there are"),
        ("kind" = Option<String>, Query, description = "Words separated by commas: enter exit dwell overstay beat_left beat_joined \
            strength_below strength_restored emergency_raised emergency_seen emergency_cleared contact_lost contact_found \
            gateway_lost gateway_found split joined standing standing_ended gap"),
        ("unit" = Option<String>, Query, description = "Names separated by commas"),
        ("zone" = Option<String>, Query, description = "Names separated by commas"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "Does not end by itself; a comment each 10 s when nothing happens"),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "Too many listen already"),
    )
)]
pub(crate) async fn listen(
    State(service): State<Arc<Service>>,
    asker: Asker,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let after = match headers.get("last-event-id") {
        None => params.parsed("after")?,
        Some(id) => {
            params.parsed::<u64>("after")?;
            let text = id.to_str().unwrap_or_default();
            let no_number = || Problem::bad("Last-Event-ID", text, "is the number of an event");
            Some(text.parse().map_err(|_| no_number())?)
        }
    };
    let wanted = Wanted {
        kinds: params.words("kind")?,
        units: names(&mut params, "unit", model::UnitName::new)?,
        zones: names(&mut params, "zone", model::ZoneName::new)?,
    };
    params.finish()?;
    let listener = Listener::new(&service, asker, wanted, after, "sse")?;
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(frames(listener))).into_response())
}

fn names<T>(
    params: &mut Params,
    field: &'static str,
    name: impl Fn(&str) -> Result<T, model::NameError>,
) -> Result<Vec<T>, Problem> {
    let words: Vec<String> = params.words(field)?;
    words.iter().map(|word| name(word).map_err(|error| Problem::bad(field, word, error))).collect()
}

/// Frames until the listener may hear no more. The first one, a comment, tells at once that it listens.
fn frames(listener: Listener) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let first = (Some(listener), true);
    stream::unfold(first, |(listener, is_first)| async move {
        let mut listener = listener?;
        if is_first {
            return Some((Ok(Bytes::from_static(b": listening\n\n")), (Some(listener), false)));
        }
        let (frame, next) = match listener.next().await {
            Ok(Told::Events(events)) => (of_events(&events), Some(listener)),
            Ok(Told::Gap(from, until)) => (of_gap(from, until), Some(listener)),
            Ok(Told::Idle) => (": still here\n\n".to_owned(), Some(listener)),
            Err(ended) => (format!("event: end\ndata: {}\n\n", json!({ "why": ended.to_string() })), None),
        };
        Some((Ok(Bytes::from(frame)), (next, false)))
    })
}

fn of_events(events: &[Arc<Noted>]) -> String {
    let mut frames = String::new();
    for noted in events {
        frames.push_str(noted.text.get_or_init(|| frame(&noted.event).into_boxed_str()));
    }
    frames
}

fn of_gap(from: u64, until: u64) -> String {
    format!("id: {until}\nevent: gap\ndata: {}\n\n", json!({ "kind": "gap", "from": from, "until": until }))
}

fn frame(event: &Event) -> String {
    let mut frame = String::new();
    let Event { number, kind, .. } = event;
    write!(frame, "id: {number}\nevent: {kind}\ndata: {}\n\n", body(event)).expect("writing to a String cannot fail");
    frame
}

/// An event as JSON; what is not known is left out.
pub(crate) fn body(event: &Event) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("number", Some(event.number.into()));
    put("kind", Some(event.kind.as_str().into()));
    put("time", Some(event.time.to_string().into()));
    put("noted", Some(event.noted.to_string().into()));
    put("unit", event.unit.as_ref().map(|unit| unit.as_str().into()));
    put("org", event.organisation.as_ref().map(|one| one.as_str().into()));
    put("zone", event.zone.as_ref().map(|zone| zone.as_str().into()));
    put("place", event.place.map(|at| json!({ "type": "Point", "coordinates": [at.lon_deg(), at.lat_deg()] })));
    let detail: Map<_, _> =
        event.detail.iter().map(|(word, value)| (word.to_string(), detail_value(word, value))).collect();
    put("detail", (!detail.is_empty()).then(|| detail.into()));
    body.into()
}

/// Counts, seconds and metres are numbers, several of one kind a list; all others are words, also names that look like one.
fn detail_value(word: &str, value: &str) -> Value {
    const NUMBERS: [&str; 10] =
        ["at_least", "have", "inside_s", "units", "emergency", "from", "until", "standing", "fewer_than", "metres"];
    let number = |text: &str| text.parse::<u64>().ok().map(Value::from);
    match word {
        "nearest" | "stale" => value.split_whitespace().collect(),
        "distances_m" => value.split_whitespace().filter_map(number).collect(),
        _ => number(value).filter(|_| NUMBERS.contains(&word)).unwrap_or_else(|| value.into()),
    }
}

/// Who listens to events, and how far each is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListenerList {
    as_of: String,
    /// The number of the last event.
    last: u64,
    listeners: Vec<ListenerBody>,
}

/// One listener.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListenerBody {
    listener: u64,
    principal: String,
    /// `sse`, `grpc` or `webhook`.
    #[schema(value_type = String)]
    over: &'static str,
    since: String,
    /// Events that it was not told yet, those that are not for it among them.
    lag: u64,
    /// Events that were removed before it could be told; it was told how many.
    lost: u64,
}

/// Who listens to events.
#[utoipa::path(get, path = "/v1/events/listeners", responses((status = 200, body = ListenerList)))]
pub(crate) async fn listeners(State(service): State<Arc<Service>>) -> Json<ListenerList> {
    use std::sync::atomic::Ordering::Relaxed;
    let last = service.engine.watch().map_or(0, |watch| *watch.last().borrow());
    let listeners = service.listeners.all().into_iter().map(|(listener, heard)| ListenerBody {
        listener,
        principal: heard.principal.clone(),
        over: heard.over,
        since: heard.since.to_string(),
        lag: last.saturating_sub(heard.after.load(Relaxed)),
        lost: heard.lost.load(Relaxed),
    });
    let listeners = listeners.collect();
    Json(ListenerList { as_of: service.engine.live().now().to_string(), last, listeners })
}
