//! The index beside its peers and its floors, in interleaved rounds of one run.
//!
//! `cargo bench -p muster-benches --bench index -- --units 100000 --only nearest`: a part. Parts: update nearest filter disc
//! polygon memory floors concurrent.

mod concurrent;
mod ours;
mod single;
mod weight;

use muster_benches::{Rounds, Spread};

/// Fleets without `--units`.
const FLEETS: [usize; 3] = [10_000, 100_000, 1_000_000];

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    fleets: Vec<usize>,
    spreads: Vec<Spread>,
    only: Option<String>,
    rounds: usize,
    /// Only build this structure and say what it weighs; the bench starts itself for that.
    weigh: Option<String>,
}

impl Options {
    fn read() -> Self {
        let mut options =
            Self { fleets: FLEETS.into(), spreads: Spread::ALL.into(), only: None, rounds: 7, weigh: None };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("`{word}` needs a value"));
            let number = || value.parse().unwrap_or_else(|_| panic!("`{word} {value}`: not a number"));
            match word.as_str() {
                "--units" => options.fleets = vec![number()],
                "--rounds" => options.rounds = number(),
                "--spread" => options.spreads.retain(|spread| spread.as_str() == value),
                "--only" => options.only = Some(value),
                "--weigh" => options.weigh = Some(value),
                _ => panic!("`{word}` is not known; known are --units --spread --only --rounds --weigh"),
            }
        }
        assert!(options.rounds > 0 && !options.spreads.is_empty(), "nothing is left to be measured");
        options
    }

    fn has(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }
}

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let options = Options::read();
    if let Some(what) = &options.weigh {
        return weight::print(what, options.fleets[0], options.spreads[0]);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average at the start: {}", load.trim());
    for units in &options.fleets {
        for spread in &options.spreads {
            let mut rounds = Rounds::default();
            single::measure(&options, *units, *spread, &mut rounds);
            if options.has("concurrent") {
                concurrent::measure(&options, *units, *spread, &mut rounds);
            }
            if options.has("memory") {
                weight::measure(*units, *spread, &mut rounds);
            }
            rounds.print(&format!("{units} units, {}", spread.as_str()));
            print_goals(&rounds);
        }
    }
}

/// Peers are the tree of f32 points with 16 children, which is the faster one, and the grid.
fn print_goals(rounds: &Rounds) {
    println!("\n| ratio, round by round | median | least - most | goal | |\n|---|---|---|---|---|");
    let ratio = |what: &str, above, below, goal| rounds.print_ratio(what, above, below, goal);
    ratio("apply / floor of changing a line", "update, ours, ns", "floor: change a random line ahead, ns", 3.0);
    ratio("update / point tree", "update, ours, ns", "update, point tree f32, ns", 1.0 / 25.0);
    ratio("update / point tree as the library has it", "update, ours, ns", "update, point tree f64, ns", 1.0 / 25.0);
    ratio("update / grid", "update, ours, ns", "update, grid, ns", 1.3);
    for (name, figure) in [("bare", "nearest-10, ours, bare, ns"), ("whole", "nearest-10, ours, whole query, ns")] {
        ratio(&format!("nearest-10 {name} / point tree"), figure, "nearest-10, point tree f32, ns", 1.0 / 1.5);
        ratio(&format!("nearest-10 {name} / grid"), figure, "nearest-10, grid, ns", 1.2);
        ratio(&format!("nearest-10 {name} / packed, frozen"), figure, "nearest-10, packed, frozen, ns", 1.0);
    }
    ratio("bytes a unit / 256", "memory, ours, bytes a unit", "memory, the goal, bytes a unit", 1.0);
}
