//! An emergency is raised, seen and cleared, each once; what a person did survives the process.

use std::sync::Arc;

use engine::{Engine, OnJournalFailure, Recovery, Retention, Storage, UnknownDevices};
use model::{
    Clock, DeviceId, Flags, Handling, Heard, Position, PositionReport, Press, PrincipalName, Step, Timestamp, Unit,
    UnitName, What,
};
use query::Scope;
use testkit::{ManualClock, SimDisk};

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000 + 1_000 * second).expect("it is a time")
}

fn device() -> DeviceId {
    DeviceId::of("test", "1").expect("it is a name")
}

fn press(second: i64) -> Press {
    Press { device: device(), pressed_at: None, received_at: at(second), is_delayed: false, place: None }
}

fn handling(number: u64, by: &str, step: Step) -> Handling {
    Handling { number, by: PrincipalName::new(by).expect("it is a name"), at: at(1), step }
}

fn cleared() -> Step {
    Step::Cleared { reason: "false alarm".to_owned() }
}

/// Numbers of what rings, with who has seen it.
fn ringing(engine: &Engine) -> Vec<(u64, Option<String>)> {
    let all = engine.live().ringing(&Scope::everything());
    all.into_iter().map(|one| (one.number, one.seen.map(|(by, _)| by.to_string()))).collect()
}

async fn report(engine: &Engine, second: i64, flags: Flags) {
    let position = Position::from_degrees(22.8, 108.3).expect("it is a place");
    let report = PositionReport { time: Some(at(second)), flags, ..PositionReport::at(position) };
    let binding = engine.resolve(&device()).expect("it was enrolled");
    let heard = Heard { binding, received: at(second), what: What::Report(report) };
    engine.submit(vec![heard]).await.expect("it runs").await.expect("it is stored");
}

#[tokio::test]
async fn what_was_cleared_rings_again_when_the_button_was_up_in_between() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(0)));
    let engine = Engine::start(clock, UnknownDevices::Refuse);
    engine.enrol(Unit::named(UnitName::new("car-1").expect("it is a name")), &[device()]).expect("there is room");
    engine.ring(press(0));
    assert_eq!(engine.handle(handling(7, "desk-1", cleared())), None, "none of that number rings");
    for by in ["desk-1", "desk-2"] {
        engine.handle(handling(1, by, Step::Seen)).expect("it rings");
    }
    assert_eq!(ringing(&engine), [(1, Some("desk-1".to_owned()))], "the first stays named, and it rings on");
    engine.handle(handling(1, "desk-2", cleared())).expect("it rings");
    assert_eq!(ringing(&engine), []);
    // The button is still down.
    for second in [5, 300, 800] {
        engine.ring(press(second));
        report(&engine, second, Flags::EMERGENCY).await;
    }
    assert_eq!(ringing(&engine), []);
    engine.ring(Press { is_delayed: true, ..press(801) });
    assert_eq!(ringing(&engine), [(2, None)], "what comes out of a backlog always rings");
    engine.handle(handling(2, "desk-1", cleared())).expect("it rings");
    // It is released, and pressed again.
    report(&engine, 802, Flags::default()).await;
    engine.ring(press(803));
    assert_eq!(ringing(&engine), [(3, None)]);
    engine.handle(handling(3, "desk-1", cleared())).expect("it rings");
    // Nothing was heard of it for longer than ten minutes.
    engine.ring(press(1_404));
    assert_eq!(ringing(&engine), [(4, None)]);
    engine.stop().await;
}

#[tokio::test]
async fn what_a_person_did_is_known_after_a_restart() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(0)));
    let storage = Storage {
        disk: Arc::new(SimDisk::new(1)),
        options: journal::Options { segment_bytes: 64 << 10, ..journal::Options::default() },
        retention: Retention::default(),
        on_failure: OnJournalFailure::LiveUnacked,
        events: None,
    };
    let open = || Engine::open(Arc::clone(&clock), UnknownDevices::Refuse, &storage, &Recovery::default());
    let engine = open().expect("the disk is empty");
    let other = DeviceId::of("test", "2").expect("it is a name");
    engine.ring(press(0));
    engine.ring(Press { device: other, ..press(0) });
    engine.handle(handling(1, "desk-1", cleared())).expect("it rings");
    engine.handle(handling(2, "desk-1", Step::Seen)).expect("it rings");
    engine.stop().await;
    drop(engine);
    let again = open().expect("the log is whole");
    assert_eq!(ringing(&again), [(2, Some("desk-1".to_owned()))]);
    again.ring(press(0));
    assert_eq!(ringing(&again).len(), 2, "after a restart a button that is down rings: nobody knows whether it was up");
    assert_eq!(ringing(&again)[1].0, 3);
    again.stop().await;
}
