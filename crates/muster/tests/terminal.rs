//! Devices over real sockets, good and bad, against the built program.

mod common;

use common::{Served, hex};

const REGISTER: &str = "7E0100002D000123456789000A002800323132333400736D616C6C6368693132330000000000000000004348493132330001D4C14131323334358A7E";

/// A 0x0200 of phone 000123456789 at 22.817 N 108.366 E, serial 3, dated now enough not to matter.
fn location(lat_e6: u32) -> Vec<u8> {
    location_of("000123456789", lat_e6)
}

/// The same of another phone, as twelve digits.
fn location_of(phone: &str, lat_e6: u32) -> Vec<u8> {
    let mut body = hex("0000000000000003");
    body.extend(lat_e6.to_be_bytes());
    body.extend(108_366_000u32.to_be_bytes());
    body.extend(hex("00500064005A261123142530"));
    let mut bytes = hex(&format!("0200001C{phone}0003"));
    bytes.extend(body);
    framed(bytes)
}

fn framed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(bytes.iter().fold(0, |sum, byte| sum ^ byte));
    let mut frame = vec![0x7E];
    for byte in bytes {
        match byte {
            0x7E => frame.extend([0x7D, 2]),
            0x7D => frame.extend([0x7D, 1]),
            other => frame.push(other),
        }
    }
    frame.push(0x7E);
    frame
}

#[test]
fn a_terminal_registers_reports_and_is_named_as_the_nearest() {
    let served = Served::with(&["--listen", "jt808=tcp://127.0.0.1:0", "--admit-unknown"]);
    let mut terminal = served.connect("jt808");
    terminal.write(&hex(REGISTER));
    let answer = terminal.frame();
    assert_eq!(&answer[1..3], [0x81, 0x00], "a registration answer");
    // Message id 0x8100, result at byte 2 of the body behind the 12 bytes of header, then the code.
    assert_eq!(answer[15], 0, "registered");
    let code = &answer[16..answer.len() - 2];
    assert_eq!(code.len(), 16, "its own, and not its number");
    let mut authenticate = hex("010200000001234567890001");
    authenticate[3] = code.len() as u8;
    authenticate.extend(code);
    terminal.write(&framed(authenticate));
    assert_eq!(terminal.frame()[13..18], [0, 1, 1, 2, 0], "authenticated");
    terminal.write(&framed(hex("000200000001234567890002")));
    assert_eq!(terminal.frame()[13..18], [0, 2, 0, 2, 0], "heartbeat acknowledged");
    terminal.write(&location(22_817_000));
    assert_eq!(terminal.frame()[13..18], [0, 3, 2, 0, 0], "location acknowledged");
    let (status, answer) = served.get("/v1/nearest?lat=22.8&lon=108.366&k=5");
    assert_eq!(status, 200);
    let unit = &answer["features"][0]["properties"];
    assert_eq!(unit["unit"], "jt808:123456789");
    assert!((unit["distance_m"].as_f64().unwrap() - 1_882.9).abs() < 2.0, "{unit}");
    assert_eq!(unit["fix_time"], "2026-11-23T06:25:30.000Z");
    assert_eq!(unit["bearing_deg"], 0.0);
    // A batch of two, the second a little farther north.
    let item = |lat: u32| location(lat)[13..41].to_vec();
    let mut batch = hex("0704003F0001234567890004");
    batch.extend(hex("000201"));
    for lat in [22_817_000u32, 22_818_000] {
        batch.extend([0, 28]);
        let mut one = item(lat);
        one[27] += (lat / 1_000 % 10) as u8;
        batch.extend(one);
    }
    terminal.write(&framed(batch));
    assert_eq!(terminal.frame()[13..18], [0, 4, 7, 4, 0], "batch acknowledged");
    let (_, answer) = served.get("/v1/units/jt808:123456789");
    assert_eq!(answer["properties"]["flags"][0], "backlog", "{answer}");
}

#[test]
fn an_unknown_device_is_refused_counted_and_answered_and_its_emergency_rings() {
    let served = Served::with(&["--listen", "jt808=tcp://127.0.0.1:0"]);
    let mut terminal = served.connect("jt808");
    terminal.write(&hex(REGISTER));
    let answer = terminal.frame();
    assert_eq!(answer[15], 4, "no such terminal");
    let mut pressed = location(22_817_000);
    pressed[16] = 1;
    let checked = pressed.len() - 2;
    pressed[checked] ^= 1;
    terminal.write(&pressed);
    assert_eq!(terminal.frame()[13..18], [0, 3, 2, 0, 0], "settled: refused and counted");
    assert_eq!(served.metric("muster_reports_refused_total{protocol=\"jt808\",reason=\"unknown_device\"}"), 1);
    assert_eq!(served.get("/v1/nearest?lat=22.8&lon=108.366").1["features"].as_array().unwrap().len(), 0);
    let (_, ringing) = served.get("/v1/emergencies");
    assert_eq!(ringing["emergencies"][0]["device"], "jt808:123456789");
    assert_eq!(ringing["emergencies"][0]["lat"], 22.817);
}

#[test]
fn bad_frames_are_counted_and_harm_nobody_else() {
    let served = Served::with(&[
        "--listen",
        "jt808=tcp://127.0.0.1:0",
        "--listen",
        "muster=tcp://127.0.0.1:0",
        "--admit-unknown",
    ]);
    let (mut bad, mut good) = (served.connect("jt808"), served.connect("jt808"));
    let dropped =
        |reason: &str| served.metric(&format!("muster_frames_dropped_total{{protocol=\"jt808\",reason=\"{reason}\"}}"));
    let mut wrong_sum = location(22_817_000);
    wrong_sum[20] ^= 0x11;
    bad.write(&wrong_sum);
    bad.write(b"noise between frames");
    // Half a frame, closed by the next one's flag, then a place off the earth.
    bad.write(&location(22_817_000)[..20]);
    bad.write(&location(91_000_000));
    assert_eq!(bad.frame()[13..18], [0, 3, 2, 0, 0], "a place off the earth is settled: refused and counted");
    assert_eq!(dropped("checksum"), 3, "the damaged frame, the noise behind its flag, and the half frame");
    assert_eq!(served.metric("muster_reports_refused_total{protocol=\"jt808\",reason=\"position\"}"), 1);
    bad.write(&[0x55; 5_000]);
    served.await_metric("muster_frames_dropped_total{protocol=\"jt808\",reason=\"oversize\"}", 1);
    let mut lost = served.connect("muster");
    lost.write(&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert!(!lost.last_words().is_empty(), "an oversize length cannot be followed: the sender is told, and hung up on");
    good.write(&location_of("000123456780", 22_817_000));
    assert_eq!(good.frame()[13..18], [0, 3, 2, 0, 0]);
    let decoded = served.metric("muster_reports_decoded_total{protocol=\"jt808\"}");
    let admitted = served.metric("muster_reports_admitted_total{protocol=\"jt808\"}");
    assert_eq!((decoded, admitted), (2, 1));
}

#[test]
fn a_fix_of_the_year_2099_is_shown_as_received_and_flagged() {
    let served = Served::with(&["--listen", "jt808=tcp://127.0.0.1:0", "--admit-unknown"]);
    let mut frame = location(22_817_000);
    let at = frame.len() - 8;
    let before = frame[at];
    frame[at] = 0x99;
    let sum = frame.len() - 2;
    frame[sum] ^= before ^ 0x99;
    let mut terminal = served.connect("jt808");
    terminal.write(&frame);
    terminal.frame();
    let (_, answer) = served.get("/v1/units/jt808:123456789");
    let unit = &answer["properties"];
    assert_eq!(unit["flags"][0], "time_future", "{unit}");
    assert!(unit["fix_age_s"].as_f64().unwrap() < 10.0);
}

#[test]
fn json_that_cannot_be_used_is_refused_by_field_and_value() {
    let served = Served::with(&["--admit-unknown"]);
    let (status, answer) = served.send("/v1/reports", r#"{"reports":[{"device":"cot:a","lat":NaN,"lon":1}]}"#);
    assert_eq!((status, answer["title"].as_str().unwrap()), (400, "The body cannot be read"));
    let two = r#"{"reports":[{"device":"cot:a","lat":22.8,"lon":108.3},{"device":"cot:b","lat":91,"lon":1}]}"#;
    let (status, answer) = served.send("/v1/reports", two);
    assert_eq!((status, &answer["accepted"], &answer["refused"][0]["index"]), (200, &1.into(), &1.into()));
    assert_eq!(answer["refused"][0]["reason"], "position");
    let (status, answer) = served.get("/v1/nearest?lat=91&lon=1");
    assert_eq!((status, answer["field"].as_str(), answer["value"].as_str()), (400, Some("lat"), Some("91")));
    let (status, answer) = served.get("/v1/nearest?lat=1&lon=1&kinds=car");
    assert_eq!((status, answer["field"].as_str()), (400, Some("kinds")));
    let bow = r#"{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1],[0,0]]]}"#;
    let (status, answer) = served.send("/v1/within", bow);
    assert!(status == 400 && answer["detail"].as_str().unwrap().contains("edge 1 and edge 3"), "{answer}");
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(served.send("/v1/within", &deep).0, 400);
    let large = format!(r#"{{"reports":["{}"]}}"#, "x".repeat(1 << 20));
    assert_eq!(served.send("/v1/reports", &large).0, 413);
    assert_eq!(served.get("/v1/nearst").0, 404);
}

#[test]
fn a_page_of_another_origin_can_neither_read_nor_change() {
    let served = Served::with(&[]);
    let url = format!("{}/v1/units/car-1", served.http);
    let foreign = common::agent().put(&url).header("origin", "https://evil.example").send("{}").unwrap();
    assert_eq!(foreign.status(), 403);
    let rebound = common::agent().get(&url).header("host", "evil.example").call().unwrap();
    assert_eq!(rebound.status(), 421);
}

#[test]
fn a_busy_port_is_refused_with_advice() {
    let served = Served::with(&[]);
    let address = served.http.trim_start_matches("http://");
    let again = std::process::Command::new(common::MUSTER)
        .args(["serve", "--http", address, "--data", "off"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("another program has this port"), "{said}");
}

#[test]
fn who_never_completes_a_frame_or_falls_silent_is_hung_up_on() {
    let path = std::env::temp_dir().join(format!("muster-deadlines-{}.toml", std::process::id()));
    std::fs::write(
        &path,
        "first_frame_ms = 200\nidle_ms = 300\nadmit_unknown = true\nlisten = [\"jt808=tcp://127.0.0.1:0\"]\n",
    )
    .unwrap();
    let served = Served::with(&["--config", path.to_str().unwrap()]);
    std::fs::remove_file(path).unwrap();
    let closed = |reason: &str| format!("muster_connections_closed_total{{protocol=\"jt808\",reason=\"{reason}\"}}");
    let mut slow = served.connect("jt808");
    slow.write(&location(22_817_000)[..10]);
    assert!(slow.is_closed());
    served.await_metric(&closed("first_frame_deadline"), 1);
    let mut silent = served.connect("jt808");
    silent.write(&location(22_817_000));
    silent.frame();
    assert!(silent.is_closed());
    served.await_metric(&closed("idle"), 1);
}
