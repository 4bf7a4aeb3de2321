//! Places of volunteers are kept for 72 hours: on the map, in the state that a restart rebuilds, in snapshots.

use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, OnJournalFailure, Options, Recovery, Retention, State, Storage, UnknownDevices, recover};
use model::limits::COMMUNITY_KEPT;
use model::{
    Clock, DeviceId, Heard, Position, PositionReport, Shards, TimeBasis, Timestamp, Unit, UnitKind, UnitName, What,
};
use query::Scope;
use testkit::{ManualClock, SimDisk};

const VOLUNTEERS: u32 = 6;

fn start() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000).expect("it is a time")
}

fn name(number: u32) -> UnitName {
    UnitName::new(&format!("unit-{number}")).expect("it is a name")
}

fn device(number: u32, second: u32) -> DeviceId {
    DeviceId::of("test", &format!("{number}-{second}")).expect("it is a name")
}

fn place(number: u32) -> Position {
    Position::from_e7(228_000_000 + number as i32 * 10_000, 1_083_000_000).expect("it is on earth")
}

/// All but the last are volunteers; each has two devices.
fn enrol(engine: &Engine) {
    for number in 0..=VOLUNTEERS {
        let kind = if number < VOLUNTEERS { UnitKind::Community } else { UnitKind::Car };
        let unit = Unit { kind, ..Unit::named(name(number)) };
        engine.enrol(unit, &[device(number, 0), device(number, 1)]).expect("there is room");
    }
}

async fn report(engine: &Engine, number: u32, which: u32, time: Timestamp) {
    let position = place(number);
    let report = PositionReport { time: Some(time), time_basis: TimeBasis::Gnss, ..PositionReport::at(position) };
    let binding = engine.resolve(&device(number, which)).expect("its unit carries it");
    let heard = Heard { binding, received: time, what: What::Report(report) };
    engine.submit(vec![heard]).await.expect("it runs").await.expect("it is stored");
}

fn placed(engine: &Engine) -> Vec<u32> {
    let has_place = |number: &u32| {
        let view = engine.live().unit(&name(*number), &Scope::everything()).expect("it is on the map");
        assert!(view.slot.contact_time.is_some(), "when it was heard stays known");
        view.slot.fix.is_some()
    };
    (0..=VOLUNTEERS).filter(has_place).collect()
}

/// Whether any place of `number` is in the state, laid as it is in snapshots.
fn holds(state: &State, number: u32) -> bool {
    let latitude = place(number).lat_e7().to_le_bytes();
    state.to_bytes().windows(latitude.len()).any(|bytes| bytes == latitude)
}

#[tokio::test]
async fn places_of_volunteers_that_are_older_than_72_hours_are_in_no_answer_and_no_snapshot() {
    for shards in 1..=3 {
        let clock = Arc::new(ManualClock::at(start()));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let disk = Arc::new(SimDisk::new(shards as u64));
        let storage = Storage {
            disk: disk.clone(),
            options: journal::Options { segment_bytes: 256 << 10, ..journal::Options::default() },
            retention: Retention::default(),
            on_failure: OnJournalFailure::LiveUnacked,
            events: None,
        };
        let shards = Shards::new(shards).expect("they are few");
        let options = Options { unknown: UnknownDevices::Refuse, shards };
        let engine = Engine::open(as_clock.clone(), options, &storage, &Recovery::default()).expect("it is empty");
        enrol(&engine);
        for number in 0..=VOLUNTEERS {
            report(&engine, number, 0, start()).await;
            // By then the first device is stale: the unit has two sources.
            report(&engine, number, 1, start().after(Duration::from_secs(600))).await;
        }
        clock.advance(Duration::from_secs(600) + COMMUNITY_KEPT);
        assert_eq!(engine.forget_volunteers(), 0, "they may be kept for just so long");
        // One has moved since, and is forgotten neither by the look that sees it nor by one that was a moment too early.
        report(&engine, 0, 0, clock.now()).await;
        clock.advance(Duration::from_millis(1));
        assert_eq!(engine.forget_volunteers(), VOLUNTEERS as usize - 1);
        engine.submit(Vec::new()).await.expect("it runs").await.expect("it is stored");
        assert_eq!(placed(&engine), [0, VOLUNTEERS]);
        assert_eq!(engine.live().located(), 2);
        let explained = engine.live().explain(&name(1), &Scope::everything()).expect("it is on the map");
        assert!(explained.sources.iter().all(|source| source.source.is_none()), "{explained:?}");
        assert_eq!(engine.forget_volunteers(), 0, "nothing is told twice");
        engine.stop().await;

        let recovered = recover(&storage.disk, &as_clock, &Recovery::default()).expect("the log is whole");
        for number in 1..VOLUNTEERS {
            assert!(!holds(&recovered.state, number), "unit-{number}");
        }
        assert!(holds(&recovered.state, 0) && holds(&recovered.state, VOLUNTEERS));
        drop(recovered);
        let again = Engine::open(as_clock, options, &storage, &Recovery::default()).expect("the log is whole");
        assert_eq!(placed(&again), [0, VOLUNTEERS]);
        // Who comes back is on the map again.
        report(&again, 1, 1, clock.now()).await;
        assert_eq!(placed(&again), [0, 1, VOLUNTEERS]);
        again.stop().await;
    }
}
