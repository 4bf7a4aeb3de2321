use std::sync::atomic::AtomicU64;

use super::*;

/// A clock that a test moves; wall and monotonic alike.
#[derive(Default)]
struct Hand(AtomicU64);

const START_MS: i64 = 1_795_000_000_000;

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(START_MS + self.0.load(Ordering::SeqCst).cast_signed()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct Scene {
    clock: Arc<Hand>,
    gateways: Arc<Gateways>,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::<Hand>::default();
        let gateways = Arc::new(Gateways::new(Arc::clone(&clock) as Arc<dyn Clock>));
        Self { clock, gateways }
    }

    fn pass(&self, ms: u64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    fn connection(&self) -> Through {
        let mut through = Through::new(Arc::clone(&self.gateways));
        through.connected();
        through
    }

    /// `count` frames, `every_ms` apart.
    fn talk(&self, through: &mut Through, name: &str, count: u64, every_ms: u64) {
        for _ in 0..count {
            self.pass(every_ms);
            through.hear(Some(&SenderName::of_gateway(name).unwrap()));
        }
    }

    /// What changed, as `+name` and `-name`.
    fn changes(&self) -> Vec<String> {
        let sign = |change: &GatewayChange| if change.is_lost { '-' } else { '+' };
        self.gateways.changes().iter().map(|change| format!("{}{}", sign(change), change.gateway)).collect()
    }
}

fn bound(device: u32, unit: u32) -> Binding {
    Binding { device: DeviceHandle(device), unit: UnitHandle(unit) }
}

#[test]
fn a_silent_gateway_is_lost_once_with_its_units_and_found_with_its_next_frame() {
    let scene = Scene::new();
    let (mut a, mut b) = (scene.connection(), scene.connection());
    for _ in 0..20 {
        scene.talk(&mut a, "a", 1, 50);
        scene.talk(&mut b, "b", 1, 50);
    }
    for (device, unit) in [(1, 7), (2, 7), (3, 4)] {
        a.bind(bound(device, unit));
    }
    b.bind(bound(9, 5));
    assert_eq!(scene.changes(), ["+a", "+b"], "before the start they may have been lost");
    for _ in 0..30 {
        scene.talk(&mut b, "b", 1, 65);
        assert!(scene.changes().is_empty(), "2 s are not over");
    }
    scene.talk(&mut b, "b", 1, 65);
    let change = scene.gateways.changes();
    assert_eq!(change.len(), 1);
    assert_eq!((change[0].gateway.as_str(), change[0].is_lost), ("a", true));
    assert_eq!(change[0].units, [UnitHandle(4), UnitHandle(7)]);
    assert_eq!(change[0].heard.unix_ms() - START_MS, 1_950);
    scene.talk(&mut b, "b", 20, 100);
    assert!(scene.changes().is_empty(), "told once");
    scene.talk(&mut a, "a", 1, 0);
    assert_eq!(scene.changes(), ["+a"]);
}

#[test]
fn eight_learned_intervals_are_silence_and_not_fewer() {
    let scene = Scene::new();
    let mut a = scene.connection();
    scene.talk(&mut a, "a", 10, 5_000);
    assert_eq!(scene.changes(), ["+a"]);
    scene.pass(40_000);
    assert!(scene.changes().is_empty());
    scene.pass(1);
    assert_eq!(scene.changes(), ["-a"]);
}

/// At night radios are silent, and a gateway sends a heartbeat each half minute.
#[test]
fn a_gateway_that_falls_back_to_heartbeats_is_taken_for_lost_once() {
    let scene = Scene::new();
    let mut a = scene.connection();
    scene.talk(&mut a, "a", 100, 100);
    assert_eq!(scene.changes(), ["+a"]);
    let mut told = Vec::new();
    for round in 0..100 {
        scene.pass(29_900 + round % 4 * 1_000);
        told.extend(scene.changes());
        scene.talk(&mut a, "a", 1, 100);
        told.extend(scene.changes());
    }
    assert_eq!(told, ["-a", "+a"]);
    // By day it is quick again.
    scene.talk(&mut a, "a", 60, 100);
    scene.pass(2_500);
    assert_eq!(scene.changes(), ["-a"]);
}

#[test]
fn a_gateway_whose_last_connection_ended_has_a_second_to_come_back() {
    let scene = Scene::new();
    let (mut first, mut second) = (scene.connection(), scene.connection());
    scene.talk(&mut first, "a", 5, 1_000);
    scene.talk(&mut second, "a", 5, 1_000);
    drop(first);
    assert_eq!(scene.changes(), ["+a"]);
    scene.pass(1_500);
    assert!(scene.changes().is_empty(), "another connection is open");
    drop(second);
    scene.pass(1_000);
    assert!(scene.changes().is_empty());
    let mut third = scene.connection();
    scene.talk(&mut third, "a", 1, 0);
    scene.pass(1_500);
    assert!(scene.changes().is_empty(), "it came back in time");
    drop(third);
    scene.pass(1_001);
    assert_eq!(scene.changes(), ["-a"]);
    let mut fourth = scene.connection();
    scene.talk(&mut fourth, "a", 1, 0);
    assert_eq!(scene.changes(), ["+a"]);
}

#[test]
fn a_session_without_a_connection_is_lost_by_silence_only() {
    let scene = Scene::new();
    let mut datagrams = Through::new(Arc::clone(&scene.gateways));
    scene.talk(&mut datagrams, "a", 10, 1_000);
    assert_eq!(scene.gateways.list().0[0].sessions, 0);
    drop(datagrams);
    assert_eq!(scene.changes(), ["+a"]);
    scene.pass(7_900);
    assert!(scene.changes().is_empty());
    scene.pass(200);
    assert_eq!(scene.changes(), ["-a"]);
}

#[test]
fn a_device_counts_for_the_gateway_that_it_came_through_last() {
    let scene = Scene::new();
    let (mut a, mut b) = (scene.connection(), scene.connection());
    scene.talk(&mut a, "a", 3, 100);
    a.bind(bound(1, 7));
    scene.talk(&mut b, "b", 3, 100);
    b.bind(bound(1, 7));
    let (views, overflowed) = scene.gateways.list();
    assert_eq!(overflowed, 0);
    let said: Vec<_> = views.iter().map(|view| (view.gateway.as_str(), view.units, view.sessions)).collect();
    assert_eq!(said, [("a", 0, 1), ("b", 1, 1)]);
    assert_eq!((views[1].interval, views[1].frames), (Some(Duration::from_millis(100)), 3));
}

#[test]
fn a_unit_is_of_a_lost_gateway_until_it_is_heard_on_another_way() {
    let scene = Scene::new();
    let mut a = scene.connection();
    scene.talk(&mut a, "a", 3, 100);
    a.bind(bound(1, 7));
    let heard = scene.clock.now();
    assert!(!scene.gateways.lost().has(DeviceHandle(1), Some(heard)));
    drop(a);
    scene.pass(1_001);
    let lost = scene.gateways.lost();
    assert!(lost.has(DeviceHandle(1), Some(heard)));
    assert!(!lost.has(DeviceHandle(1), Some(heard.shifted_ms(1))));
    assert!(!lost.has(DeviceHandle(2), Some(heard)));
}

#[test]
fn a_flood_of_names_stays_within_the_limit_and_is_counted() {
    let scene = Scene::new();
    let mut a = scene.connection();
    for number in 0..GATEWAYS_MAX + 3 {
        scene.talk(&mut a, &number.to_string(), 1, 0);
        a.bind(bound(number as u32, 1));
    }
    let (views, overflowed) = scene.gateways.list();
    assert_eq!((views.len(), overflowed), (GATEWAYS_MAX, 3));
    scene.talk(&mut a, "0", 1, 0);
    assert_eq!(scene.gateways.list().0[0].sessions, 1, "a known one is still heard");
}
