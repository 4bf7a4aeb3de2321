//! What a report costs for the zones: the index, boxes in an R-tree, H3 cells, a look at every zone, in interleaved rounds.
//!
//! `cargo bench -p muster-benches --bench zones -- --rounds 3 --units 10000 --zones 20000`: fewer rounds, another fleet, only
//! that many zones.

mod peers;

use std::hint::black_box;

use geodesy::Tile;
use index::{Beyond, ZoneIndex};
use model::{Position, ZoneHandle};
use muster_benches::{Fleet, Ground, Options, Rounds, Spread, on_core, timed};
use peers::{Boxes, Cells, Finder, Scan};

/// Reports of each unit in a round.
const SECONDS: usize = 20;
/// A look at all zones of a heap takes milliseconds: it is done for so many reports.
const SCANNED: usize = 200;
/// Answers are compared at so many places first.
const COMPARED: usize = 300;

const GROUNDS: [Ground; 6] = [
    Ground::None,
    Ground::City,
    Ground::Province(20_000),
    Ground::Crowded(20_000),
    Ground::Province(100_000),
    Ground::Crowded(100_000),
];

/// All structures over the same zones.
struct Stand {
    title: String,
    index: ZoneIndex,
    peers: Vec<(&'static str, Box<dyn Finder>)>,
    scan: Scan,
    /// By unit: the zones it is in, and where it need not be asked about.
    settled: Vec<Vec<ZoneHandle>>,
    tiles: Vec<Tile>,
}

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let options = Options::read(10_000);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average at the start: {}", load.trim());
    let (mut fleet, mut rounds) = (Fleet::new(42, options.units, Spread::Clustered), Rounds::default());
    let grounds = GROUNDS.into_iter().map(|ground| (ground, ground.entries()));
    let grounds = grounds.filter(|(_, entries)| options.zones.is_none_or(|zones| zones == entries.len()));
    let mut stands: Vec<Stand> = grounds.map(|(ground, entries)| stand(ground, entries, &fleet, &mut rounds)).collect();
    for _ in 0..options.rounds {
        let reports: Vec<(u32, Position)> = fleet.reports(options.units * SECONDS);
        for stand in &mut stands {
            measure(stand, &reports, &mut rounds);
        }
    }
    rounds.print(&format!("{} units in the city", options.units));
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux says what a process holds");
    let pages = text.split(' ').nth(1).and_then(|word| word.parse::<usize>().ok());
    pages.expect("the second word is a number") * 4_096
}

/// Builds everything, says what the index weighs, and compares answers.
fn stand(ground: Ground, entries: Vec<index::ZoneEntry>, fleet: &Fleet, rounds: &mut Rounds) -> Stand {
    let (title, zones) = (ground.title(), entries.len().max(1) as f64);
    let (before, began) = (resident_bytes(), on_core());
    let index = ZoneIndex::of(entries.clone());
    rounds.note(&format!("{title}: load, index, ms"), (on_core() - began).as_secs_f64() * 1e3);
    let resident = resident_bytes().saturating_sub(before) as f64;
    if !entries.is_empty() {
        rounds.note(&format!("{title}: index, bytes a zone without its area"), index.bytes() as f64 / zones);
        rounds.note(&format!("{title}: index, resident bytes a zone while and after it is built"), resident / zones);
    }
    let began = on_core();
    let boxes = Boxes::of(&entries);
    rounds.note(&format!("{title}: load, boxes, ms"), (on_core() - began).as_secs_f64() * 1e3);
    let began = on_core();
    let cells = Cells::of(&entries);
    rounds.note(&format!("{title}: load, cells, ms"), (on_core() - began).as_secs_f64() * 1e3);
    rounds.note(&format!("{title}: cells a zone"), cells.notes() as f64 / zones);
    let peers: Vec<(&'static str, Box<dyn Finder>)> = vec![("boxes", Box::new(boxes)), ("cells", Box::new(cells))];
    let scan = Scan(entries);
    let (mut wanted, mut found) = (Vec::new(), Vec::new());
    for place in fleet.places.iter().take(COMPARED) {
        scan.holding(*place, &mut wanted);
        index.holding(*place, &mut found);
        assert_eq!(found, wanted, "{title}, the index, {place}");
        for (name, peer) in &peers {
            peer.holding(*place, &mut found);
            found.sort_unstable();
            assert_eq!(found, wanted, "{title}, {name}, {place}");
        }
    }
    let mut settled = Vec::new();
    for place in &fleet.places {
        index.holding(*place, &mut found);
        settled.push(found.clone());
    }
    let nowhere = Tile { south: 1, north: 0, west: 1, east: 0 };
    Stand { title, index, peers, scan, settled, tiles: vec![nowhere; fleet.places.len()] }
}

fn measure(stand: &mut Stand, reports: &[(u32, Position)], rounds: &mut Rounds) {
    let title = &stand.title;
    let (mut asks, mut changes) = (0, 0);
    let Stand { index, settled, tiles, .. } = stand;
    let mut beyond = Vec::new();
    let ns = timed(reports.len(), || {
        for (unit, place) in reports {
            let unit = *unit as usize;
            if tiles[unit].contains(*place) {
                continue;
            }
            asks += 1;
            tiles[unit] = index.observe(*place, &settled[unit], &mut beyond);
            changes += beyond.len();
            settle(&mut settled[unit], &beyond);
        }
    });
    rounds.note(&format!("{title}: a report, index, ns"), ns);
    rounds.note(&format!("{title}: asks a report"), asks as f64 / reports.len() as f64);
    rounds.note(&format!("{title}: crossings a thousand reports"), changes as f64 * 1e3 / reports.len() as f64);
    let observed = timed(reports.len(), || {
        for (unit, place) in reports {
            black_box(index.observe(*place, &settled[*unit as usize], &mut beyond));
        }
    });
    rounds.note(&format!("{title}: observe, index, ns"), observed);
    let mut found = Vec::new();
    let holding = timed(reports.len(), || {
        for (_, place) in reports {
            index.holding(*place, &mut found);
            black_box(&found);
        }
    });
    rounds.note(&format!("{title}: holding, index, ns"), holding);
    for (name, peer) in &stand.peers {
        let holding = timed(reports.len(), || {
            for (_, place) in reports {
                peer.holding(*place, &mut found);
                black_box(&found);
            }
        });
        rounds.note(&format!("{title}: holding, {name}, ns"), holding);
    }
    let scanned = &reports[..SCANNED.min(reports.len())];
    let holding = timed(scanned.len(), || {
        for (_, place) in scanned {
            stand.scan.holding(*place, &mut found);
            black_box(&found);
        }
    });
    rounds.note(&format!("{title}: holding, every zone asked, ns"), holding);
}

/// A unit that is beyond a margin has crossed at once.
fn settle(settled: &mut Vec<ZoneHandle>, beyond: &[Beyond]) {
    for one in beyond {
        match settled.binary_search(&one.zone) {
            Ok(at) => drop(settled.remove(at)),
            Err(at) => settled.insert(at, one.zone),
        }
    }
}
