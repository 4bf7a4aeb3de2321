//! How far shown places are from the true ones, and how often a wrong unit is named, with the troubles of the field: Markdown rows
//! for `docs/honesty.md`. A simulated clock, one seed, nothing timed. `-- --units 5000` takes a smaller city.

use muster_benches::honesty::{Run, Troubles, measure, names_rows, places_rows, summary_rows};
use simulate::{Forces, UNITS};

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--units").skip(1);
    let units = arguments.next().map_or(UNITS, |text| text.parse().expect("--units is followed by a number"));
    let forces = Forces::new(42, units);
    let (none, all) = (Troubles::NONE, Troubles::ALL);
    let cases = [
        ("cadences and delays alone", none),
        ("2 of 10 minutes without a fix: 10 % of units", Troubles { no_fix: all.no_fix, ..none }),
        ("3 of 10 minutes without network, then the backlog: 10 %", Troubles { backlog: all.backlog, ..none }),
        ("silent for good: 3 %", Troubles { silent: all.silent, ..none }),
        ("1 of 20 reports 2 to 20 km off: 3 %", Troubles { jumps: all.jumps, ..none }),
        ("radio alone, once a minute: 10 % of officers", Troubles { radio_only: all.radio_only, ..none }),
        ("radio left in a car: 5 % of officers", Troubles { radio_left: all.radio_left, ..none }),
        ("terminal left in a car: 5 % of officers", Troubles { terminal_left: all.terminal_left, ..none }),
        ("all of it", all),
    ];
    let mut outcomes = Vec::new();
    for (title, troubles) in cases {
        let outcome = measure(&forces, &Run::WHOLE, &troubles);
        println!("\n### {title}\n\n{} units, {} reports heard\n", forces.units(), outcome.reports);
        if troubles == none || troubles == all {
            println!("{}", places_rows(&outcome));
        }
        println!("{}", names_rows(&outcome));
        outcomes.push((title, outcome));
    }
    println!("\n### All of them beside each other\n\n{}", summary_rows(&outcomes));
}
