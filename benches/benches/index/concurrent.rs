//! One writer and one reader at once: how much each gets done.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use index::Change;
use model::Position;
use muster_benches::{Fleet, Plane, PointTree, Rounds, Spread, Wide};
use parking_lot::RwLock;
use testkit::Seeded;

use crate::Options;
use crate::ours::{self, BATCH};

/// How long one round of one structure lasts.
const LASTS: Duration = Duration::from_millis(300);
const REPORTS: usize = 100_000;
const ASKS: usize = 4_096;

pub(crate) fn measure(options: &Options, units: usize, spread: Spread, rounds: &mut Rounds) {
    let mut fleet = Fleet::new(42, units, spread);
    let ours = ours::index_of(&fleet.places);
    let tree = RwLock::new(PointTree::<f32, Wide>::new(Plane::around(Fleet::middle()), &fleet.places));
    let mut random = Seeded::new(7);
    for _ in 0..options.rounds {
        let before = fleet.places.clone();
        let mut reports = fleet.reports(units.min(REPORTS));
        // There and back, so that units move however often the writer comes round.
        let back: Vec<_> = reports.iter().map(|(unit, _)| (*unit, before[*unit as usize])).collect();
        reports.extend(back);
        let changes: Vec<Change> = reports.iter().map(|(unit, place)| ours::change(*unit, *place)).collect();
        let asks: Vec<Position> = (0..ASKS).map(|_| fleet.ask(&mut random)).collect();
        let search = |at: Position| assert_eq!(black_box(ours::bare_nearest(&ours, at)).found().count(), 10);
        let rates = both(&changes, |some| ours.apply(some), &asks, search);
        note(rounds, "ours", rates);
        let write = |some: &[(u32, Position)]| {
            let mut tree = tree.write();
            some.iter().for_each(|(unit, place)| tree.update(*unit, *place));
        };
        let search = |at: Position| assert_eq!(black_box(tree.read().nearest(at)).found().count(), 10);
        let rates = both(&reports, write, &asks, search);
        note(rounds, "point tree f32 in one lock", rates);
    }
}

fn note(rounds: &mut Rounds, what: &str, [writes, reads]: [f64; 2]) {
    rounds.note(&format!("at once: updates, {what}, thousands/s"), writes / 1e3);
    rounds.note(&format!("at once: nearest-10, {what}, thousands/s"), reads / 1e3);
}

/// Updates and searches a second, with one thread for each, over and over the same reports and asks.
fn both<R: Sync>(
    reports: &[R],
    write: impl Fn(&[R]) + Sync,
    asks: &[Position],
    search: impl Fn(Position) + Sync,
) -> [f64; 2] {
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            for some in reports.chunks(BATCH).cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                write(some);
                written += some.len();
            }
            written as f64 / began.elapsed().as_secs_f64()
        });
        let mut searched = 0;
        for at in asks.iter().cycle() {
            if began.elapsed() >= LASTS {
                break;
            }
            search(*at);
            searched += 1;
        }
        let reads = f64::from(searched) / began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        [writer.join().expect("the writer does not panic"), reads]
    })
}
