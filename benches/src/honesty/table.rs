use simulate::Force;

use super::{Map, Outcome};

/// How maps are called in tables.
const fn title(map: Map) -> &'static str {
    match map {
        Map::Truth => "truth",
        Map::Noise => "floor: noise of the receiver alone",
        Map::NewestTrue => "newest true fix that has come",
        Map::Muster => "**Muster**",
        Map::Freshest => "Muster, freshest device speaks",
        Map::StaleAmong => "Muster, stale ranked among fresh",
        Map::CarriedOn => "Muster, carried on by speed and course",
        Map::LastReceived => "last report received wins",
    }
}

/// Markdown rows: metres between shown and true place, p50 / p95 / p99, a row for each force.
#[must_use]
pub fn places_rows(outcome: &Outcome) -> String {
    const MAPS: [Map; 4] = [Map::Noise, Map::NewestTrue, Map::Muster, Map::LastReceived];
    let mut rows = String::from("| metres, p50 / p95 / p99 |");
    rows.extend(MAPS.map(|map| format!(" {} |", title(map))));
    rows += " Muster, not stale | share of looks |\n|---|---|---|---|---|---|---|\n";
    for force in Force::ALL {
        let three = |error_m: &dyn Fn(f64) -> f32| {
            let [a, b, c] = [0.50, 0.95, 0.99].map(error_m);
            format!(" {a:.0} / {b:.0} / {c:.0} |")
        };
        rows += &format!("| {} |", force.title());
        rows.extend(MAPS.map(|map| three(&|share| outcome.places(map).error_m(force, share))));
        let muster = outcome.places(Map::Muster);
        rows += &three(&|share| muster.fresh_error_m(force, share));
        rows += &format!(" {:.1} % |\n", 100.0 * muster.fresh_share(force));
    }
    rows
}

/// Markdown rows: of the first name, how often it is wrong, how often by over 100 m, and how much farther it is on average; a row for
/// each case.
#[must_use]
pub fn summary_rows(cases: &[(&str, Outcome)]) -> String {
    const MAPS: [Map; 6] =
        [Map::NewestTrue, Map::Muster, Map::Freshest, Map::StaleAmong, Map::CarriedOn, Map::LastReceived];
    let mut rows = String::from("| first name: wrong / by over 100 m / mean metres too far |");
    rows.extend(MAPS.map(|map| format!(" {} |", title(map))));
    rows += "\n|---|---|---|---|---|---|---|\n";
    for (case, outcome) in cases {
        rows += &format!("| {case} |");
        rows.extend(MAPS.map(|map| {
            let names = outcome.names(map);
            let share = |count: u64| 100.0 * count as f64 / (names.asked as f64).max(1.0);
            let extra_m = names.extra_m_mean();
            format!(" {:.1} % / {:.1} % / {extra_m:.0} |", share(names.wrong_first), share(names.far_first))
        }));
        rows.push('\n');
    }
    rows
}

/// Markdown rows: how often a wrong unit is named, a row for each map.
#[must_use]
pub fn names_rows(outcome: &Outcome) -> String {
    let mut rows = String::from(
        "| | first name wrong | by over 100 m | farther than need be, mean / p95, m | first name silent | five: with a wrong name | wrong names of five |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for map in Map::ALL {
        let names = outcome.names(map);
        let share = |count: u64| 100.0 * count as f64 / (names.asked as f64).max(1.0);
        rows += &format!(
            "| {} | {:.1} % | {:.1} % | {:.0} / {:.0} | {:.1} % | {:.1} % | {:.2} |\n",
            title(map),
            share(names.wrong_first),
            share(names.far_first),
            names.extra_m_mean(),
            names.extra_m(0.95),
            share(names.silent_first),
            share(names.wrong_five),
            share(names.wrong_of_five) / 100.0,
        );
    }
    rows
}
