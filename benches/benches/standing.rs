//! What standing queries cost: `muster serve` with the units of the city, reports flat out, with and without as many standing
//! queries as a server takes; a third of each kind. Rounds are interleaved.
//!
//! `cargo bench -p muster-benches --bench standing`; `STANDING_ROUNDS=3`, `STANDING_SECONDS=10`, `STANDING_UNITS=35045`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use model::limits::{STANDING_LIFE_MAX, STANDING_MAX, STRENGTH_GRACE};
use model::{Position, Timestamp};
use muster_benches::Rounds;
use muster_benches::pipe::{Feed, Pace};
use muster_benches::served::{Journal, Served};
use muster_benches::trace::Trace;

/// Zones, as many as the city has.
const ZONES: usize = 254;
/// Reports of a batch, and batches without an answer.
const REPORTS: usize = 1_000;
const WINDOW: usize = 8;
const WITH: &str = "with";
const WITHOUT: &str = "without";

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let (rounds, units) = (number("STANDING_ROUNDS", 3), number("STANDING_UNITS", 35_045));
    let measured = Duration::from_secs(number("STANDING_SECONDS", 10) as u64);
    let trace = Trace::new(units);
    let served = Served::start(Journal::Off).expect("the server starts");
    let began = Instant::now();
    served.feed(REPORTS, WINDOW, 0, &trace.first(0, 1)).run_once();
    for (number, at) in trace.questions.iter().take(ZONES).enumerate() {
        let answer = call(served.http, "PUT", &format!("/v1/zones/zone-{number}"), &zone(*at));
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
    let mut feed = served.feed(REPORTS, WINDOW, 0, &trace.reports(0, 1));
    // None is looked at before.
    while began.elapsed() < STRENGTH_GRACE {
        feed.run(Pace::PerSecond(units as f64), Duration::from_secs(1));
    }
    let (mut speed, mut cost) = (Rounds::default(), Rounds::default());
    for round in 0..rounds {
        for with in [round % 2 == 0, round % 2 != 0] {
            let numbers = if with { ask(served.http, &trace.questions, units) } else { Vec::new() };
            // The first answer of each is told.
            feed.run(Pace::PerSecond(units as f64), Duration::from_secs(5));
            let before = figures(&served);
            let reports = run(&mut feed, measured);
            let after = figures(&served);
            speed.note(if with { WITH } else { WITHOUT }, reports);
            if with {
                note(&mut cost, &before, &after, measured);
            }
            for number in numbers {
                call(served.http, "DELETE", &format!("/v1/standing/{number}"), "");
            }
            wait_for_none(&served, &mut feed);
        }
    }
    println!("{units} units, {STANDING_MAX} standing queries, {ZONES} zones, {rounds} rounds of {measured:?}");
    speed.print("reports a second, flat out");
    let [least, median, most] = speed.ratio(WITH, WITHOUT).expect("both were measured");
    println!("\nkept with standing queries: {median:.3} ({least:.3} - {most:.3})");
    cost.print("while reports come in flat out");
}

fn run(feed: &mut Feed, measured: Duration) -> f64 {
    let (reports, took) = feed.run(Pace::FlatOut, measured);
    reports as f64 / took.as_secs_f64()
}

/// What one round of standing queries cost.
fn note(cost: &mut Rounds, before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>, measured: Duration) {
    let grown = |name: &str| {
        let value = |of: &BTreeMap<String, f64>| of.get(name).copied().unwrap_or_default();
        value(after) - value(before)
    };
    let seconds = measured.as_secs_f64();
    let mut all_us = 0.0;
    for question in ["nearest", "strength", "near"] {
        let of = |what: &str| grown(&format!("muster_standing_{what}_total{{question=\"{question}\"}}"));
        let (looks, us) = (of("looks"), of("look_microseconds"));
        assert!(looks > 0.0, "each kind is looked at");
        cost.note(&format!("us a look, {question}"), us / looks);
        cost.note(&format!("looks a second, {question}"), looks / seconds);
        all_us += us;
    }
    cost.note("ms of a core a second", all_us / 1_000.0 / seconds);
    for what in ["looks_postponed", "looks_late", "answers"] {
        cost.note(&format!("{what} a second"), grown(&format!("muster_standing_{what}_total")) / seconds);
    }
}

/// Asks as many as there may be, a third of each kind.
fn ask(http: SocketAddr, places: &[Position], units: usize) -> Vec<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let now = Timestamp::from_unix_ms(since.as_millis() as i64).expect("it is a time");
    let until = now.after(STANDING_LIFE_MAX - Duration::from_secs(60));
    let question = |number: usize| match number % 3 {
        0 => {
            let at = places[number % places.len()];
            format!(r#""nearest":{{"lat":{},"lon":{},"k":5}}"#, at.lat_deg(), at.lon_deg())
        }
        1 => format!(r#""strength":{{"zone":"zone-{}","fewer_than":2}}"#, number % ZONES),
        _ => {
            let other = (number * 31 + 7) % units;
            format!(r#""near":{{"unit":"bench:u{number}","other":"bench:u{other}","metres":300}}"#)
        }
    };
    let ask = |number: usize| {
        let body = format!(r#"{{"incident":"bench","until":"{until}",{}}}"#, question(number));
        let answer = call(http, "POST", "/v1/standing", &body);
        let number = answer.split("\"standing\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
        number.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    };
    (0..STANDING_MAX).map(ask).collect()
}

/// A round place of 500 m.
fn zone(at: Position) -> String {
    let (lat, lon) = (at.lat_deg(), at.lon_deg());
    format!(
        r#"{{"type":"Feature","datum":"wgs84","geometry":{{"type":"Point","coordinates":[{lon},{lat}]}},
        "properties":{{"layer":1,"radius_m":500}}}}"#
    )
}

/// Until the ended ones are forgotten; reports go on, so that units stay fresh.
fn wait_for_none(served: &Served, feed: &mut Feed) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while figures(served).get("muster_standing_queries").copied().unwrap_or_default() > 0.0 {
        assert!(Instant::now() < deadline, "standing queries end");
        feed.run(Pace::PerSecond(10_000.0), Duration::from_secs(1));
    }
}

fn figures(served: &Served) -> BTreeMap<String, f64> {
    let metrics = served.metrics();
    let lines = metrics.lines().filter(|line| line.starts_with("muster_standing"));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

/// The whole answer to a request.
fn call(http: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(http).expect("the server listens");
    let length = body.len();
    let ask = format!(
        "{method} {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(ask.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    answer
}
