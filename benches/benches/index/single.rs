//! One thread: updates, queries and floors, each round all of them in turn.

use std::hint::black_box;

use geodesy::SHORT_ERROR_M;
use index::{Change, LiveIndex};
use model::Position;
use muster_benches::floors::{self, Memory};
use muster_benches::{Disc, Fleet, Grid, Narrow, Outline, Packed, Plane, PointTree, Rounds, Scan, Spread, Wide, timed};
use query::{NearestAsk, Scope};
use testkit::Seeded;

use crate::Options;
use crate::ours::{self, BATCH, RARE, Roster};

/// Reports of a round.
const REPORTS: usize = 100_000;
const NEAREST: usize = 2_000;
const FILTERED: usize = 500;
const DISCS: usize = 200;
const POLYGONS: usize = 20;
/// Answers that are checked against a scan in each round, before the clock runs.
const CHECKED: usize = 3;
/// What the index keeps of a unit in its table of slots: a line.
const SLOT_BYTES: usize = 64;
const FLOOR_BYTES: usize = 128 << 20;

struct Bench {
    plane: Plane,
    fleet: Fleet,
    ours: LiveIndex,
    names: Roster,
    grid: Grid,
    wide: PointTree<f32, Wide>,
    narrow: PointTree<f64, Narrow>,
    random: Seeded,
}

pub(crate) fn measure(options: &Options, units: usize, spread: Spread, rounds: &mut Rounds) {
    let parts = ["update", "nearest", "filter", "disc", "polygon", "floors"];
    if !parts.iter().any(|part| options.has(part)) {
        return;
    }
    let (plane, fleet) = (Plane::around(Fleet::middle()), Fleet::new(42, units, spread));
    let mut bench = Bench {
        plane,
        ours: ours::index_of(&fleet.places),
        names: Roster::of(units),
        grid: Grid::new(plane, &fleet.places),
        wide: PointTree::new(plane, &fleet.places),
        narrow: PointTree::new(plane, &fleet.places),
        fleet,
        random: Seeded::new(7),
    };
    let mut memory = Memory::new(units * SLOT_BYTES);
    bench.check_ours();
    for _ in 0..options.rounds {
        bench.update(rounds);
        if options.has("update") || options.has("floors") {
            let changes = units.min(REPORTS);
            rounds.note("floor: change a random line ahead, ns", memory.change_ns(changes));
        }
        if options.has("floors") {
            rounds.note("floor: dependent random load, ns", memory.dependent_load_ns(units.min(REPORTS)));
            rounds.note("floor: copy, GB/s", floors::copy_gbps(FLOOR_BYTES));
            rounds.note("floor: receive on loopback, GB/s", floors::receive_gbps(FLOOR_BYTES).expect("loopback works"));
        }
        bench.check_peers();
        if options.has("nearest") {
            bench.nearest(rounds);
        }
        if options.has("filter") {
            bench.filter(rounds);
        }
        if options.has("disc") {
            bench.discs(rounds);
        }
        if options.has("polygon") {
            bench.polygons(rounds);
        }
    }
    bench.check_ours();
}

/// Whether the filtered query asks for `unit`, as a user of a bare structure keeps it: a column by unit.
fn rare(units: usize) -> Vec<bool> {
    (0..units as u32).map(|unit| unit.is_multiple_of(RARE)).collect()
}

impl Bench {
    fn asks(&mut self, count: usize) -> Vec<Position> {
        (0..count).map(|_| self.fleet.ask(&mut self.random)).collect()
    }

    /// The next reports to all four, so that they stay the same fleet.
    fn update(&mut self, rounds: &mut Rounds) {
        let reports = self.fleet.reports(self.fleet.places.len().min(REPORTS));
        let changes: Vec<Change> = reports.iter().map(|(unit, place)| ours::change(*unit, *place)).collect();
        let count = reports.len();
        let ours = timed(count, || changes.chunks(BATCH).for_each(|some| self.ours.apply(some)));
        let grid = timed(count, || reports.iter().for_each(|(unit, place)| self.grid.update(*unit, *place)));
        let wide = timed(count, || reports.iter().for_each(|(unit, place)| self.wide.update(*unit, *place)));
        let narrow = timed(count, || reports.iter().for_each(|(unit, place)| self.narrow.update(*unit, *place)));
        rounds.note("update, ours, ns", ours);
        rounds.note("update, grid, ns", grid);
        rounds.note("update, point tree f32, ns", wide);
        rounds.note("update, point tree f64, ns", narrow);
    }

    /// Ours against the plain scan by geodesic.
    fn check_ours(&mut self) {
        let rows: Vec<(u32, Position)> = (0u32..).zip(self.fleet.places.iter().copied()).collect();
        for at in self.asks(1) {
            let right: Vec<_> = testkit::by_distance(at, &rows).into_iter().take(10).collect();
            let found = ours::nearest(&self.ours, &self.names, &NearestAsk::new(at, Scope::everything()));
            let is_same = |(a, b): (&(u32, f64), &(u32, f64))| a.0 == b.0 && (a.1 - b.1).abs() <= SHORT_ERROR_M;
            assert_eq!(found.len(), right.len());
            assert!(found.iter().zip(&right).all(is_same), "the nearest are those of the scan: {found:?} {right:?}");
        }
    }

    /// The peers against the plain scan in metres.
    fn check_peers(&mut self) {
        let scan = Scan::new(self.plane, &self.fleet.places);
        let packed = Packed::new(self.plane, &self.fleet.places);
        let keep = |unit: u32| unit.is_multiple_of(RARE);
        for at in self.asks(CHECKED) {
            assert!(scan.agrees(at, &self.grid.nearest(at), |_| true));
            assert!(scan.agrees(at, &self.grid.nearest_where(at, keep), keep));
            assert!(scan.agrees(at, &self.wide.nearest(at), |_| true));
            assert!(scan.agrees(at, &self.wide.nearest_where(at, keep), keep));
            assert!(scan.agrees(at, &packed.nearest(at), |_| true));
            let (mut by_grid, mut by_tree) = (Vec::new(), Vec::new());
            let disc = Disc::new(&self.plane, at, 1_000.0);
            self.grid.inside(&disc, &mut by_grid);
            self.wide.inside(&disc, &mut by_tree);
            assert_eq!([by_grid.len(), by_tree.len()], [scan.count(&disc); 2]);
        }
    }

    fn nearest(&mut self, rounds: &mut Rounds) {
        let packed = Packed::new(self.plane, &self.fleet.places);
        let asks = self.asks(NEAREST);
        let mut note = |what: &str, search: &dyn Fn(Position) -> usize| {
            let ns = timed(asks.len(), || asks.iter().for_each(|at| assert_eq!(search(black_box(*at)), 10)));
            rounds.note(&format!("nearest-10, {what}, ns"), ns);
        };
        note("ours, whole query", &|at| {
            ours::nearest(&self.ours, &self.names, &NearestAsk::new(at, Scope::everything())).len()
        });
        note("ours, bare", &|at| black_box(ours::bare_nearest(&self.ours, at)).found().count());
        note("grid", &|at| black_box(self.grid.nearest(at)).found().count());
        note("point tree f32", &|at| black_box(self.wide.nearest(at)).found().count());
        note("point tree f64, library's iterator", &|at| {
            black_box(self.narrow.nearest_by_iterator(at)).found().count()
        });
        note("packed, frozen", &|at| black_box(packed.nearest(at)).found().count());
    }

    fn filter(&mut self, rounds: &mut Rounds) {
        let packed = Packed::new(self.plane, &self.fleet.places);
        let (asks, rare) = (self.asks(FILTERED), rare(self.fleet.places.len()));
        let keep = |unit: u32| rare[unit as usize];
        let mut note = |what: &str, search: &dyn Fn(Position) -> usize| {
            let ns = timed(asks.len(), || asks.iter().for_each(|at| assert_eq!(search(black_box(*at)), 10)));
            rounds.note(&format!("nearest-10 of 5 %, {what}, ns"), ns);
        };
        note("ours, whole query", &|at| ours::nearest(&self.ours, &self.names, &ours::filtered(at)).len());
        note("grid", &|at| black_box(self.grid.nearest_where(at, keep)).found().count());
        note("point tree f32", &|at| black_box(self.wide.nearest_where(at, keep)).found().count());
        note("packed, frozen", &|at| black_box(packed.nearest_where(at, keep)).found().count());
    }

    fn discs(&mut self, rounds: &mut Rounds) {
        let asks = self.asks(DISCS);
        let peers: Vec<_> = asks.iter().map(|at| Disc::new(&self.plane, *at, 1_000.0)).collect();
        let areas: Vec<_> = asks.iter().map(|at| ours::disc(*at, 1_000.0)).collect();
        let (mut ours, mut by_grid, mut by_tree, mut found) = (0, 0, 0, Vec::new());
        let whole = timed(DISCS, || {
            ours = areas.iter().map(|area| ours::within(&self.ours, &self.names, area.clone())).sum();
        });
        rounds.note("disc of 1 km, ours, whole query, us", whole / 1e3);
        let grid = timed(DISCS, || {
            for disc in &peers {
                found.clear();
                self.grid.inside(disc, &mut found);
                by_grid += found.len();
            }
        });
        rounds.note("disc of 1 km, grid, us", grid / 1e3);
        let tree = timed(DISCS, || {
            for disc in &peers {
                found.clear();
                self.wide.inside(disc, &mut found);
                by_tree += found.len();
            }
        });
        rounds.note("disc of 1 km, point tree f32, us", tree / 1e3);
        assert_eq!(by_grid, by_tree, "both found the same");
        assert!(ours > 0 && by_grid > 0, "the discs hold something");
        rounds.note("disc of 1 km, units in it", by_grid as f64 / DISCS as f64);
    }

    fn polygons(&mut self, rounds: &mut Rounds) {
        let corners: Vec<_> = (0..POLYGONS).map(|_| self.fleet.outline(&mut self.random)).collect();
        let peers: Vec<_> = corners.iter().map(|corners| Outline::new(&self.plane, corners)).collect();
        let areas: Vec<_> = corners.iter().map(|corners| ours::polygon(corners)).collect();
        let (mut ours, mut by_grid, mut by_tree, mut found) = (0, 0, 0, Vec::new());
        let whole = timed(POLYGONS, || {
            ours = areas.iter().map(|area| ours::within(&self.ours, &self.names, area.clone())).sum();
        });
        rounds.note("polygon of 20 corners, ours, whole query, us", whole / 1e3);
        let grid = timed(POLYGONS, || {
            for outline in &peers {
                found.clear();
                self.grid.inside(outline, &mut found);
                by_grid += found.len();
            }
        });
        rounds.note("polygon of 20 corners, grid, us", grid / 1e3);
        let tree = timed(POLYGONS, || {
            for outline in &peers {
                found.clear();
                self.wide.inside(outline, &mut found);
                by_tree += found.len();
            }
        });
        rounds.note("polygon of 20 corners, point tree f32, us", tree / 1e3);
        assert_eq!(by_grid, by_tree, "both found the same");
        assert!(ours > 0 && by_grid > 0, "the polygons hold something");
        rounds.note("polygon of 20 corners, units in it", by_grid as f64 / POLYGONS as f64);
    }
}
