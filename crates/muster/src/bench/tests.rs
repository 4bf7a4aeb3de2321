use simulate::load::{Ledger, Outcome};

use super::floors::{RoundTrip, Sync};
use super::*;

/// A report of a run of nearest questions whose latency was `medians_us`, a value for each second.
pub(super) fn report(medians_us: &[u64]) -> Report {
    let seconds = medians_us.len() as u64;
    let measured = Duration::from_secs(seconds);
    let mut ledger = Ledger::new([Class::Nearest], Duration::ZERO, measured);
    for (second, median_us) in (0..).zip(medians_us) {
        for number in 0..100 {
            let planned = Duration::from_millis(second * 1_000 + number * 10);
            ledger.plan(Class::Nearest, planned, planned);
            let latency = Duration::from_micros(*median_us);
            ledger.end(Class::Nearest, planned, planned + latency, Outcome::Answered);
        }
    }
    let records = ledger.into_records();
    let plan = LoadPlan {
        reports_to: None,
        grpc: None,
        http: None,
        report_rate: 0.0,
        query_rate: 100.0,
        mix: Mix::default(),
        batch: 100,
        seed: 1,
        warm_up: Duration::ZERO,
        measured,
    };
    let verdicts = vec![Limit::of_the_design().verdict(&records)];
    let generator = Generator::of(&[], 2, Some(0.25));
    let found = Found { records, verdicts, generator, server_cpu_share: Some(0.25), plan };
    let machine = Machine { processor: "p".into(), cpus: 2, memory_mib: 1, system: "linux".into(), load_average: 0.5 };
    let trip = || RoundTrip { up_bytes: 40, down_bytes: 1_600, p50_us: 20, p99_us: 60 };
    let sync = Sync { folder: "f".into(), bytes: 1_700, p50_us: 900, p99_us: 2_000 };
    let floors =
        Floors { question: trip(), batch: trip(), receive_reports_per_s: 1e8, copy_gb_per_s: 9.5, sync: Some(sync) };
    let aim = Aim { own: None, http: None, grpc: None, reports_to: None };
    let mut report = assemble(&found, machine, floors, &aim, 10, None);
    report.command = "bench <script> & \"more\"".to_owned();
    report
}

#[test]
fn a_report_comes_back_from_json_as_it_was() {
    let mut first = report(&[1_000, 1_200, 4_900]);
    first.ramp = Some(Ramp {
        of: "reports".into(),
        steps: vec![Step {
            rate_per_s: 1_414.0,
            answered_per_s: 1_413.667,
            holds: false,
            remarks: vec!["slow".into()],
        }],
        highest_per_s: None,
    });
    first.baseline = Some(baseline::compare(&first, &report(&[1_000, 1_100, 900]), Path::new("old.json")));
    let text = serde_json::to_string_pretty(&first).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), first);
    assert!(text.contains("\"schema\": \"muster-bench/1\""));
}

#[test]
fn a_missed_limit_is_a_failure_that_names_it() {
    assert!(judge(&report(&[4_000])).is_ok());
    assert_eq!(judge(&report(&[6_000])).unwrap_err().to_string(), "limit missed: nearest=p99:5ms");
}

#[test]
fn the_page_stands_alone_and_escapes_what_it_shows() {
    let page = page::html(&report(&[1_000, 1_200, 4_900]));
    for outside in ["src=", "href=", "@import", "url(", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("bench &lt;script&gt; &amp; &quot;more&quot;"));
    assert!(page.contains("nearest=p99:5ms") && page.contains("prefers-color-scheme"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "every coordinate is a number");
}

#[test]
fn a_page_of_nothing_answered_is_a_page() {
    let mut empty = report(&[1_000]);
    empty.classes[0].curve.clear();
    empty.classes[0].seconds.clear();
    empty.floors.sync = None;
    assert!(!page::html(&empty).contains("NaN"));
}

#[test]
fn addresses_are_read_from_urls() {
    let read = |text: &str| address("--server", text).map(|address| address.to_string());
    assert_eq!(read("http://127.0.0.1:8080/").unwrap(), "127.0.0.1:8080");
    assert_eq!(read("muster=tcp://[::1]:6800").unwrap(), "[::1]:6800");
    let error = format!("{:#}", read("http://nowhere").unwrap_err());
    assert!(error.contains("--server") && error.contains("http://nowhere"), "{error}");
}

#[test]
fn a_rate_that_answers_too_late_does_not_hold() {
    let measured = Duration::from_secs(2);
    let mut ledger = Ledger::new([Class::Reports], Duration::ZERO, measured);
    for number in 0..100 {
        let planned = Duration::from_millis(number * 20);
        ledger.plan(Class::Reports, planned, planned);
        // All are answered, but the last tenth behind the window.
        let late = Duration::from_millis(if number < 90 { 1 } else { 500 });
        ledger.end(Class::Reports, planned, planned + late, Outcome::Answered);
    }
    let mut plan = LoadPlan {
        reports_to: None,
        grpc: None,
        http: None,
        report_rate: 5_000.0,
        query_rate: 0.0,
        mix: Mix::default(),
        batch: 100,
        seed: 1,
        warm_up: Duration::ZERO,
        measured,
    };
    plan.batch = 100;
    let generator = Generator::of(&[], 2, None);
    let found = Found { records: ledger.into_records(), verdicts: Vec::new(), generator, server_cpu_share: None, plan };
    assert_eq!(found.remarks(), ["reports: 90 of 100 answered within the window"]);
    assert!((found.answered_per_s(false) - 5_000.0).abs() < 1e-9);
}
