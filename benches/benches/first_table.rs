//! The first table: ns per decode by protocol, per update and per nearest-10 at 10k, 100k and 1M units,
//! plain `rstar` beside it in the same run. Rounds of the two are interleaved; medians and extremes are printed.

use std::hint::black_box;
use std::time::Instant;

use index::{Change, Fix, LiveIndex, UnitTraits};
use model::{DeviceHandle, Flags, Position, TimeBasis, Timestamp, UnitHandle, UnitName};
use prost::Message as _;
use query::{Deadline, Names, NearestAsk};
use testkit::{Seeded, Shape, seeded_fleet};
use wire::{Context, Decoded, proto};

const ROUNDS: usize = 7;
const QUERIES: usize = 2_000;

struct Numbers;

impl Names for Numbers {
    fn name(&self, unit: UnitHandle) -> UnitName {
        UnitName::new(&format!("{:08}", unit.0)).expect("digits are a name")
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000).expect("a time of this century")
}

fn change(unit: u32, position: Position) -> Change {
    let fix = Fix {
        position,
        time: now(),
        received: now(),
        source: DeviceHandle(unit),
        time_basis: TimeBasis::Gnss,
        speed_mps: None,
        course_deg: None,
        altitude: None,
        accuracy_m: None,
        accuracy_basis: None,
        flags: Flags::default(),
    };
    Change::Place { unit: UnitHandle(unit), fix, contact: now(), interval_ms: Some(5_000) }
}

/// Ten metres in some direction, as a unit goes in a second.
fn step(position: Position, random: &mut Seeded) -> Position {
    let mut moved = |e7: i32| e7 + random.between(-1_000.0, 1_000.0) as i32;
    Position::from_e7(moved(position.lat_e7()), moved(position.lon_e7())).unwrap_or(position)
}

/// Nanoseconds a piece, for `pieces` pieces of work.
fn timed(pieces: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_nanos() as f64 / pieces as f64
}

fn print(what: &str, mut rounds: Vec<f64>) {
    rounds.sort_by(f64::total_cmp);
    println!("| {what} | {:.0} | {:.0} - {:.0} |", rounds[rounds.len() / 2], rounds[0], rounds[rounds.len() - 1]);
}

fn decode(name: &str, frame: &[u8], reports: usize) {
    let protocol = wire::protocol(name).expect("the protocol is in the list");
    let mut decoder = (protocol.decoder)();
    let (mut decoded, context) = (Decoded::default(), Context { received: now() });
    let repeat = 200_000 / reports;
    let round = |_| {
        timed(repeat * reports, || {
            for _ in 0..repeat {
                decoded.clear();
                decoder.decode(black_box(frame), &context, &mut decoded).expect("the frame is good");
                assert_eq!(decoded.reports.len(), reports);
            }
        })
    };
    let rounds = (0..ROUNDS).map(round).collect();
    print(&format!("decode {name}, {reports} a frame, ns a report"), rounds);
}

fn decoders() {
    let hex = "0200002e0138001380007d027d0100000001000c00030260f55c06f015bc00340265010f26112314253001040000303925040000000030011931011a78";
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let jt808: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    decode("jt808", &jt808, 1);
    decode("nmea", b"$GPRMC,064411.000,A,3717.240078,N,00603.046984,W,0.000,1,010313,,,A*6C", 1);
    decode("taip", b">RPV15714+3739438-1220384601512612;ID=1234;*7F<", 1);
    let report = |number: usize| proto::Report {
        device: format!("tetra-lip:{number}"),
        time_ms: Some(1_795_000_000_000),
        lat_e7: 228_170_000,
        lon_e7: 1_083_660_000,
        speed_mps: Some(3.0),
        accuracy_m: Some(10.0),
        ..Default::default()
    };
    let batch = proto::ReportBatch { batch_sequence: 1, reports: (0..100).map(report).collect() };
    let up = proto::GatewayUp { gateway: "g".into(), payload: Some(proto::gateway_up::Payload::Reports(batch)) };
    decode("muster", &up.encode_to_vec(), 100);
}

fn indexes(units: usize) {
    let mut places = seeded_fleet(42, units, Shape::City);
    let ours = LiveIndex::new();
    let all: Vec<_> = (0u32..).zip(&places).map(|(unit, place)| change(unit, *place)).collect();
    (0..units as u32).for_each(|unit| ours.enrol(UnitHandle(unit), UnitTraits::default()));
    ours.apply(&all);
    let flat = |place: &Position| [place.lat_deg(), place.lon_deg()];
    let mut plain = rstar::RTree::bulk_load(places.iter().map(flat).collect());
    let mut random = Seeded::new(7);
    let (mut our_updates, mut plain_updates, mut our_asks, mut plain_asks) = (vec![], vec![], vec![], vec![]);
    let some = units.min(100_000);
    for _ in 0..ROUNDS {
        let picks: Vec<usize> = (0..some).map(|_| (random.next() % units as u64) as usize).collect();
        let steps: Vec<_> = picks.iter().map(|at| (*at, places[*at], step(places[*at], &mut random))).collect();
        let changes: Vec<_> = steps.iter().map(|(at, _, to)| change(*at as u32, *to)).collect();
        our_updates.push(timed(some, || ours.apply(&changes)));
        let mut moved = 0;
        plain_updates.push(timed(some, || {
            for (_, from, to) in &steps {
                moved += usize::from(plain.remove(&flat(from)).is_some());
                plain.insert(flat(to));
            }
        }));
        // A unit that was picked twice is found at its first place only once.
        assert!(moved > some / 3);
        steps.iter().for_each(|(at, _, to)| places[*at] = *to);
        let asks: Vec<_> = (0..QUERIES).map(|_| Shape::City.place(&mut random)).collect();
        our_asks.push(timed(QUERIES, || {
            for at in &asks {
                let answer = query::nearest(&ours, &NearestAsk::new(*at), &Numbers, now(), &Deadline::never());
                assert_eq!(answer.map(|answer| answer.found.len()), Ok(10));
            }
        }));
        plain_asks.push(timed(QUERIES, || {
            for at in &asks {
                assert_eq!(plain.nearest_neighbor_iter(flat(at)).take(10).count(), 10);
            }
        }));
    }
    print(&format!("update, {units} units, ns"), our_updates);
    print(&format!("update in plain rstar, {units} units, ns"), plain_updates);
    print(&format!("nearest-10, {units} units, geodesic, with ages and omitted, ns"), our_asks);
    print(&format!("nearest-10 in plain rstar, {units} units, by degrees, ns"), plain_asks);
}

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| what | median | least - most of {ROUNDS} rounds |\n|---|---|---|");
    decoders();
    [10_000, 100_000, 1_000_000].into_iter().for_each(indexes);
}
