//! What the devices of a unit say, over a real socket.

use model::{DeviceId, Heard, Position, PositionReport, TimeBasis, Timestamp, Unit, UnitKind, UnitName, What};
use model::{Principal, Span, UnitRecord};
use serde_json::json;
use store::{By, IfMatch};

use super::*;

const RADIO: &str = "tetra-lip:4711";
const PHONE: &str = "owntracks:wei";

/// A server with an officer who has a radio and a phone.
async fn patrol() -> (Server, SocketAddr) {
    let (server, http) = started().await;
    let unit = Unit { kind: UnitKind::Foot, ..Unit::named(UnitName::new("officer-7").unwrap()) };
    let devices = [RADIO, PHONE].map(|name| DeviceId::new(name).unwrap());
    server.service().engine.enrol(unit, &devices).unwrap();
    (server, http)
}

fn heard(server: &Server, device: &str, at: Timestamp, north_m: f64) -> Heard {
    let position = Position::from_degrees(22.817 + north_m / 110_740.0, 108.366).unwrap();
    let accuracy_m = (device == PHONE).then_some(8.0);
    let (time, time_basis) = (Some(at), TimeBasis::Gnss);
    let report = PositionReport { time, time_basis, accuracy_m, ..PositionReport::at(position) };
    let binding = server.service().engine.resolve(&DeviceId::new(device).unwrap()).unwrap();
    Heard { binding, received: at, what: What::Report(report) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_explains_which_of_its_devices_says_where_it_is() {
    let (server, http) = patrol().await;
    let engine = &server.service().engine;
    let start = engine.live().now().shifted_ms(-41_000);
    let (_, _, nowhere) = ask(http, "/v1/units/officer-7?explain=true", &[]).await;
    let none: Vec<_> = nowhere["properties"]["sources"].as_array().unwrap().iter().map(|one| &one["why"]).collect();
    assert_eq!(none, ["no_place", "no_place"], "{nowhere}");
    // The phone lies in the car, 400 m from the radio.
    let batch = (0..=8).flat_map(|step| {
        let at = start.shifted_ms(step * 5_000);
        [heard(&server, RADIO, at, 400.0), heard(&server, PHONE, at, 0.0)]
    });
    engine.submit(batch.collect()).await.unwrap().await.unwrap();
    let (status, _, unit) = ask(http, "/v1/units/officer-7?explain=true", &[]).await;
    assert_eq!((status, &unit["properties"]["flags"]), (200, &json!(["split"])), "{unit}");
    let sources = unit["properties"]["sources"].as_array().unwrap();
    let told: Vec<_> = sources.iter().map(|one| (&one["device"], &one["is_source"], &one["why"])).collect();
    let expected = [(RADIO, true, "newest_at_start"), (PHONE, false, "older")]
        .map(|(device, is, why)| (Value::from(device), Value::from(is), Value::from(why)));
    assert!(told.iter().copied().eq(expected.iter().map(|(device, is, why)| (device, is, why))), "{unit}");
    assert_eq!(unit["properties"]["source"], RADIO);
    let [radio, phone] = [0, 1].map(|at| sources[at]["lat"].as_f64().unwrap());
    assert!(radio - phone > 0.0036, "both places are shown: {unit}");
    assert_eq!((&sources[1]["accuracy_m"], &sources[1]["interval_s"]), (&json!(8.0), &json!(5.0)));
    assert_eq!(sources[0]["accuracy_m"], Value::Null);
    assert!(sources[0]["fix_age_s"].as_f64().unwrap() >= 1.0 && sources[0]["fix_time"].is_string());
    let (_, _, plain) = ask(http, "/v1/units/officer-7", &[]).await;
    assert_eq!(plain["properties"].get("sources"), None);
    let (status, _, problem) = ask(http, "/v1/units/officer-7?explian=true", &[]).await;
    assert_eq!((status, problem["field"].as_str()), (400, Some("explian")));
    server.stop().await;
}

async fn place(server: &Server, device: &str, age_s: i64, north_m: f64) {
    let at = server.service().engine.live().now().shifted_ms(-1_000 * age_s);
    server.service().engine.submit(vec![heard(server, device, at, north_m)]).await.unwrap().await.unwrap();
}

fn names(answer: &Value, of: &str) -> Vec<String> {
    let name = |one: &Value| one["id"].as_str().or(one["unit"].as_str()).unwrap().to_owned();
    answer[of].as_array().unwrap().iter().map(name).collect()
}

/// A helicopter of 24 s is 80 m away and may be three kilometres off; a car of now is surely within 230 m.
#[tokio::test(flavor = "multi_thread")]
async fn nearest_ranks_by_what_is_possible_and_names_those_left_out_nearest_first() {
    let (server, http) = started().await;
    for (name, kind) in [
        ("air-1", UnitKind::Helicopter),
        ("car-1", UnitKind::Car),
        ("guard-1", UnitKind::Community),
        ("guard-2", UnitKind::Community),
    ] {
        let unit = Unit { kind, ..Unit::named(UnitName::new(name).unwrap()) };
        server.service().engine.enrol(unit, &[DeviceId::of("test", name).unwrap()]).unwrap();
    }
    let hidden = Unit { covert: true, ..Unit::named(UnitName::new("covert-1").unwrap()) };
    server.service().engine.enrol(hidden, &[DeviceId::of("test", "covert-1").unwrap()]).unwrap();
    for (device, age_s, north_m) in [
        ("test:air-1", 24, 80.0),
        ("test:car-1", 0, 200.0),
        ("test:guard-2", 3, 20.0),
        ("test:guard-1", 2, 10.0),
        ("test:covert-1", 0, 5.0),
    ] {
        place(&server, device, age_s, north_m).await;
    }
    let (_, _, plain) = ask(http, "/v1/nearest?lat=22.817&lon=108.366&include=air", &[]).await;
    assert_eq!(
        (names(&plain, "features"), &plain["candidates"]),
        (vec!["air-1".into(), "car-1".into()], &json!("all"))
    );
    let [least, most] = [0, 1].map(|at| plain["features"][0]["properties"]["possible_m"][at].as_f64().unwrap());
    assert!(least == 0.0 && (80.0 + 30.0 + 24.0 * 130.0..4_000.0).contains(&most), "{plain}");
    assert_eq!(plain.get("explained"), None);
    let question = "/v1/nearest?lat=22.817&lon=108.366&include=air&rank=possible&explain=true";
    let (_, _, ranked) = ask(http, question, &[]).await;
    assert_eq!(names(&ranked, "features"), ["car-1", "air-1"]);
    assert_eq!(names(&ranked, "explained"), ["guard-1", "guard-2"], "covert units are counted only: {ranked}");
    assert_eq!((&ranked["explained_rest"], &ranked["omitted"]), (&json!(0), &json!({"covert": 1, "kind": 2})));
    let first = &ranked["explained"][0];
    let [distance_m, age_s] = ["distance_m", "fix_age_s"].map(|field| first[field].as_f64().unwrap());
    assert!(first["reason"] == "kind" && (9.9..10.1).contains(&distance_m) && age_s >= 2.0, "{first}");
    let (status, _, problem) = ask(http, "/v1/nearest?lat=22.817&lon=108.366&rank=age", &[]).await;
    assert_eq!((status, problem["field"].as_str()), (400, Some("rank")), "{problem}");
    server.stop().await;
}

/// Writes a unit with one device and its duty into the store, and places it.
async fn put(server: &Server, name: &'static str, duty: Option<Span>) {
    let service = server.service();
    let now = service.engine.live().now();
    let mut record = UnitRecord::of(Unit::named(UnitName::new(name).unwrap()));
    record.devices = vec![(DeviceId::of("test", name).unwrap(), Span { from: now.shifted_ms(-1), until: None })];
    record.duty = duty.map(|span| (span, "beat-7".to_owned()));
    let put = move |store: &store::Store| {
        let by = By { principal: &Principal::local(), now, reason: None };
        store.put_unit(&by, &record, IfMatch::Always)
    };
    service.stored(put).await.unwrap();
    service.level().await.unwrap();
    place(server, &format!("test:{name}"), 1, 10.0).await;
}

/// Until duty data exist every unit counts, and the answer says so; then those off duty are left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_unit_outside_its_duty_is_no_candidate_and_the_answer_says_what_counts() {
    let (server, http) = started().await;
    let now = server.service().engine.live().now();
    put(&server, "always", None).await;
    let question = "/v1/nearest?lat=22.817&lon=108.366&explain=true";
    let (_, _, before) = ask(http, question, &[]).await;
    assert_eq!((names(&before, "features"), &before["candidates"]), (vec!["always".into()], &json!("all")));
    let hour = 3_600_000;
    put(&server, "now", Some(Span { from: now.shifted_ms(-hour), until: Some(now.shifted_ms(hour)) })).await;
    put(&server, "later", Some(Span { from: now.shifted_ms(hour), until: None })).await;
    let (_, _, after) = ask(http, question, &[]).await;
    assert_eq!(
        (names(&after, "features"), &after["candidates"]),
        (vec!["always".into(), "now".into()], &json!("on_duty"))
    );
    assert_eq!(
        (names(&after, "explained"), &after["explained"][0]["reason"]),
        (vec!["later".into()], &json!("status"))
    );
    server.stop().await;
}

/// The device is known all the same, and so it is in the answer about its unit as well as among those to be looked after.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_session_of_a_device_is_flagged_where_it_is_looked_for() {
    let (server, http) = started().await;
    let unit = Unit::named(UnitName::new("foot-1").unwrap());
    server.service().engine.enrol(unit, &[DeviceId::new("taip:1234").unwrap()]).unwrap();
    let taip = wire::protocol("taip").unwrap();
    let mut sessions = [(); 2].map(|()| ingest::Session::new(taip, &server.service().setting));
    let now = server.service().engine.live().now();
    let mut taken = ingest::Admission::default();
    for session in &mut sessions {
        session.take(b">RPV15714+3739438-1220384601512612;ID=1234<", now, &mut taken);
    }
    assert_eq!(taken.heard.len(), 1);
    server.service().engine.submit(taken.heard).await.unwrap().await.unwrap();
    let (_, _, unit) = ask(http, "/v1/units/foot-1?explain=true", &[]).await;
    assert_eq!((&unit["properties"]["sources"][0]["second_session"]), &json!(true), "{unit}");
    let (_, _, list) = ask(http, "/v1/quarantine", &[]).await;
    let second = &list["second_sessions"][0];
    assert_eq!(
        (&second["device"], &second["protocol"], &second["held"]),
        (&json!("taip:1234"), &json!("taip"), &json!(1))
    );
    server.stop().await;
}
