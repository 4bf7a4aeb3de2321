//! The golden journals start today, and what today's code makes of their entries is the newest golden snapshot, byte for byte. A change
//! of the layout of the state cannot go unnoticed.

#[path = "../../journal/tests/common/golden.rs"]
mod golden;

use std::sync::Arc;

use engine::{Recovery, State, recover};
use journal::{Entry, Snapshots, backup};
use model::{Disk, UnitHandle};
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
            std::fs::write(golden::folder("v2").join(&name), bytes).expect("the fixtures may be written");
        }
    }
    let golden = golden::fixture("v2");
    assert_eq!(made.names(), golden.names());
    for name in made.names() {
        assert_eq!(made.file(&name), golden.file(&name), "{name}");
    }
}

#[test]
fn the_golden_journal_starts_today() {
    let disk: Arc<dyn Disk> = Arc::new(golden::fixture("v2"));
    let recovered = recover(&disk, &golden::clock(), &Recovery::default()).expect("the log is whole");
    assert_eq!(recovered.snapshot, golden::SNAPSHOT);
    assert_eq!(recovered.state.to_bytes(), state_of(&golden::entries()));
}

/// In a snapshot of layout 1 units have no sources: nothing else differs, and the next reports give them.
#[test]
fn a_snapshot_of_layout_1_is_read_and_what_comes_after_it_is_applied() {
    let disk: Arc<dyn Disk> = Arc::new(golden::fixture("v1"));
    let laid = Snapshots::on(Arc::clone(&disk)).read(golden::ID, golden::SNAPSHOT).expect("it is whole");
    assert_eq!(laid[0], 1);
    let mut state = State::from_bytes(&laid).expect("layout 1 is known");
    let (entries, covered) = (golden::entries(), golden::SNAPSHOT.0 as usize);
    let mut newest = State::default();
    entries[..covered].iter().for_each(|entry| drop(newest.apply(entry)));
    assert!(state.last_places().eq(newest.last_places()));
    assert_eq!((state.sources(UnitHandle(0)).count(), newest.sources(UnitHandle(0)).count()), (0, 2));
    entries[covered..].iter().for_each(|entry| drop(state.apply(entry)));
    let recovered = recover(&disk, &golden::clock(), &Recovery::default()).expect("the log is whole");
    assert_eq!((recovered.state.to_bytes()[0], recovered.state.to_bytes()), (2, state.to_bytes()));
}
