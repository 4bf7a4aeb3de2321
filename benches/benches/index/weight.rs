//! Bytes a unit: growth of the resident set of a process that builds one structure and nothing else.

use std::hint::black_box;
use std::process::Command;

use muster_benches::{Fleet, Grid, Narrow, Packed, Plane, PointTree, Rounds, Spread, Wide};

use crate::ours;

const PAGE_BYTES: usize = 4096;
/// Bytes a unit that the index may take.
const GOAL: f64 = 256.0;

/// Builds `what`, and prints bytes a unit: resident, and by calculation where the structure knows it.
pub(crate) fn print(what: &str, units: usize, spread: Spread) {
    let (plane, places) = (Plane::around(Fleet::middle()), Fleet::new(42, units, spread).places);
    let before = resident_bytes();
    let known = match what {
        "ours" => keep(before, units, ours::index_of(&places), |index| Some(index.bytes())),
        "grid" => keep(before, units, Grid::new(plane, &places), |grid| Some(grid.bytes())),
        "packed" => keep(before, units, Packed::new(plane, &places), |packed| Some(packed.bytes())),
        "point tree f32" => keep(before, units, PointTree::<f32, Wide>::new(plane, &places), |_| None),
        "point tree f64" => keep(before, units, PointTree::<f64, Narrow>::new(plane, &places), |_| None),
        _ => panic!("`--weigh {what}` is not known"),
    };
    println!("{known}");
}

/// The figures while `structure` is still there.
fn keep<T>(before: usize, units: usize, structure: T, bytes: impl Fn(&T) -> Option<usize>) -> String {
    let resident = resident_bytes().saturating_sub(before) as f64 / units as f64;
    let known = bytes(black_box(&structure)).map_or(f64::NAN, |bytes| bytes as f64 / units as f64);
    format!("{resident} {known}")
}

/// Starts this program anew for each structure.
pub(crate) fn measure(units: usize, spread: Spread, rounds: &mut Rounds) {
    for what in ["ours", "grid", "packed", "point tree f32", "point tree f64"] {
        let program = std::env::current_exe().expect("a running program has a path");
        let output = Command::new(program)
            .args(["--weigh", what, "--units", &units.to_string(), "--spread", spread.as_str()])
            .output()
            .expect("this program can be started again");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "--weigh {what}: {}", String::from_utf8_lossy(&output.stderr));
        let figures: Vec<f64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        rounds.note(&format!("memory, {what}, bytes a unit"), figures[0]);
        if !figures[1].is_nan() {
            rounds.note(&format!("memory, {what}, by calculation, bytes a unit"), figures[1]);
        }
    }
    rounds.note("memory, the goal, bytes a unit", GOAL);
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux says what a process holds");
    let pages =
        text.split(' ').nth(1).and_then(|word| word.parse::<usize>().ok()).expect("the second word is a number");
    pages * PAGE_BYTES
}
