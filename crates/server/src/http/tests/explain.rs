//! What the devices of a unit say, over a real socket.

use model::{DeviceId, Heard, Position, PositionReport, TimeBasis, Timestamp, Unit, UnitKind, UnitName, What};
use serde_json::json;

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
