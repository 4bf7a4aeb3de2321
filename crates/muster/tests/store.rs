//! The commands that work on the store, against the built program, and a backup that has it.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{MUSTER, Served, agent};
use serde_json::Value;

fn muster(data: &Path, arguments: &[&str]) -> Output {
    Command::new(MUSTER).args(arguments).arg("--data").arg(data).output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn problem(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const CREATE: [&str; 8] = ["token", "create", "--principal", "desk-3", "--role", "dispatcher", "--days", "90"];

#[test]
fn tokens_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new");
    assert!(problem(&muster(&data, &["token", "list"])).contains("there is no store in"));
    let secret = out(&muster(&data, &CREATE));
    assert!(secret.starts_with("muster_") && secret.trim_end().len() == 50, "{secret}");
    let listed = json_lines(&out(&muster(&data, &["token", "list", "--json"])));
    assert_eq!((&listed[0]["principal"], &listed[0]["revoked"]), (&"desk-3".into(), &Value::Null));
    assert!(!listed[0].to_string().contains(secret.trim_end()));
    out(&muster(&data, &["token", "revoke", "1", "--reason", "lost"]));
    assert!(out(&muster(&data, &["token", "list"])).contains("revoked 20"));
    assert!(problem(&muster(&data, &["token", "revoke", "1"])).contains("there is no valid token `1`"));
    assert!(
        problem(&muster(&data, &["token", "create", "--principal", "x", "--role", "king", "--days", "1"]))
            .contains("known are: viewer")
    );
    assert!(problem(&muster(&data, &["token", "create", "--principal", "x", "--role", "viewer"])).contains("--days"));
    let rows = json_lines(&out(&muster(&data, &["audit", "query", "--action", "token.*", "--json"])));
    assert_eq!(rows[0]["detail"]["reason"], "lost");
    assert_eq!((rows.len(), &rows[1]["principal"]), (2, &"local".into()));
}

#[test]
fn units_come_out_as_they_went_in_and_a_fault_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("fleet.csv"));
    let fleet = "unit,call_sign,kind,org,capabilities,covert,devices,external\n\
                 car-1,\"Dragon, 1\",car,west,dog,false,jt808:1|tetra:2/2026-11-23T06:00:00.000Z/,cad:17\n\
                 officer-1,,foot,,,true,,\n";
    std::fs::write(&file, fleet).unwrap();
    let import = |file: &Path| muster(&data, &["units", "import", file.to_str().unwrap()]);
    assert_eq!(out(&import(&file)), "2 units changed, 0 unchanged\n");
    assert_eq!(out(&import(&file)), "0 units changed, 2 unchanged\n");
    assert_eq!(out(&muster(&data, &["units", "export"])), fleet);
    let json = folder.path().join("fleet.json");
    out(&muster(&data, &["units", "export", "--format", "json", "--to", json.to_str().unwrap()]));
    assert_eq!(out(&import(&json)), "0 units changed, 2 unchanged\n");
    std::fs::write(&file, format!("{}car-2,,tank,,,false,,\n", fleet.replace("Dragon", "Tiger"))).unwrap();
    let told = problem(&import(&file));
    assert!(told.contains("fleet.csv: line 4, column `kind`: \"tank\" is no kind of unit"), "{told}");
    assert_eq!(out(&muster(&data, &["units", "export"])), fleet);
    let organisations = folder.path().join("orgs.json");
    std::fs::write(
        &organisations,
        r#"{"datum":"wgs84","organisations":[{"org":"west","parent":"bureau"},{"org":"bureau"}]}"#,
    )
    .unwrap();
    let told = out(&muster(&data, &["organisations", "import", organisations.to_str().unwrap()]));
    assert_eq!(told, "2 organisations changed, 0 unchanged\n");
    assert!(out(&muster(&data, &["organisations", "export"])).contains(r#""parent":"bureau","territory":null"#));
}

#[test]
fn zones_come_out_as_they_went_in_and_need_a_datum() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("beats.geojson"));
    let beat = |layer: &str, ring: &str| {
        format!(
            "{{\"type\":\"FeatureCollection\",\"features\":[\n{{\"type\":\"Feature\",\"properties\":{{\"zone\":\"b-1\",\"layer\":{layer}}},\n\
             \"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[[{ring}]]}}}}]}}"
        )
    };
    let square = "[108,22],[108.1,22],[108.1,22.1],[108,22]";
    let import = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        muster(&data, &[&["zones", "import", file.to_str().unwrap()], more].concat())
    };
    assert!(problem(&import(&beat("3", square), &[])).contains("no datum is declared"));
    assert_eq!(out(&import(&beat("3", square), &["--datum", "gcj02"])), "1 zones changed, 0 unchanged\n");
    assert_eq!(out(&import(&beat("3", square), &["--datum", "gcj02"])), "0 zones changed, 1 unchanged\n");
    let bow = "[108,22],[108.1,22.1],[108.1,22],[108,22.1],[108,22]";
    let refused = problem(&import(&beat("3", bow), &["--datum", "wgs84"]));
    assert!(
        refused.contains("line 3, column ") && refused.contains("ring 1 crosses itself: edge 1 and edge 3"),
        "{refused}"
    );
    let exported = out(&muster(&data, &["zones", "export"]));
    assert_eq!(out(&import(&exported, &[])), "0 zones changed, 1 unchanged\n");
    let past = out(&muster(&data, &["zones", "export", "--as-of", "2020-01-01T00:00:00Z"]));
    assert!(exported.contains("\"b-1\"") && !past.contains("\"b-1\""));
}

#[test]
fn an_audit_whose_head_is_another_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    out(&muster(data, &CREATE));
    out(&muster(data, &CREATE));
    let told = out(&muster(data, &["audit", "verify"]));
    assert!(told.starts_with("2 rows, all whole\nhead 2:"), "{told}");
    let noted = told.lines().nth(1).unwrap().strip_prefix("head ").unwrap();
    out(&muster(data, &["audit", "export", "--to", data.join("audit.jsonl").to_str().unwrap()]));
    assert_eq!(json_lines(&std::fs::read_to_string(data.join("audit.jsonl")).unwrap()).len(), 3);
    assert!(out(&muster(data, &["audit", "verify", "--head", noted])).starts_with("3 rows"));
    let forged = format!("2:{}", "0".repeat(64));
    let told = problem(&muster(data, &["audit", "verify", "--head", &forged]));
    assert!(told.contains("the audit is not whole: row 2: it was rewritten"), "{told}");
    let head = std::fs::read_to_string(data.join("audit-head")).unwrap();
    std::fs::write(data.join("audit-head"), head.replace(":", "9:").replace("audit head 1\n0", "audit head 1\n"))
        .unwrap();
    assert!(problem(&muster(data, &["audit", "verify"])).contains("the end was cut"));
}

#[test]
fn a_backup_has_the_store_and_one_that_was_changed_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup, restored) =
        (folder.path().join("data"), folder.path().join("backup"), folder.path().join("restored"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let served = Served::on(&text(&data), &[]);
    let put = agent().put(format!("{}/v1/units/car-7", served.http)).header("content-type", "application/json");
    assert_eq!(put.send(r#"{"kind":"car"}"#).unwrap().status(), 200);
    out(&muster(&data, &CREATE));
    let told = out(&muster(&data, &["backup", "--to", &text(&backup)]));
    assert!(told.contains("files, "), "{told}");
    // What comes later is not in it.
    out(&muster(&data, &["token", "revoke", "1"]));
    drop(served);
    let restore = |to: &Path| muster(to, &["restore", "--from", &text(&backup)]);
    out(&restore(&restored));
    let listed = json_lines(&out(&muster(&restored, &["token", "list", "--json"])));
    assert_eq!((listed.len(), &listed[0]["revoked"]), (1, &Value::Null));
    assert!(out(&muster(&restored, &["audit", "verify"])).contains("all whole"));
    let served = Served::on(&text(&restored), &[]);
    assert_eq!(served.get("/v1/units/car-7").0, 200);
    drop(served);
    let mut bytes = std::fs::read(backup.join("muster.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(backup.join("muster.db"), &bytes).unwrap();
    let told = problem(&restore(&folder.path().join("again")));
    assert!(told.contains("muster.db is damaged") && told.contains("not what was backed up"), "{told}");
    std::fs::remove_file(backup.join("muster.db")).unwrap();
    problem(&restore(&folder.path().join("once-more")));
}
