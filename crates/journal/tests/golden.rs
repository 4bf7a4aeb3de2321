//! The golden journal is read as it was written, and the writer of today still writes those bytes: a change of the format cannot
//! go unnoticed. `docs/formats/journal.md` has the format.

#[path = "common/golden.rs"]
mod golden;

use std::sync::Arc;

use journal::{Entry, Segments, Sequence, Snapshots, backup, restore, verify};
use model::{Heard, What};
use testkit::SimDisk;

const SEGMENTS: [&str; 2] = ["00000000000000000001.segment", "00000000000000000029.segment"];

#[test]
fn the_golden_journal_reads_as_it_was_written() {
    let disk = Arc::new(golden::fixture("v1"));
    for report in verify(&*disk).expect("every file is read") {
        assert_eq!(report.damage, None, "{}", report.file);
    }
    let log = Segments::look_at(disk, golden::clock()).expect("the log is whole");
    assert_eq!(log.id(), golden::ID);
    let mut found = Vec::new();
    let next = log.read(Sequence(1), &mut |sequence, entry| found.push((sequence, entry))).expect("the log is whole");
    let expected: Vec<_> = (1..).map(Sequence).zip(golden::entries()).collect();
    assert_eq!(found, expected);
    assert_eq!(next, Sequence(expected.len() as u64 + 1));
}

#[test]
fn todays_writer_lays_the_golden_segments() {
    let (expected, disk) = (golden::fixture("v1"), SimDisk::new(2));
    golden::write_segments(&disk);
    assert_eq!(disk.names(), SEGMENTS);
    for name in SEGMENTS {
        assert_eq!(disk.file(name), expected.file(name), "{name}");
    }
}

#[test]
fn todays_snapshots_are_laid_as_the_golden_one() {
    let (expected, disk) = (golden::fixture("v1"), SimDisk::new(2));
    let state = Snapshots::on(Arc::new(expected.clone())).read(golden::ID, golden::SNAPSHOT).expect("it is whole");
    Snapshots::on(Arc::new(disk.clone())).write(golden::ID, golden::SNAPSHOT, &state).expect("the disk has room");
    let name = "00000000000000000026.snapshot";
    assert_eq!(disk.file(name).expect("it was written"), expected.file(name).expect("it is there"));
}

#[test]
fn a_backup_of_the_golden_journal_is_the_golden_journal() {
    let (golden, copy, restored) = (golden::fixture("v1"), SimDisk::new(2), SimDisk::new(3));
    restore(&golden, &restored).expect("the manifest fits");
    backup(&restored, &copy).expect("the log is whole");
    assert_eq!(copy.names(), golden.names());
    for name in copy.names() {
        assert_eq!(copy.file(&name), golden.file(&name), "{name}");
    }
}

#[test]
fn the_golden_journal_has_every_kind_of_entry() {
    let number = |entry: &Entry| match entry {
        Entry::Heard(Heard { what: What::Report(_), .. }) => 0,
        Entry::Heard(Heard { what: What::Contact, .. }) => 1,
        Entry::Heard(Heard { what: What::LogOut, .. }) => 2,
        Entry::Enrol(_) => 3,
        Entry::Retire(_) => 4,
        Entry::Press { .. } => 5,
        Entry::Lost => 6,
        // Came later; its bytes are told in `src/entry.rs`.
        Entry::Handle(_) => 7,
        Entry::Forget { .. } => 8,
    };
    let kinds: std::collections::BTreeSet<_> = golden::entries().iter().map(number).collect();
    assert_eq!(kinds.len(), 7);
}
