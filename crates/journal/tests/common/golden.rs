//! The golden journals `fixtures/journal/v1` and `v2`: what is in them, entry by entry, and how their segments are made. They differ in
//! the layout of the state in their snapshots.
//!
//! Each is a backup of a small log with one of every kind of entry and every part of a report. `MUSTER_GOLDEN=write cargo test
//! --release -p engine --test golden` made it. None is ever made again: a new format gets a folder of its own beside it, and
//! the older ones must be read for ever.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Enrolment, Entry, Segments, Sequence};
use model::{
    AccuracyBasis, Altitude, AltitudeRef, Binding, Clock, DeviceHandle, DeviceId, Disk, Flags, Heard, OrganisationName,
    Position, PositionReport, Press, Status, TimeBasis, Timestamp, Unit, UnitHandle, UnitKind, UnitName, What,
};
use testkit::{ManualClock, SimDisk};

/// The identity of the log.
pub(crate) const ID: u64 = 0x0123_4567_89AB_CDEF;
/// The snapshot holds the state after this entry, in the middle of the first segment.
pub(crate) const SNAPSHOT: Sequence = Sequence(26);
/// The second segment keeps its length.
const SEGMENT_BYTES: u32 = 2_048;
const NOW_MS: i64 = 1_795_000_000_000;

/// The folder of a format, `v1` or `v2`.
pub(crate) fn folder(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/journal").join(format)
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(at(0)))
}

/// The golden files on a disk of their own.
pub(crate) fn fixture(format: &str) -> SimDisk {
    let disk = SimDisk::new(1);
    for entry in std::fs::read_dir(folder(format)).expect("the fixtures are there") {
        let path = entry.expect("the folder is read").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("our names are ASCII");
        if name != "README.md" {
            let bytes = std::fs::read(&path).expect("a fixture is read");
            disk.create(name).and_then(|file| file.write_at(&bytes, 0)).expect("the disk has room");
        }
    }
    disk
}

/// Lays the segments with the writer of today.
pub(crate) fn write_segments(disk: &SimDisk) -> Segments {
    // A new log takes its identity from the clock and the process; one with a first segment keeps that one's.
    let (name, header) = ("00000000000000000001.segment", empty_segment());
    disk.create(name).and_then(|file| file.write_at(&header, 0)).expect("the disk has room");
    let mut log = Segments::open(Arc::new(disk.clone()), clock()).expect("an empty segment is a log");
    for groups in groups() {
        log.reserve(SEGMENT_BYTES).and_then(|()| log.roll()).expect("the disk has room");
        for group in groups {
            log.append(&group).and_then(|_| log.sync()).expect("the disk has room");
        }
        log.mark().and_then(|()| log.sync()).expect("the disk has room");
    }
    log
}

/// The header of a segment without entries, by hand after `docs/formats/journal.md`.
fn empty_segment() -> Vec<u8> {
    let mut header = b"MUSTERJ\x01".to_vec();
    for field in [ID, 1, 0, 0, NOW_MS as u64] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    header.extend_from_slice(&64u32.to_le_bytes());
    header.extend_from_slice(&[0; 8]);
    header.extend_from_slice(&crc32c_by_bits(&header).to_le_bytes());
    header
}

/// CRC32C as its polynomial says it, bit by bit.
fn crc32c_by_bits(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82F6_3B78 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum: u32, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

/// Every entry in order; the first has sequence 1.
pub(crate) fn entries() -> Vec<Entry> {
    groups().into_iter().flatten().flatten().collect()
}

/// The groups of each segment.
fn groups() -> [Vec<Vec<Entry>>; 2] {
    [vec![roster(), reports(), parts(), pressed()], vec![later()]]
}

fn roster() -> Vec<Entry> {
    let tablet = DeviceId::new("cot:tablet-7").expect("it is a name");
    let phone = DeviceId::new("jt808:13900000001").expect("it is a name");
    let beacon = DeviceId::new("taip:0042").expect("it is a name");
    let car = Unit {
        kind: UnitKind::Car,
        status: Status::Available,
        organisation: Some(OrganisationName::new("station-01").expect("it is a name")),
        capabilities: vec!["dog".to_owned(), "无人机".to_owned()],
        covert: true,
        ..Unit::named(UnitName::new("car-7").expect("it is a name"))
    };
    let helicopter = Unit {
        kind: UnitKind::Helicopter,
        status: Status::Busy,
        ..Unit::named(UnitName::new("air-1").expect("it is a name"))
    };
    let nobody = Unit::named(UnitName::new("taip:0042").expect("it is a name"));
    let enrol = |handle, unit, devices: Vec<(u32, DeviceId)>| {
        let devices = devices.into_iter().map(|(number, device)| (DeviceHandle(number), device)).collect();
        Entry::Enrol(Enrolment { handle: UnitHandle(handle), unit, devices })
    };
    vec![
        enrol(0, car, vec![(0, tablet), (1, phone)]),
        enrol(1, helicopter, vec![]),
        enrol(300, nobody, vec![(300, beacon)]),
    ]
}

fn reports() -> Vec<Entry> {
    let whole = PositionReport {
        time: Some(at(-800)),
        time_basis: TimeBasis::Gnss,
        flags: Flags::BACKLOG.with(Flags::POLLED),
        speed_mps: Some(8.25),
        course_deg: Some(270.5),
        altitude: Some(Altitude { metres: 79.5, reference: AltitudeRef::Msl }),
        accuracy_m: Some(12.5),
        accuracy_basis: Some(AccuracyBasis::Device),
        ..PositionReport::at(place(228_170_000, 1_083_160_000))
    };
    let moved = |time, lat_e7| PositionReport {
        time: Some(at(time)),
        position: place(lat_e7, whole.position.lon_e7()),
        ..whole
    };
    let bare = PositionReport::at(place(-900_000_000, -1_800_000_000));
    let without_fix = PositionReport { valid: false, flags: Flags::NULL_PLACE, ..PositionReport::at(place(0, 0)) };
    let of = |basis, accuracy, reference| PositionReport {
        time: Some(at(-63_000_000_000)),
        time_basis: basis,
        altitude: Some(Altitude { metres: -400.0, reference }),
        accuracy_basis: Some(accuracy),
        ..PositionReport::at(place(900_000_000, 1_799_999_999))
    };
    vec![
        heard(0, 0, 0, What::Report(whole)),
        heard(0, 0, 5_000, What::Report(moved(4_200, 228_170_900))),
        // Too far for a car: the snapshot has it as a jump that waits.
        heard(0, 0, 10_000, What::Report(moved(9_200, 238_170_000))),
        heard(300, 300, 9_990, What::Report(bare)),
        heard(300, 300, 9_991, What::Report(without_fix)),
        heard(1, 0, 10_001, What::Report(of(TimeBasis::Device, AccuracyBasis::Class, AltitudeRef::Ellipsoid))),
        heard(1, 0, 10_002, What::Report(of(TimeBasis::Gateway, AccuracyBasis::Gateway, AltitudeRef::Agl))),
        heard(1, 0, 10_003, What::Report(of(TimeBasis::Receipt, AccuracyBasis::Device, AltitudeRef::Pressure))),
    ]
}

/// Each part and each flag alone, so that no two can change places unnoticed.
fn parts() -> Vec<Entry> {
    let bare = || PositionReport::at(place(1, 2));
    let alone = [
        PositionReport { speed_mps: Some(1.0), ..bare() },
        PositionReport { course_deg: Some(2.0), ..bare() },
        PositionReport { accuracy_m: Some(3.0), ..bare() },
        PositionReport { accuracy_basis: Some(AccuracyBasis::Class), ..bare() },
    ];
    let flags = [
        Flags::EMERGENCY,
        Flags::BACKLOG,
        Flags::NULL_PLACE,
        Flags::ESTIMATED,
        Flags::OLD,
        Flags::POLLED,
        Flags::TIME_FUTURE,
        Flags::JUMP,
        Flags::TIME_MISSING,
        Flags::NOT_STORED,
    ];
    let flagged = flags.map(|flags| PositionReport { flags, ..bare() });
    (0..).zip(alone.into_iter().chain(flagged)).map(|(at, report)| heard(300, 300, at, What::Report(report))).collect()
}

fn pressed() -> Vec<Entry> {
    let device = DeviceId::new("jt808:13900000001").expect("it is a name");
    let stranger = DeviceId::new("lrrp:77").expect("it is a name");
    vec![
        Entry::Press {
            number: 1,
            press: Press {
                device,
                pressed_at: Some(at(10_500)),
                received_at: at(11_000),
                is_delayed: true,
                place: Some((place(228_170_001, 1_083_160_001), at(10_400))),
            },
        },
        heard(1, 0, 11_500, What::Contact),
        Entry::Press {
            number: 1 << 40,
            press: Press {
                device: stranger,
                pressed_at: None,
                received_at: at(12_000),
                is_delayed: false,
                place: None,
            },
        },
    ]
}

fn later() -> Vec<Entry> {
    vec![heard(1, 0, 13_000, What::LogOut), Entry::Lost, Entry::Retire(UnitHandle(300))]
}

fn heard(device: u32, unit: u32, ms: i64, what: What) -> Entry {
    let binding = Binding { device: DeviceHandle(device), unit: UnitHandle(unit) };
    Entry::Heard(Heard { binding, received: at(ms), what })
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(NOW_MS + ms).expect("it is a time")
}

fn place(lat_e7: i32, lon_e7: i32) -> Position {
    Position::from_e7(lat_e7, lon_e7).expect("it is on earth")
}
