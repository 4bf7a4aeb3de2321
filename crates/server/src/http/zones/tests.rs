//! Zones over HTTP, against plain scans.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use geodesy::{Area, area_of};
use model::{
    DeviceId, Heard, Minimum, OrganisationName, Position, PositionReport, Principal, Settle, Shape, Span, Status,
    Timestamp, Unit, UnitKind, UnitName, What, Zone, ZoneName,
};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Value, json};
use store::By;
use store::exchange::ZoneRow;
use tower::ServiceExt as _;

use crate::Server;
use crate::config::{Config, Data};

struct Scene {
    server: Server,
    http: Router,
}

impl Scene {
    async fn new() -> Self {
        let config = Config { http: "127.0.0.1:0".parse().unwrap(), grpc: None, data: Data::Off, ..Config::default() };
        let server = Server::start(&config).await.unwrap();
        let http = crate::http::router(server.service());
        Self { server, http }
    }

    /// Status, ETag and body.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl ToString,
    ) -> (u16, String, Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in [("content-type", "application/json")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let response = self.http.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
        let etag = response.headers().get("etag").map_or(String::new(), |tag| tag.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, etag, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.ask("GET", path, &[("muster-deadline-ms", "10000")], "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn now(&self) -> Timestamp {
        self.server.service().engine.live().now()
    }

    async fn place(&self, unit: Unit, place: Position) {
        let service = self.server.service();
        let device = DeviceId::of("test", unit.name.as_str()).unwrap();
        service.engine.enrol(unit, std::slice::from_ref(&device)).unwrap();
        let binding = service.engine.resolve(&device).unwrap();
        let heard = Heard { binding, received: self.now(), what: What::Report(PositionReport::at(place)) };
        service.engine.submit(vec![heard]).await.unwrap().await.unwrap();
    }

    async fn import(&self, zones: Vec<Zone>) {
        let (local, now) = (Principal::local(), self.now());
        let rows: Vec<_> = zones.into_iter().map(|zone| ZoneRow { zone, from: None, until: None }).collect();
        let by = By { principal: &local, now, reason: None };
        self.server.service().store.import_zones(&by, &rows).unwrap();
        self.server.service().level_zones().await.unwrap();
    }
}

fn square(name: &str, layer: u8, west: f64, east: f64) -> Value {
    json!({"type": "Feature", "datum": "wgs84", "properties": {"zone": name, "layer": layer},
        "geometry": {"type": "Polygon", "coordinates": [[[west, 22.8], [east, 22.8], [east, 22.81], [west, 22.81], [west, 22.8]]]}})
}

fn unit(name: &str, kind: UnitKind) -> Unit {
    Unit { kind, status: Status::Available, ..Unit::named(UnitName::new(name).unwrap()) }
}

fn at(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, lon).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_zone_is_put_read_changed_and_ended_by_its_tag() {
    let scene = Scene::new().await;
    let (status, first, body) =
        scene.ask("PUT", "/v1/zones/a", &[("if-none-match", "*")], square("a", 3, 108.30, 108.31)).await;
    assert_eq!((status, &body["properties"]["layer"]), (200, &3.into()), "{body}");
    let (status, read, body) = scene.ask("GET", "/v1/zones/a", &[], "").await;
    assert_eq!((status, &read), (200, &first));
    // What is read can be written back.
    let (status, second, _) = scene.ask("PUT", "/v1/zones/a", &[("if-match", &first)], &body).await;
    assert_eq!(status, 200);
    assert_eq!(scene.ask("PUT", "/v1/zones/a", &[("if-match", &first)], &body).await.0, 412);
    scene.ask("PUT", "/v1/zones/b", &[], square("b", 2, 108.30, 108.31)).await;
    assert_eq!(names(&scene.get("/v1/zones").await["features"]), ["a", "b"]);
    assert_eq!(names(&scene.get("/v1/zones?layer=2").await["features"]), ["b"]);
    let page = scene.get("/v1/zones?limit=1").await;
    assert_eq!((names(&page["features"]), &page["next"]), (vec!["a"], &"a".into()));
    assert_eq!(names(&scene.get("/v1/zones?limit=1&next=a").await["features"]), ["b"]);
    assert_eq!(names(&scene.get("/v1/zones?as_of=2020-01-01T00:00:00Z").await["features"]), [""; 0]);
    assert_eq!(scene.ask("DELETE", "/v1/zones/a", &[("if-match", &first)], "").await.0, 412);
    assert_eq!(scene.ask("DELETE", "/v1/zones/a", &[("if-match", &second)], "").await.0, 204);
    assert_eq!(scene.ask("GET", "/v1/zones/a", &[], "").await.0, 404);
    assert_eq!(scene.ask("DELETE", "/v1/zones/a", &[], "").await.0, 404);
    scene.server.stop().await;
}

#[tokio::test]
async fn a_bad_zone_is_refused_with_its_fault() {
    let scene = Scene::new().await;
    let mut bare = square("a", 3, 108.3, 108.31);
    bare.as_object_mut().unwrap().remove("datum");
    let mut bow = square("a", 3, 108.3, 108.31);
    bow["geometry"]["coordinates"] =
        json!([[[108.0, 22.0], [108.1, 22.1], [108.1, 22.0], [108.0, 22.1], [108.0, 22.0]]]);
    let cases = [
        (bare, "no datum is declared"),
        (bow, "ring 1 crosses itself: edge 1 and edge 3"),
        (square("b", 3, 108.3, 108.31), "the path says `a`"),
        (square("a", 100, 108.3, 108.31), "100 is not in 1 to 99"),
        (json!({"type": "Feature", "datum": "wgs84"}), "missing field"),
    ];
    for (body, expected) in cases {
        let (status, _, problem) = scene.ask("PUT", "/v1/zones/a", &[], body).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!((400..410).contains(&status) && detail.contains(expected), "{status} {problem}");
    }
    let (_, _, shifted) = scene.ask("PUT", "/v1/zones/c?datum=gcj02", &[], json!({"type": "Feature",
        "properties": {"zone": "c", "layer": 1, "radius_m": 200}, "geometry": {"type": "Point", "coordinates": [108.366, 22.817]}})).await;
    let lon = shifted["geometry"]["coordinates"][0].as_f64().unwrap();
    assert!((lon - 108.366).abs() > 0.001, "{shifted}");
    scene.server.stop().await;
}

#[tokio::test]
async fn strength_counts_who_is_there_and_says_whether_it_is_enough() {
    let scene = Scene::new().await;
    let mut beat = square("beat", 3, 108.30, 108.31);
    beat["properties"]["minimum"] = json!([{"kinds": ["car"], "at_least": 2}, {"at_least": 3}]);
    assert_eq!(scene.ask("PUT", "/v1/zones/beat", &[], beat).await.0, 200);
    for (name, kind, lon) in
        [("car-1", UnitKind::Car, 108.301), ("car-2", UnitKind::Car, 108.309), ("car-3", UnitKind::Car, 108.32)]
    {
        scene.place(unit(name, kind), at(22.805, lon)).await;
    }
    scene.place(Unit { covert: true, ..unit("ghost", UnitKind::Car) }, at(22.805, 108.305)).await;
    let strength = scene.get("/v1/zones/beat/strength").await;
    assert_eq!(strength["units"], json!({"car": {"available": {"fresh": 2, "stale": 0, "out_of_contact": 0}}}));
    assert_eq!((&strength["omitted"], &strength["enough"]), (&json!({"covert": 1}), &false.into()));
    assert_eq!(strength["minimum"][0], json!({"kinds": ["car"], "at_least": 2, "have": 2}));
    scene.place(unit("foot-1", UnitKind::Foot), at(22.801, 108.302)).await;
    let board = scene.get("/v1/zones/strength?layer=3").await;
    assert_eq!((&board["zones"][0]["zone"], &board["zones"][0]["enough"]), (&"beat".into(), &true.into()), "{board}");
    assert_eq!(scene.get("/v1/zones/strength?layer=2").await["zones"], json!([]));
    assert_eq!(names(&scene.get("/v1/zones/beat/units?kind=foot").await["features"]), ["foot-1"]);
    assert_eq!(scene.get("/v1/units/car-1").await["properties"]["zones"], json!(["beat"]));
    assert_eq!(scene.get("/v1/units/car-3").await["properties"]["zones"], json!([]));
    scene.server.stop().await;
}

#[tokio::test]
async fn a_draft_tells_moves_gaps_and_overlaps_and_changes_nothing() {
    let scene = Scene::new().await;
    for (name, west, east) in [("a", 108.30, 108.31), ("b", 108.31, 108.32)] {
        assert_eq!(scene.ask("PUT", &format!("/v1/zones/{name}"), &[], square(name, 3, west, east)).await.0, 200);
    }
    scene.place(unit("car-1", UnitKind::Car), at(22.805, 108.3095)).await;
    scene.place(unit("car-2", UnitKind::Car), at(22.805, 108.3005)).await;
    let draft = |west: f64, east: f64| json!({"type": "FeatureCollection", "datum": "wgs84", "features": [square("a", 3, west, east)]});
    let patience = [("muster-deadline-ms", "10000")];
    let (status, _, shorter) = scene.ask("POST", "/v1/zones/draft", &patience, draft(108.30, 108.308)).await;
    assert_eq!(status, 200, "{shorter}");
    assert_eq!(shorter["moves"], json!([{"unit": "car-1", "layer": 3, "from": ["a"], "to": []}]));
    let layer = &shorter["layers"][0];
    // 0.002 by 0.01 degrees, at this latitude 205 m by 1107 m.
    let near = |found: &Value, expected: f64| (found.as_f64().unwrap() / expected - 1.0).abs() < 0.05;
    assert!(near(&layer["gaps"][0]["area_m2"], 205.2 * 1_107.5) && layer["overlaps"] == json!([]), "{layer}");
    let lon = layer["gaps"][0]["place"][0].as_f64().unwrap();
    assert!((108.308..108.31).contains(&lon), "{layer}");
    let (_, _, wider) = scene.ask("POST", "/v1/zones/draft", &patience, draft(108.30, 108.313)).await;
    let layer = &wider["layers"][0];
    assert!(near(&layer["overlaps"][0]["area_m2"], 307.8 * 1_107.5) && layer["gaps"] == json!([]), "{layer}");
    assert_eq!((&layer["overlaps"][0]["zones"], &wider["moves_total"]), (&json!(["a", "b"]), &0.into()));
    assert_eq!(scene.get("/v1/zones/a").await["geometry"], square("a", 3, 108.30, 108.31)["geometry"]);
    scene.server.stop().await;
}

#[derive(Debug, Clone)]
struct Case {
    zones: Vec<Zone>,
    units: Vec<(Unit, Position)>,
}

/// A zone as numbers: form, layer, organisation, minimum.
type Drawn = ((bool, Vec<f64>, (f64, f64), f64), u8, Option<u8>, u32);

/// Everything lies round a place that may be at the antimeridian or at 60 degrees.
fn any_case() -> impl Strategy<Value = Case> {
    let round = (prop_oneof![Just(22.8), Just(60.0), -60.0..60.0f64], prop_oneof![Just(180.0), -180.0..180.0f64]);
    let shape = (
        any::<bool>(),
        proptest::collection::vec(0.2..1.0f64, 3..8),
        (-0.02..0.02f64, -0.02..0.02f64),
        50.0..3_000.0f64,
    );
    let zone = (shape, 1..3u8, proptest::option::of(0..2u8), 0..3u32);
    let placed = ((-0.05..0.05f64, -0.05..0.05f64), 0..UnitKind::ALL.len(), 0..Status::ALL.len(), any::<bool>());
    (round, proptest::collection::vec(zone, 1..6), proptest::collection::vec(placed, 0..40)).prop_map(
        |((lat, lon), zones, units)| {
            let wrapped = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
            let place = |(north, east): (f64, f64)| at(lat + north, wrapped(lon + east));
            let zone = |at: usize, drawn: Drawn| {
                let ((is_circle, radii, by, radius_m), layer, org, at_least) = drawn;
                Zone {
                    name: ZoneName::new(&format!("z-{at}")).unwrap(),
                    label: String::new(),
                    layer,
                    organisation: org.map(|org| OrganisationName::new(&format!("org-{org}")).unwrap()),
                    shape: if is_circle {
                        Shape::Circle { centre: place(by), radius_m }
                    } else {
                        star(&radii, |corner| place((by.0 + corner.0, by.1 + corner.1)))
                    },
                    utc_offset_min: 0,
                    hours: Vec::new(),
                    minimum: vec![Minimum { kinds: Vec::new(), hours: Vec::new(), at_least }],
                    settle: Settle::default(),
                    dwell_s: None,
                    stay_s_max: None,
                }
            };
            let made = |(at, (by, kind, status, covert)): (usize, ((f64, f64), usize, usize, bool))| {
                let unit =
                    Unit { status: Status::ALL[status], covert, ..unit(&format!("u-{at}"), UnitKind::ALL[kind]) };
                (unit, place(by))
            };
            Case {
                zones: zones.into_iter().enumerate().map(|(at, drawn)| zone(at, drawn)).collect(),
                units: units.into_iter().enumerate().map(made).collect(),
            }
        },
    )
}

/// A star with a hole of its own form.
fn star(radii: &[f64], place: impl Fn((f64, f64)) -> Position) -> Shape {
    let ring = |size: f64| -> Vec<Position> {
        let corner = |at: usize| {
            let (sine, cosine) = (std::f64::consts::TAU * (at % radii.len()) as f64 / radii.len() as f64).sin_cos();
            let radius = radii[at % radii.len()] * size;
            place((radius * sine, radius * cosine))
        };
        (0..=radii.len()).map(corner).collect()
    };
    Shape::Polygons(vec![vec![ring(0.03), ring(0.008)]])
}

/// Who is in an area, by kind and status, as a loop over all units finds them; none of them is stale yet.
fn scan<'a>(case: &'a Case, areas: &[&Area]) -> (BTreeSet<&'a str>, Value, u32) {
    let (mut inside, mut heads, mut covert): (_, BTreeMap<_, BTreeMap<_, u32>>, _) =
        (BTreeSet::new(), BTreeMap::new(), 0);
    for (unit, place) in &case.units {
        if !areas.iter().any(|area| area.contains(*place)) {
            continue;
        }
        if unit.covert {
            covert += 1;
            continue;
        }
        inside.insert(unit.name.as_str());
        *heads.entry(unit.kind.as_str()).or_default().entry(unit.status.as_str()).or_default() += 1;
    }
    let heads = heads.into_iter().map(|(kind, statuses)| {
        let of = |fresh: u32| json!({"fresh": fresh, "stale": 0, "out_of_contact": 0});
        (kind.to_owned(), statuses.into_iter().map(|(status, fresh)| (status.to_owned(), of(fresh))).collect())
    });
    (inside, Value::Object(heads.collect()), covert)
}

async fn agrees(case: &Case) {
    let scene = Scene::new().await;
    scene.import(case.zones.clone()).await;
    for (unit, place) in &case.units {
        scene.place(unit.clone(), *place).await;
    }
    let areas: Vec<Area> = case.zones.iter().map(|zone| area_of(&zone.shape).unwrap()).collect();
    let mut boards = BTreeMap::new();
    for layer in [1, 2] {
        let board = scene.get(&format!("/v1/zones/strength?layer={layer}")).await;
        boards.extend(
            board["zones"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| (row["zone"].as_str().unwrap().to_owned(), row.clone())),
        );
    }
    assert_eq!(boards.len(), case.zones.len());
    for (zone, area) in case.zones.iter().zip(&areas) {
        let (inside, heads, covert) = scan(case, &[area]);
        let units = scene.get(&format!("/v1/zones/{}/units", zone.name)).await;
        assert_eq!(names(&units["features"]).into_iter().collect::<BTreeSet<_>>(), inside);
        let strength = scene.get(&format!("/v1/zones/{}/strength", zone.name)).await;
        assert_eq!(
            (&strength["units"], strength["omitted"]["covert"].as_u64().unwrap_or(0)),
            (&heads, u64::from(covert))
        );
        let board = &boards[zone.name.as_str()];
        assert_eq!(
            (&board["units"], &board["enough"], &board["minimum"]),
            (&heads, &strength["enough"], &strength["minimum"])
        );
        let rolled = scene.get(&format!("/v1/zones/{}/strength?rollup=true", zone.name)).await;
        assert_eq!(rolled["units"], heads);
        let is_of_tree = |other: &Zone| {
            other.name == zone.name || (zone.organisation.is_some() && other.organisation == zone.organisation)
        };
        let tree: Vec<&Area> =
            case.zones.iter().zip(&areas).filter(|(other, _)| is_of_tree(other)).map(|(_, area)| area).collect();
        assert_eq!(
            (&rolled["rollup"]["zones"], &rolled["rollup"]["units"]),
            (&tree.len().into(), &scan(case, &tree).1)
        );
    }
    for (unit, place) in &case.units {
        let holding: Vec<_> = case
            .zones
            .iter()
            .zip(&areas)
            .filter(|(_, area)| area.contains(*place))
            .map(|(zone, _)| zone.name.as_str())
            .collect();
        assert_eq!(scene.get(&format!("/v1/units/{}", unit.name)).await["properties"]["zones"], json!(holding));
    }
    scene.server.stop().await;
}

/// Random fleets and zones, with holes, at the antimeridian, circles at 60 degrees.
#[test]
fn membership_and_strength_agree_with_a_plain_scan() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Cases::with_cases(25));
    let one = |case: Case| {
        runtime.block_on(agrees(&case));
        Ok(())
    };
    runner.run(&any_case(), one).unwrap();
}

#[tokio::test]
async fn a_zone_begins_when_its_time_comes_without_a_change() {
    let scene = Scene::new().await;
    let now = scene.now();
    let (local, service) = (Principal::local(), Arc::clone(scene.server.service()));
    let zone = Zone {
        name: ZoneName::new("soon").unwrap(),
        label: String::new(),
        layer: 1,
        organisation: None,
        shape: Shape::Circle { centre: at(22.8, 108.3), radius_m: 100.0 },
        utc_offset_min: 0,
        hours: Vec::new(),
        minimum: Vec::new(),
        settle: Settle::default(),
        dwell_s: None,
        stay_s_max: None,
    };
    let soon = Span { from: now.shifted_ms(300), until: None };
    let by = By { principal: &local, now, reason: None };
    service.store.put_zone(&by, &zone, soon, store::IfMatch::Always).unwrap();
    service.level_zones().await.unwrap();
    let begins = std::time::Instant::now();
    while service.zones.now().find(&zone.name).is_none() {
        assert!(begins.elapsed().as_secs() < 10, "it never begins");
        service.level_zones().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(scene.now() >= soon.from);
    scene.server.stop().await;
}
