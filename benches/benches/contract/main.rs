//! What the latency contract is worth: nearest questions while reports come in at 70 % of the maximum, and questions at twice of
//! what the server can answer. The server is a child on loopback and shares the cores with the generator.
//!
//! `cargo bench -p muster-benches --bench contract -- --rounds 5 --seconds 4 --only overload`.

mod asking;
mod overload;
mod stream;
mod view;
mod while_ingesting;

use std::time::Duration;

use muster_benches::pipe::Feed;
use muster_benches::served::{Journal, Served, question};
use muster_benches::trace::Trace;
use muster_benches::{Rounds, quantile};

use asking::Asked;
use view::View;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    units: usize,
    rounds: usize,
    /// Of each run of questions.
    time: Duration,
    /// Connections that report.
    lanes: usize,
    /// Connections that ask.
    streams: usize,
    /// Questions a second while reports come in.
    rate: f64,
    only: String,
}

impl Options {
    fn read() -> Self {
        let (time, only) = (Duration::from_secs(4), String::new());
        let mut options = Self { units: 100_000, rounds: 5, time, lanes: 2, streams: 8, rate: 2_000.0, only };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("`{word}` needs a value"));
            let number = || value.parse::<f64>().unwrap_or_else(|_| panic!("`{word} {value}`: not a number"));
            match word.as_str() {
                "--units" => options.units = number() as usize,
                "--rounds" => options.rounds = number() as usize,
                "--seconds" => options.time = Duration::from_secs_f64(number()),
                "--connections" => options.lanes = number() as usize,
                "--streams" => options.streams = number() as usize,
                "--rate" => options.rate = number(),
                "--only" => options.only = value,
                _ => panic!(
                    "`{word}` is not known; known are --units --rounds --seconds --connections --streams --rate --only"
                ),
            }
        }
        assert!(options.rounds > 0 && options.lanes > 0 && options.streams > 0, "nothing is left to be measured");
        assert!(options.units >= 1_000 * options.lanes, "`--units`: at least 1,000 a connection");
        options
    }

    fn has(&self, table: &str) -> bool {
        table.starts_with(&self.only)
    }
}

/// A server with its journal or without, those who report to it, and what it is asked.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    served: Served,
    feeds: Vec<Feed>,
    questions: Vec<Vec<u8>>,
}

impl<'a> Bench<'a> {
    const REPORTS: usize = 100;
    const WINDOW: usize = 64;

    fn start(options: &'a Options, trace: &Trace, journal: Journal) -> Self {
        let served = Served::start(journal).unwrap_or_else(|why| panic!("{why}"));
        let lanes = options.lanes;
        let feed = |lane| served.feed(Self::REPORTS, Self::WINDOW, lane, &trace.reports(lane, lanes));
        let feeds = (0..lanes).map(feed).collect();
        let questions = trace.questions.iter().map(|at| question(*at)).collect();
        let mut bench = Self { options, feeds, questions, served };
        // Putting a unit on the map for the first time costs more than any report after it.
        bench.freshen();
        bench
    }

    /// Lets everybody report, so that nobody is out of contact.
    fn freshen(&mut self) {
        self.feeds.iter_mut().for_each(Feed::run_once);
    }

    /// Asks at `rate`, and notes what came of it under `what`.
    fn ask(&self, what: &str, rate: f64, rounds: &mut Rounds) -> Seen {
        let Options { streams, time, .. } = *self.options;
        let (view, used) = (View::of(&self.served), self.served.process.on_core());
        let mut asked = asking::ask(self.served.grpc, &self.questions, streams, rate, time);
        let cpu_s = (self.served.process.on_core() - used).as_secs_f64();
        let after = View::of(&self.served);
        assert!(asked.kept > 0, "{what}: no question was answered");
        let mut note = |figure: &str, value| rounds.note(&format!("{what}, {figure}"), value);
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            note(&format!("{name}, us"), quantile(&mut asked.times_us, share));
        }
        note("p99 from the sending, us", quantile(&mut asked.since_sent_us, 0.99));
        note("p50 of the server's own histogram, us", after.quantile_us(&view, 0.5));
        note("p99 of the server's own histogram, us", after.quantile_us(&view, 0.99));
        note("p99 of the generator's lag, us", quantile(&mut asked.lag_us, 0.99));
        note("generator, % of a core", 100.0 * asked.core_share);
        let unanswered = after.unanswered(&view);
        Seen { asked, cpu_s, unanswered }
    }
}

/// A run of questions, and what it cost the server.
pub(crate) struct Seen {
    asked: Asked,
    cpu_s: f64,
    /// Refused and out of time as the server counted them, those of the warm-up too.
    unanswered: [f64; 2],
}

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let options = Options::read();
    println!("{options:?}, load average {}", load());
    let trace = Trace::new(options.units);
    if options.has("ingest") {
        while_ingesting::run(&options, &trace);
    }
    if options.has("overload") {
        overload::run(&options, &trace);
    }
    println!("\nload average at the end {}", load());
}

/// The system's figures of 1, 5 and 15 minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
