//! `muster demo --login`: the city's offices and units are loaded, and a station sees its part.

mod common;

use std::process::Command;

#[test]
fn the_demo_of_a_station_shows_what_a_station_sees() {
    let run = Command::new(common::MUSTER)
        .args(["demo", "--login", "station", "--units", "2000", "--duration", "10s", "--http", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    for expected in [
        "1 bureau, 9 districts, 63 stations",
        "Log on as dispatcher of station-01:  http://127.0.0.1:",
        "/#token=muster_",
        "A dispatcher of station-01 asks: who is nearest to Chaoyang Square?",
        // There are units close to the place in the east, and none of them is for this station.
        "nearer_outside_scope: true",
        "GET /v1/units/officer-0001: 200 station-01",
        "GET /v1/units/no-such-unit: 404",
        "GET /v1/stats: 403",
        "GET /v1/units without a token: 401",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    // A unit that is there and hidden answers as one that is not.
    let answers: Vec<_> = said.lines().filter_map(|line| line.split_once(": 404 ")).collect();
    let [(hidden, of_hidden), (unknown, of_unknown)] = answers[..] else { panic!("{answers:?}") };
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    assert_eq!(of_hidden.replace(&name(hidden), "?"), of_unknown.replace(&name(unknown), "?"));
}
