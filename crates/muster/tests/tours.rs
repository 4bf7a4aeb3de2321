//! The tours of the README, run as they are written, with the built program.

mod common;

use std::path::Path;
use std::process::Command;

/// The shell lines behind `<!-- tour:name -->`.
fn tour(readme: &str, name: &str) -> String {
    let mark = format!("<!-- tour:{name} -->");
    let (_, behind) = readme.split_once(&mark).unwrap_or_else(|| panic!("{mark} is in the README"));
    let block = behind.split_once("```sh\n").unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_tours_of_the_readme_run_and_answer() {
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    assert!(has_curl, "the tours use curl: apt-get install curl");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let folder = Path::new(common::MUSTER).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    // The server of the first tour serves the others too; it is stopped at the end.
    let gateway = tour(&readme, "gateway").replacen(
        "&\n",
        "& \nuntil curl -sf http://127.0.0.1:18080/readyz >/dev/null; do :; done\n",
        1,
    );
    let parts = [
        gateway,
        tour(&readme, "decode"),
        tour(&readme, "dispatch"),
        tour(&readme, "operations"),
        tour(&readme, "storage"),
        tour(&readme, "access"),
        tour(&readme, "zones"),
    ];
    let script = format!("set -eu\ntrap 'kill $(jobs -p)' EXIT\n{}", parts.join("\n"));
    let here = tempfile::tempdir().unwrap();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");
    std::os::unix::fs::symlink(fixtures, here.path().join("fixtures")).unwrap();
    let run = Command::new("bash").arg("-c").arg(script).env("PATH", path).current_dir(&here).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let complained = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{complained}");
    for expected in [
        "reports in",
        "jt808:139",
        "muster_reports_applied_total{outcome=\"newest\"}",
        "\"kind\":\"heartbeat\"",
        "\"accepted\":1",
        "\"unit\":\"car-7\"",
        "\"openapi\":\"3.1",
        "ready",
        "\"by_kind\":",
        "all whole",
        "there is no unit `car-2`",
        "urn:muster:problem:unauthorized",
        "look.unit",
        "\"unit\":\"car-7\"",
        "\"at_least\":",
        "\"kind\":\"exit\"",
        "event: enter",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}\n{complained}");
    }
}
