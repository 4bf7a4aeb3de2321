//! What is stored, against the built program: killed, started again, damaged, mended, backed up.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{MUSTER, Served, agent, hex};

/// A 0x0200 of phone 000123456789 at 22.817 N 108.366 E with the emergency bit.
const PRESSED: &str = "0200001C00012345678900030000000100000003015C28E8067588B000500064005A261123142530";

fn pressed() -> Vec<u8> {
    let mut bytes = hex(PRESSED);
    bytes.push(bytes.iter().fold(0, |sum, byte| sum ^ byte));
    [vec![0x7E], bytes, vec![0x7E]].concat()
}

fn put(served: &Served, unit: &str, body: &str) {
    let url = format!("{}/v1/units/{unit}", served.http);
    let answer = agent().put(&url).header("content-type", "application/json").send(body).unwrap();
    assert_eq!(answer.status(), 200);
}

fn muster(arguments: &[&str]) -> Output {
    Command::new(MUSTER).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A server that has taken a car with a place, a removed unit and a pressed button, and was killed.
fn killed_server(folder: &Path) -> String {
    let data = folder.join("data").to_str().unwrap().to_owned();
    let served = Served::on(&data, &["--listen", "jt808=tcp://127.0.0.1:0", "--admit-unknown"]);
    put(&served, "car-7", r#"{"kind":"car","org":"station-01","devices":["cot:tablet-7"]}"#);
    put(&served, "car-8", r#"{"kind":"car","devices":["cot:tablet-8"]}"#);
    let gone = agent().delete(format!("{}/v1/units/car-8", served.http)).call().unwrap();
    assert_eq!(gone.status(), 204);
    let report = r#"{"reports":[{"device":"cot:tablet-7","time":"2026-11-23T06:25:30Z","lat":22.5,"lon":108.5}]}"#;
    assert_eq!(served.send("/v1/reports", report).1["accepted"], 1);
    let mut terminal = served.connect("jt808");
    terminal.write(&pressed());
    assert_eq!(terminal.frame()[13..18], [0, 3, 2, 0, 0], "the place is acknowledged");
    // Dropping kills with SIGKILL: nothing is flushed on the way out.
    drop(served);
    data
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = killed_server(folder.path());
    let served = Served::on(&data, &[]);
    let (status, car) = served.get("/v1/units/car-7");
    let place = &car["geometry"]["coordinates"];
    assert_eq!((status, &car["properties"]["org"], &place[1]), (200, &"station-01".into(), &22.5.into()), "{car}");
    assert_eq!(car["properties"]["fix_time"], "2026-11-23T06:25:30.000Z");
    assert_eq!(car["properties"]["stored"], true);
    assert_eq!(served.get("/v1/units/car-8").0, 404, "it stays removed");
    let (_, ringing) = served.get("/v1/emergencies");
    let press = &ringing["emergencies"][0];
    assert_eq!(
        (press["emergency"].as_u64(), press["device"].as_str()),
        (Some(1), Some("jt808:123456789")),
        "{ringing}"
    );
    assert_eq!(press["lat"], 22.817);
    assert_eq!(served.get("/v1/units/jt808:123456789").1["geometry"]["coordinates"][1], 22.817);
}

#[test]
fn a_folder_belongs_to_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_str().unwrap().to_owned();
    let _served = Served::on(&data, &[]);
    let second = muster(&["serve", "--http", "127.0.0.1:0", "--grpc", "off", "--data", &data]);
    assert!(!second.status.success() && said(&second).contains("in use by another server"), "{}", said(&second));
}

#[test]
fn damage_stops_the_start_by_file_and_byte_and_repair_keeps_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = killed_server(folder.path());
    // A second life closes the first segment: nothing of it can be a torn end any more.
    let served = Served::on(&data, &[]);
    put(&served, "car-9", r#"{"kind":"car"}"#);
    drop(served);
    let first = Path::new(&data).join("00000000000000000001.segment");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[100] ^= 4;
    std::fs::write(&first, bytes).unwrap();
    let start = muster(&["serve", "--http", "127.0.0.1:0", "--grpc", "off", "--data", &data]);
    let complaint = said(&start);
    assert!(
        !start.status.success() && complaint.contains("00000000000000000001.segment is damaged at byte 64"),
        "{complaint}"
    );
    let verify = muster(&["journal", "verify", "--data", &data]);
    assert!(
        !verify.status.success() && said(&verify).contains("byte 64: a record is not what was written"),
        "{}",
        said(&verify)
    );
    let repair = muster(&["journal", "repair", "--data", &data]);
    assert!(repair.status.success() && said(&repair).contains("files repaired"), "{}", said(&repair));
    assert!(muster(&["journal", "verify", "--data", &data]).status.success());
    let served = Served::on(&data, &[]);
    assert_eq!(served.get("/v1/units/car-9").0, 200, "what is whole is kept");
    assert!(Path::new(&data).join("00000000000000000001.segment.damaged").exists());
}

#[test]
fn a_backup_of_a_running_server_serves_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let data = killed_server(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (backup, restored) = (path("backup"), path("restored"));
    let served = Served::on(&data, &[]);
    put(&served, "car-10", r#"{"kind":"car"}"#);
    let made = muster(&["backup", "--data", &data, "--to", &backup]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(!muster(&["backup", "--data", &data, "--to", &backup]).status.success(), "never over another backup");
    drop(served);
    let put_back = muster(&["restore", "--from", &backup, "--data", &restored]);
    assert!(put_back.status.success(), "{}", said(&put_back));
    let served = Served::on(&restored, &[]);
    for unit in ["car-7", "car-10", "jt808:123456789"] {
        assert_eq!(served.get(&format!("/v1/units/{unit}")).0, 200, "{unit}");
    }
}
