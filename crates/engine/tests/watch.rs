//! What changes becomes an event: once, in order, and nothing that did not happen, also when the process dies.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{
    Effect, Engine, OnJournalFailure, Options, Recovery, Retention, State, Storage, UnknownDevices, WatchedZone,
};
use geodesy::{Area, Vertex, destination};
use index::{Change, margin_for};
use journal::Segments;
use model::{
    Clock, DeviceId, Disk, Event, EventKind, Flags, Heard, Minimum, Position, PositionReport, Press, Settle, Shape,
    Shards, Timestamp, Unit, UnitKind, UnitName, What, Zone, ZoneName,
};
use store::events::Events;
use testkit::{Border, BorderRule, Crossing, ManualClock, Seeded, SimDisk};

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000 + 1_000 * second).expect("it is a time")
}

fn place(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, lon).expect("it is a place")
}

fn device(number: u32) -> DeviceId {
    DeviceId::of("test", &number.to_string()).expect("it is a name")
}

fn name(number: u32) -> UnitName {
    UnitName::new(&format!("car-{number}")).expect("it is a name")
}

fn zone(name: &str, ring: &[(f64, f64)], version: u64) -> WatchedZone {
    let ring: Vec<_> = ring.iter().chain(&ring[..1]).map(|(lat, lon)| place(*lat, *lon)).collect();
    let corners = ring.iter().copied().map(Vertex::from).collect();
    let zone = Zone {
        name: ZoneName::new(name).expect("it is a name"),
        label: String::new(),
        layer: 1,
        organisation: None,
        shape: Shape::Polygons(vec![vec![ring]]),
        utc_offset_min: 480,
        hours: Vec::new(),
        minimum: Vec::new(),
        settle: Settle::default(),
        dwell_s: None,
        stay_s_max: None,
    };
    WatchedZone { zone: Arc::new(zone), area: Arc::new(Area::polygons(&[vec![corners]]).expect("an area")), version }
}

/// Four beats of about a kilometre each, side by side, and one zone over two of them.
fn beats() -> Vec<WatchedZone> {
    let square = |lat: f64, lon: f64| [(lat, lon), (lat, lon + 0.01), (lat + 0.01, lon + 0.01), (lat + 0.01, lon)];
    vec![
        zone("beat-1", &square(22.80, 108.30), 1),
        zone("beat-2", &square(22.80, 108.31), 1),
        zone("beat-3", &square(22.81, 108.30), 1),
        zone("beat-4", &square(22.81, 108.31), 1),
        zone("north", &[(22.81, 108.30), (22.81, 108.32), (22.82, 108.32), (22.82, 108.30)], 1),
    ]
}

fn report(engine: &Engine, number: u32, place: Position, time: Timestamp) -> Heard {
    let report = PositionReport {
        time: Some(time),
        time_basis: model::TimeBasis::Gnss,
        position: place,
        valid: true,
        speed_mps: None,
        course_deg: None,
        altitude: None,
        accuracy_m: None,
        accuracy_basis: None,
        flags: Flags::default(),
    };
    let binding = engine.resolve(&device(number)).expect("it was enrolled");
    Heard { binding, received: time, what: What::Report(report) }
}

fn enrol(engine: &Engine, number: u32, kind: UnitKind) {
    let unit = Unit { kind, ..Unit::named(name(number)) };
    engine.enrol(unit, &[device(number)]).expect("there is room");
}

/// All events, once there are `count` of them.
async fn events(engine: &Engine, count: usize) -> Vec<Event> {
    let watch = engine.watch().expect("it watches");
    let mut last = watch.last();
    // Numbers begin with 1 and have no gap.
    let told_all = last.wait_for(|last| *last >= count as u64);
    let is_told = tokio::time::timeout(Duration::from_secs(20), told_all).await.is_ok();
    let page = watch.after(0).expect("events are read");
    assert_eq!(page.gap, None);
    let events: Vec<_> = page.events.iter().map(|noted| noted.event.clone()).collect();
    assert!(is_told, "{count} events are expected, there are: {:#?}", told(&events));
    events
}

fn told(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| {
        let unit = event.unit.as_ref().map_or("-", |unit| unit.as_str());
        format!("{} {unit} {}", event.kind, event.zone.as_ref().map_or("-", |zone| zone.as_str()))
    };
    events.iter().map(text).collect()
}

fn watching(clock: &Arc<ManualClock>) -> Engine {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let events = Arc::new(Events::in_memory().expect("SQLite is there"));
    Engine::start_watching(clock, UnknownDevices::Refuse, events).expect("nothing is there yet")
}

#[tokio::test]
async fn who_crosses_a_border_is_told_and_who_is_late_is_not() {
    let clock = Arc::new(ManualClock::at(at(100)));
    let engine = watching(&clock);
    enrol(&engine, 1, UnitKind::Car);
    enrol(&engine, 2, UnitKind::Community);
    let watch = Arc::clone(engine.watch().expect("it watches"));
    watch.set_zones(beats()).await.expect("it runs");
    let (west, east) = (place(22.805, 108.305), place(22.805, 108.315));
    let moves = [(1, west, 0), (2, west, 0), (1, east, 30), (1, west, 5), (1, east, 60)];
    for (number, place, second) in moves {
        let batch = vec![report(&engine, number, place, at(second))];
        engine.submit(batch).await.expect("it runs").await.expect("it is applied");
    }
    let all = events(&engine, 3).await;
    assert_eq!(
        told(&all),
        ["enter car-1 beat-1", "exit car-1 beat-1", "enter car-1 beat-2"],
        "late, and volunteers: nothing"
    );
    assert_eq!((all[1].time, all[1].place, all[2].number), (at(30), Some(east), 3));
    // A zone that goes, and one that comes.
    let mut others = beats();
    others.retain(|one| one.zone.name.as_str() != "beat-2");
    others.push(zone("cordon", &[(22.80, 108.31), (22.80, 108.32), (22.81, 108.32), (22.81, 108.31)], 7));
    watch.set_zones(others).await.expect("it runs");
    let all = events(&engine, 5).await;
    assert_eq!(told(&all[3..]), ["exit car-1 beat-2", "enter car-1 cordon"]);
    // A volunteer becomes an officer: the next report counts, though nobody wanted to know where the volunteer goes.
    for (second, kind) in [(61, UnitKind::Community), (62, UnitKind::Community), (63, UnitKind::Foot)] {
        while watch.figures().waiting > 0 {
            std::thread::yield_now();
        }
        enrol(&engine, 2, kind);
        let batch = vec![report(&engine, 2, west, at(second))];
        engine.submit(batch).await.expect("it runs").await.expect("it is applied");
    }
    assert_eq!(told(&events(&engine, 6).await[5..]), ["enter car-2 beat-1"]);
    assert!(engine.retire(&name(1)));
    engine.submit(Vec::new()).await.expect("it runs").await.expect("it is applied");
    assert_eq!(told(&events(&engine, 7).await[6..]), ["exit car-1 cordon"]);
    engine.stop().await;
}

#[tokio::test]
async fn silence_stays_and_strength_are_told_when_they_begin_and_when_they_end() {
    let clock = Arc::new(ManualClock::at(at(0)));
    let engine = watching(&clock);
    enrol(&engine, 1, UnitKind::Car);
    let mut beat = beats().remove(0);
    let minimum = vec![Minimum { kinds: vec![UnitKind::Car], hours: Vec::new(), at_least: 1 }];
    beat.zone = Arc::new(Zone { minimum, dwell_s: Some(30), stay_s_max: Some(60), ..(*beat.zone).clone() });
    engine.watch().expect("it watches").set_zones(vec![beat]).await.expect("it runs");
    let here = async |second: i64| {
        let batch = vec![report(&engine, 1, place(22.805, 108.305), at(second))];
        engine.submit(batch).await.expect("it runs").await.expect("it is applied");
    };
    here(0).await;
    assert_eq!(told(&events(&engine, 1).await), ["enter car-1 beat-1"]);
    for second in [20, 40, 61] {
        clock.advance(Duration::from_secs(20 + u64::from(second == 61)));
        here(second).await;
    }
    assert_eq!(told(&events(&engine, 3).await[1..]), ["dwell car-1 beat-1", "overstay car-1 beat-1"]);
    clock.advance(Duration::from_secs(1_000));
    assert_eq!(told(&events(&engine, 5).await[3..]), ["contact_lost car-1 -", "strength_below - beat-1"]);
    here(1_061).await;
    // Silent units are looked at once a second.
    clock.advance(Duration::from_secs(2));
    let mut both = told(&events(&engine, 7).await[5..]);
    both.sort();
    assert_eq!(both, ["contact_found car-1 -", "strength_restored - beat-1"]);
    let press = Press { device: device(1), pressed_at: None, received_at: at(1_061), is_delayed: false, place: None };
    engine.ring(press.clone());
    engine.ring(press);
    let unknown = DeviceId::of("test", "nobody").expect("it is a name");
    engine.ring(Press { device: unknown, pressed_at: None, received_at: at(1_061), is_delayed: true, place: None });
    let all = events(&engine, 9).await;
    assert_eq!(told(&all[7..]), ["emergency_raised car-1 -", "emergency_raised - -"], "a repeated press is one");
    engine.stop().await;
}

#[tokio::test]
async fn a_silent_gateway_is_one_event_and_so_is_its_return_however_slowly_its_units_speak_again() {
    let clock = Arc::new(ManualClock::at(at(0)));
    let engine = watching(&clock);
    (1..=20).for_each(|car| enrol(&engine, car, UnitKind::Car));
    let watch = Arc::clone(engine.watch().expect("it watches"));
    watch.set_zones(Vec::new()).await.expect("it runs");
    // Every five seconds, so that 50 s of silence are too long.
    let heard = async |cars: std::ops::RangeInclusive<u32>, from: i64, until: i64| {
        for second in (from..=until).step_by(5) {
            let batch = cars.clone().map(|car| report(&engine, car, place(22.805, 108.305), at(second))).collect();
            engine.submit(batch).await.expect("it runs").await.expect("it is applied");
        }
    };
    let unit = |car: u32| engine.resolve(&device(car)).expect("it was enrolled").unit;
    heard(1..=20, 0, 30).await;
    clock.advance(Duration::from_secs(30));
    // Eighteen are behind it; two are not, of which one goes on.
    watch.gateway_lost("north", (1..=18).map(unit).collect());
    assert_eq!(told(&events(&engine, 1).await), ["gateway_lost - -"]);
    // One of them is heard on another way for a while.
    heard(18..=19, 35, 60).await;
    clock.advance(Duration::from_secs(55));
    assert_eq!(told(&events(&engine, 2).await[1..]), ["contact_lost car-20 -"], "of those behind it nothing is told");
    heard(19..=19, 65, 115).await;
    clock.advance(Duration::from_secs(30));
    assert_eq!(
        told(&events(&engine, 3).await[2..]),
        ["contact_lost car-18 -"],
        "who was heard on another way is lost by itself"
    );
    watch.gateway_found("north");
    assert_eq!(told(&events(&engine, 4).await[3..]), ["gateway_found - -"]);
    // The others have their time to speak again, and all but one use it.
    heard(1..=16, 120, 150).await;
    heard(19..=19, 120, 150).await;
    clock.advance(Duration::from_secs(55));
    assert_eq!(
        told(&events(&engine, 5).await[4..]),
        ["contact_lost car-17 -"],
        "who does not come back with it is lost"
    );
    engine.stop().await;
}

#[tokio::test]
async fn who_was_out_of_contact_before_a_restart_is_found_when_it_is_heard_and_not_by_the_restart() {
    let clock = Arc::new(ManualClock::at(at(0)));
    let (disk, folder) = (SimDisk::new(1), tempfile::tempdir().expect("a folder"));
    let open = || {
        let events = Events::open(folder.path()).expect("events are whole");
        let storage = Storage {
            disk: Arc::new(disk.clone()),
            options: journal::Options::default(),
            retention: Retention::default(),
            on_failure: OnJournalFailure::LiveUnacked,
            events: Some(Arc::new(events)),
        };
        let options = Options { unknown: UnknownDevices::Refuse, shards: Shards::new(1).expect("they are few") };
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        Engine::open(clock, options, &storage, &Recovery::default()).expect("it is whole")
    };
    let heard = async |engine: &Engine, car: u32, from: i64, until: i64| {
        for second in (from..=until).step_by(5) {
            let batch = vec![report(engine, car, place(22.805, 108.305), at(second))];
            engine.submit(batch).await.expect("it runs").await.expect("it is stored");
        }
    };
    let engine = open();
    engine.watch().expect("it watches").set_zones(Vec::new()).await.expect("it runs");
    (1..=2).for_each(|car| enrol(&engine, car, UnitKind::Car));
    heard(&engine, 1, 0, 30).await;
    heard(&engine, 2, 0, 60).await;
    clock.advance(Duration::from_secs(85));
    assert_eq!(told(&events(&engine, 1).await), ["contact_lost car-1 -"]);
    engine.stop().await;
    let engine = open();
    engine.watch().expect("it watches").set_zones(Vec::new()).await.expect("it runs");
    // What the other one is told of has been looked at after what the first would have been.
    clock.advance(Duration::from_secs(60));
    assert_eq!(told(&events(&engine, 2).await[1..]), ["contact_lost car-2 -"]);
    heard(&engine, 1, 145, 145).await;
    clock.advance(Duration::from_secs(2));
    assert_eq!(told(&events(&engine, 3).await[2..]), ["contact_found car-1 -"]);
    engine.stop().await;
}

/// What the rule says of the newest places in a log, as words by unit.
fn by_the_rule(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, zones: &[WatchedZone]) -> BTreeMap<String, Vec<String>> {
    let segments = Segments::look_at(Arc::clone(disk), Arc::clone(clock)).expect("the log is whole");
    let border = |one: &WatchedZone| Border {
        zone: one.zone.name.clone(),
        area: Arc::clone(&one.area),
        margin_m: margin_for(&one.area, f64::from(one.zone.settle.margin_m)),
        time_s: one.zone.settle.time_s,
    };
    let mut rule = BorderRule::of(zones.iter().map(border).collect());
    let (mut state, mut told) = (State::default(), BTreeMap::<_, Vec<_>>::new());
    let mut visit = |_, entry| {
        let Effect { outcome, change, .. } = state.apply(&entry);
        let (Some(engine::rules::Outcome::Newest), Some(Change::Place { unit, fix, .. })) = (outcome, change) else {
            return;
        };
        let unit_name = state.unit(unit).expect("it was enrolled").name.to_string();
        let crossed = rule.moved(unit, fix.position, fix.time);
        told.entry(unit_name).or_default().extend(crossed.iter().map(Crossing::words));
    };
    segments.read(journal::Sequence(1), &mut visit).expect("the log is whole");
    told
}

/// What was told of crossings, as words by unit; numbers rise by one.
fn as_told(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let events = Events::open(folder).expect("events are whole");
    let (mut after, mut told) = (0, BTreeMap::<_, Vec<_>>::new());
    loop {
        let some = events.after(after, 1_000).expect("events are read");
        let Some(last) = some.last() else { return told };
        for event in &some {
            after += 1;
            assert_eq!(event.number, after, "numbers have no gap");
            let (Some(unit), Some(zone)) = (&event.unit, &event.zone) else { continue };
            told.entry(unit.to_string()).or_default().push(format!("{} {zone} {}", event.kind, event.time));
        }
        assert_eq!(after, last.number);
    }
}

const CARS: u32 = 6;

/// Cars that drive about, and a machine that loses power again and again while they do.
async fn drives_through_power_losses(seed: u64, losses: u32) -> usize {
    let manual = Arc::new(ManualClock::at(at(0)));
    let clock = Arc::clone(&manual) as Arc<dyn Clock>;
    let mut random = Seeded::new(seed);
    let (mut disk, mut folder) = (SimDisk::new(seed), tempfile::tempdir().expect("a folder"));
    let mut here: Vec<_> = (0..CARS).map(|_| place(22.81, 108.31)).collect();
    let mut second = 0;
    for loss in 0..=losses {
        let shards = Shards::new(1 + (seed as usize + loss as usize) % 3).expect("they are few");
        let options = journal::Options { segment_bytes: 64 << 10, ..journal::Options::default() };
        let storage = Storage {
            disk: Arc::new(disk.clone()),
            options,
            retention: Retention::default(),
            on_failure: OnJournalFailure::LiveUnacked,
            events: Some(Arc::new(Events::open(folder.path()).expect("events are whole"))),
        };
        let options = Options { unknown: UnknownDevices::Refuse, shards };
        let engine = Engine::open(Arc::clone(&clock), options, &storage, &Recovery::default()).expect("it is whole");
        engine.watch().expect("it watches").set_zones(beats()).await.expect("it runs");
        (0..CARS).for_each(|car| enrol(&engine, car, UnitKind::Car));
        for _ in 0..random.between(5.0, 60.0) as u32 {
            second += 3;
            manual.advance(Duration::from_secs(3));
            let mut batch = Vec::new();
            for (car, here) in (0..CARS).zip(&mut here) {
                let metres = if random.unit() < 0.3 { 220.0 } else { random.between(0.0, 60.0) };
                let next = destination(*here, random.between(0.0, 360.0), metres);
                *here = if Area::circle(place(22.81, 108.31), 1_500.0).expect("an area").contains(next) {
                    next
                } else {
                    *here
                };
                batch.push(report(&engine, car, *here, at(second)));
            }
            let settlement = engine.submit(batch).await.expect("it runs");
            if random.unit() < 0.9 {
                settlement.await.expect("it is stored");
            }
        }
        if loss == losses {
            engine.stop().await;
            break;
        }
        // The events as they are on disk now, and then the journal: both are what a loss of power would leave.
        let left = tempfile::tempdir().expect("a folder");
        for file in ["events.db", "events.db-wal"] {
            std::fs::copy(folder.path().join(file), left.path().join(file)).expect("it is there");
        }
        let crashed = disk.crash(seed ^ u64::from(loss));
        engine.stop().await;
        (disk, folder) = (crashed, left);
    }
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let (expected, told) = (by_the_rule(&disk, &clock, &beats()), as_told(folder.path()));
    assert_eq!(told, expected, "seed {seed}");
    told.values().map(Vec::len).sum()
}

/// Every crossing of the journal is told once, in the order of its unit, and no other.
#[test]
fn power_losses_neither_lose_crossings_nor_invent_any() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime starts");
    let (seeds, losses) = (12, 6);
    let crossings: usize = (0..seeds).map(|seed| runtime.block_on(drives_through_power_losses(seed, losses))).sum();
    println!("{} losses of power, {crossings} crossings, 0 lost, 0 invented", seeds * u64::from(losses));
    assert!(crossings > 500, "{crossings} crossings prove little");
}

/// Something in one state at a time: the same state is told once, also when the process ended between.
#[tokio::test]
async fn a_state_is_told_once_and_a_restart_goes_on_from_it() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(ManualClock::at(at(100))));
    let open = || {
        let events = Arc::new(Events::open(folder.path()).expect("SQLite is there"));
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        Engine::start_watching(clock, UnknownDevices::Refuse, events).expect("nothing is there yet")
    };
    let note = |watch: &engine::Watch, name: &str, state: Option<&str>| {
        let event = Event::of(EventKind::Standing, at(100), at(100)).with("state", state.unwrap_or("none"));
        let event = state.map(|_| event);
        watch.note_state(event, EventKind::Standing, name.to_owned(), state.map(str::to_owned));
    };
    let engine = open();
    let watch = Arc::clone(engine.watch().expect("it watches"));
    watch.set_zones(Vec::new()).await.expect("it runs");
    for (name, state) in [("7", "near"), ("7", "near"), ("71", "near"), ("7", "apart")] {
        note(&watch, name, Some(state));
    }
    assert_eq!(events(&engine, 3).await.len(), 3, "7 near, 71 near, 7 apart");
    engine.stop().await;
    drop((engine, watch));
    let engine = open();
    let watch = Arc::clone(engine.watch().expect("it watches"));
    let known =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(watch.states(EventKind::Standing).expect("it is read"), known(&[("7", "apart"), ("71", "near")]));
    watch.set_zones(Vec::new()).await.expect("it runs");
    note(&watch, "7", Some("apart"));
    note(&watch, "71", None);
    note(&watch, "7", Some("near"));
    let all = events(&engine, 4).await;
    assert_eq!((all.len(), all[3].detail[0].1.as_str()), (4, "near"));
    assert_eq!(watch.states(EventKind::Standing).expect("it is read"), known(&[("7", "near")]));
    engine.stop().await;
}

fn stored(disk: &SimDisk, folder: &Path, clock: &Arc<dyn Clock>) -> Engine {
    let storage = Storage {
        disk: Arc::new(disk.clone()),
        options: journal::Options { segment_bytes: 64 << 10, ..journal::Options::default() },
        retention: Retention::default(),
        on_failure: OnJournalFailure::LiveUnacked,
        events: Some(Arc::new(Events::open(folder).expect("events are whole"))),
    };
    Engine::open(Arc::clone(clock), UnknownDevices::Refuse, &storage, &Recovery::default()).expect("it is whole")
}

/// A button rings before the journal has it. When the journal loses it, the next button must not be taken for the one that was told.
#[tokio::test]
async fn a_press_that_the_journal_lost_does_not_silence_the_next_one() {
    let clock = Arc::new(ManualClock::at(at(0))) as Arc<dyn Clock>;
    let (disk, folder) = (SimDisk::new(1), tempfile::tempdir().expect("a folder"));
    let press =
        |number| Press { device: device(number), pressed_at: None, received_at: at(0), is_delayed: false, place: None };
    let engine = stored(&disk, folder.path(), &clock);
    engine.watch().expect("it watches").set_zones(beats()).await.expect("it runs");
    // The journal as it was before the press.
    let before = disk.crash(1);
    engine.ring(press(1));
    assert_eq!(told(&events(&engine, 1).await), ["emergency_raised - -"]);
    engine.stop().await;
    let again = stored(&before, folder.path(), &clock);
    again.watch().expect("it watches").set_zones(beats()).await.expect("it runs");
    again.ring(press(2));
    let all = events(&again, 3).await;
    assert_eq!(
        told(&all[1..]),
        ["emergency_cleared - -", "emergency_raised - -"],
        "the first rings no more, and is not forgotten"
    );
    assert_eq!(all[2].detail.iter().find(|(word, _)| word == "emergency").map(|(_, number)| &**number), Some("2"));
    again.stop().await;
}

/// A zone that was below its minimum, and comes again, is told anew.
#[tokio::test]
async fn a_zone_that_goes_lacks_nobody_any_more() {
    let clock = Arc::new(ManualClock::at(at(0)));
    let engine = watching(&clock);
    let watch = engine.watch().expect("it watches");
    let mut beat = beats().remove(0);
    let minimum = vec![Minimum { kinds: vec![UnitKind::Car], hours: Vec::new(), at_least: 1 }];
    beat.zone = Arc::new(Zone { minimum, ..(*beat.zone).clone() });
    watch.set_zones(vec![beat.clone()]).await.expect("it runs");
    clock.advance(Duration::from_secs(21));
    assert_eq!(told(&events(&engine, 1).await), ["strength_below - beat-1"]);
    watch.set_zones(Vec::new()).await.expect("it runs");
    watch.set_zones(vec![beat]).await.expect("it runs");
    let all = told(&events(&engine, 3).await);
    assert_eq!(all[1..], ["strength_restored - beat-1", "strength_below - beat-1"]);
    engine.stop().await;
}

/// What a unit did before it was taken off is told, though it is not on the map any more after the start.
#[tokio::test]
async fn a_unit_that_was_taken_off_leaves_its_zones_after_a_start_too() {
    let clock = Arc::new(ManualClock::at(at(0))) as Arc<dyn Clock>;
    let (disk, folder) = (SimDisk::new(1), tempfile::tempdir().expect("a folder"));
    let engine = stored(&disk, folder.path(), &clock);
    engine.watch().expect("it watches").set_zones(beats()).await.expect("it runs");
    enrol(&engine, 1, UnitKind::Car);
    let place = place(22.805, 108.305);
    engine.submit(vec![report(&engine, 1, place, at(0))]).await.expect("it runs").await.expect("it is stored");
    assert_eq!(told(&events(&engine, 1).await), ["enter car-1 beat-1"]);
    // The events as they are now; the journal goes on.
    let left = tempfile::tempdir().expect("a folder");
    for file in ["events.db", "events.db-wal"] {
        std::fs::copy(folder.path().join(file), left.path().join(file)).expect("it is there");
    }
    engine.submit(vec![report(&engine, 1, place, at(5))]).await.expect("it runs").await.expect("it is stored");
    assert!(engine.retire(&name(1)));
    engine.submit(Vec::new()).await.expect("it runs").await.expect("it is stored");
    engine.stop().await;
    let again = stored(&disk, left.path(), &clock);
    again.watch().expect("it watches").set_zones(beats()).await.expect("it runs");
    assert_eq!(told(&events(&again, 2).await[1..]), ["exit car-1 beat-1"]);
    again.stop().await;
}
