//! `muster bench` with the built program, at tiny rates: what it says, writes and exits with.

mod common;

use std::process::{Command, Output};

use common::{MUSTER, Served};
use serde_json::Value;

/// A load that any machine carries, over in a few seconds.
const SMALL: [&str; 6] = ["--units", "200", "--warm-up", "200ms", "--duration", "2s"];

fn bench(arguments: &[&str]) -> Output {
    Command::new(MUSTER).arg("bench").args(SMALL).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_bench_measures_its_own_server_and_writes_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (out, rates) = (out.to_str().unwrap(), ["--report-rate", "2000", "--query-rate", "100"]);
    let limits = ["--limit", "nearest=p50:20s", "--limit", "reports=p50:20s"];
    let first = bench(&[&rates[..], &limits[..], &["--out", out]].concat());
    assert!(first.status.success(), "{}", said(&first));
    for expected in ["this machine's floors", "fdatasync", "nearest=p50:20s", "held", "lag p50", "bench.html"] {
        assert!(said(&first).contains(expected), "{expected} is not in\n{}", said(&first));
    }
    let json = std::fs::read_to_string(format!("{out}/bench.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "muster-bench/1");
    let classes: Vec<&str> =
        report["classes"].as_array().unwrap().iter().map(|one| one["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["reports", "nearest", "nearest-unary", "nearest-http", "within"]);
    for class in report["classes"].as_array().unwrap() {
        let count = |key: &str| class[key].as_u64().unwrap();
        let ends = ["answered", "refused", "out_of_time", "failed", "wrong", "not_sent", "unanswered"];
        assert_eq!(count("planned"), ends.iter().map(|key| count(key)).sum::<u64>(), "{class}");
        assert!(count("planned") > 0 && count("answered") > 0, "{class}");
        assert_eq!((count("failed"), count("wrong"), count("refused_reports")), (0, 0, 0), "{class}");
    }
    assert!(report["server"]["cpu_share"].as_f64().unwrap() > 0.0);
    assert!(report["floors"]["sync"]["p50_us"].as_u64().unwrap() > 0);
    let page = std::fs::read_to_string(format!("{out}/bench.html")).unwrap();
    assert!(page.contains("All limits held") && page.contains("<svg"), "{page}");
    // The same again, beside the first.
    let second = bench(&[&rates[..], &limits[..], &["--baseline", &format!("{out}/bench.json")]].concat());
    assert!(second.status.success() && said(&second).contains("against the baseline"), "{}", said(&second));
}

#[test]
fn a_missed_limit_is_exit_code_1() {
    let limit = ["--report-rate", "0", "--query-rate", "50", "--mix", "nearest=1", "--limit", "nearest=p50:1us"];
    let missed = bench(&limit);
    assert_eq!(missed.status.code(), Some(1), "{}", said(&missed));
    assert!(
        said(&missed).contains("MISSED") && said(&missed).contains("limit missed: nearest=p50:1us"),
        "{}",
        said(&missed)
    );
}

#[test]
fn a_search_says_each_rate_that_it_tried() {
    let ramp =
        ["--ramp", "--report-rate", "0", "--query-rate", "1", "--mix", "nearest=1", "--limit", "nearest=p50:1us"];
    let tried = bench(&ramp);
    assert_eq!(tried.status.code(), Some(1), "{}", said(&tried));
    assert!(said(&tried).contains("1 questions/s") && said(&tried).contains("There was no rate"), "{}", said(&tried));
}

#[test]
fn a_running_server_is_measured_where_it_is() {
    let served = Served::with(&["--listen", "muster=tcp://127.0.0.1:0", "--admit-unknown"]);
    let to = format!("muster=tcp://{}", served.listen["muster"]);
    let rates =
        ["--report-rate", "1000", "--query-rate", "50", "--mix", "nearest-http=1", "--limit", "nearest-http=p50:20s"];
    let done = bench(&[&["--server", served.http.as_str(), "--to", to.as_str()][..], &rates[..]].concat());
    assert!(done.status.success() && said(&done).contains("the bench did not start it"), "{}", said(&done));
    assert!(served.metric("muster_reports_applied_total{outcome=\"newest\"}") > 200, "the reports came to this server");
}

#[test]
fn wrong_words_are_named() {
    for (arguments, expected) in [
        (&["--limit", "nearest=p99"][..], "\"nearest=p99\" is not CLASS=pNN:DURATION"),
        (&["--limit", "near=p99:5ms"], "\"near\" is no class"),
        (&["--mix", "within=1", "--limit", "nearest=p99:5ms"], "nothing of the class nearest is planned"),
        (&["--mix", "within"], "\"within\" is not CLASS=WEIGHT"),
        (&["--report-rate", "0", "--query-rate", "0"], "there is nothing to measure"),
        (&["--batch", "5000"], "--batch 5000 is not 1 to 4096"),
        (&["--units", "0"], "--units 0 is not"),
        (&["--baseline", "nowhere.json"], "cannot read --baseline nowhere.json"),
        (&["--server", "http://127.0.0.1:1", "--to", "jt808=tcp://127.0.0.1:1"], "muster=tcp://HOST:PORT only"),
    ] {
        let units = if arguments[0] == "--units" { &[][..] } else { &["--units", "10"][..] };
        let output = Command::new(MUSTER).arg("bench").args(units).args(arguments).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(expected), "{expected}: {}", said(&output));
    }
}
