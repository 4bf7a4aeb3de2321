//! The way of one report, stop by stop: framing, decode, admit, append, apply, nearest, within.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use geodesy::Area;
use index::{Change, Fix, LiveIndex, UnitTraits};
use ingest::{Admission, Admitter, Intake, NotSettled, QueueFull, Setting};
use journal::{Entry, FolderDisk, Segments};
use model::{
    Binding, Clock, DeviceHandle, DeviceId, Disk, Flags, Heard, Position, PositionReport, Press, TimeBasis, Timestamp,
    UnitHandle, UnitName, What,
};
use muster_benches::{Fleet, Spread};
use prost::Message as _;
use query::{Deadline, Names, NearestAsk, Scope, WithinAsk};
use testkit::{ManualClock, Seeded, SimDisk};
use wire::{Context, Cut, Decoded, proto};

const FLEETS: [usize; 3] = [10_000, 100_000, 1_000_000];
/// Reports of one `muster` frame, and of one batch to the journal and the index.
const BATCH: usize = 100;
/// Batches of one pass over a new journal.
const APPENDS: usize = 100;
const SEGMENT_BYTES: u32 = 4 << 20;

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    framing(&mut criterion);
    decode(&mut criterion);
    admit(&mut criterion);
    append(&mut criterion);
    indexes(&mut criterion);
    criterion.final_summary();
}

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000).expect("a time of this century")
}

/// A frame of each protocol as its framing gives it, and how many reports it holds.
fn frames() -> Vec<(&'static str, Vec<u8>, usize)> {
    let hex = "0200002e0138001380007d027d0100000001000c00030260f55c06f015bc00340265010f26112314253001040000303925040000000030011931011a78";
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let report = |number: usize| proto::Report {
        device: format!("tetra-lip:{number}"),
        time_ms: Some(1_795_000_000_000),
        lat_e7: 228_170_000,
        lon_e7: 1_083_660_000,
        speed_mps: Some(3.0),
        accuracy_m: Some(10.0),
        ..Default::default()
    };
    let batch = proto::ReportBatch { batch_sequence: 1, reports: (0..BATCH).map(report).collect() };
    let up = proto::GatewayUp { gateway: "g".into(), payload: Some(proto::gateway_up::Payload::Reports(batch)) };
    vec![
        ("jt808", (0..hex.len()).step_by(2).map(byte).collect(), 1),
        ("nmea", b"$GPRMC,064411.000,A,3717.240078,N,00603.046984,W,0.000,1,010313,,,A*6C".into(), 1),
        ("taip", b">RPV15714+3739438-1220384601512612;ID=1234;*7F<".into(), 1),
        ("muster", up.encode_to_vec(), BATCH),
    ]
}

/// The frame as it goes over a stream.
fn on_stream(protocol: &str, frame: &[u8]) -> Vec<u8> {
    match protocol {
        "jt808" => [b"\x7E", frame, b"\x7E"].concat(),
        "nmea" => [frame, b"\r\n"].concat(),
        "taip" => frame.into(),
        _ => {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(frame.len() as u64, &mut bytes);
            [&bytes, frame].concat()
        }
    }
}

/// Cutting a buffer of frames, length-delimited and by delimiters.
fn framing(criterion: &mut Criterion) {
    const FRAMES: usize = 64;
    let mut group = criterion.benchmark_group("framing");
    for (name, frame, _) in frames() {
        let framing = wire::protocol(name).expect("the protocol is in the list").framing;
        let stream = on_stream(name, &frame).repeat(FRAMES);
        group.throughput(Throughput::Elements(FRAMES as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (mut rest, mut frames) = (black_box(&stream[..]), 0);
                while !rest.is_empty() {
                    let drop = match (framing.cut)(rest, framing.bytes_max) {
                        Cut::Frame { consumed, .. } => {
                            frames += 1;
                            consumed
                        }
                        Cut::Skip { bytes, .. } => bytes,
                        // The closing flag of the last frame may open another.
                        Cut::More => break,
                        Cut::Lost(_) => panic!("the stream holds whole frames"),
                    };
                    rest = &rest[drop..];
                }
                assert_eq!(frames, FRAMES);
            });
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, frame, reports) in frames() {
        let mut decoder = (wire::protocol(name).expect("the protocol is in the list").decoder)();
        let (mut decoded, context) = (Decoded::default(), Context { received: now() });
        group.throughput(Throughput::Elements(reports as u64));
        group.bench_function(BenchmarkId::new(name, reports), |bencher| {
            bencher.iter(|| {
                decoded.clear();
                decoder.decode(black_box(&frame), &context, &mut decoded).expect("the frame is good");
                assert_eq!(decoded.reports.len(), reports);
            });
        });
    }
    group.finish();
}

/// An engine that knows everyone and does nothing.
struct Everyone;

impl Intake for Everyone {
    type Settlement = Ready<Result<(), NotSettled>>;

    fn resolve(&self, _: &DeviceId) -> Option<Binding> {
        Some(Binding { device: DeviceHandle(1), unit: UnitHandle(1) })
    }

    fn generation(&self) -> u32 {
        0
    }

    fn ring(&self, _: Press) {}

    async fn submit(&self, _: Vec<Heard>) -> Result<Self::Settlement, NotSettled> {
        Ok(ready(Ok(())))
    }

    fn try_submit(&self, _: Vec<Heard>) -> Result<Self::Settlement, QueueFull> {
        Ok(ready(Ok(())))
    }
}

fn admit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit");
    for (name, frame, reports) in frames() {
        let mut decoder = (wire::protocol(name).expect("the protocol is in the list").decoder)();
        let mut admitter = Admitter::new(&Setting::of(Arc::new(Everyone), Arc::new(ManualClock::at(now()))), name);
        let mut decoded = || {
            let mut decoded = Decoded::default();
            decoder.decode(&frame, &Context { received: now() }, &mut decoded).expect("the frame is good");
            if decoded.device.is_none() {
                // What its session would know.
                decoded.device = DeviceId::of(name, "1").ok();
            }
            decoded
        };
        let mut admit = |decoded: &mut Decoded| {
            let mut admission = Admission::default();
            admitter.admit(decoded, &[], now(), &mut admission);
            assert_eq!(admission.reports, reports);
            admission
        };
        group.throughput(Throughput::Elements(reports as u64));
        group.bench_function(BenchmarkId::new(name, reports), |bencher| {
            bencher.iter_batched_ref(&mut decoded, &mut admit, BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// Batches into a new journal in memory and in a folder; the sync is another stop, and its floor is in the bench `acks`.
fn append(criterion: &mut Criterion) {
    let mut fleet = Fleet::new(42, BATCH * APPENDS, Spread::Clustered);
    let entries: Vec<Entry> =
        fleet.reports(BATCH * APPENDS).into_iter().map(|(unit, place)| entry(unit, place)).collect();
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(entries.len() as u64)).sample_size(10);
    let in_memory = || log_on(Arc::new(SimDisk::new(42)));
    group.bench_function("in memory", |bencher| {
        bencher.iter_batched(in_memory, |log| append_all(log, &entries), BatchSize::PerIteration);
    });
    let folder = tempfile::tempdir_in(".").expect("the current folder takes a folder");
    let in_folder = || log_on(disk_in(folder.path()));
    group.bench_function("in a folder", |bencher| {
        bencher.iter_batched(in_folder, |log| append_all(log, &entries), BatchSize::PerIteration);
    });
    group.finish();
}

fn entry(unit: u32, place: Position) -> Entry {
    let report = PositionReport {
        time: Some(now()),
        time_basis: TimeBasis::Gnss,
        speed_mps: Some(8.0),
        course_deg: Some(90.0),
        ..PositionReport::at(place)
    };
    let binding = Binding { device: DeviceHandle(unit), unit: UnitHandle(unit) };
    Entry::Heard(Heard { binding, received: now(), what: What::Report(report) })
}

/// A new folder in `parent` for each journal; the parent goes at the end with all of them.
fn disk_in(parent: &Path) -> Arc<dyn Disk> {
    let folder = tempfile::tempdir_in(parent).expect("the folder takes a folder").keep();
    Arc::new(FolderDisk::take(&folder).expect("the folder is ours"))
}

fn log_on(disk: Arc<dyn Disk>) -> Segments {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now()));
    let mut log = Segments::open(disk, clock).expect("the folder is empty");
    // The first batch takes the reserved segment, which is not what is measured.
    log.reserve(SEGMENT_BYTES).and_then(|()| log.append(&[entry(0, Fleet::middle())])).expect("the disk has room");
    log
}

fn append_all(mut log: Segments, entries: &[Entry]) -> Segments {
    let before = log.next().0;
    for some in entries.chunks(BATCH) {
        log.append(black_box(some)).expect("the segment has room");
    }
    assert_eq!(log.next().0, before + entries.len() as u64);
    log
}

struct Roster(Vec<UnitName>);

impl Names for Roster {
    fn name(&self, unit: UnitHandle) -> UnitName {
        self.0[unit.0 as usize].clone()
    }
}

fn change(unit: u32, position: Position) -> Change {
    let fix = Fix {
        position,
        time: now(),
        received: now(),
        source: DeviceHandle(unit),
        time_basis: TimeBasis::Gnss,
        speed_mps: Some(8.0),
        course_deg: Some(90.0),
        altitude: None,
        accuracy_m: None,
        accuracy_basis: None,
        flags: Flags::default(),
    };
    Change::Place { unit: UnitHandle(unit), fix, contact: now(), interval_ms: Some(5_000) }
}

fn indexes(criterion: &mut Criterion) {
    for units in FLEETS {
        let mut fleet = Fleet::new(42, units, Spread::Clustered);
        let index = LiveIndex::new();
        (0..units as u32).for_each(|unit| index.enrol(UnitHandle(unit), UnitTraits::default()));
        for (unit, place) in (0u32..).zip(&fleet.places) {
            index.apply(&[change(unit, *place)]);
        }
        assert_eq!(index.located(), units);
        let name = |unit| UnitName::new(&format!("{unit:08}")).expect("digits are a name");
        let names = Roster((0..units).map(name).collect());
        let mut group = criterion.benchmark_group("index");
        apply(&mut group, &index, &mut fleet);
        ask(&mut group, &index, &names, &fleet);
        group.finish();
    }
}

fn apply(group: &mut BenchmarkGroup<'_, WallTime>, index: &LiveIndex, fleet: &mut Fleet) {
    let units = fleet.places.len();
    let mut unit_seen = UnitHandle(0);
    let mut next = || {
        let reports = fleet.reports(BATCH);
        reports.into_iter().map(|(unit, place)| change(unit, place)).collect::<Vec<_>>()
    };
    let mut apply = |changes: &mut Vec<Change>| {
        index.apply(black_box(changes));
        if let Some(Change::Place { unit, .. }) = changes.last() {
            unit_seen = *unit;
        }
    };
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new("apply", units), |bencher| {
        bencher.iter_batched_ref(&mut next, &mut apply, BatchSize::SmallInput);
    });
    let slot = index.slot(unit_seen).expect("the unit is enrolled");
    assert_eq!(slot.fix.map(|fix| fix.position), Some(fleet.places[unit_seen.0 as usize]), "the last report is there");
}

fn ask(group: &mut BenchmarkGroup<'_, WallTime>, index: &LiveIndex, names: &Roster, fleet: &Fleet) {
    const ASKS: usize = 1_024;
    let mut random = Seeded::new(7);
    let asks: Vec<Position> = (0..ASKS).map(|_| fleet.ask(&mut random)).collect();
    let (mut nearest, mut within) = (asks.iter().cycle(), asks.iter().cycle());
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("nearest-10", fleet.places.len()), |bencher| {
        bencher.iter(|| {
            let ask = NearestAsk::new(*nearest.next().expect("a cycle has no end"), Scope::everything());
            let answer = query::nearest(index, black_box(&ask), names, now(), &Deadline::never());
            assert_eq!(answer.map(|answer| answer.found.len()), Ok(10));
        });
    });
    group.bench_function(BenchmarkId::new("within a disc of 1 km", fleet.places.len()), |bencher| {
        bencher.iter(|| {
            let area = Area::circle(*within.next().expect("a cycle has no end"), 1_000.0).expect("a circle");
            let answer = query::within(
                index,
                black_box(&WithinAsk::new(area, Scope::everything())),
                names,
                now(),
                &Deadline::never(),
            );
            assert!(answer.is_ok_and(|answer| !answer.found.is_empty()), "the unit at which it was asked is in it");
        });
    });
}
