//! P8: one state, however its entries were replayed.

use std::hash::Hasher;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use engine::{Recovery, State, recover_in};
use journal::{Entry, FolderDisk, Segments, Sequence, Snapshots};
use model::{Clock, Disk, Shards};
use testkit::{ManualClock, Seeded, SimDisk};

use crate::history::{History, at, shuffled, state_of};
use crate::{seeds, text};

const SEGMENT_BYTES: u32 = 64 << 10;
/// The state is compared after so many entries.
const EVERY: u64 = 10_000;
/// Set for the processes that replay: the folder.
const REPLAY: &str = "MUSTER_REPLAY_FOLDER";

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(at(0)))
}

/// Entries one by one, in batches of any size, through bytes in between, and through a log with a snapshot: always the same bytes.
#[test]
fn every_way_to_replay_gives_the_same_bytes() {
    let entries = seeds::each(2_000, "-p engine --test recovery one_state", |seed| {
        let mut random = Seeded::new(!seed);
        let all = History::new(seed).next(300);
        let all = if seed.is_multiple_of(2) { all } else { shuffled(&mut random, &all) };
        let expected = state_of(&all).to_bytes();
        let compare = |way: &str, state: &State| {
            if state.to_bytes() == expected { Ok(()) } else { Err(format!("{way} gives another state")) }
        };
        compare("in batches", &in_batches(&mut random, &all))?;
        compare("through bytes", &through_bytes(&mut random, &all)?)?;
        for (appliers, state) in (1..).zip(&through_a_log(&mut random, seed, &all)?) {
            compare(&format!("through a log, {appliers} at once,"), state)?;
        }
        Ok(all.len())
    });
    println!("{} cases, {} entries, each replayed in six ways", entries.len(), entries.iter().sum::<usize>());
}

fn in_batches(random: &mut Seeded, all: &[Entry]) -> State {
    let mut state = State::default();
    let mut rest = all;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at((1 + random.next() as usize % 90).min(rest.len()));
        state.apply_batch(batch);
        rest = after;
    }
    state
}

fn through_bytes(random: &mut Seeded, all: &[Entry]) -> Result<State, String> {
    let (before, after) = all.split_at(random.next() as usize % all.len());
    let mut state = State::from_bytes(&state_of(before).to_bytes()).map_err(text)?;
    after.iter().for_each(|entry| drop(state.apply(entry)));
    Ok(state)
}

/// By one, two and three threads that apply.
fn through_a_log(random: &mut Seeded, seed: u64, all: &[Entry]) -> Result<Vec<State>, String> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(seed));
    let mut log = Segments::open(Arc::clone(&disk), clock()).map_err(text)?;
    let snapshot_at = 1 + random.next() % all.len() as u64;
    for group in all.chunks(1 + random.next() as usize % 60) {
        put(&mut log, group, SEGMENT_BYTES)?;
    }
    log.sync().map_err(text)?;
    let covered = state_of(&all[..snapshot_at as usize]).to_bytes();
    Snapshots::on(Arc::clone(&disk)).write(log.id(), Sequence(snapshot_at), &covered).map_err(text)?;
    drop(log);
    let recovered = |appliers| {
        let appliers = Shards::new(appliers).expect("they are few");
        let recovered = recover_in(appliers, &disk, &clock(), &Recovery::default()).map_err(text)?;
        if recovered.snapshot != Sequence(snapshot_at) {
            return Err(format!("it began at snapshot {}", recovered.snapshot));
        }
        Ok(recovered.state)
    };
    (1..=3).map(recovered).collect()
}

/// Appends a group, in the next segment when the last is full.
fn put(log: &mut Segments, group: &[Entry], segment_bytes: u32) -> Result<(), String> {
    if log.append(group).is_err() {
        log.reserve(segment_bytes).and_then(|()| log.append(group)).map_err(text)?;
    }
    Ok(())
}

/// Two more processes replay the log that this one wrote; the hash of the state is the same in all three every 10,000 entries.
#[test]
fn other_processes_replay_to_the_same_states() {
    if let Some(folder) = std::env::var_os(REPLAY) {
        print!("{}", hashes(Path::new(&folder)));
        return;
    }
    let entries = std::env::var("MUSTER_ENTRIES").map_or(1_000_000, |text| text.parse().expect("a number of entries"));
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let expected = write(folder.path(), entries);
    for _ in 0..2 {
        let mut replay = Command::new(std::env::current_exe().expect("a test has a file"));
        replay.args(["--exact", "one_state::other_processes_replay_to_the_same_states", "--nocapture"]);
        let output = replay.env(REPLAY, folder.path()).output().expect("the test starts again");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).expect("hashes are ASCII");
        let found: Vec<_> = said.lines().filter_map(|line| Some(line.split_once("state ")?.1.to_owned())).collect();
        assert_eq!(found, expected);
    }
    println!("{entries} entries, {} states compared in three processes", expected.len());
}

/// Writes the log of a city; gives the hashes as this process sees them, entry by entry.
fn write(folder: &Path, entries: u64) -> Vec<String> {
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::take(folder).expect("the folder is ours"));
    let mut log = Segments::open(disk, clock()).expect("the folder is empty");
    let (mut history, mut state, mut hashes) = (History::new(8), State::default(), Vec::new());
    for done in (0..entries).step_by(500) {
        let group = history.next(500.min(entries - done) as usize);
        put(&mut log, &group, 64 << 20).expect("the disk has room");
        for (number, entry) in (done + 1..).zip(&group) {
            state.apply(entry);
            if number % EVERY == 0 || number == entries {
                hashes.push(hash(number, &state));
            }
        }
    }
    log.sync().and_then(|_| log.mark()).and_then(|()| log.sync()).expect("the disk syncs");
    hashes
}

/// The same out of the log, in batches.
fn hashes(folder: &Path) -> String {
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::look_at(folder).expect("the folder is there"));
    let log = Segments::look_at(disk, clock()).expect("the log is whole");
    let (mut state, mut done, mut lines) = (State::default(), 0, String::new());
    let entries = log.next().before().0;
    let mut visit = |_, batch: &[Entry]| {
        let mut rest = batch;
        while !rest.is_empty() {
            let until_due = (EVERY - done % EVERY).min(rest.len() as u64);
            let (some, after) = rest.split_at(until_due as usize);
            state.apply_batch(some);
            done += until_due;
            if done % EVERY == 0 || done == entries {
                lines += &format!("state {}\n", hash(done, &state));
            }
            rest = after;
        }
    };
    log.read_batches(Sequence(1), &mut visit).expect("the log is whole");
    lines
}

fn hash(number: u64, state: &State) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&state.to_bytes());
    format!("{number} {:016x}", hasher.finish())
}
