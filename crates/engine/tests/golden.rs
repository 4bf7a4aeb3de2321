//! The golden journal starts today, and what today's code makes of its entries is the golden snapshot, byte for byte. A change of
//! the layout of the state cannot go unnoticed.

#[path = "../../journal/tests/common/golden.rs"]
mod golden;

use std::sync::Arc;

use engine::{Recovery, State, recover};
use journal::{Entry, Snapshots, backup};
use model::Disk;
use testkit::SimDisk;

fn state_of(entries: &[Entry]) -> Vec<u8> {
    let mut state = State::default();
    entries.iter().for_each(|entry| drop(state.apply(entry)));
    state.to_bytes()
}

/// All files of the golden journal as the code of today makes them.
fn made() -> SimDisk {
    let (disk, copy) = (SimDisk::new(2), SimDisk::new(3));
    let log = golden::write_segments(&disk);
    let covered = &golden::entries()[..golden::SNAPSHOT.0 as usize];
    let snapshots = Snapshots::on(Arc::new(disk.clone()));
    snapshots.write(log.id(), golden::SNAPSHOT, &state_of(covered)).expect("the disk has room");
    backup(&disk, &copy).expect("the log is whole");
    copy
}

#[test]
fn todays_code_makes_the_golden_journal() {
    let made = made();
    if std::env::var("MUSTER_GOLDEN").is_ok_and(|order| order == "write") {
        for name in made.names() {
            let bytes = made.file(&name).expect("it was listed");
            std::fs::write(golden::folder().join(&name), bytes).expect("the fixtures may be written");
        }
    }
    let golden = golden::fixture();
    assert_eq!(made.names(), golden.names());
    for name in made.names() {
        assert_eq!(made.file(&name), golden.file(&name), "{name}");
    }
}

#[test]
fn the_golden_journal_starts_today() {
    let disk: Arc<dyn Disk> = Arc::new(golden::fixture());
    let recovered = recover(&disk, &golden::clock(), &Recovery::default()).expect("the log is whole");
    assert_eq!(recovered.snapshot, golden::SNAPSHOT);
    assert_eq!(recovered.state.to_bytes(), state_of(&golden::entries()));
}
