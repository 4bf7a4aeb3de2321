//! The program is killed (SIGKILL) again and again while cars drive over borders and a listener hears what changes, and comes again
//! with the number that it heard last. What the rule says of the journal that is left was told: all of it, in order, and no more.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::cars::{Cars, zones};
use common::ear::{Ear, Frame};
use common::life::Life;
use engine::{Effect, State};
use index::{Change, margin_for};
use journal::{FolderDisk, Segments, Sequence};
use model::{Clock, Disk, Event};
use server::SystemClock;
use store::events::Events;
use testkit::{Border, BorderRule, Crossing, Seeded};

/// Kills of one run, unless `MUSTER_KILLS` says otherwise.
const KILLS: usize = 200;
/// Servers side by side.
const SERVERS: usize = 4;
/// Longer than anything here takes; only a test that hangs waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that do work have five seconds to end; a stream of events is none.
const STOPS_WITHIN: Duration = Duration::from_secs(4);

/// What all servers together gave.
#[derive(Debug, Default)]
struct Totals {
    kills: usize,
    /// Of them while what is stored was read.
    early: usize,
    reports: usize,
    crossings: usize,
    /// Of them by one fix far beyond the border.
    far: usize,
    /// Events of all kinds that were heard.
    heard: usize,
}

#[test]
fn kills_under_load_neither_lose_crossings_nor_invent_any() {
    let began = Instant::now();
    let kills = std::env::var("MUSTER_KILLS").map_or(KILLS, |text| text.parse().expect("MUSTER_KILLS is a number"));
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for at in 0..SERVERS {
            let (share, totals) = ((kills + at) / SERVERS, &totals);
            scope.spawn(move || Range::new(at as u64).run(share, totals));
        }
    });
    let Totals { kills: killed, early, reports, crossings, far, heard } =
        totals.into_inner().expect("no server's thread panicked");
    // Past the harness, which keeps what a test that passes prints to itself.
    let _ = writeln!(
        std::io::stderr(),
        "\n{killed} kills in {:.0} s ({early} before it was ready): {reports} reports in the journals, {crossings} crossings ({far} far, \
         {} by time), 0 lost, 0 invented, {heard} events heard",
        began.elapsed().as_secs_f64(),
        crossings - far,
    );
    assert_eq!(killed, kills);
    assert!(far > kills && crossings - far > kills, "{crossings} crossings, {far} far, prove little");
}

/// One server's folder with all its lives.
struct Range {
    folder: tempfile::TempDir,
    cars: Cars,
    ear: Ear,
    random: Seeded,
}

impl Range {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the server");
        let range = Self { cars: Cars::new(seed), ear: Ear::default(), random: Seeded::new(seed), folder };
        range.cars.import(range.folder.path(), &range.data());
        range
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(mut self, kills: usize, totals: &Mutex<Totals>) {
        let early = (0..kills).filter(|_| !self.live()).count();
        // A kill may have come before anything was in the journal.
        let (reports, expected) = by_the_rule(&self.data());
        let heard = self.last_life(&expected);
        let words = words_of(&expected);
        for (told, what) in [(heard, "heard"), (on_disk(&self.data(), &self.ear), "on disk")] {
            let problem = difference(&told, &words);
            assert_eq!(problem, None, "what is {what}; kept in {:?}", self.keep());
        }
        let all = expected.values().flatten();
        let mut totals = totals.lock().expect("no server's thread panicked");
        totals.kills += kills;
        totals.early += early;
        totals.reports += reports;
        totals.crossings += words.values().map(Vec::len).sum::<usize>();
        totals.far += all.filter(|crossing| crossing.is_far).count();
        totals.heard += self.ear.frames().len();
    }

    /// A life under load that ends with a kill; whether it was ready before.
    fn live(&mut self) -> bool {
        let mut life = Life::begin(&self.data());
        // One of eight while it reads what is stored, or begins to.
        let is_early = self.random.next().is_multiple_of(8);
        let time = Duration::from_micros(self.random.next() % if is_early { 60_000 } else { 500_000 });
        let patience = if is_early { time } else { PATIENCE };
        let Some(ready) = life.is_ready_within(patience) else {
            assert!(is_early, "the server is not ready: {:?}", life.said());
            life.kill();
            return false;
        };
        std::thread::scope(|scope| {
            let (cars, ear) = (&mut self.cars, &self.ear);
            // A lost connection is what every life ends with.
            scope.spawn(move || drop(cars.drive(ready.muster)));
            scope.spawn(|| ear.listen(&ready.http));
            let lives_on = life.lives_for(time);
            life.kill();
            assert!(lives_on, "the server ended by itself: {:?}", life.said());
        });
        true
    }

    /// A life without load, until all crossings that are expected were heard. It stops in good order: nothing is on its way then.
    fn last_life(&mut self, expected: &BTreeMap<String, Vec<Crossing>>) -> BTreeMap<String, Vec<String>> {
        let count: usize = expected.values().map(Vec::len).sum();
        let mut life = Life::begin(&self.data());
        let ready = life.is_ready_within(PATIENCE).expect("it starts from what kills left");
        std::thread::scope(|scope| {
            let ear = &self.ear;
            scope.spawn(|| ear.listen(&ready.http));
            let has_all =
                ear.wait_until(PATIENCE, |frames| frames.iter().filter(|one| one.is_crossing()).count() >= count);
            let stopped = Instant::now();
            life.stop();
            let status = life.end();
            assert!(status.success(), "{status}");
            assert!(has_all, "crossings are missing");
            assert!(stopped.elapsed() < STOPS_WITHIN, "it waits for who only listens: {:?}", stopped.elapsed());
        });
        let mut told = BTreeMap::<_, Vec<_>>::new();
        for frame in self.ear.frames().iter().filter(|frame| frame.is_crossing()) {
            told.entry(frame.text("unit")).or_default().push(frame.words());
        }
        told
    }

    /// Leaves the folder for a person to look at.
    fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}

fn words_of(crossings: &BTreeMap<String, Vec<Crossing>>) -> BTreeMap<String, Vec<String>> {
    let all = crossings.iter().filter(|(_, crossed)| !crossed.is_empty());
    all.map(|(unit, crossed)| (unit.clone(), crossed.iter().map(Crossing::words).collect())).collect()
}

/// The first unit of which not the same was told as the rule says, and where that begins.
fn difference(told: &BTreeMap<String, Vec<String>>, expected: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let nothing = Vec::new();
    told.keys().chain(expected.keys()).find_map(|unit| {
        let [told, expected] = [told, expected].map(|all| all.get(unit).unwrap_or(&nothing));
        let same = told.iter().zip(expected).take_while(|(told, expected)| told == expected).count();
        let [told, expected] = [told, expected].map(|all| &all[same..]);
        let begins = |all: &[String]| all.iter().take(3).cloned().collect::<Vec<_>>();
        let is_same = told.is_empty() && expected.is_empty();
        (!is_same)
            .then(|| format!("{unit} after {same} crossings: {:?} instead of {:?}", begins(told), begins(expected)))
    })
}

/// How many reports are in a journal, and what the rule says of their places, by unit.
fn by_the_rule(data: &Path) -> (usize, BTreeMap<String, Vec<Crossing>>) {
    // Without its lock: a process that another thread starts just now would hold it for a moment longer than we do.
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::look_at(data).expect("it is there"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let segments = Segments::look_at(disk, clock).expect("the log is whole");
    let border = |zone: model::Zone| {
        let area = geodesy::area_of(&zone.shape).expect("it has ground");
        let margin_m = margin_for(&area, f64::from(zone.settle.margin_m));
        Border { zone: zone.name, area: Arc::new(area), margin_m, time_s: zone.settle.time_s }
    };
    let mut rule = BorderRule::of(zones().into_iter().map(border).collect());
    let (mut state, mut reports, mut told) = (State::default(), 0, BTreeMap::<_, Vec<_>>::new());
    let mut visit = |_, entry| {
        let Effect { outcome, change, .. } = state.apply(&entry);
        reports += usize::from(outcome.is_some());
        let (Some(engine::rules::Outcome::Newest), Some(Change::Place { unit, fix, .. })) = (outcome, change) else {
            return;
        };
        let name = state.unit(unit).expect("it was enrolled").name.to_string();
        told.entry(name).or_default().extend(rule.moved(unit, fix.position, fix.time));
    };
    segments.read(Sequence(1), &mut visit).expect("the log is whole");
    (reports, told)
}

/// The crossings on disk, by unit. Each event that was heard, in whichever life, is there as it was heard, under its number.
fn on_disk(data: &Path, ear: &Ear) -> BTreeMap<String, Vec<String>> {
    let events = Events::open(data).expect("events are whole");
    let (mut after, mut told) = (0, BTreeMap::<_, Vec<_>>::new());
    let heard = ear.frames();
    loop {
        let some = events.after(after, 1_000).expect("events are read");
        if some.is_empty() {
            assert!(after >= heard.len() as u64, "{} events were heard, {after} are on disk", heard.len());
            return told;
        }
        for event in &some {
            after += 1;
            assert_eq!(event.number, after, "numbers have no gap");
            if let Some(frame) = heard.get(after as usize - 1) {
                assert!(is_same(event, frame), "event {after} was heard as {frame:?} and is {event:?}");
            }
            let (Some(unit), Some(zone)) = (&event.unit, &event.zone) else { continue };
            told.entry(unit.to_string()).or_default().push(format!("{} {zone} {}", event.kind, event.time));
        }
    }
}

/// Whether an event on disk is the one that was heard. The instant at which it was noted tells two with the same words apart.
fn is_same(event: &Event, frame: &Frame) -> bool {
    let unit = event.unit.as_ref().map(ToString::to_string).unwrap_or_default();
    let zone = event.zone.as_ref().map(ToString::to_string).unwrap_or_default();
    frame.number == event.number
        && frame.text("kind") == event.kind.as_str()
        && frame.text("noted") == event.noted.to_string()
        && frame.text("time") == event.time.to_string()
        && (frame.text("unit"), frame.text("zone")) == (unit, zone)
}
