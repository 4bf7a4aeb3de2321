use model::{TimeBasis, UnitName};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000 + 1_000 * second).expect("it is a time")
}

fn enrolled(unit: u32, device: u32, name: &DeviceId) -> Entry {
    let entry = Unit::named(UnitName::new(&format!("unit-{unit}")).expect("it is a name"));
    let devices = vec![(DeviceHandle(device), name.clone())];
    Entry::Enrol(Enrolment { handle: UnitHandle(unit), unit: entry, devices })
}

fn report(unit: u32, device: u32, second: i64, lat_e7: i32) -> Entry {
    let position = Position::from_e7(lat_e7, 1_083_000_000).expect("it is on earth");
    let report = PositionReport { time: Some(at(second)), time_basis: TimeBasis::Gnss, ..PositionReport::at(position) };
    let binding = Binding { device: DeviceHandle(device), unit: UnitHandle(unit) };
    Entry::Heard(Heard { binding, received: at(second), what: What::Report(report) })
}

#[test]
fn a_press_is_where_the_newest_number_of_its_device_was_last_also_after_a_snapshot() {
    let name = DeviceId::of("test", "1").expect("it is a name");
    let other = DeviceId::of("test", "2").expect("it is a name");
    let mut state = State::default();
    let history = [
        enrolled(0, 0, &name),
        report(0, 0, 1, 228_000_000),
        Entry::Retire(UnitHandle(0)),
        enrolled(1, 1, &other),
        enrolled(2, 2, &name),
        report(1, 1, 2, 229_000_000),
        report(2, 2, 3, 230_000_000),
    ];
    history.iter().for_each(|entry| drop(state.apply(entry)));
    let mut again = State::from_bytes(&state.to_bytes()).expect("it was just laid");
    let press = Press { device: name, pressed_at: None, received_at: at(4), is_delayed: false, place: None };
    for state in [&mut state, &mut again] {
        let effect = state.apply(&Entry::Press { number: 1, press: press.clone() });
        let (position, _) = effect.located.and_then(|located| located.place).expect("its device has a place");
        assert_eq!(position.lat_e7(), 230_000_000);
    }
    assert_eq!(state.to_bytes(), again.to_bytes());
}

#[test]
fn a_place_that_came_after_it_was_decided_to_forget_stays() {
    let name = DeviceId::of("test", "1").expect("it is a name");
    let unit = UnitHandle(0);
    let mut state = State::default();
    [enrolled(0, 0, &name), report(0, 0, 1, 228_000_000), report(0, 0, 2, 228_000_100)]
        .iter()
        .for_each(|entry| drop(state.apply(entry)));
    let before = state.to_bytes();
    assert_eq!(state.apply(&Entry::Forget { unit, upto: at(1) }).change, None);
    assert_eq!(state.to_bytes(), before);
    let effect = state.apply(&Entry::Forget { unit, upto: at(2) });
    assert_eq!(effect.change, Some(Change::Touch { unit, contact: at(2) }));
    assert_eq!(state.last_places().count(), 0, "its device has none either");
    assert_eq!(state.apply(&Entry::Forget { unit, upto: at(2) }).change, None, "there is nothing more");
}
