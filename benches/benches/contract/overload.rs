//! Questions at 80 % and at 200 % of the most that is answered.

use muster_benches::Rounds;
use muster_benches::served::Journal;
use muster_benches::trace::Trace;

use crate::{Bench, Options, Seen, asking};

/// Where the ramp begins, in questions a second, and how much steeper each step is.
const FIRST: f64 = 8_000.0;
const STEP: f64 = 1.25;
/// The ramp ends after so many steps that bring no more than this.
const STEPS_IN_VAIN: usize = 2;
const MORE: f64 = 1.02;
const P99_GOAL: f64 = 1.5;
const GOODPUT_GOAL: f64 = 0.9;

pub(crate) fn run(options: &Options, trace: &Trace) {
    let mut rounds = Rounds::default();
    let mut bench = Bench::start(options, trace, Journal::Off);
    for round in 0..options.rounds {
        let peak = bench.peak(options);
        rounds.note("peak, kept/s", peak);
        let calm = bench.at("at 80 %", 0.8 * peak, &mut rounds);
        let flood = bench.at("at 200 %", 2.0 * peak, &mut rounds);
        // What a kept one costs at 80 % it is taken to cost at 200 % too; the rest of the time goes to the others.
        let kept_us = calm.cpu_s * 1e6 / calm.asked.planned as f64;
        let others = (flood.asked.planned - flood.asked.kept) as f64;
        let rest_us = flood.cpu_s * 1e6 - kept_us * flood.asked.kept as f64;
        rounds.note("server's CPU us a kept question at 80 %", kept_us);
        rounds.note("server's CPU us a question that was not kept at 200 %", rest_us / others.max(1.0));
        eprintln!("round {} of {}, load average {}", round + 1, options.rounds, crate::load());
    }
    rounds.print(&format!(
        "nearest-10 of {} units, of the peak of kept answers, {} streams",
        options.units, options.streams
    ));
    println!("\n| ratio, calculated round by round | median | least - most | goal | |\n|---|---|---|---|---|");
    for (what, figure) in [
        ("p99 of kept from the planned time, 200 % / 80 %", "p99, us"),
        ("p99 of kept from the sending, 200 % / 80 %", "p99 from the sending, us"),
        ("p99 of the server's own histogram, 200 % / 80 %", "p99 of the server's own histogram, us"),
    ] {
        rounds.print_ratio(what, &format!("at 200 %, {figure}"), &format!("at 80 %, {figure}"), P99_GOAL);
    }
    rounds.print_ratio("peak / kept at 200 % (goodput 90 %)", "peak, kept/s", "at 200 %, kept/s", 1.0 / GOODPUT_GOAL);
}

impl Bench<'_> {
    /// The most answers a second, of a ramp of rates.
    fn peak(&mut self, options: &Options) -> f64 {
        let (mut peak, mut rate, mut in_vain) = (0.0, FIRST, 0);
        let time = options.time / 4;
        while in_vain < STEPS_IN_VAIN {
            self.freshen();
            let asked = asking::ask(self.served.grpc, &self.questions, options.streams, rate, time);
            let kept = asked.kept as f64 / time.as_secs_f64();
            in_vain = if kept > MORE * peak { 0 } else { in_vain + 1 };
            peak = kept.max(peak);
            rate *= STEP;
        }
        peak
    }

    fn at(&mut self, what: &str, rate: f64, rounds: &mut Rounds) -> Seen {
        self.freshen();
        let time_s = self.options.time.as_secs_f64();
        let seen = self.ask(what, rate, rounds);
        let asked = &seen.asked;
        let counts = [
            ("kept/s", asked.kept),
            ("refused/s", asked.refused),
            ("out of time/s", asked.out_of_time),
            ("lost/s", asked.lost()),
        ];
        for (name, count) in counts {
            rounds.note(&format!("{what}, {name}"), count as f64 / time_s);
        }
        let [refused, out_of_time] = seen.unanswered;
        rounds.note(
            &format!("{what}, the server counted refused and out of time, all of the run"),
            refused + out_of_time,
        );
        seen
    }
}
