//! How long a start takes: a snapshot with 100,000 units, then 10 million reports after it, beside the floor of reading the
//! same bytes in order. `RECOVERY_REPORTS` sets another number,
//! `RECOVERY_APPLIERS=1,2` the numbers of threads that apply.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Recovery, State};
use journal::{Enrolment, Entry, FolderDisk, Segments, Snapshots};
use model::{
    Binding, Clock, DeviceHandle, DeviceId, Disk, Heard, Position, PositionReport, Shards, TimeBasis, Timestamp, Unit,
    UnitHandle, UnitName, What,
};
use testkit::{ManualClock, Seeded, Shape};

const UNITS: u32 = 100_000;
const REPORTS: u64 = 10_000_000;
/// Entries of one group commit: what a few milliseconds of a busy server gather.
const GROUP: usize = 500;
const SEGMENT_BYTES: u32 = 64 << 20;
const ROUNDS: usize = 5;

fn main() {
    let reports = std::env::var("RECOVERY_REPORTS").ok().and_then(|text| text.parse().ok()).unwrap_or(REPORTS);
    let folder = tempfile::tempdir_in(".").expect("the current folder takes a folder");
    let began = Instant::now();
    let expected = write(folder.path(), reports);
    let (took, bytes) = (began.elapsed().as_secs_f64(), read_all(folder.path()).1);
    let of_reports = segment_bytes(folder.path()) as f64 / (reports + u64::from(UNITS)) as f64;
    println!(
        "{reports} reports of {UNITS} units: {of_reports:.1} bytes an entry in the segments; {bytes} bytes with the snapshot and \
         what is reserved; written in {took:.1} s"
    );
    println!("| | floor: the same files read in order, s | start, s | reports/s | times the floor |");
    println!("|---|---|---|---|---|");
    let (can_drop, appliers) = (drop_caches(), appliers());
    for is_cold in [true, false] {
        if is_cold && !can_drop {
            println!("cold: not measured, the page cache cannot be dropped here");
            continue;
        }
        let (mut floors, mut starts) = (Vec::new(), vec![Vec::new(); appliers.len()]);
        for _ in 0..ROUNDS {
            let prepare = || if is_cold { drop_caches() } else { read_all(folder.path()).1 > 0 };
            assert!(prepare());
            floors.push(read_all(folder.path()).0);
            for (appliers, starts) in appliers.iter().zip(&mut starts) {
                assert!(prepare());
                starts.push(start(*appliers, folder.path(), &expected));
            }
        }
        let (floor, cache) = (median(&mut floors).as_secs_f64(), if is_cold { "cold" } else { "warm" });
        for (appliers, starts) in appliers.iter().zip(&mut starts) {
            let start = median(starts).as_secs_f64();
            println!(
                "| {cache}, {} applying | {floor:.2} ({:.2} - {:.2}) | {start:.2} ({:.2} - {:.2}) | {:.1} M | {:.1} |",
                appliers.count(),
                floors[0].as_secs_f64(),
                floors[ROUNDS - 1].as_secs_f64(),
                starts[0].as_secs_f64(),
                starts[ROUNDS - 1].as_secs_f64(),
                reports as f64 / start / 1e6,
                start / floor,
            );
        }
    }
}

/// The numbers of threads in `RECOVERY_APPLIERS`.
fn appliers() -> Vec<Shards> {
    let text = std::env::var("RECOVERY_APPLIERS").unwrap_or_else(|_| "1,2".to_owned());
    let one = |text: &str| text.trim().parse().ok().and_then(Shards::new);
    text.split(',').map(|text| one(text).expect("RECOVERY_APPLIERS has numbers from 1 to 64")).collect()
}

/// Writes the log; gives the state that a start must rebuild.
fn write(folder: &Path, reports: u64) -> Vec<u8> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now()));
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::take(folder).expect("the folder is ours"));
    let mut log = Segments::open(Arc::clone(&disk), clock).expect("the folder is empty");
    let mut state = State::default();
    let mut put = |log: &mut Segments, entries: &[Entry]| {
        if let Err(error) = log.append(entries) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "only the next segment is missing");
            log.reserve(SEGMENT_BYTES).and_then(|()| log.append(entries)).expect("the disk has room");
        }
        entries.iter().for_each(|entry| drop(state.apply(entry)));
    };
    let all: Vec<u32> = (0..UNITS).collect();
    for some in all.chunks(GROUP) {
        put(&mut log, &some.iter().map(|unit| enrolment(*unit)).collect::<Vec<_>>());
    }
    let sequence = log.sync().expect("the disk syncs");
    let mut random = Seeded::new(7);
    let mut places: Vec<Position> = testkit::seeded_fleet(42, UNITS as usize, Shape::City);
    let mut group = Vec::with_capacity(GROUP);
    let snapshot_at = sequence;
    let enrolled = {
        let mut enrolled = State::default();
        all.iter().for_each(|unit| drop(enrolled.apply(&enrolment(*unit))));
        enrolled.to_bytes()
    };
    Snapshots::on(Arc::clone(&disk)).write(log.id(), snapshot_at, &enrolled).expect("the snapshot is written");
    for number in 0..reports {
        let unit = (random.next() % u64::from(UNITS)) as u32;
        group.push(report(unit, number, &mut places, &mut random));
        if group.len() == GROUP {
            put(&mut log, &group);
            group.clear();
        }
    }
    put(&mut log, &group);
    // As a server does that is stopped: the next start need not secure the last segment.
    log.sync().and_then(|_| log.mark()).and_then(|()| log.sync()).expect("the disk syncs");
    state.to_bytes()
}

fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000).expect("2026 is in range")
}

fn enrolment(unit: u32) -> Entry {
    let device = DeviceId::of("jt808", &format!("139{unit:08}")).expect("a phone is a name");
    let name = UnitName::new(&format!("car-{unit}")).expect("it is a name");
    Entry::Enrol(Enrolment {
        handle: UnitHandle(unit),
        unit: Unit::named(name),
        devices: vec![(DeviceHandle(unit), device)],
    })
}

/// A car's next report: a few metres on.
fn report(unit: u32, number: u64, places: &mut [Position], random: &mut Seeded) -> Entry {
    let place = &mut places[unit as usize];
    let mut step = || (random.next() % 2_001) as i32 - 1_000;
    *place = Position::from_e7(place.lat_e7() + step(), place.lon_e7() + step()).expect("a city is not at the pole");
    // The whole fleet reports every five seconds.
    let received = now().shifted_ms((number * 5_000 / u64::from(UNITS)) as i64);
    let report = PositionReport {
        time: Some(received.shifted_ms(-800)),
        time_basis: TimeBasis::Gnss,
        speed_mps: Some(8.0),
        course_deg: Some(90.0),
        ..PositionReport::at(*place)
    };
    let binding = Binding { device: DeviceHandle(unit), unit: UnitHandle(unit) };
    Entry::Heard(Heard { binding, received, what: What::Report(report) })
}

fn start(appliers: Shards, folder: &Path, expected: &[u8]) -> Duration {
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::look_at(folder).expect("the folder is there"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now()));
    let began = Instant::now();
    let recovered = engine::recover_in(appliers, &disk, &clock, &Recovery::default()).expect("the log is whole");
    let took = began.elapsed();
    assert!(recovered.state.to_bytes() == expected, "the rebuilt state is the one that was written");
    took
}

/// Reads every file in order; the time, and the bytes.
fn read_all(folder: &Path) -> (Duration, u64) {
    use std::io::Read as _;
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some());
    files.sort();
    let mut buffer = vec![0; 1 << 20];
    let (began, mut bytes) = (Instant::now(), 0);
    for path in files {
        let mut file = std::fs::File::open(path).expect("the file is there");
        loop {
            match file.read(&mut buffer).expect("the file is read") {
                0 => break,
                more => bytes += more as u64,
            }
        }
    }
    (began.elapsed(), bytes)
}

/// Bytes of the segments that count.
fn segment_bytes(folder: &Path) -> u64 {
    let disk = FolderDisk::look_at(folder).expect("the folder is there");
    let files = journal::verify(&disk).expect("every file is read");
    assert!(files.iter().all(|file| file.damage.is_none()), "the log is whole");
    files.iter().filter(|file| file.file.ends_with(".segment")).map(|file| file.bytes).sum()
}

/// Empties the page cache; `false` where that is not allowed.
fn drop_caches() -> bool {
    std::process::Command::new("sync").status().is_ok_and(|status| status.success())
        && std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
