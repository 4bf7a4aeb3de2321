//! The device says no, or is full, at any call: no acknowledgement leaves after an error, reads go on, a restart is clean.

#[path = "common/entries.rs"]
mod entries;
#[path = "common/seeds.rs"]
mod seeds;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use journal::{AppendError, Entry, LocalLog, Log, Options, Progress, ReadError, Segments, Sequence, Snapshots, Status};
use model::{Clock, Disk, Timestamp};
use testkit::{Calls, Fault, ManualClock, Seeded, SimDisk};

const SEGMENT_BYTES: u32 = 64 << 10;
/// Calls of the script that fail, one after the other.
const CALLS: u64 = 2_000;

type Done<T = ()> = Result<T, String>;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_795_000_000_000).expect("it is a time")))
}

fn open(disk: &SimDisk) -> Result<Segments, ReadError> {
    Segments::open(Arc::new(disk.clone()), clock())
}

/// All from the first entry on is as it was appended; at least up to `acknowledged`. Returns how many there are.
fn check(read: impl Reads, appended: &[Entry], acknowledged: Sequence) -> Done<u64> {
    let first = read.first();
    let (mut next, mut wrong) = (first, None);
    let end = read.read(first, &mut |sequence, entry| {
        if sequence != next || appended.get(sequence.0 as usize - 1) != Some(&entry) {
            wrong.get_or_insert(sequence);
        }
        next = next.next();
    });
    let end = end.map_err(text)?;
    match wrong {
        Some(sequence) => Err(format!("entry {sequence} is not what was appended")),
        None if end != next || end <= acknowledged => Err(format!("read up to {end}, acknowledged {acknowledged}")),
        None => Ok(end.before().0),
    }
}

/// What has entries to be read.
trait Reads {
    fn first(&self) -> Sequence;
    fn read(&self, from: Sequence, visit: &mut dyn FnMut(Sequence, Entry)) -> Result<Sequence, ReadError>;
}

impl Reads for &Segments {
    fn first(&self) -> Sequence {
        Segments::first(self)
    }

    fn read(&self, from: Sequence, visit: &mut dyn FnMut(Sequence, Entry)) -> Result<Sequence, ReadError> {
        Segments::read(self, from, visit)
    }
}

impl Reads for &LocalLog {
    /// Nothing is removed in these tests.
    fn first(&self) -> Sequence {
        Sequence(1)
    }

    fn read(&self, from: Sequence, visit: &mut dyn FnMut(Sequence, Entry)) -> Result<Sequence, ReadError> {
        Log::read(*self, from, visit)
    }
}

/// The process dies or the power goes, a new one goes on, and the power goes again: what was acknowledged stays.
fn restarts(disk: &SimDisk, seed: u64, mut appended: Vec<Entry>, acknowledged: Sequence) -> Done {
    let disk = if seed.is_multiple_of(2) { disk.kill() } else { disk.crash(seed) };
    let mut log = open(&disk).map_err(|error| format!("restart: {error}"))?;
    let there = check(&log, &appended, acknowledged).map_err(|error| format!("restart: {error}"))?;
    appended.truncate(there as usize);
    let more = entries::batch(&mut Seeded::new(seed), 20);
    appended.extend_from_slice(&more);
    log.reserve(SEGMENT_BYTES).and_then(|()| log.append(&more)).map_err(|error| format!("restart: {error}"))?;
    let acknowledged = log.sync().map_err(|error| format!("restart: {error}"))?;
    let disk = disk.crash(seed);
    let log = open(&disk).map_err(|error| format!("restart after the next: {error}\n{disk:#?}"))?;
    check(&log, &appended, acknowledged).map(drop).map_err(|error| format!("restart after the next: {error}"))
}

/// A run that is the same for every fault.
struct Script {
    disk: SimDisk,
    random: Seeded,
    appended: Vec<Entry>,
    acknowledged: Sequence,
    /// Errors of what may be tried again: the log goes on.
    survived: u64,
}

impl Script {
    /// Runs until something that is final fails, or to the end.
    fn run(&mut self) -> Done {
        let mut log = open(&self.disk).map_err(text)?;
        let mut done = Ok(());
        for round in 0..1_000 {
            if self.disk.calls(Calls::All) > CALLS + 200 || done.is_err() {
                break;
            }
            if round > 0 && round % 40 == 0 {
                log = open(&self.disk).map_err(text)?;
            }
            done = self.round(&mut log, round);
        }
        // The error is over, the log is not used any more, except to be read.
        let checked = check(&log, &self.appended, self.acknowledged).map_err(|error| format!("reading on: {error}"));
        checked.and(done)
    }

    fn round(&mut self, log: &mut Segments, round: u64) -> Done {
        if round.is_multiple_of(4) {
            while let Err(error) = log.reserve(SEGMENT_BYTES) {
                self.survive(&error)?;
            }
            log.roll().map_err(text)?;
        }
        let batch = entries::batch(&mut self.random, 8);
        self.appended.extend_from_slice(&batch);
        log.append(&batch).map_err(text)?;
        self.acknowledged = log.sync().map_err(text)?;
        if round.is_multiple_of(2) {
            log.mark().map_err(text)?;
        }
        let snapshots = Snapshots::on(Arc::new(self.disk.clone()));
        if round % 8 == 5 {
            while let Err(error) = snapshots.write(log.id(), self.acknowledged, &[7; 99]) {
                self.survive(&error)?;
            }
        }
        if round % 8 == 7 {
            let removed = snapshots.retain(2).map(|oldest| log.retain(oldest.unwrap_or_default(), 0, Duration::ZERO));
            match removed {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.survive(&error)?,
                Err(ReadError::Disk { error, .. }) => self.survive(&error)?,
                Err(error) => return Err(text(error)),
            }
        }
        if round % 16 == 3 {
            match check(&*log, &self.appended, self.acknowledged) {
                Err(error) if is_injected(&error) => self.survived += 1,
                checked => drop(checked?),
            }
        }
        Ok(())
    }

    /// Goes on after an error that was injected, and after no other.
    fn survive(&mut self, error: &std::io::Error) -> Done {
        self.survived += 1;
        if is_injected(&error.to_string()) && self.survived == 1 {
            Ok(())
        } else {
            Err(format!("not injected: {error}"))
        }
    }
}

fn is_injected(error: &str) -> bool {
    error.contains("os error 5") || error.contains("os error 28")
}

#[test]
fn an_error_at_any_call_of_the_segments_costs_nothing_that_was_acknowledged() {
    let results = seeds::each(2 * CALLS, "-p journal --test errors", |seed| {
        let (k, fault) = (1 + seed / 2, if seed.is_multiple_of(2) { Fault::Io } else { Fault::Full });
        let disk = SimDisk::new(seed);
        disk.fail_call(k, fault, Calls::All);
        let (random, appended) = (Seeded::new(11), Vec::new());
        let mut script = Script { disk, random, appended, acknowledged: Sequence(0), survived: 0 };
        let ended = script.run();
        match &ended {
            Err(error) if !is_injected(error) || error.contains("not injected") => {
                return Err(format!("{fault:?} at call {k}: {error}\n{:#?}", script.disk));
            }
            _ => {}
        }
        // Every other pair of seeds is killed, the others lose power.
        restarts(&script.disk, seed / 2, script.appended, script.acknowledged)
            .map_err(|error| format!("{fault:?} at call {k}: {error}"))?;
        Ok((ended.is_err(), script.survived > 0))
    });
    let final_ones = results.iter().filter(|(is_final, _)| *is_final).count();
    let survived = results.iter().filter(|(_, is_survived)| *is_survived).count();
    println!(
        "{} runs with an error each: {final_ones} ended the log, {survived} were survived, {} were told to nobody",
        results.len(),
        results.len() - final_ones - survived
    );
    assert!(final_ones > 500 && survived > 100);
}

/// A log with its threads, and what it tells.
fn start(disk: &SimDisk, options: Options) -> Result<(LocalLog, Receiver<Progress>), ReadError> {
    let (tell, told) = channel();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    // The test may be over before the log.
    let listener = Box::new(move |progress| drop(tell.send(progress)));
    Ok((LocalLog::start(open(disk)?, shared, options, listener), told))
}

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        group_time: Duration::ZERO,
        group_bytes: 4 << 10,
        unsynced_bytes_max: 32 << 10,
        reserve_again_after: Duration::from_millis(1),
    }
}

/// Takes the news until `last` is synced; with the reason when the log has failed.
fn wait_for(told: &Receiver<Progress>, last: Sequence, acknowledged: &mut Sequence) -> Result<(), String> {
    while *acknowledged < last {
        match told.recv().map_err(text)? {
            Progress::Synced(synced) => *acknowledged = synced,
            Progress::Failed(reason) => return Err(reason),
        }
    }
    Ok(())
}

/// Tries until there is room: the log tries again by itself.
fn append(log: &LocalLog, batch: &[Entry], refused: &mut u64) -> Result<Sequence, AppendError> {
    loop {
        match log.append(batch) {
            Err(AppendError::Full { .. }) => {
                *refused += 1;
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}

#[derive(Debug, Default)]
struct Ended {
    has_failed: bool,
    was_full: bool,
    acknowledged: u64,
}

#[test]
fn after_an_error_the_log_with_its_threads_confirms_nothing_more() {
    // Every call of the first hundred, then a sample.
    let k_of = |seed: u64| if seed < 200 { 1 + seed / 2 } else { 100 + (seed - 200) * 7 / 2 };
    let results = seeds::each(400, "-p journal --test errors", |seed| {
        let (k, fault) = (k_of(seed), if seed.is_multiple_of(2) { Fault::Io } else { Fault::Full });
        let disk = SimDisk::new(seed);
        disk.fail_call(k, fault, Calls::Changes);
        failing(&disk, seed).map_err(|error| format!("{fault:?} at change {k}: {error}\n{disk:#?}"))
    });
    let count = |is: fn(&Ended) -> bool| results.iter().filter(|ended| is(ended)).count();
    println!(
        "{} logs with threads: {} failed, {} were full for a while; {} entries acknowledged and found again",
        results.len(),
        count(|ended| ended.has_failed),
        count(|ended| ended.was_full),
        results.iter().map(|ended| ended.acknowledged).sum::<u64>()
    );
    // Whether an appender sees the log full, before it has tried again, is a matter of threads: on a busy machine few do.
    assert!(count(|ended| ended.has_failed) > 100 && count(|ended| ended.was_full) > 0);
}

fn failing(disk: &SimDisk, seed: u64) -> Done<Ended> {
    let mut random = Seeded::new(seed);
    let (mut appended, mut acknowledged, mut refused) = (Vec::new(), Sequence(0), 0);
    let mut reason = None;
    match start(disk, options()) {
        Err(error) if is_injected(&text(&error)) => {}
        Err(error) => return Err(text(error)),
        Ok((log, told)) => {
            for round in 0..150 {
                let batch = entries::batch(&mut random, 30);
                appended.extend_from_slice(&batch);
                let last = match append(&log, &batch, &mut refused) {
                    Ok(last) => last,
                    Err(AppendError::Failed { .. }) => break,
                    Err(error) => return Err(text(error)),
                };
                // Some batches wait for the ones before, some do not.
                if round % 3 == 0
                    && let Err(failed) = wait_for(&told, last, &mut acknowledged)
                {
                    reason = Some(failed);
                    break;
                }
                if round % 15 == 0 {
                    check(&log, &appended, acknowledged)?;
                }
            }
            log.stop();
            let rest: Vec<_> = told.try_iter().collect();
            for progress in rest {
                match (progress, &reason) {
                    (Progress::Synced(synced), None) => acknowledged = synced,
                    (Progress::Failed(failed), None) => reason = Some(failed),
                    (progress, Some(reason)) => return Err(format!("{progress:?} after {reason}")),
                }
            }
            if reason.is_some() {
                after_failure(&log, &mut random)?;
            }
            if log.synced() != acknowledged {
                return Err(format!("it says {}, told was {acknowledged}", log.synced()));
            }
            check(&log, &appended, acknowledged)?;
        }
    }
    restarts(disk, seed / 2, appended, acknowledged)?;
    Ok(Ended { has_failed: reason.is_some(), was_full: refused > 0, acknowledged: acknowledged.0 })
}

fn after_failure(log: &LocalLog, random: &mut Seeded) -> Done {
    let refused = log.append(&entries::batch(random, 1));
    if !matches!(refused, Err(AppendError::Failed { .. })) {
        return Err(format!("an append after the failure gave {refused:?}"));
    }
    let status = log.status();
    if matches!(status, Status::Failed { .. }) { Ok(()) } else { Err(format!("the status is {status:?}")) }
}

#[test]
fn a_full_disk_refuses_and_heals_when_it_gets_room() {
    let disk = SimDisk::new(1).with_capacity(u64::from(SEGMENT_BYTES) * 3 + 1_000);
    let (log, told) = start(&disk, options()).expect("it is empty");
    let (mut random, mut appended, mut acknowledged) = (Seeded::new(2), Vec::new(), Sequence(0));
    let last = loop {
        let batch = entries::batch(&mut random, 50);
        match log.append(&batch) {
            Ok(_) => appended.extend_from_slice(&batch),
            Err(AppendError::Full { reason }) => {
                assert!(reason.contains("os error 28"), "{reason}");
                break Sequence(appended.len() as u64);
            }
            Err(error) => panic!("{error}"),
        }
    };
    // What was taken is stored all the same.
    wait_for(&told, last, &mut acknowledged).expect("a full disk is no failure");
    assert!(matches!(log.status(), Status::Full { .. }), "{:?}", log.status());
    assert_eq!(check(&log, &appended, acknowledged), Ok(last.0));
    disk.set_capacity(1 << 20);
    let (batch, mut refused) = (entries::batch(&mut random, 50), 0);
    appended.extend_from_slice(&batch);
    let last = append(&log, &batch, &mut refused).expect("there is room again");
    wait_for(&told, last, &mut acknowledged).expect("nothing failed");
    while log.status() != Status::Open {
        std::thread::yield_now();
    }
    log.stop();
    assert_eq!(restarts(&disk, 1, appended, acknowledged), Ok(()));
}

/// What happens in a log that is about to be full.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Told(Progress),
    /// The first sync in the last segment that there is room for waits.
    Stalls,
}

/// A batch is refused only when it does not fit: not while the last segment was just begun, and then again and again.
#[test]
fn a_batch_is_refused_once_it_does_not_fit_and_then_until_a_segment_is_reserved() {
    let disk = SimDisk::new(1).with_capacity(u64::from(SEGMENT_BYTES) * 2 + 1_000);
    let ((tell, news), (release, released)) = (channel(), channel());
    stall_in_the_second_segment(&disk, &tell, released);
    let listener = Box::new(move |progress| drop(tell.send(News::Told(progress))));
    let options = Options { unsynced_bytes_max: 1 << 20, ..options() };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = LocalLog::start(open(&disk).expect("it is empty"), shared, options, listener);
    let batch = entries::batch(&mut Seeded::new(2), 50);
    let append = |count: usize| log.append(&batch[..count]);
    // One by one, until a batch has gone into the second segment.
    loop {
        append(50).expect("there is room");
        if news.recv() == Ok(News::Stalls) {
            break;
        }
    }
    // The reserving thread finds no room for a third.
    while log.status() == Status::Open {
        std::thread::yield_now();
    }
    let appended = append(50);
    release.send(()).expect("the sync waits");
    appended.expect("nearly all of the second segment is free");
    while append(50).is_ok() {}
    for _ in 0..1_000 {
        assert!(matches!(append(50), Err(AppendError::Full { .. })), "what was refused is taken later");
    }
    append(1).expect("a shorter batch has room behind one that was refused");
    disk.set_capacity(1 << 20);
    while append(50).is_err() {}
    log.stop();
    let failed = news.try_iter().find(|news| matches!(news, News::Told(Progress::Failed(_))));
    assert_eq!(failed, None);
}

/// Each sync looks whether the second segment was begun; the first that finds it waits for `released`.
fn stall_in_the_second_segment(disk: &SimDisk, tell: &Sender<News>, released: Receiver<()>) {
    let (seen, tell) = (disk.clone(), tell.clone());
    disk.stall_next_sync(Box::new(move || {
        if seen.names().iter().filter(|name| name.ends_with(".segment")).count() < 2 {
            return stall_in_the_second_segment(&seen, &tell, released);
        }
        tell.send(News::Stalls).expect("the test waits for it");
        released.recv().expect("the test releases it");
    }));
}

#[test]
fn a_start_on_a_full_disk_after_a_kill_works_and_keeps_everything() {
    let disk = SimDisk::new(1).with_capacity(u64::from(SEGMENT_BYTES) + 1_000);
    let mut log = open(&disk).expect("it is empty");
    let appended = entries::batch(&mut Seeded::new(2), 90);
    log.reserve(SEGMENT_BYTES).and_then(|()| log.append(&appended)).expect("there is room");
    let killed = disk.kill();
    let log = open(&killed).expect("no room is no reason not to start");
    assert_eq!(check(&log, &appended, Sequence(90)), Ok(90));
    for seed in 0..20 {
        let log = open(&killed.crash(seed)).expect("it was brought to stable storage at the start");
        assert_eq!(check(&log, &appended, Sequence(90)), Ok(90));
    }
}

#[test]
fn a_removal_that_failed_half_way_does_not_stop_later_ones() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk).expect("it is empty");
    let mut random = Seeded::new(2);
    for _ in 0..4 {
        log.reserve(SEGMENT_BYTES).and_then(|()| log.roll()).expect("nothing fails");
        log.append(&entries::batch(&mut random, 5)).expect("nothing fails");
    }
    let synced = log.sync().expect("nothing fails");
    Snapshots::on(Arc::new(disk.clone())).write(log.id(), synced, &[]).expect("nothing fails");
    // One file is removed, the folder is not synced behind it.
    disk.fail_call(3, Fault::Io, Calls::Changes);
    assert!(log.retain(synced.next(), 0, Duration::ZERO).is_err());
    assert_eq!(log.first(), Sequence(6), "what is gone is not offered any more");
    assert!(log.read(Sequence(6), &mut |_, _| ()).is_ok());
    assert_eq!(log.retain(synced.next(), 0, Duration::ZERO).ok(), Some(2));
    assert_eq!(log.first(), Sequence(16));
}

#[test]
fn a_stalled_sync_holds_up_neither_appends_nor_reads() {
    let disk = SimDisk::new(1);
    let (log, told) = start(&disk, options()).expect("it is empty");
    let (mut random, mut acknowledged) = (Seeded::new(2), Sequence(0));
    let mut appended = entries::batch(&mut random, 10);
    let last = log.append(&appended).expect("nothing fails");
    wait_for(&told, last, &mut acknowledged).expect("nothing fails");
    // Two segments are reserved and one is begun; now only the journal's own thread syncs.
    let quiet = 14;
    while disk.calls(Calls::Changes) < quiet {
        std::thread::yield_now();
    }
    let ((stalled, has_stalled), (release, released)) = (channel(), channel::<()>());
    disk.stall_next_sync(Box::new(move || {
        stalled.send(()).expect("the test waits for it");
        released.recv().expect("the test lets it go");
    }));
    let mut append = |appended: &mut Vec<Entry>| {
        let batch = entries::batch(&mut random, 10);
        appended.extend_from_slice(&batch);
        log.append(&batch).expect("nothing fails")
    };
    append(&mut appended);
    has_stalled.recv().expect("the sync begins");
    // About 25 KiB, below the 32 that may wait.
    let taken: Vec<_> = (0..50).map(|_| append(&mut appended)).collect();
    assert_eq!(log.synced(), last, "nothing is confirmed meanwhile");
    assert_eq!(check(&log, &appended, acknowledged), Ok(last.0), "and nothing unsynced is read");
    assert_eq!(told.try_recv().ok(), None);
    release.send(()).expect("it waits");
    wait_for(&told, taken[49], &mut acknowledged).expect("nothing fails");
    // Beyond the limit appends wait, and go on.
    let last = (0..500).map(|_| append(&mut appended)).last().expect("there are some");
    wait_for(&told, last, &mut acknowledged).expect("nothing fails");
    assert_eq!(check(&log, &appended, acknowledged), Ok(last.0));
    log.stop();
    assert_eq!(restarts(&disk, 1, appended, acknowledged), Ok(()));
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
