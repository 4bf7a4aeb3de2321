//! P10, and P3 one storey higher: after power loss or a kill at any call of the disk, also inside a snapshot or a removal, the
//! rebuilt state is that of the durable entries, byte for byte, and every entry is in the log or covered by what is kept.

use std::sync::Arc;
use std::time::Duration;

use engine::{Recovered, Recovery, State, recover};
use journal::{Entry, Segments, Sequence, Snapshots};
use model::{Clock, Disk};
use testkit::{ManualClock, Seeded, SimDisk};

use crate::history::{History, at, state_of};
use crate::{seeds, text};

const SEGMENT_BYTES: u32 = 8 << 10;
const SNAPSHOTS_KEPT: usize = 2;
/// A life ends after so many calls of the disk at the latest.
const CALLS_MAX: u64 = 300;
/// About so many calls make a snapshot and remove what is not needed any more.
const HANDOVER_CALLS: u64 = 24;

#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    died_in_handover: u64,
    snapshots: u64,
    removed: u64,
    checks: u64,
    states: u64,
}

struct World {
    random: Seeded,
    history: History,
    clock: Arc<ManualClock>,
    disk: SimDisk,
    /// Every entry that may be in the log; the first has sequence 1.
    appended: Vec<Entry>,
    acknowledged: u64,
    tally: Tally,
}

#[test]
fn the_rebuilt_state_is_that_of_the_durable_entries_and_none_is_lost() {
    let tallies = seeds::each(1_000, "-p engine --test recovery conservation", |seed| {
        let mut world = World {
            random: Seeded::new(seed),
            history: History::new(seed),
            clock: Arc::new(ManualClock::at(at(0))),
            disk: SimDisk::new(seed),
            appended: Vec::new(),
            acknowledged: 0,
            tally: Tally::default(),
        };
        world.lives().map(|()| world.tally)
    });
    let sum = |field: fn(&Tally) -> u64| tallies.iter().map(field).sum::<u64>();
    let died = sum(|tally| tally.died_in_handover);
    assert!(died > 0 || tallies.len() < 100, "nothing died inside a snapshot or a removal");
    println!(
        "{} seeds: {} lives, {died} ended inside a snapshot or a removal; {} snapshots, {} entries removed; {} states \
         rebuilt, {} counts of the log: difference 0",
        tallies.len(),
        sum(|tally| tally.lives),
        sum(|tally| tally.snapshots),
        sum(|tally| tally.removed),
        sum(|tally| tally.states),
        sum(|tally| tally.checks),
    );
}

impl World {
    fn lives(&mut self) -> Result<(), String> {
        for life in 0..3 + self.random.next() % 4 {
            self.tally.lives += 1;
            self.disk.die_at_call(1 + self.random.next() % CALLS_MAX);
            let ended = self.life();
            // Whatever fails on a disk that answers is an error.
            if let Err(error) = ended
                && !self.disk.is_dead()
            {
                return Err(format!("life {life}: {error}\n{:#?}", self.disk));
            }
            let is_kill = self.random.next().is_multiple_of(3);
            self.disk = if is_kill { self.disk.kill() } else { self.disk.crash(self.random.next()) };
        }
        self.start().map(drop).map_err(|error| format!("last look: {error}\n{:#?}", self.disk))
    }

    /// Goes on until the disk dies.
    fn life(&mut self) -> Result<(), String> {
        let mut log = self.start()?;
        log.reserve(SEGMENT_BYTES).map_err(text)?;
        loop {
            self.step(&mut log)?;
        }
    }

    fn start(&mut self) -> Result<Segments, String> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let Recovered { state, segments, .. } = recover(&disk, &clock, &Recovery::default()).map_err(text)?;
        let last = segments.next().before().0;
        if !(self.acknowledged..=self.appended.len() as u64).contains(&last) {
            self.refuse(&format!("the log ends at {last}, {} were acknowledged", self.acknowledged));
        }
        self.appended.truncate(last as usize);
        self.acknowledged = last;
        if state.to_bytes() != state_of(&self.appended).to_bytes() {
            self.refuse("the rebuilt state is not that of the durable entries");
        }
        self.tally.states += 1;
        self.check(&segments)?;
        Ok(segments)
    }

    /// Wrong even if the disk has died since.
    fn refuse(&self, problem: &str) {
        panic!("{problem}\n{:#?}", self.disk);
    }

    /// What was removed and what is there is everything: by count and entry by entry; what was removed is in a snapshot that is kept.
    fn check(&mut self, log: &Segments) -> Result<(), String> {
        let (first, mut retained) = (log.first(), Vec::new());
        log.read(first, &mut |_, entry| retained.push(entry)).map_err(text)?;
        let removed = first.before().0;
        if removed + (retained.len() as u64) < self.acknowledged {
            self.refuse(&format!("{removed} removed and {} there of {}", retained.len(), self.acknowledged));
        }
        if self.appended[removed as usize..][..retained.len()] != retained[..] {
            self.refuse("an entry is not what was appended");
        }
        let snapshots = Snapshots::on(Arc::new(self.disk.clone()));
        let all = snapshots.list().map_err(text)?;
        if all.first().map_or(0, |oldest| oldest.0) < removed {
            self.refuse(&format!("entries up to {removed} are gone, the snapshots are {all:?}"));
        }
        for sequence in all {
            let covered = state_of(&self.appended[..sequence.0 as usize]).to_bytes();
            if snapshots.read(log.id(), sequence).map_err(text)? != covered {
                self.refuse(&format!("snapshot {sequence} is not the state of what it covers"));
            }
        }
        self.tally.checks += 1;
        Ok(())
    }

    fn step(&mut self, log: &mut Segments) -> Result<(), String> {
        self.clock.advance(Duration::from_secs(self.random.next() % 60));
        match self.random.next() % 16 {
            0..10 => self.append(log),
            10..14 => {
                self.acknowledged = log.sync().map_err(text)?.0;
                Ok(())
            }
            14 => log.mark().map_err(text),
            _ => {
                // Half of all deaths are in here.
                if self.random.next().is_multiple_of(2) {
                    self.disk.die_at_call(1 + self.random.next() % HANDOVER_CALLS);
                }
                let done = self.hand_over(log);
                self.tally.died_in_handover += u64::from(self.disk.is_dead());
                done?;
                self.check(log)
            }
        }
    }

    fn append(&mut self, log: &mut Segments) -> Result<(), String> {
        let group = self.history.next(1 + self.random.next() as usize % 60);
        if log.append(&group).is_err() {
            log.reserve(SEGMENT_BYTES).map_err(text)?;
            self.appended.extend_from_slice(&group);
            log.append(&group).map_err(text)?;
        } else {
            self.appended.extend_from_slice(&group);
        }
        Ok(())
    }

    /// As the maker of snapshots does: the snapshot before, what was synced since, the next one; then what is not needed goes.
    fn hand_over(&mut self, log: &mut Segments) -> Result<(), String> {
        let snapshots = Snapshots::on(Arc::new(self.disk.clone()));
        let last = snapshots.list().map_err(text)?.last().copied().unwrap_or_default();
        let mut state = match last {
            Sequence(0) => State::default(),
            last => State::from_bytes(&snapshots.read(log.id(), last).map_err(text)?).map_err(text)?,
        };
        let next = log.read_batches(last.next(), &mut |_, batch| state.apply_batch(batch)).map_err(text)?;
        if next > last.next() {
            snapshots.write(log.id(), next.before(), &state.to_bytes()).map_err(text)?;
            self.tally.snapshots += 1;
        }
        let before = log.first();
        if let Some(oldest) = snapshots.retain(SNAPSHOTS_KEPT).map_err(text)? {
            let bytes_max = self.random.next() % u64::from(2 * SEGMENT_BYTES);
            log.retain(oldest.next(), bytes_max, Duration::from_secs(600)).map_err(text)?;
        }
        self.tally.removed += log.first().0 - before.0;
        Ok(())
    }
}
