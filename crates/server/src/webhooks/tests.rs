//! From what happens to a receiver on loopback that checks what it gets.

pub(crate) mod receiver;

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use futures_util::future::BoxFuture;
use ingest::Allowed;
use model::{Event, EventKind, Timestamp, UnitName};
use serde_json::{Value, json};
use testkit::ManualClock;
use tower::ServiceExt as _;

use super::*;
use crate::Server;
use crate::config::{Config, Data};
use receiver::{Receiver, SECRET, numbers};

/// Time that passes when somebody waits for it.
struct Hours(ManualClock);

impl Pace for Hours {
    fn clock(&self) -> &dyn Clock {
        &self.0
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.advance(time);
        Box::pin(tokio::task::yield_now())
    }
}

/// A server that may call this machine.
async fn server(data: Data) -> Server {
    let any = "127.0.0.1:0".parse().unwrap();
    let webhooks =
        WebhookConfig { networks: Allowed::new(&["127.0.0.0/8".to_owned()], &[]).unwrap(), ..WebhookConfig::default() };
    Server::start(&Config { http: any, grpc: None, data, webhooks, ..Config::default() }).await.unwrap()
}

async fn ask(server: &Server, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
    let response = crate::http::router(server.service()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Writes the webhook `cad`.
async fn put(server: &Server, url: &str, more: Value) -> Value {
    let mut body = json!({ "url": url, "secret": SECRET });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, answer) = ask(server, "PUT", "/v1/webhooks/cad", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// What the server says of `cad` once it says `is_so`.
async fn until(server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let asked = async {
        loop {
            let (_, answer) = ask(server, "GET", "/v1/webhooks/cad", Value::Null).await;
            if is_so(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("it comes to that")
}

/// A unit came into a zone.
fn happens(service: &Service, unit: &str) {
    let now = service.engine.live().now();
    let unit = UnitName::new(unit).unwrap();
    service.engine.watch().unwrap().note(Event { unit: Some(unit), ..Event::of(EventKind::Enter, now, now) }, None);
}

/// Returns once there are so many events.
async fn there_are(service: &Service, count: u64) {
    service.engine.watch().unwrap().last().wait_for(|last| *last >= count).await.unwrap();
}

#[tokio::test]
async fn a_receiver_is_sent_every_event_once_and_in_order_with_a_signature() {
    let (server, receiver) = (server(Data::Off).await, Receiver::new().await);
    happens(server.service(), "before");
    there_are(server.service(), 1).await;
    let answer = put(&server, &receiver.url, json!({ "units": ["car-1", "car-2"] })).await;
    assert!(!answer.to_string().contains(SECRET), "{answer}");
    for number in 0..750 {
        happens(server.service(), ["car-1", "car-2", "car-3"][number % 3]);
    }
    let taken = numbers(&receiver.taken(500).await);
    assert_eq!(taken, (2..=751).filter(|number| number % 3 != 1).collect::<Vec<_>>());
    let answer = until(&server, |answer| answer["lag"] == 0).await;
    assert_eq!((&answer["delivered"], &answer["failing"]), (&json!(500), &Value::Null), "{answer}");
    let (_, listeners) = ask(&server, "GET", "/v1/events/listeners", Value::Null).await;
    let own = &listeners["listeners"][0];
    assert_eq!((&own["principal"], &own["over"], &own["lag"]), (&json!("webhook:cad"), &json!("webhook"), &json!(0)));
    server.stop().await;
}

/// An own webhook of the tests, whose time is the test's.
async fn at_the_pace_of(
    server: &Server,
    clock: Arc<Hours>,
) -> (tokio::task::JoinHandle<()>, watch::Sender<bool>, Arc<Progress>) {
    let service = server.service();
    let stored = service.store.webhook(&WebhookName::new("cad").unwrap()).unwrap().unwrap();
    let target = Target::of(&stored.webhook.url).unwrap();
    let (stop, stopped) = watch::channel(false);
    let progress = service.webhooks.progress_of(&stored);
    let watch = service.engine.watch().unwrap();
    let begun = Delivery::begin(service, watch, clock, (stored, target), Arc::clone(&progress), stopped);
    (tokio::spawn(begun.await.unwrap().run()), stop, progress)
}

/// Returns once all up to `number` is done with.
async fn is_at(progress: &Progress, number: u64) {
    let reached = async {
        while progress.after() < number {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("it comes so far");
}

fn clock() -> Arc<Hours> {
    Arc::new(Hours(ManualClock::at(Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap())))
}

/// Something happens with each try of the dead hour.
#[tokio::test]
async fn a_receiver_that_is_dead_for_an_hour_loses_nothing() {
    let (server, receiver, clock) = (server(Data::Off).await, Receiver::new().await, clock());
    put(&server, &receiver.url, json!({ "enabled": false })).await;
    let (start, tries) = (clock.0.now(), Arc::new(AtomicU64::new(0)));
    let (service, counted, hands) = (Arc::clone(server.service()), Arc::clone(&tries), Arc::clone(&clock));
    receiver.answer(move |_| {
        if hands.0.now() >= start.after(Duration::from_secs(3_600)) {
            return StatusCode::OK;
        }
        happens(&service, "car-1");
        let statuses = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND, StatusCode::NOT_FOUND];
        statuses[counted.fetch_add(1, Ordering::SeqCst) as usize % 3]
    });
    for _ in 0..250 {
        happens(server.service(), "car-1");
    }
    there_are(server.service(), 250).await;
    let (task, stop, progress) = at_the_pace_of(&server, Arc::clone(&clock)).await;
    receiver.called(3).await;
    receiver.taken(250).await;
    let tried = tries.load(Ordering::SeqCst);
    assert!((12..80).contains(&tried), "{tried} tries in an hour");
    let taken = numbers(&receiver.taken(250 + tried as usize).await);
    assert_eq!(taken, (1..=250 + tried).collect::<Vec<_>>(), "all of them, once, in order");
    is_at(&progress, 250 + tried).await;
    assert_eq!(progress.failures.load(Ordering::Relaxed), tried);
    assert!(clock.0.now() >= start.after(Duration::from_secs(3_600)) && !server.service().webhooks.are_failing());
    stop.send_replace(true);
    task.await.unwrap();
    server.service().webhooks.progress.lock().clear();
    // The rule holds the server, and the receiver the rule.
    receiver.answer(|_| StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_too_long_is_listed_and_can_be_replayed() {
    let (server, receiver, clock) = (server(Data::Off).await, Receiver::new().await, clock());
    put(&server, &receiver.url, json!({ "enabled": false })).await;
    let is_poisoned = |events: &[Value]| events.iter().any(|event| event["unit"] == "poison");
    receiver.answer(move |events| if is_poisoned(events) { StatusCode::BAD_REQUEST } else { StatusCode::OK });
    happens(server.service(), "poison");
    let (task, stop, progress) = at_the_pace_of(&server, clock).await;
    let given_up = async {
        while progress.given_up.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), given_up).await.expect("it is given up");
    assert!(server.service().webhooks.are_failing(), "nothing was taken since");
    assert_eq!(server.service().alarms(), [""; 0], "which does not concern everybody");
    let (_, stats) = ask(&server, "GET", "/v1/stats", Value::Null).await;
    assert_eq!(stats["alarms"], json!(["webhook_failing"]));
    happens(server.service(), "car-1");
    assert_eq!(numbers(&receiver.taken(1).await), [2], "what comes after it is delivered");
    is_at(&progress, 2).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert!(!server.service().webhooks.are_failing());
    let (_, listed) = ask(&server, "GET", "/v1/webhooks/cad/dead", Value::Null).await;
    let dead = &listed["dead"][0];
    assert_eq!((&dead["from"], &dead["until"], &dead["events"]), (&json!(1), &json!(1), &json!(1)), "{listed}");
    assert!(dead["why"].as_str().unwrap().contains("400") && dead["tries"].as_u64().unwrap() > 200, "{dead}");
    receiver.answer(|_| StatusCode::OK);
    put(&server, &receiver.url, json!({})).await;
    for (bad, status) in [(0, 400), (4, 400), (1, 200)] {
        let (found, answer) = ask(&server, "POST", "/v1/webhooks/cad/replay", json!({ "from": bad })).await;
        assert_eq!(found, status, "{answer}");
    }
    assert_eq!(numbers(&receiver.taken(3).await), [2, 1, 2]);
    let (_, listed) = ask(&server, "GET", "/v1/webhooks/cad/dead", Value::Null).await;
    assert_eq!(listed, json!({ "dead": [] }));
    server.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_after_what_was_taken_and_tells_what_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let data = || Data::Folder(folder.path().to_owned());
    let (first, receiver) = (server(data()).await, Receiver::new().await);
    put(&first, &receiver.url, json!({})).await;
    happens(first.service(), "car-1");
    receiver.taken(1).await;
    receiver.answer(|_| StatusCode::SERVICE_UNAVAILABLE);
    happens(first.service(), "car-2");
    receiver.called(2).await;
    first.stop().await;
    receiver.answer(|_| StatusCode::OK);
    let second = server(data()).await;
    happens(second.service(), "car-3");
    assert_eq!(numbers(&receiver.taken(3).await), [1, 2, 3], "what it refused comes again");
    until(&second, |answer| answer["lag"] == 0).await;
    put(&second, &receiver.url, json!({ "enabled": false })).await;
    for _ in 0..3 {
        happens(second.service(), "car-4");
    }
    there_are(second.service(), 6).await;
    second.stop().await;
    let events = Events::open(folder.path()).unwrap();
    events.expire(Timestamp::MAX).unwrap();
    drop(events);
    let third = server(data()).await;
    put(&third, &receiver.url, json!({})).await;
    happens(third.service(), "car-5");
    let taken = receiver.taken(5).await;
    assert_eq!(taken[3], json!({ "kind": "gap", "from": 4, "until": 6 }));
    assert_eq!(numbers(&taken[4..]), [7]);
    assert_eq!(until(&third, |answer| answer["lag"] == 0).await["lost"], 3);
    third.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_its_webhook() {
    let (server, receiver) = (server(Data::Off).await, Receiver::new().await);
    put(&server, &receiver.url, json!({})).await;
    receiver.answer(|_| StatusCode::GONE);
    happens(server.service(), "car-1");
    let answer = until(&server, |answer| answer["enabled"] == false).await;
    assert_eq!((&answer["after"], &answer["lag"]), (&json!(0), &json!(1)), "it was not taken: {answer}");
    receiver.answer(|_| StatusCode::OK);
    put(&server, &receiver.url, json!({})).await;
    assert_eq!(numbers(&receiver.taken(1).await), [1]);
    server.stop().await;
}

#[tokio::test]
async fn a_webhook_that_cannot_be_is_refused_by_what_is_wrong() {
    let server = server(Data::Off).await;
    let url = "http://cad.example/in";
    for (body, field) in [
        (json!({ "url": "http://10.0.0.1/", "secret": SECRET }), "url"),
        (json!({ "url": "http://[::ffff:169.254.169.254]/latest", "secret": SECRET }), "url"),
        (json!({ "url": "https://cad.example/", "secret": SECRET }), "url"),
        (json!({ "url": "file:///etc/passwd", "secret": SECRET }), "url"),
        (json!({ "url": url }), "secret"),
        (json!({ "url": url, "secret": "short" }), "secret"),
        (json!({ "url": url, "secret": SECRET, "kinds": ["entry"] }), "kinds"),
        (json!({ "url": url, "secret": SECRET, "org": "nowhere else" }), "org"),
    ] {
        let (status, answer) = ask(&server, "PUT", "/v1/webhooks/cad", body).await;
        assert_eq!((status.as_u16(), answer["field"].as_str()), (400, Some(field)), "{answer}");
    }
    let misspelt = json!({ "url": url, "secret": SECRET, "unit": ["car-1"] });
    assert_eq!(ask(&server, "PUT", "/v1/webhooks/cad", misspelt).await.0, 400, "a filter that is ignored tells all");
    assert_eq!(ask(&server, "GET", "/v1/webhooks/cad", Value::Null).await.0, 404);
    let (_, list) = ask(&server, "GET", "/v1/webhooks", Value::Null).await;
    assert_eq!(list, json!({ "webhooks": [] }));
    server.stop().await;
}
