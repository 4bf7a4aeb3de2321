//! The contract over a real socket. Overload is made by holding every seat, not by load.

use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use query::{Class, Lane};
use serde_json::Value;

use crate::Server;
use crate::config::{Config, Data};
use crate::figures::Outcome;
use crate::search::{Unanswered, whole};
use crate::seats::{Request, Seat};

mod explain;
mod privacy;

/// Status, `Retry-After` and body of one question.
type Answer = (u16, Option<String>, Value);

async fn ask(http: SocketAddr, path: &'static str, headers: &'static [(&'static str, &'static str)]) -> Answer {
    let asked = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut request = agent.get(format!("http://{http}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.call().unwrap();
        let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), retry_after, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    });
    asked.await.unwrap()
}

async fn started() -> (Server, SocketAddr) {
    let config = Config { http: "127.0.0.1:0".parse().unwrap(), grpc: None, data: Data::Off, ..Config::default() };
    let server = Server::start(&config).await.unwrap();
    let http = server.addresses().http;
    (server, http)
}

/// Takes every seat that there is, and keeps them.
async fn full(server: &Server) -> Vec<Seat> {
    let (service, mut held) = (server.service(), Vec::new());
    let deadline = Duration::from_secs(3_600);
    for _ in 0..Config::default().contract.room().seats_in_all() {
        let request = Request { class: Class::Nearest, lane: Lane::Emergency, read_at: service.seats.now(), deadline };
        held.push(service.seats.take(request).await.ok().unwrap());
    }
    held
}

const NEAREST: &str = "/v1/nearest?lat=22.817&lon=108.366&k=1";
const DEGRADED: &str = "/v1/nearest?lat=22.817&lon=108.366&k=1&allow_degraded=true";

#[tokio::test(flavor = "multi_thread")]
async fn in_overload_a_query_is_refused_with_503_and_the_figures_say_so() {
    let (server, http) = started().await;
    for class in Class::ALL {
        server.service().seats.suppose(class, Duration::from_secs(60));
    }
    let seats = full(&server).await;
    let (status, retry_after, problem) = ask(http, NEAREST, &[]).await;
    assert_eq!((status, problem["type"].as_str()), (503, Some("urn:muster:problem:overloaded")), "{problem}");
    let seconds: u64 = retry_after.unwrap().parse().unwrap();
    assert_eq!(problem["retry_after_s"], seconds);
    assert_eq!(ask(http, "/v1/units", &[]).await.0, 503, "lists wait like the map");
    let (status, _, answer) = ask(http, DEGRADED, &[]).await;
    assert_eq!((status, &answer["degraded"], &answer["searched_m"]), (200, &true.into(), &16_000.0.into()), "{answer}");
    assert!(answer["as_of"].is_string());
    drop(seats);
    let (status, _, answer) = ask(http, DEGRADED, &[]).await;
    assert_eq!((status, answer.get("degraded")), (200, None), "with a seat the answer is whole: {answer}");
    let (_, _, stats) = ask(http, "/v1/stats", &[]).await;
    let nearest = &stats["queries"][0];
    assert_eq!((&nearest["objective_ms"], &nearest["deadline_ms"]), (&5.into(), &100.into()));
    let lane = &nearest["lanes"][0];
    let counts = ["kept", "refused", "degraded", "out_of_time"].map(|word| lane[word].as_u64().unwrap());
    assert_eq!((lane["lane"].as_str(), counts), (Some("dispatch"), [1, 1, 1, 0]), "{stats}");
    let (_, _, metrics) = ask(http, "/metrics", &[]).await;
    let refused = "muster_queries_total{class=\"list\",lane=\"map\",outcome=\"refused\"} 1";
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains(refused), "{metrics}");
    let took = "muster_query_seconds_count{class=\"nearest\",lane=\"dispatch\",stage=\"whole\"} 1";
    assert!(metrics.contains(took) && metrics.contains("muster_query_objective_seconds{class=\"nearest\"} 0.005"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_engine_has_stopped_says_so_and_is_not_ready() {
    let (server, http) = started().await;
    assert_eq!(ask(http, "/readyz", &[]).await.0, 200);
    server.service().engine.suppose_broken();
    let (status, _, problem) = ask(http, "/readyz", &[]).await;
    assert_eq!((status, problem["type"].as_str()), (503, Some("urn:muster:problem:not-ready")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("engine_stopped")), "{problem}");
    assert_eq!(ask(http, "/v1/stats", &[]).await.2["alarms"], serde_json::json!(["engine_stopped"]));
    assert_eq!(ask(http, "/healthz", &[]).await.0, 200, "the process answers");
    server.stop().await;
}

/// What was answered is seen, whichever writer has it.
#[tokio::test(flavor = "multi_thread")]
async fn three_shards_answer_as_one() {
    let shards = model::Shards::new(3).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config { http: any, grpc: None, data: Data::Off, shards, ..Config::default() };
    let server = Server::start(&config).await.unwrap();
    let (http, service) = (server.addresses().http, server.service());
    let mut batch = Vec::new();
    for (name, lat_e7) in [("a", 228_170_000), ("b", 228_171_000), ("c", 228_172_000), ("d", 228_173_000)] {
        let device = model::DeviceId::of("test", name).unwrap();
        let unit = model::Unit::named(model::UnitName::new(name).unwrap());
        service.engine.enrol(unit, std::slice::from_ref(&device)).unwrap();
        let report = model::PositionReport::at(model::Position::from_e7(lat_e7, 1_083_660_000).unwrap());
        let binding = service.engine.resolve(&device).unwrap();
        let received = service.engine.live().now();
        batch.push(model::Heard { binding, received, what: model::What::Report(report) });
    }
    service.engine.submit(batch).await.unwrap().await.unwrap();
    let found = |answer: &Value| -> Vec<String> {
        let features = answer["features"].as_array().unwrap().iter();
        features.map(|feature| feature["properties"]["unit"].as_str().unwrap().to_owned()).collect()
    };
    let all = "/v1/nearest?lat=22.817&lon=108.366&k=4";
    assert_eq!(found(&ask(http, all, &[]).await.2), ["a", "b", "c", "d"]);
    for name in ["b", "c"] {
        assert!(service.engine.retire(&model::UnitName::new(name).unwrap()));
    }
    assert!(service.settle().await.is_ok());
    assert_eq!(found(&ask(http, all, &[]).await.2), ["a", "d"]);
    let stats = ask(http, "/v1/stats", &[]).await.2;
    assert_eq!([&stats["shards"], &stats["units"], &stats["reports_total"]], [3, 2, 4], "{stats}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_in_the_queue_is_504_and_lanes_are_checked() {
    let (server, http) = started().await;
    let seats = full(&server).await;
    let (status, _, problem) = ask(http, NEAREST, &[("Muster-Lane", "emergency"), ("Muster-Deadline-Ms", "1")]).await;
    assert_eq!((status, problem["type"].as_str()), (504, Some("urn:muster:problem:deadline-exceeded")), "{problem}");
    assert_eq!(server.service().seats.taken().1, [0; 4], "and it waits no longer");
    let many = "/v1/units?kind=car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,\
                car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,car,\
                car,car,car,car,car,car,car";
    let (status, _, problem) = ask(http, many, &[]).await;
    assert_eq!((status, &problem["field"], &problem["value"]), (400, &"kind".into(), &"65".into()), "{problem}");
    let (status, _, problem) = ask(http, NEAREST, &[("Muster-Lane", "urgent")]).await;
    assert_eq!((status, &problem["field"], &problem["value"]), (400, &"Muster-Lane".into(), &"urgent".into()));
    drop(seats);
    assert_eq!(ask(http, NEAREST, &[("Muster-Lane", "bulk")]).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn the_time_in_the_queue_is_not_left_for_the_search() {
    let (server, _) = started().await;
    let seats = full(&server).await;
    let service = std::sync::Arc::clone(server.service());
    let deadline = Duration::from_secs(3_600);
    let request = Request { class: Class::Within, lane: Lane::Map, read_at: service.seats.now(), deadline };
    let mut waiting = std::pin::pin!(service.search(request, Ok, whole::<Duration>()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(seats);
    // It has been called, and its task does not run until the clock has gone on.
    let called = service.seats.now();
    while service.seats.now() == called {}
    let left = request.until() - service.seats.now();
    let Poll::Ready(Ok((found, _))) = waiting.poll(&mut context) else { panic!("it has a seat") };
    assert!(found <= left, "{found:?} of {left:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_degraded_answer_that_is_made_after_the_deadline_is_not_given() {
    let (server, _) = started().await;
    let service = server.service();
    service.seats.suppose(Class::Nearest, Duration::from_secs(60));
    let seats = full(&server).await;
    let deadline = Duration::from_millis(50);
    let request = Request { class: Class::Nearest, lane: Lane::Dispatch, read_at: service.seats.now(), deadline };
    let degraded = |_| {
        while service.seats.now() < request.until() {}
        Ok(())
    };
    let answer = service.search(request, |_| Ok(()), Some(degraded)).await.map(|_| ());
    assert_eq!(answer, Err(Unanswered::Late { deadline }));
    assert_eq!(service.figures.count(Class::Nearest, Lane::Dispatch, Outcome::Degraded), 0);
    assert_eq!(service.figures.count(Class::Nearest, Lane::Dispatch, Outcome::OutOfTime), 1);
    drop(seats);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_while_it_waits_is_counted() {
    let (server, _) = started().await;
    let seats = full(&server).await;
    let service = server.service();
    let deadline = Duration::from_secs(3_600);
    let request = Request { class: Class::Within, lane: Lane::Map, read_at: service.seats.now(), deadline };
    {
        let waiting = std::pin::pin!(service.search(request, |_| Ok(()), whole::<()>()));
        let polled = waiting.poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending() && service.seats.taken().1 == [0, 0, 1, 0]);
    }
    assert_eq!(service.figures.count(Class::Within, Lane::Map, Outcome::Gone), 1);
    assert_eq!(service.seats.taken().1, [0; 4]);
    drop(seats);
    server.stop().await;
}

#[tokio::test]
async fn an_area_has_no_degraded_answer_and_says_so() {
    let (server, http) = started().await;
    let area = r#"{"type":"Point","coordinates":[108.366,22.817],"radius_m":500.0}"#;
    let asked = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        ["true", "false"].map(|degraded| {
            let path = format!("http://{http}/v1/within?allow_degraded={degraded}");
            let mut response = agent.post(path).header("content-type", "application/json").send(area).unwrap();
            (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
        })
    });
    let [(refused, problem), (taken, answer)] = asked.await.unwrap();
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!((refused, &problem["field"], &problem["value"]), (400, &"allow_degraded".into(), &"true".into()));
    assert_eq!(taken, 200, "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_deadline_ends_its_call_has_run_out_of_time() {
    let (server, _) = started().await;
    let seats = full(&server).await;
    let service = server.service();
    let deadline = Duration::from_millis(200);
    let request = Request { class: Class::Within, lane: Lane::Map, read_at: service.seats.now(), deadline };
    {
        let waiting = std::pin::pin!(service.search(request, |_| Ok(()), whole::<()>()));
        assert!(waiting.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // Dropped before its own timer has told it, as by gRPC's.
        while service.seats.now() < request.until() {}
    }
    let count = |outcome| service.figures.count(Class::Within, Lane::Map, outcome);
    assert_eq!((count(Outcome::OutOfTime), count(Outcome::Gone)), (1, 0));
    drop(seats);
    server.stop().await;
}

#[test]
fn a_unit_with_more_devices_than_one_change_gives_is_refused_by_field_and_value() {
    let devices = |count: usize| super::UnitBody {
        devices: (0..count).map(|number| format!("test:{number}")).collect(),
        ..super::UnitBody::default()
    };
    let name = model::UnitName::new("car-1").unwrap();
    let (_, taken) = devices(64).checked(name.clone()).ok().unwrap();
    assert_eq!(taken.len(), 64);
    let problem = devices(65).checked(name).err().map(|problem| serde_json::to_value(problem).unwrap()).unwrap();
    assert_eq!(
        (&problem["status"], &problem["field"], &problem["value"]),
        (&400.into(), &"devices".into(), &"65 devices".into())
    );
}

/// Status line and headers of one request, in lower case, as a browser on this machine would send it.
async fn browse(http: SocketAddr, request: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
    let text = format!("{request}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase()
}

/// Of another origin, that a browser on this machine shows: it can send requests, and must neither change nor read.
#[tokio::test]
async fn a_page_of_another_origin_neither_changes_nor_reads_anything() {
    let (server, http) = started().await;
    let (host, json) = (format!("host: {http}"), "content-type: application/json");
    let unit = r#"{"kind":"vehicle"}"#;
    for origin in ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1.evil.example"] {
        for (method, path) in [
            ("PUT", "/v1/units/car-1"),
            ("DELETE", "/v1/units/car-1"),
            ("POST", "/v1/reports"),
            ("POST", "/v1/within"),
            ("POST", "/v1/session"),
            ("POST", "/v1/tokens"),
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\n{host}\r\n{json}\r\norigin: {origin}");
            assert!(browse(http, &request, unit).await.starts_with("http/1.1 403"), "{origin} {method} {path}");
        }
        // The browser asks before it sends what is not plain, and shows the page no answer that does not allow it.
        for method in ["OPTIONS", "GET"] {
            let asked = "access-control-request-method: PUT";
            let request = format!("{method} /v1/units HTTP/1.1\r\n{host}\r\n{asked}\r\norigin: {origin}");
            let answer = browse(http, &request, "").await;
            assert!(!answer.contains("access-control-"), "{origin} {method}: {answer}");
        }
    }
    // A form needs no leave to be sent, but it is no JSON.
    let form = format!("POST /v1/reports HTTP/1.1\r\n{host}\r\ncontent-type: text/plain");
    assert!(browse(http, &form, r#"{"reports":[]}"#).await.starts_with("http/1.1 4"));
    // A name of the page's own that leads to this machine makes its origin ours to the browser, but not to us.
    for name in ["evil.example", "localhost.evil.example:8080", ""] {
        let request = format!("GET /v1/units HTTP/1.1\r\nhost: {name}\r\norigin: http://{name}");
        assert!(browse(http, &request, "").await.starts_with("http/1.1 4"), "{name:?}");
    }
    let own = format!("POST /v1/reports HTTP/1.1\r\n{host}\r\n{json}\r\norigin: http://{http}");
    assert!(browse(http, &own, r#"{"reports":[]}"#).await.starts_with("http/1.1 2"), "our own page may");
    server.stop().await;
}
