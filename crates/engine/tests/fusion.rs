//! A car with its terminal, and an officer with radio and phone who leaves it: which of them says where the unit is, and why.

use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, Explained, Options, UnknownDevices};
use model::{
    Clock as _, DeviceId, Flags, Heard, Position, PositionReport, Shards, TimeBasis, Timestamp, Unit, UnitKind,
    UnitName, What,
};
use query::Scope;
use testkit::ManualClock;

const RADIO: &str = "tetra-lip:4711";
const PHONE: &str = "owntracks:wei";
const TERMINAL: &str = "jt808:13900000001";
const ACCURATE_M: f32 = 8.0;

/// An engine, whose clock stands still until it is told.
struct Patrol {
    engine: Engine,
    clock: Arc<ManualClock>,
    start: Timestamp,
}

impl Patrol {
    fn new(shards: usize) -> Self {
        let start = Timestamp::from_unix_ms(1_795_000_000_000).expect("it is a time");
        let clock = Arc::new(ManualClock::at(start));
        let shards = Shards::new(shards).expect("they are few");
        let options = Options { unknown: UnknownDevices::Refuse, shards };
        let engine = Engine::start(Arc::clone(&clock) as _, options);
        for (name, kind, devices) in
            [("car-7", UnitKind::Car, vec![TERMINAL]), ("officer-7", UnitKind::Foot, vec![RADIO, PHONE])]
        {
            let devices: Vec<_> = devices.into_iter().map(device).collect();
            engine.enrol(Unit { kind, ..Unit::named(unit(name)) }, &devices).expect("there is room");
        }
        Self { engine, clock, start }
    }

    fn until(&self, second: u64) {
        let now = self.clock.now().ms_since(self.start) as u64;
        self.clock.advance(Duration::from_millis(second * 1_000 - now));
    }

    /// At `second` a device is so many metres north of the station.
    async fn at(&self, second: u64, name: &str, north_m: f64) {
        self.until(second);
        self.report(name, north_m).await;
    }

    async fn report(&self, name: &str, north_m: f64) {
        let position = Position::from_degrees(22.817 + north_m / 110_740.0, 108.366).expect("it is on earth");
        let accuracy_m = (name == PHONE).then_some(ACCURATE_M);
        let (time, time_basis) = (Some(self.clock.now()), TimeBasis::Gnss);
        let report = PositionReport { time, time_basis, accuracy_m, ..PositionReport::at(position) };
        let binding = self.engine.resolve(&device(name)).expect("it was enrolled");
        let heard = Heard { binding, received: self.clock.now(), what: What::Report(report) };
        let settled = self.engine.submit(vec![heard]).await.expect("the engine runs");
        settled.await.expect("it is applied");
    }

    fn explained(&self, name: &str) -> Explained {
        self.engine.live().explain(&unit(name), &Scope::everything()).expect("it was enrolled")
    }

    /// The source first, each with its word; and what is flagged.
    fn expect(&self, name: &str, sources: &[(&str, &str)], flags: &[&str]) {
        let explained = self.explained(name);
        let shown: Vec<_> = explained.sources.iter().map(|one| (one.device.as_str(), one.why.as_str())).collect();
        let second = self.clock.now().ms_since(self.start) / 1_000;
        assert_eq!(shown, sources, "{second} s");
        assert!(explained.sources[0].is_source && explained.sources[1..].iter().all(|one| !one.is_source));
        let fix = explained.view.slot.fix.expect("it has a place");
        assert_eq!(fix.flags.words().collect::<Vec<_>>(), flags, "{second} s");
        assert_eq!(explained.sources[0].source.map(|source| source.position), Some(fix.position), "{second} s");
    }
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("it is a name")
}

fn unit(name: &str) -> UnitName {
    UnitName::new(name).expect("it is a name")
}

#[tokio::test]
async fn an_officer_who_leaves_the_car_is_shown_by_the_rules_and_the_answer_says_why() {
    for shards in [1, 2] {
        let patrol = Patrol::new(shards);
        each_in_turn_is_freshest(&patrol).await;
        each_in_turn_is_silent(&patrol).await;
        one_lies(&patrol).await;
        one_is_left_in_the_car(&patrol).await;
        patrol.engine.stop().await;
    }
}

async fn each_in_turn_is_freshest(patrol: &Patrol) {
    patrol.at(0, TERMINAL, 0.0).await;
    patrol.report(RADIO, 0.0).await;
    patrol.expect("car-7", &[(TERMINAL, "only")], &[]);
    patrol.expect("officer-7", &[(RADIO, "only"), (PHONE, "no_place")], &[]);
    patrol.at(1, PHONE, 3.0).await;
    patrol.expect("officer-7", &[(RADIO, "newest_at_start"), (PHONE, "not_clearly_better")], &[]);
    patrol.at(6, PHONE, 3.0).await;
    patrol.at(10, RADIO, 1.0).await;
    patrol.expect("officer-7", &[(RADIO, "newest_at_start"), (PHONE, "older")], &[]);
    patrol.at(11, PHONE, 2.0).await;
    patrol.expect("officer-7", &[(RADIO, "newest_at_start"), (PHONE, "not_clearly_better")], &[]);
}

async fn each_in_turn_is_silent(patrol: &Patrol) {
    // The radio is not heard any more: before its place is stale, what he can have walked since is the larger circle.
    patrol.at(16, PHONE, 2.0).await;
    patrol.expect("officer-7", &[(RADIO, "newest_at_start"), (PHONE, "not_clearly_better")], &[]);
    patrol.at(21, PHONE, 2.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &[]);
    patrol.at(26, PHONE, 2.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &[]);
    // Then the phone: its place is stale after three of its intervals, and the radio takes over with its next place.
    patrol.until(44);
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "stale")], &[]);
    patrol.at(45, RADIO, 4.0).await;
    patrol.expect("officer-7", &[(RADIO, "was_stale"), (PHONE, "stale")], &[]);
    for second in [55, 65, 75] {
        patrol.at(second, RADIO, 4.0).await;
    }
    patrol.until(80);
    patrol.expect("officer-7", &[(RADIO, "was_stale"), (PHONE, "silent")], &[]);
    patrol.at(82, PHONE, 3.0).await;
    patrol.expect("officer-7", &[(RADIO, "was_stale"), (PHONE, "not_clearly_better")], &[]);
}

async fn one_lies(patrol: &Patrol) {
    patrol.at(85, RADIO, 4.0).await;
    let before = patrol.explained("officer-7").view.slot.fix.expect("it has a place").position;
    // Five kilometres in ten seconds, then as far the other way: no second place confirms the first.
    patrol.at(95, RADIO, 5_000.0).await;
    assert_eq!(patrol.explained("officer-7").view.slot.fix.map(|fix| fix.position), Some(before));
    patrol.expect("officer-7", &[(RADIO, "was_stale"), (PHONE, "older")], &["jump"]);
    patrol.at(98, PHONE, 3.0).await;
    patrol.at(103, PHONE, 3.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "held_jump")], &[]);
    patrol.at(105, RADIO, -7_000.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "held_jump")], &[]);
    let shown = patrol.explained("officer-7").sources[1].source.expect("it gave a place");
    assert_eq!(shown.position, before, "a lie is not shown as its place");
    for second in [110, 115] {
        patrol.at(second, PHONE, 3.0).await;
    }
    patrol.report(RADIO, 0.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &[]);
}

async fn one_is_left_in_the_car(patrol: &Patrol) {
    // He runs 300 m and waits there; the phone lies in the car.
    walk(patrol, 120..=145, |second| (second - 115.0).min(15.0) * 20.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &[]);
    walk(patrol, 150..=175, |_| 300.0).await;
    let [phone, radio] = [0, 1].map(|at| patrol.explained("officer-7").sources[at].source.expect("it gave a place"));
    assert!(geodesy::distance_m(phone.position, radio.position) > 290.0, "both are shown");
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &["split"]);
    // Back: it ends once both have said so for half a minute.
    walk(patrol, 180..=195, |second| (195.0 - second) * 20.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &["split"]);
    walk(patrol, 200..=235, |_| 0.0).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &[]);
    // Away once more, and then the radio is silent: nobody disagrees any more.
    walk(patrol, 240..=290, |second| ((second - 235.0) * 20.0).min(400.0)).await;
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "older")], &["split"]);
    for second in (295..=325).step_by(5) {
        patrol.at(second, PHONE, 3.0).await;
    }
    patrol.expect("officer-7", &[(PHONE, "smaller_circle"), (RADIO, "stale")], &[]);
    // The car is a unit of its own, and was where it was all the time.
    patrol.at(326, TERMINAL, 0.0).await;
    patrol.expect("car-7", &[(TERMINAL, "only")], &[]);
    assert_eq!(patrol.explained("car-7").view.slot.fix.map(|fix| fix.flags), Some(Flags::default()));
}

/// Each five seconds the radio from where he walks, then the phone from the car.
async fn walk(patrol: &Patrol, seconds: std::ops::RangeInclusive<u64>, north_m: impl Fn(f64) -> f64) {
    for second in seconds.step_by(5) {
        patrol.at(second, RADIO, north_m(second as f64)).await;
        patrol.report(PHONE, 3.0).await;
    }
}

/// Between a fix of the terminal and one of a radio that reports seldom a car goes hundreds of metres.
#[tokio::test]
async fn a_car_that_drives_is_not_split_from_its_radio() {
    let patrol = Patrol::new(1);
    let car = Unit { kind: UnitKind::Car, ..Unit::named(unit("car-7")) };
    patrol.engine.enrol(car, &[device("tetra-lip:9")]).expect("there is room");
    for second in 0..200 {
        patrol.at(second, TERMINAL, 22.0 * second as f64).await;
        if second % 60 == 0 {
            patrol.report("tetra-lip:9", 22.0 * second as f64 + 5.0).await;
        }
        let flags = patrol.explained("car-7").view.slot.fix.map(|fix| fix.flags);
        assert_eq!(flags, Some(Flags::default()), "{second} s");
    }
}

/// Pooled radios change with each shift: who carries one now is told by it, who carried it is not.
#[tokio::test]
async fn a_device_that_changed_hands_is_no_source_of_the_unit_that_had_it() {
    let patrol = Patrol::new(1);
    patrol.at(0, PHONE, 0.0).await;
    patrol.report(RADIO, 0.0).await;
    patrol.expect("officer-7", &[(PHONE, "newest_at_start"), (RADIO, "older")], &[]);
    patrol.engine.assign(Unit::named(unit("officer-8")), &[device(RADIO)]).expect("there is room");
    patrol.at(1, RADIO, 50.0).await;
    patrol.expect("officer-7", &[(PHONE, "only")], &[]);
    patrol.expect("officer-8", &[(RADIO, "only")], &[]);
    patrol
        .engine
        .assign(Unit { kind: UnitKind::Foot, ..Unit::named(unit("officer-7")) }, &[device(RADIO)])
        .expect("room");
    patrol.expect("officer-7", &[(PHONE, "only"), (RADIO, "no_place")], &[]);
}
