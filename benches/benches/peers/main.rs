//! One trace against Muster, Redis GEO, Tile38 and PostGIS: every server a child on loopback, as many connections each, the same
//! reports and questions; answers are compared before the clock runs.
//!
//! `cargo bench -p muster-benches --bench peers -- --units 100000 --seconds 5 --rounds 3 --only redis`. A server that is not
//! installed is named. What to install: `benches/README.md`.

mod figures;
mod muster;
mod peer;
mod postgis;
mod redis;
mod resp;
mod runs;
mod tile38;
mod wire_pg;

use std::time::Duration;

use figures::{Better, Figures, Goal};
use muster_benches::trace::Trace;
use peer::{Peer, Started};
use runs::Runs;

/// Questions whose answers are compared.
const COMPARED: usize = 200;

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    units: usize,
    seconds: f64,
    rounds: usize,
    /// Only servers whose names start so, and Muster.
    only: String,
    /// Connections, and as many threads, that report or ask.
    lanes: usize,
    /// Reports a second that every server takes.
    common: f64,
}

impl Options {
    fn read() -> Self {
        let mut options =
            Self { units: 100_000, seconds: 5.0, rounds: 3, only: String::new(), lanes: 4, common: 5_000.0 };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("`{word}` needs a value"));
            let number = || value.parse::<f64>().unwrap_or_else(|_| panic!("`{word} {value}`: not a number"));
            match word.as_str() {
                "--units" => options.units = number() as usize,
                "--seconds" => options.seconds = number(),
                "--rounds" => options.rounds = number() as usize,
                "--only" => options.only = value,
                "--connections" => options.lanes = number() as usize,
                "--common-rate" => options.common = number(),
                _ => panic!(
                    "`{word}` is not known; known are --units --seconds --rounds --only --connections --common-rate"
                ),
            }
        }
        assert!(options.rounds > 0 && options.lanes > 0 && options.seconds > 0.0, "nothing is left to be measured");
        // Each connection needs a batch of the largest size, and an answer ten units.
        assert!(options.units >= 1_000 * options.lanes, "`--units`: at least 1,000 a connection");
        options
    }
}

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let options = Options::read();
    let Options { units, seconds, rounds, lanes, .. } = options;
    println!("{units} units, {lanes} connections, {rounds} rounds of {seconds} s a figure, load average {}", load());
    let mut peers = started(&options.only);
    let trace = Trace::new(units);
    let mut figures = Figures::default();
    let runs = Runs { trace: &trace, lanes, time: Duration::from_secs_f64(seconds), common: options.common };
    for peer in &mut peers {
        let before = peer.memory_bytes();
        runs.load(peer.as_ref());
        peer.settle(&trace);
        let grown = peer.memory_bytes().saturating_sub(before);
        figures.note("bytes of memory a unit, 1 report each", Better::Less, peer.name(), grown as f64 / units as f64);
    }
    runs.load(peers[0].as_ref());
    compare(&peers, &trace);
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}, load average {}", load());
        peers.iter().for_each(|peer| runs.reports(peer.as_ref(), &mut figures));
        peers.iter().for_each(|peer| runs.questions(peer.as_ref(), &mut figures));
        runs.both(&peers, &mut figures);
    }
    figures.print();
    figures.print_goals(&goals());
    for (name, counted) in peers.iter().filter_map(|peer| Some((peer.name(), peer.counted()?))) {
        println!("\n{name} counted {counted}");
    }
    println!("\nload average at the end {}", load());
}

/// All that are there; those that are not are named. Muster is first.
fn started(only: &str) -> Vec<Box<dyn Peer>> {
    type Start = fn() -> Started;
    let ours: [(&str, Start); 2] = [("muster", muster::start), ("muster-journal", muster::start_with_journal)];
    let others: [(&str, Start); 4] = [
        ("redis", redis::start),
        ("redis-aof", redis::start_with_file),
        ("tile38", tile38::start),
        ("tile38-aof", tile38::start_with_file),
    ];
    let mut all: Vec<(&str, Started)> = ours.map(|(name, start)| (name, start())).into();
    all.extend(others.into_iter().filter(|(name, _)| name.starts_with(only)).map(|(name, start)| (name, start())));
    if "postgis".starts_with(only) {
        all.extend(["postgis", "postgis-durable"].into_iter().zip(postgis::start()));
    }
    let found = all.into_iter().filter_map(|(name, started)| match started {
        Ok(peer) => Some(peer),
        Err(why) => {
            println!("MISSING {name}: {why}");
            None
        }
    });
    found.collect()
}

/// How many of the ten nearest each server names, everyone being where the trace begins.
fn compare(peers: &[Box<dyn Peer>], trace: &Trace) {
    let questions = COMPARED.min(trace.questions.len());
    let expected: Vec<_> = (0..questions).map(|at| trace.nearest(at)).collect();
    println!("\n| {questions} answers against a plain scan | of 10, in any order | all 10 in order |\n|---|---|---|");
    for peer in peers {
        for style in peer.ask_styles() {
            let mut asker = peer.asker(&style, trace);
            let (mut named, mut equal) = (0, 0);
            for (at, expected) in expected.iter().enumerate() {
                let answer = asker.answer(at);
                named += expected.iter().filter(|unit| answer.contains(unit)).count();
                equal += usize::from(answer == *expected);
            }
            let share = named as f64 / questions as f64;
            println!("| {}, {} | {share:.2} | {equal} of {questions} |", peer.name(), style.label);
        }
    }
}

fn goals() -> Vec<Goal> {
    let goal = |measure: &str, peer, times| Goal { measure: measure.to_owned(), peer, times };
    let mut goals = vec![
        goal(runs::REPORTS, "redis,", 10.0),
        goal(runs::REPORTS, "tile38,", 20.0),
        goal(runs::REPORTS, "postgis,", 100.0),
        goal(runs::PIPELINED, "redis, 1 km", 50.0),
        goal(runs::PIPELINED, "redis, luckiest", 5.0),
        goal(runs::PIPELINED, "tile38,", 10.0),
        goal(runs::PIPELINED, "postgis,", 20.0),
    ];
    let held = [("redis", 20.0), ("tile38", 50.0), ("postgis", 100.0)];
    goals.extend(held.map(|(peer, times)| goal(&runs::p99_at_maximum(peer), peer, times)));
    goals
}

/// The system's figures of 1, 5 and 15 minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
