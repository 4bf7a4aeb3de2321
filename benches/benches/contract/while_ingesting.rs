//! Nearest questions at a fixed rate, idle and while reports come in at 70 % of the most that is acknowledged.

use std::time::Duration;

use muster_benches::Rounds;
use muster_benches::pipe::{Feed, Pace, side_by_side};
use muster_benches::served::Journal;
use muster_benches::trace::Trace;

use crate::{Bench, Options};

const SHARE: f64 = 0.7;
const GOAL: f64 = 1.5;
/// As long as a run of questions needs with its warm-up, and a little more.
const BESIDE: Duration = Duration::from_millis(700);

pub(crate) fn run(options: &Options, trace: &Trace) {
    let mut rounds = Rounds::default();
    let mut benches = [(Journal::Off, "no journal"), (Journal::On, "journal")]
        .map(|(journal, name)| (Bench::start(options, trace, journal), name));
    for round in 0..options.rounds {
        for (bench, name) in &mut benches {
            let most = bench.most();
            rounds.note(&format!("{name}, most reports/s"), most);
            // Who goes first changes, so that a machine that slows down does not spoil one of them.
            for is_idle in [round % 2 == 0, round % 2 != 0] {
                if is_idle {
                    bench.freshen();
                    let seen = bench.ask(&format!("{name}, idle"), options.rate, &mut rounds);
                    rounds.note(
                        &format!("{name}, idle, questions not kept"),
                        (seen.asked.planned - seen.asked.kept) as f64,
                    );
                } else {
                    bench.beside(name, SHARE * most, &mut rounds);
                }
            }
        }
        eprintln!("round {} of {}, load average {}", round + 1, options.rounds, crate::load());
    }
    rounds.print(&format!(
        "nearest-10 at {}/s of {} units, 70 % of the most reports beside them",
        options.rate, options.units
    ));
    println!("\n| ratio, calculated round by round | median | least - most | goal | |\n|---|---|---|---|---|");
    for (_, name) in &benches {
        let figure = |when: &str, figure: &str| format!("{name}, {when}, {figure}");
        for share in ["p50, us", "p99, us", "p99.9, us", "p99 of the server's own histogram, us"] {
            let what = format!("{name}: {share}, ingesting / idle");
            rounds.print_ratio(&what, &figure("ingesting", share), &figure("idle", share), GOAL);
        }
    }
}

impl Bench<'_> {
    /// The most reports a second that are acknowledged, closed loop.
    fn most(&mut self) -> f64 {
        let time = self.options.time / 2;
        let fed = side_by_side(self.feeds.iter_mut().collect(), |feed: &mut Feed| feed.run(Pace::FlatOut, time));
        fed.iter().map(|(reports, time)| *reports as f64 / time.as_secs_f64()).sum()
    }

    /// Questions while reports come in at `rate`.
    fn beside(&mut self, name: &str, rate: f64, rounds: &mut Rounds) {
        let (time, mut feeds) = (self.options.time + BESIDE, std::mem::take(&mut self.feeds));
        let pace = Pace::PerSecond(rate / feeds.len() as f64);
        let bench = &*self;
        let reached: f64 = std::thread::scope(|scope| {
            let fed = scope.spawn(|| side_by_side(feeds.iter_mut().collect(), |feed: &mut Feed| feed.run(pace, time)));
            let seen = bench.ask(&format!("{name}, ingesting"), bench.options.rate, rounds);
            rounds
                .note(&format!("{name}, ingesting, questions not kept"), (seen.asked.planned - seen.asked.kept) as f64);
            let fed = fed.join().expect("the feeds end well");
            fed.iter().map(|(reports, time)| *reports as f64 / time.as_secs_f64()).sum()
        });
        rounds.note(&format!("{name}, ingesting, % of the wanted reports"), 100.0 * reached / rate);
        self.feeds = feeds;
    }
}
