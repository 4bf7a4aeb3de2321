//! The power goes, or the process dies, at any call of the disk: what was acknowledged is there, and nothing else is.
//!
//! A seed is a few lives of one log. In each life the log is opened and checked against all that was ever appended, then
//! things happen to it until the disk dies. `MUSTER_SEEDS` says how many seeds, `MUSTER_SEED` repeats one.

#[path = "common/entries.rs"]
mod entries;
#[path = "common/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use journal::{Entry, ReadError, Segments, Sequence, Snapshots, verify};
use model::{Clock, Disk, Timestamp};
use testkit::{ManualClock, Seeded, SimDisk};

const SEGMENT_BYTES: u32 = 64 << 10;
/// A life ends after so many calls of the disk at the latest.
const CALLS_MAX: u64 = 250;
/// About so many calls open a log and check it; a quarter of the lives ends among them.
const OPENING_CALLS: u64 = 48;

/// What must be true of the log, whatever happens to the disk.
struct Model {
    /// Every entry ever appended and not known to be gone; the first has sequence 1.
    appended: Vec<Entry>,
    acknowledged: Sequence,
    /// What was written whole and not removed since.
    snapshots: BTreeMap<Sequence, Vec<u8>>,
    /// What was begun, or is being removed: it may be there.
    doubtful: BTreeMap<Sequence, Vec<u8>>,
}

/// What the seeds went through together.
#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    crashes: u64,
    kills: u64,
    died_opening: u64,
    appended: u64,
    syncs: u64,
    rolls: u64,
    snapshots: u64,
    segments_removed: u64,
    entries_checked: u64,
    cut: u64,
}

type Done<T = ()> = Result<T, String>;

#[test]
fn acknowledged_entries_survive_power_loss_and_kills_at_any_call() {
    let tallies = seeds::each(2_000, "-p journal --test power", |seed| {
        let mut tally = Tally::default();
        several_lives(seed, &mut tally).map(|()| tally)
    });
    let sum = |field: fn(&Tally) -> u64| tallies.iter().map(field).sum::<u64>();
    println!(
        "{} seeds: {} lives, {} crashes, {} kills, {} of them while opening; {} entries appended, {} syncs, {} rolls, \
         {} snapshots, {} segments removed; {} entries checked, {} unacknowledged ones were cut",
        tallies.len(),
        sum(|tally| tally.lives),
        sum(|tally| tally.crashes),
        sum(|tally| tally.kills),
        sum(|tally| tally.died_opening),
        sum(|tally| tally.appended),
        sum(|tally| tally.syncs),
        sum(|tally| tally.rolls),
        sum(|tally| tally.snapshots),
        sum(|tally| tally.segments_removed),
        sum(|tally| tally.entries_checked),
        sum(|tally| tally.cut),
    );
}

fn several_lives(seed: u64, tally: &mut Tally) -> Done {
    let mut random = Seeded::new(seed);
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_795_000_000_000).expect("it is a time")));
    let mut disk = SimDisk::new(seed);
    let mut model = Model {
        appended: Vec::new(),
        acknowledged: Sequence(0),
        snapshots: BTreeMap::new(),
        doubtful: BTreeMap::new(),
    };
    for life in 0..3 + random.next() % 4 {
        tally.lives += 1;
        let calls_max = if random.next().is_multiple_of(4) { OPENING_CALLS } else { CALLS_MAX };
        disk.die_at_call(1 + random.next() % calls_max);
        let ended = Life { random: &mut random, disk: &disk, clock: &clock, model: &mut model, tally }.run();
        ended.map_err(|error| format!("life {life}: {error}\n{disk:#?}"))?;
        disk = if random.next().is_multiple_of(3) {
            tally.kills += 1;
            disk.kill()
        } else {
            tally.crashes += 1;
            disk.crash(random.next())
        };
    }
    // Nothing dies any more: the last look.
    Life { random: &mut random, disk: &disk, clock: &clock, model: &mut model, tally }
        .open()
        .map(drop)
        .map_err(|error| format!("last look: {error}\n{disk:#?}"))
}

struct Life<'a> {
    random: &'a mut Seeded,
    disk: &'a SimDisk,
    clock: &'a Arc<ManualClock>,
    model: &'a mut Model,
    tally: &'a mut Tally,
}

impl Life<'_> {
    /// Goes on until the disk dies. Whatever fails before that is an error.
    fn run(mut self) -> Done {
        let mut log = match self.open() {
            Ok(log) => log,
            Err(_) if self.disk.is_dead() => {
                self.tally.died_opening += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // What a run before reserved may not be whole.
        let mut result = log.reserve(SEGMENT_BYTES).map_err(text);
        while result.is_ok() {
            result = self.step(&mut log);
        }
        if self.disk.is_dead() { Ok(()) } else { result }
    }

    fn open(&mut self) -> Done<Segments> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(self.clock);
        for report in verify(&*disk).map_err(text)? {
            if let Some(damage) = report.damage {
                return Err(format!("verify: {damage}"));
            }
        }
        let log = Segments::open(disk, clock).map_err(text)?;
        let last = log.next().before();
        if last < self.model.acknowledged {
            return Err(format!("{} was acknowledged, the log ends at {last}", self.model.acknowledged));
        }
        if last.0 > self.model.appended.len() as u64 {
            return Err(format!("{} were appended, the log ends at {last}", self.model.appended.len()));
        }
        self.check_snapshots(&log)?;
        self.check_entries(&log, log.first())?;
        // Whoever asks is told that all of it is stored.
        self.model.acknowledged = last;
        self.tally.cut += self.model.appended.len() as u64 - last.0;
        self.model.appended.truncate(last.0 as usize);
        Ok(log)
    }

    fn check_snapshots(&mut self, log: &Segments) -> Done {
        let snapshots = Snapshots::on(Arc::new(self.disk.clone()));
        let found = snapshots.list().map_err(text)?;
        if let Some(missing) = self.model.snapshots.keys().find(|sequence| !found.contains(sequence)) {
            return Err(format!("snapshot {missing} is gone"));
        }
        for sequence in &found {
            let state = snapshots.read(log.id(), *sequence).map_err(text)?;
            let known = self.model.snapshots.get(sequence).or_else(|| self.model.doubtful.get(sequence));
            if known != Some(&state) {
                return Err(format!("snapshot {sequence} is not what was written"));
            }
            self.model.snapshots.insert(*sequence, state);
        }
        self.model.doubtful.clear();
        let start = found.first().map_or(Sequence(1), |oldest| oldest.next());
        if log.first() > start { Err(format!("{start} is needed, the log starts at {}", log.first())) } else { Ok(()) }
    }

    /// All entries from `from` on are there, in order, as they were appended.
    fn check_entries(&mut self, log: &Segments, from: Sequence) -> Done<Sequence> {
        let (mut next, mut wrong) = (from, None);
        let end = log.read(from, &mut |sequence, entry| {
            if sequence != next || self.model.appended.get(sequence.0 as usize - 1) != Some(&entry) {
                wrong.get_or_insert_with(|| format!("{sequence} after {}: {entry:?}", next.before()));
            }
            next = next.next();
        });
        let end = end.map_err(text)?;
        self.tally.entries_checked += next.0 - from.0;
        match wrong {
            Some(wrong) => Err(format!("an entry is not what was appended: {wrong}")),
            None if end != next => Err(format!("read up to {next}, told {end}")),
            None => Ok(end),
        }
    }

    fn step(&mut self, log: &mut Segments) -> Done {
        if !self.disk.names().iter().any(|name| name == "spare") {
            return log.reserve(SEGMENT_BYTES).map_err(text);
        }
        self.clock.advance(Duration::from_secs(self.random.next() % 60));
        match self.random.next() % 32 {
            0..14 => self.append(log),
            14..22 => self.sync(log),
            22..26 => log.mark().map_err(text),
            26 => log.reserve(SEGMENT_BYTES).map_err(text),
            27 => {
                self.tally.rolls += 1;
                log.roll().map_err(text)
            }
            28 => self.snapshot(log),
            29 => self.retain(log),
            _ => self.look(log),
        }
    }

    fn append(&mut self, log: &mut Segments) -> Done {
        let count = 1 + self.random.next() as usize % if self.random.next().is_multiple_of(16) { 600 } else { 40 };
        let batch = entries::batch(self.random, count);
        self.model.appended.extend_from_slice(&batch);
        self.tally.appended += count as u64;
        let last = log.append(&batch).map_err(text)?;
        if last.0 == self.model.appended.len() as u64 { Ok(()) } else { Err(format!("the last one got {last}")) }
    }

    fn sync(&mut self, log: &mut Segments) -> Done {
        self.tally.syncs += 1;
        let synced = log.sync().map_err(text)?;
        if synced.0 != self.model.appended.len() as u64 {
            return Err(format!("synced up to {synced} of {}", self.model.appended.len()));
        }
        self.model.acknowledged = synced;
        Ok(())
    }

    /// Of anything acknowledged since the newest.
    fn snapshot(&mut self, log: &Segments) -> Done {
        let newest = self.model.snapshots.keys().next_back().copied().unwrap_or_default();
        let behind = self.model.acknowledged.0 - newest.0;
        if behind == 0 {
            return Ok(());
        }
        let sequence = Sequence(newest.0 + 1 + self.random.next() % behind);
        let bytes = self.random.next() % if self.random.next().is_multiple_of(64) { 3 << 20 } else { 3_000 };
        let state: Vec<u8> = (0..bytes).map(|at| (at ^ sequence.0) as u8).collect();
        self.model.doubtful.insert(sequence, state.clone());
        Snapshots::on(Arc::new(self.disk.clone())).write(log.id(), sequence, &state).map_err(text)?;
        self.tally.snapshots += 1;
        self.model.snapshots.insert(sequence, state);
        Ok(())
    }

    fn retain(&mut self, log: &mut Segments) -> Done {
        let keep = 1 + self.random.next() as usize % 2;
        while self.model.snapshots.len() > keep {
            self.model.doubtful.extend(self.model.snapshots.pop_first());
        }
        let oldest = Snapshots::on(Arc::new(self.disk.clone())).retain(keep).map_err(text)?;
        if oldest != self.model.snapshots.keys().next().copied() {
            return Err(format!("{oldest:?} is the oldest snapshot that is left"));
        }
        if let Some(oldest) = oldest {
            let age_max = Duration::from_secs(self.random.next() % 1_200);
            let bytes_max = self.random.next() % 300_000;
            self.tally.segments_removed += log.retain(oldest.next(), bytes_max, age_max).map_err(text)? as u64;
        }
        Ok(())
    }

    /// A reader sees exactly what is synced, at least up to the last acknowledged.
    fn look(&mut self, log: &Segments) -> Done {
        let span = (self.model.acknowledged.next().0).saturating_sub(log.first().0);
        let from = Sequence(log.first().0 + self.random.next() % (span + 1));
        let end = self.check_entries(log, from)?;
        if end <= self.model.acknowledged {
            return Err(format!("read up to {end}, acknowledged {}", self.model.acknowledged));
        }
        match log.read(log.first().before(), &mut |_, _| ()) {
            Err(ReadError::Expired { first, .. }) if first == log.first() => Ok(()),
            other => Err(format!("what was removed reads as {other:?}")),
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
