//! P8: what readers of a live engine see is what its log gives.

use std::sync::Arc;

use engine::{Engine, Live, OnJournalFailure, Options, Recovery, Retention, Storage, UnknownDevices, recover};
use journal::Entry;
use model::{Clock, DeviceId, Disk, Press, Shards, Timestamp, Unit, UnitName};
use testkit::{ManualClock, Seeded, SimDisk};

use crate::history::{History, at, shuffled, state_of};
use crate::{seeds, text};

/// Everything that a reader can ask of the units and of what rings, without numbers that are given anew at each start.
fn seen(live: &Live) -> Vec<String> {
    let unit = |view: engine::UnitView| {
        let slot = view.slot;
        let explained = live.explain(&view.unit.name, &query::Scope::everything()).map(|explained| explained.sources);
        let (contact, interval) = (slot.contact_time, slot.expected_interval_ms);
        format!("{:?} {:?} {contact:?} {interval:?} {explained:?}", view.unit, slot.fix)
    };
    let ringing = live.ringing(&query::Scope::everything()).into_iter().map(|emergency| {
        format!("{} {} {:?} {:?}", emergency.number, emergency.device, emergency.unit, emergency.place)
    });
    live.page(None, usize::MAX, &query::Scope::everything()).views.into_iter().map(unit).chain(ringing).collect()
}

fn open(shards: u64, storage: &Storage, clock: &Arc<dyn Clock>) -> Result<Engine, String> {
    let shards = Shards::new(shards as usize).expect("they are few");
    let options = Options { unknown: UnknownDevices::Refuse, shards };
    Engine::open(Arc::clone(clock), options, storage, &Recovery::default()).map_err(text)
}

#[test]
fn a_live_engine_shows_what_its_log_gives() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime starts");
    let counts = seeds::each(200, "-p engine --test recovery live", |seed| runtime.block_on(lives(seed)));
    println!("{} engines, {} entries in their logs", counts.len(), counts.iter().sum::<usize>());
}

/// Three lives of one engine, with one to three shards, never twice as many; after each, the log alone gives what was seen.
async fn lives(seed: u64) -> Result<usize, String> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(0)));
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(seed));
    let options = journal::Options { segment_bytes: 256 << 10, ..journal::Options::default() };
    let (retention, on_failure) = (Retention::default(), OnJournalFailure::LiveUnacked);
    let storage = Storage { disk: Arc::clone(&disk), options, retention, on_failure, events: None };
    let mut random = Seeded::new(!seed);
    let mut count = 0;
    for life in 0..3 {
        let shards = |lives: u64| 1 + (seed + life + lives) % 3;
        let engine = open(shards(0), &storage, &clock)?;
        let entries = History::new(seed + life * 1_000_000).next(300);
        drive(&engine, &shuffled(&mut random, &entries)).await?;
        engine.stop().await;
        let shown = seen(engine.live());
        drop(engine);
        count = check_log(&disk, &clock)?;
        let again = open(shards(1), &storage, &clock)?;
        let shown_again = seen(again.live());
        again.stop().await;
        if let Some((before, after)) = shown.iter().zip(&shown_again).find(|(before, after)| before != after) {
            let shards = shards(0);
            return Err(format!("life {life}, {shards} shards: before the restart\n{before}\nafter it\n{after}"));
        }
        if shown.len() != shown_again.len() {
            return Err(format!("life {life}: {} were seen, then {}", shown.len(), shown_again.len()));
        }
    }
    Ok(count)
}

/// The state that a start rebuilds is that of all entries, one by one.
fn check_log(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> Result<usize, String> {
    let recovered = recover(disk, clock, &Recovery::default()).map_err(text)?;
    let mut entries = Vec::new();
    let first = recovered.segments.first();
    recovered.segments.read(first, &mut |_, entry| entries.push(entry)).map_err(text)?;
    if state_of(&entries).to_bytes() != recovered.state.to_bytes() {
        return Err("the log gives another state".to_owned());
    }
    Ok(entries.len())
}

/// Does to an engine what the entries say, by its own doors.
async fn drive(engine: &Engine, entries: &[Entry]) -> Result<(), String> {
    let (mut batch, mut last) = (Vec::new(), None);
    for entry in entries {
        match entry {
            Entry::Heard(heard) => {
                // The engine gives numbers of its own: whoever has the number takes the report.
                let device = DeviceId::of("test", &heard.binding.device.0.to_string()).map_err(text)?;
                if let Some(binding) = engine.resolve(&device) {
                    batch.push(model::Heard { binding, ..*heard });
                }
            }
            Entry::Enrol(enrolment) => {
                let devices: Vec<_> = enrolment.devices.iter().map(|(_, device)| device.clone()).collect();
                // A device may be carried by another unit by now: then nothing is changed.
                let _ = engine.enrol(enrolment.unit.clone(), &devices);
            }
            Entry::Retire(unit) => {
                engine.retire(&UnitName::new(&format!("unit-{}", unit.0)).map_err(text)?);
            }
            Entry::Press { press, .. } => engine.ring(press.clone()),
            Entry::Handle(handling) => drop(engine.handle(handling.clone())),
            // The engine decides that by its clock, which stands: `forget.rs` has it.
            Entry::Forget { .. } => {}
            Entry::Lost => {
                let some = std::mem::take(&mut batch);
                last = Some(engine.submit(some).await.map_err(text)?);
            }
        }
    }
    let rest = engine.submit(batch).await.map_err(text)?;
    rest.await.map_err(text)?;
    match last {
        Some(settlement) => settlement.await.map_err(text),
        None => Ok(()),
    }
}

/// A press that rings while its device already moved on is shown where the device is now, before and after a restart.
#[tokio::test]
async fn what_rings_and_who_is_known_survive_a_restart() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(0)));
    let options = journal::Options { segment_bytes: 256 << 10, ..journal::Options::default() };
    let (retention, on_failure) = (Retention::default(), OnJournalFailure::LiveUnacked);
    let storage = Storage { disk: Arc::new(SimDisk::new(1)), options, retention, on_failure, events: None };
    let engine = open(2, &storage, &clock).expect("the disk is empty");
    let device = DeviceId::of("test", "1").expect("it is a name");
    let unit = Unit::named(UnitName::new("car-1").expect("it is a name"));
    engine.enrol(unit, std::slice::from_ref(&device)).expect("there is room");
    let received_at: Timestamp = at(5);
    engine.ring(Press { device, pressed_at: None, received_at, is_delayed: false, place: None });
    engine.submit(Vec::new()).await.expect("it runs").await.expect("it is stored");
    engine.stop().await;
    let again = open(1, &storage, &clock).expect("the log is whole");
    assert_eq!(seen(again.live()), seen(engine.live()));
    assert_eq!(again.live().ringing(&query::Scope::everything()).len(), 1);
    again.stop().await;
}
