//! Every operation times every caller (P26): who may not gets nothing, and who may gets nothing of others.

mod changes;
mod devices;
mod ground;
mod lent;
mod logging_on;
mod looks;
mod standing;
mod streams;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use http_body::Body as _;
use model::{DeviceId, Principal, PrincipalName, Role, Timestamp, Unit, UnitName};
use prost::Message as _;
use store::By;
use store::audit::Filter;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::operations::OPERATIONS;
use super::policy::Action;
use super::provider::tests::Idp;
use crate::Server;
use crate::config::{Config, Data, LogOnRule};

/// A unit of the east and one of the west, so near to each other that any answer about the one could name the other.
const OURS: &str = "east-7";
const THEIRS: &str = "west-9";
/// Their place, and nobody else's.
const THEIR_LAT: &str = "22.817654";
/// Zones, each of one of them, that hold both.
const OUR_ZONE: &str = "beat-of-the-first";
const THEIR_ZONE: &str = "beat-of-the-other";
/// A stream that says nothing for so long has said what there was.
const SILENCE: Duration = Duration::from_millis(150);

/// A draft on the ground of both.
const DRAFT: &str = r#"{"type":"FeatureCollection","datum":"wgs84","features":[{"type":"Feature","properties":{"zone":"draft-1","layer":3,"radius_m":5000},"geometry":{"type":"Point","coordinates":[108.366,22.817]}}]}"#;

fn drawn(name: &str, organisation: &str) -> String {
    format!(
        r#"{{"type":"Feature","datum":"wgs84","properties":{{"zone":"{name}","layer":3,"org":"{organisation}","radius_m":3000}},"geometry":{{"type":"Point","coordinates":[108.366,22.817]}}}}"#
    )
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    NoToken,
    Nonsense,
    Expired,
    Revoked,
    ExpiredJwt,
    WrongAudience,
    /// With a role, of the east or of no organisation.
    East(Role),
    Whole(Role),
}

impl Caller {
    fn all() -> Vec<Self> {
        let roles = Role::ALL.iter().flat_map(|role| [Self::East(*role), Self::Whole(*role)]);
        let nobodies =
            [Self::NoToken, Self::Nonsense, Self::Expired, Self::Revoked, Self::ExpiredJwt, Self::WrongAudience];
        nobodies.into_iter().chain(roles).collect()
    }

    /// What the table of rights promises, said once more in other words.
    fn expected(self, action: Action) -> Expected {
        let (role, is_whole) = match self {
            _ if action == Action::Open => return Expected::Allowed,
            Self::East(role) => (role, false),
            Self::Whole(role) => (role, true),
            _ => return Expected::Unknown,
        };
        let is_allowed = match (action, role) {
            (Action::Look, Role::Auditor | Role::Gateway) => false,
            (Action::Look, _) => true,
            (Action::Report, role) => matches!(role, Role::Gateway | Role::Administrator),
            (Action::Direct, role) => {
                matches!(role, Role::Dispatcher | Role::Commander | Role::Administrator)
            }
            // Who sees all has no glass to break.
            (Action::BreakGlass, role) => role == Role::Commander && !is_whole,
            (Action::Enrol, role) => role == Role::Administrator,
            (Action::Issue | Action::Operate, role) => role == Role::Administrator && is_whole,
            (Action::Open, _) => true,
        };
        if is_allowed { Expected::Allowed } else { Expected::Forbidden }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Allowed,
    Unknown,
    Forbidden,
}

struct Scene {
    server: Server,
    http: Router,
    grpc: Router,
    idp: Idp,
    _stop: watch::Sender<bool>,
}

fn principal(name: &str, role: Role, organisation: Option<&str>) -> Principal {
    let organisation = organisation.map(|name| model::OrganisationName::new(name).unwrap());
    Principal { name: PrincipalName::new(name).unwrap(), role, organisation }
}

impl Scene {
    async fn new() -> Self {
        Self::paced(0).await
    }

    /// With so many requests a second for each principal; 0: no limit.
    async fn paced(requests_per_s: u32) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let config =
            Config { http: any, grpc: None, data: Data::Off, log_on: LogOnRule::Required, ..Config::default() };
        let idp = Idp::new();
        let config = Config { jwt: idp.config(), webhooks: webhooks::at_home(), requests_per_s, ..config };
        let server = Server::start(&config).await.unwrap();
        for (name, organisation) in [(OURS, "org-east"), (THEIRS, "org-west")] {
            let organisation = Some(model::OrganisationName::new(organisation).unwrap());
            let unit = Unit { organisation, ..Unit::named(UnitName::new(name).unwrap()) };
            server.enrol(unit, &[DeviceId::of("muster", name).unwrap()]).unwrap();
        }
        let service = Arc::clone(server.service());
        let (stop, stopped) = watch::channel(false);
        let scene = Self {
            http: crate::http::router(&service),
            grpc: crate::grpc::checked(&service, &stopped),
            server,
            idp,
            _stop: stop,
        };
        for (name, organisation) in [(OUR_ZONE, "org-east"), (THEIR_ZONE, "org-west")] {
            scene.zone(name, organisation);
        }
        service.level_zones().await.unwrap();
        scene.report(OURS, "22.8170").await;
        scene.report(THEIRS, THEIR_LAT).await;
        // Each unit comes into each zone.
        let watch = service.engine.watch().unwrap();
        watch.last().wait_for(|last| *last >= 4).await.unwrap();
        scene
    }

    /// A zone that holds both units.
    fn zone(&self, name: &str, organisation: &str) {
        let store = &self.server.service().store;
        let (local, now) = (Principal::local(), self.now());
        let by = By { principal: &local, now, reason: None };
        let organisation = model::OrganisationName::new(organisation).unwrap();
        let written = model::Organisation {
            name: organisation.clone(),
            label: String::new(),
            parent: None,
            territory: Vec::new(),
        };
        store.put_organisation(&by, &written, store::IfMatch::Always).unwrap();
        let zone = model::Zone {
            name: model::ZoneName::new(name).unwrap(),
            label: String::new(),
            layer: 1,
            organisation: Some(organisation),
            shape: model::Shape::Circle {
                centre: model::Position::from_degrees(22.817, 108.366).unwrap(),
                radius_m: 5_000.0,
            },
            utc_offset_min: 480,
            hours: Vec::new(),
            minimum: Vec::new(),
            settle: model::Settle::default(),
            dwell_s: None,
            stay_s_max: None,
        };
        let always = model::Span { from: Timestamp::MIN, until: None };
        store.put_zone(&by, &zone, always, store::IfMatch::Always).unwrap();
    }

    fn now(&self) -> Timestamp {
        self.server.service().engine.live().now()
    }

    /// A token of its own for `caller`.
    fn token(&self, caller: Caller) -> Option<String> {
        let (now, local) = (self.now(), Principal::local());
        let make = |holder: &Principal, made: Timestamp, life: Duration| {
            let by = By { principal: &local, now: made, reason: None };
            self.server.service().store.create_token(&by, holder, made.after(life)).unwrap()
        };
        let hour = Duration::from_secs(3_600);
        let viewer = principal("wanderer", Role::Viewer, None);
        match caller {
            Caller::NoToken => None,
            Caller::Nonsense => Some("muster_nonsense".to_owned()),
            Caller::Expired => Some(make(&viewer, now.shifted_ms(-7_200_000), hour)),
            Caller::ExpiredJwt => {
                Some(self.idp.token(now, |claims| claims["exp"] = (now.unix_ms() / 1_000 - 1).into()))
            }
            Caller::WrongAudience => Some(self.idp.token(now, |claims| claims["aud"] = "mail".into())),
            Caller::Revoked => {
                let secret = make(&viewer, now, hour);
                let store = &self.server.service().store;
                let token = store.by_secret(&secret, now).unwrap().unwrap().token;
                store.revoke_token(&By { principal: &local, now, reason: None }, token).unwrap();
                Some(secret)
            }
            Caller::East(role) => Some(make(&principal(&format!("e-{role}"), role, Some("org-east")), now, hour)),
            Caller::Whole(role) => Some(make(&principal(&format!("w-{role}"), role, None), now, hour)),
        }
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, Option<String>, String) {
        let is_call = request.uri().path().starts_with("/muster.v1.");
        let is_stream = ["/v1/events", "/muster.v1.Query/Watch"].contains(&request.uri().path());
        let router = if is_call { &self.grpc } else { &self.http };
        let response = router.clone().oneshot(request).await.unwrap();
        let grpc = response.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let headers = format!("{:?}", response.headers());
        let body = if is_stream {
            said(response.into_body()).await
        } else {
            to_bytes(response.into_body(), 1 << 22).await.unwrap().to_vec()
        };
        (status, grpc, headers + &String::from_utf8_lossy(&body))
    }

    async fn report(&self, unit: &str, lat: &str) {
        let token = self.token(Caller::Whole(Role::Gateway));
        let text = format!(r#"{{"reports":[{{"device":"muster:{unit}","lat":{lat},"lon":108.366}}]}}"#);
        let (status, _, answer) = self.ask(request("POST", "/v1/reports", token.as_deref(), text)).await;
        assert_eq!(status, 200, "{answer}");
    }
}

async fn frame(body: &mut Body) -> Option<Result<http_body::Frame<axum::body::Bytes>, axum::Error>> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await
}

/// What a stream says before it falls silent.
async fn said(mut body: Body) -> Vec<u8> {
    let mut said = Vec::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, frame(&mut body)).await {
        said.extend(frame.into_data().unwrap_or_default());
    }
    said
}

fn request(method: &str, path: &str, token: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let is_call = path.starts_with("/muster.v1.");
    let kind = if is_call { "application/grpc" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("host", "localhost").header("content-type", kind);
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    request.body(body.into()).unwrap()
}

/// The operation with a question that it understands.
fn question(method: &str, path: &str, token: Option<&str>) -> Request<Body> {
    let place = "lat=22.817&lon=108.366";
    let (path, body) = match path {
        "/v1/nearest" => (format!("{path}?{place}&explain=true"), String::new()),
        "/v1/within" => {
            (path.to_owned(), r#"{"type":"Point","coordinates":[108.366,22.817],"radius_m":5000}"#.to_owned())
        }
        "/v1/units/{unit}" if method == "PUT" => ("/v1/units/east-new".to_owned(), r#"{"org":"org-east"}"#.to_owned()),
        "/v1/units/{unit}" if method == "DELETE" => ("/v1/units/east-new".to_owned(), String::new()),
        "/v1/units/{unit}/status" => (format!("/v1/units/{OURS}/status"), r#"{"status":"busy"}"#.to_owned()),
        "/v1/units/{unit}/assignment" => (format!("/v1/units/{OURS}/assignment"), r#"{"assignment":null}"#.to_owned()),
        "/v1/units/{unit}" => (format!("/v1/units/{OURS}"), String::new()),
        "/v1/zones/strength" => (format!("{path}?layer=3"), String::new()),
        "/v1/zones/draft" => (path.to_owned(), DRAFT.to_owned()),
        "/v1/zones/{zone}" if method == "PUT" => ("/v1/zones/east-new".to_owned(), drawn("east-new", "org-east")),
        "/v1/zones/{zone}" if method == "DELETE" => ("/v1/zones/east-new".to_owned(), String::new()),
        "/v1/zones/{zone}" => (format!("/v1/zones/{OUR_ZONE}"), String::new()),
        "/v1/zones/{zone}/units" => (format!("/v1/zones/{OUR_ZONE}/units"), String::new()),
        "/v1/zones/{zone}/strength" => (format!("/v1/zones/{OUR_ZONE}/strength?rollup=true"), String::new()),
        // A reason too short: it is allowed, and nothing breaks.
        "/v1/break-glass" => (path.to_owned(), r#"{"reason":"short"}"#.to_owned()),
        "/v1/reports" => (path.to_owned(), r#"{"reports":[]}"#.to_owned()),
        "/v1/tokens" if method == "POST" => (path.to_owned(), r#"{"principal":"x","role":"viewer"}"#.to_owned()),
        "/v1/events" => ("/v1/events?after=0".to_owned(), String::new()),
        "/muster.v1.Query/Watch" => return request(method, path, token, watch_from_the_first()),
        "/v1/standing" if method == "POST" => {
            (path.to_owned(), standing::asked(r#""nearest":{"lat":22.817,"lon":108.366,"k":5}"#))
        }
        "/v1/standing/{standing}" => ("/v1/standing/999".to_owned(), String::new()),
        "/v1/tokens/{token}" => ("/v1/tokens/999".to_owned(), String::new()),
        other if other.starts_with("/v1/webhooks") => webhooks::question(method, other),
        other => (other.to_owned(), String::new()),
    };
    request(method, &path, token, body)
}

/// A question of gRPC for all events after the first.
fn watch_from_the_first() -> Vec<u8> {
    let message = wire::proto::WatchRequest { after_sequence: 1, kinds: Vec::new() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// Of a gRPC answer, or of an HTTP one.
fn told(path: &str, status: StatusCode, grpc: Option<&str>) -> Expected {
    if path.starts_with("/muster.v1.") {
        return match grpc {
            Some("16") => Expected::Unknown,
            Some("7") => Expected::Forbidden,
            _ => Expected::Allowed,
        };
    }
    match status {
        StatusCode::UNAUTHORIZED => Expected::Unknown,
        StatusCode::FORBIDDEN => Expected::Forbidden,
        _ => Expected::Allowed,
    }
}

#[tokio::test]
async fn every_operation_is_open_to_those_who_may_and_to_nobody_else() {
    let scene = Scene::new().await;
    let mut asked = 0;
    for caller in Caller::all() {
        let token = scene.token(caller);
        for (method, path, action) in OPERATIONS.iter().filter(|(_, path, _)| !path.starts_with("/grpc.")) {
            // A session is opened by whoever has a token: its own test has it.
            if path.ends_with("/session") {
                continue;
            }
            let (status, grpc, answer) = scene.ask(question(method, path, token.as_deref())).await;
            let told = told(path, status, grpc.as_deref());
            assert_eq!(told, caller.expected(*action), "{caller:?} {method} {path}: {status} {answer}");
            let is_of_the_east = matches!(caller, Caller::East(_)) || told != Expected::Allowed;
            let leaks = [THEIRS, THEIR_LAT, THEIR_ZONE, "org-west"].into_iter().find(|secret| answer.contains(secret));
            assert!(!is_of_the_east || leaks.is_none(), "{caller:?} {method} {path} shows {leaks:?}: {answer}");
            asked += 1;
        }
    }
    assert!(asked > 16 * 25, "{asked}");
    scene.server.stop().await;
}

#[tokio::test]
async fn another_organisations_unit_answers_like_one_that_is_not_there() {
    let scene = Scene::new().await;
    for role in [Role::Viewer, Role::Dispatcher, Role::Commander, Role::Administrator] {
        let token = scene.token(Caller::East(role));
        for method in ["GET", "DELETE"] {
            if method == "DELETE" && role != Role::Administrator {
                continue;
            }
            let of = |unit: &str| request(method, &format!("/v1/units/{unit}"), token.as_deref(), "");
            let (hidden, unknown) = (scene.ask(of(THEIRS)).await, scene.ask(of("west-0")).await);
            assert_eq!(hidden.0, 404);
            assert_eq!(hidden.2.replace(THEIRS, "?"), unknown.2.replace("west-0", "?"), "{role} {method}");
        }
        let nearest =
            |org: &str| request("GET", &format!("/v1/nearest?lat=22.817&lon=108.366&org={org}"), token.as_deref(), "");
        let cut = |text: String| text.split("\"as_of\"").nth(1).unwrap().split_once(',').unwrap().1.to_owned();
        let (hidden, unknown) = (scene.ask(nearest("org-west")).await, scene.ask(nearest("nowhere")).await);
        assert_eq!((hidden.0.as_u16(), cut(hidden.2)), (200, cut(unknown.2)), "{role}");
    }
    let seen = scene
        .ask(request(
            "GET",
            "/v1/nearest?lat=22.8177&lon=108.366&k=1",
            scene.token(Caller::East(Role::Viewer)).as_deref(),
            "",
        ))
        .await;
    assert!(seen.2.contains("\"nearer_outside_scope\":true") && seen.2.contains(OURS), "{}", seen.2);
    scene.server.stop().await;
}

#[tokio::test]
async fn another_organisations_zone_answers_like_one_that_is_not_there() {
    let scene = Scene::new().await;
    for role in [Role::Viewer, Role::Dispatcher, Role::Commander, Role::Administrator] {
        let token = scene.token(Caller::East(role));
        let asks =
            [("GET", ""), ("GET", "/units"), ("GET", "/strength"), ("GET", "/strength?rollup=true"), ("DELETE", "")];
        for (method, rest) in asks {
            if method == "DELETE" && role != Role::Administrator {
                continue;
            }
            let of = |zone: &str| request(method, &format!("/v1/zones/{zone}{rest}"), token.as_deref(), "");
            let (hidden, unknown) = (scene.ask(of(THEIR_ZONE)).await, scene.ask(of("beat-of-nobody-17")).await);
            assert_eq!(hidden.0, 404, "{}", hidden.2);
            assert_eq!(
                hidden.2.replace(THEIR_ZONE, "?"),
                unknown.2.replace("beat-of-nobody-17", "?"),
                "{role} {method} {rest}"
            );
        }
    }
    // Neither a zone that is theirs nor one for them may be drawn, and neither one that is everybody's.
    let token = scene.token(Caller::East(Role::Administrator));
    let free = drawn("free", "org-east").replace("\"org\":\"org-east\",", "");
    for (name, body) in [(THEIR_ZONE, drawn(THEIR_ZONE, "org-east")), ("new", drawn("new", "org-west")), ("free", free)]
    {
        let (status, _, answer) = scene.ask(request("PUT", &format!("/v1/zones/{name}"), token.as_deref(), body)).await;
        assert_eq!(status, 403, "{answer}");
    }
    scene.server.stop().await;
}

/// A row for each look, with whom it showed, and one for each refusal.
#[tokio::test]
async fn every_look_and_every_refusal_is_in_the_audit_before_its_answer_leaves() {
    let scene = Scene::new().await;
    let viewer = scene.token(Caller::Whole(Role::Viewer));
    for _ in 0..20 {
        let looked = scene.ask(request("GET", "/v1/nearest?lat=22.817&lon=108.366", viewer.as_deref(), "")).await;
        assert_eq!(looked.0, 200);
    }
    assert_eq!(scene.ask(request("DELETE", "/v1/units/east-7", viewer.as_deref(), "")).await.0, 403);
    assert_eq!(scene.ask(request("GET", "/v1/units", None, "")).await.0, 401);
    let rows = |filter: Filter| scene.server.service().store.query_audit(&filter, None, 1_000).unwrap().rows;
    let looks = rows(Filter { unit: Some(UnitName::new(THEIRS).unwrap()), ..Filter::default() });
    assert_eq!(looks.len(), 20);
    assert!(looks.iter().all(|row| row.action == "look.nearest" && row.principal == "w-viewer"));
    let refused: Vec<_> = rows(Filter::default()).into_iter().filter(|row| row.outcome == "refused").collect();
    let refused: Vec<_> = refused.iter().map(|row| (row.principal.as_str(), row.resource.as_str())).collect();
    assert_eq!(refused, [("", "GET /v1/units"), ("w-viewer", "DELETE /v1/units/east-7")]);
    assert!(scene.server.service().store.verify_audit(&[]).unwrap().fault.is_none());
    scene.server.stop().await;
}

/// A square of 0.1 degrees north and east of a corner, as the body of an organisation below the bureau.
fn station(south: f64, west: f64) -> String {
    let (north, east) = (south + 0.1, west + 0.1);
    format!(
        r#"{{"parent":"bureau","datum":"wgs84","territory":{{"type":"Polygon","coordinates":
        [[[{west},{south}],[{east},{south}],[{east},{north}],[{west},{north}],[{west},{south}]]]}}}}"#
    )
}

#[tokio::test]
async fn an_organisation_sees_its_ground_a_strip_beside_it_and_whom_it_commands() {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let put = async |path: &str, token: &Option<String>, body: String| {
        scene.ask(request("PUT", path, token.as_deref(), body)).await
    };
    let organisation = |name: &str| format!("/v1/organisations/{name}");
    assert_eq!(put(&organisation("bureau"), &chief, "{}".to_owned()).await.0, 200);
    for (name, south, west) in [("org-east", 22.8, 108.3), ("org-west", 22.8, 108.0)] {
        let (status, _, answer) = put(&organisation(name), &chief, station(south, west)).await;
        assert_eq!(status, 200, "{answer}");
    }
    for (bad, wanted) in [
        (r#"{"parent":"org-east"}"#.to_owned(), 409),
        (station(22.8, 108.3).replace("\"datum\":\"wgs84\",", ""), 400),
        (station(22.8, 108.3).replace("[108.3,22.8]", "[108.3,99]"), 400),
        (r#"{"parent":"nowhere"}"#.to_owned(), 400),
    ] {
        let (status, _, answer) = put(&organisation("bureau"), &chief, bad).await;
        assert_eq!(status, wanted, "{answer}");
    }
    // Of the west: on the ground of the east, 1 km beside it, and 3 km beside it.
    let east = scene.token(Caller::East(Role::Administrator));
    for (name, lon) in [("w-on", 108.35), ("w-near", 108.41), ("w-far", 108.43)] {
        let body = format!(r#"{{"org":"org-west","devices":["muster:{name}"]}}"#);
        assert_eq!(put(&format!("/v1/units/{name}"), &east, body.clone()).await.0, 403);
        assert_eq!(put(&format!("/v1/units/{name}"), &chief, body).await.0, 200);
        let report = format!(r#"{{"reports":[{{"device":"muster:{name}","lat":22.85,"lon":{lon}}}]}}"#);
        let token = scene.token(Caller::Whole(Role::Gateway));
        assert_eq!(scene.ask(request("POST", "/v1/reports", token.as_deref(), report)).await.0, 200);
    }
    let names = async || {
        let answer = scene.ask(request("GET", "/v1/units", east.as_deref(), "")).await.2;
        ["w-on", "w-near", "w-far", OURS]
            .into_iter()
            .filter(|name| answer.contains(&format!("\"{name}\"")))
            .collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["w-on", "w-near", OURS]);
    let until = scene.now().shifted_ms(3_600_000);
    let command = format!(r#"{{"under":"org-east","until":"{until}"}}"#);
    assert_eq!(put("/v1/organisations/org-west/command", &east, command.clone()).await.0, 404, "not theirs to give");
    let (status, _, answer) = put("/v1/organisations/org-west/command", &chief, command).await;
    assert_eq!((status.as_u16(), answer.contains("\"commanded_by\":[\"org-east\"]")), (200, true), "{answer}");
    assert_eq!(names().await, ["w-on", "w-near", "w-far", OURS]);
    scene.server.stop().await;
}
