//! Units, the devices they carry, and who rides in them.

use model::{Principal, Status, UnitKind, UnitRecord};
use proptest::prelude::*;
use store::exchange::UnitRow;
use store::{IfMatch, Refusal, Store, UnitChange};

use crate::{at, by, device, organisation, record, refusal, span, unit};

fn full(name: &str) -> UnitRecord {
    let mut full = record(name);
    full.unit.kind = UnitKind::Car;
    full.unit.status = Status::Available;
    full.unit.capabilities = vec!["dog".to_owned(), "first-aid".to_owned()];
    full.unit.covert = true;
    full.call_sign = format!("Dragon {name}");
    full.external = vec![("cad".to_owned(), format!("{name}|a:b"))];
    full.devices =
        vec![(device(&format!("jt808:{name}")), span(0, None)), (device("tetra:pool-1"), span(0, Some(100)))];
    full.duty = Some((span(0, Some(1_000)), "beat 7".to_owned()));
    full
}

#[test]
fn a_unit_comes_back_as_it_was_put() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    store.put_unit(&by(&local, 0), &record("officer-1"), IfMatch::Absent).unwrap();
    let mut car = full("car-1");
    car.crew = vec![(unit("officer-1"), span(0, Some(50)))];
    let version = store.put_unit(&by(&local, 0), &car, IfMatch::Absent).unwrap();
    let found = store.unit(&car.unit.name).unwrap().unwrap();
    assert_eq!((found.version, &found.value), (version, &car));
    assert_eq!(store.units(None, 10).unwrap().len(), 2);
    assert_eq!(store.units(Some(&unit("car-1")), 10).unwrap()[0].value, record("officer-1"));
    let refused = refusal(store.put_unit(&by(&local, 1), &car, IfMatch::Version(version + 1)));
    assert!(matches!(refused, Refusal::Changed { .. }), "{refused}");
}

#[test]
fn a_pooled_radio_is_with_one_unit_at_a_time() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let carry = |name, from, until| {
        let mut unit = record(name);
        unit.devices = vec![(device("tetra:pool-1"), span(from, until))];
        store.put_unit(&by(&local, 0), &unit, IfMatch::Always)
    };
    carry("officer-1", 0, Some(100)).unwrap();
    carry("officer-2", 100, Some(200)).unwrap();
    let refused = refusal(carry("officer-3", 150, None));
    let (name, first, second) = ("tetra:pool-1".to_owned(), "officer-3".to_owned(), "officer-2".to_owned());
    assert_eq!(refused, Refusal::Overlap { what: "device", name, first, second, at: at(150) });
    assert!(refused.to_string().contains("would be with `officer-3` and with `officer-2`"), "{refused}");
    assert_eq!(store.unit(&unit("officer-3")).unwrap(), None);
    let mut twice = record("officer-4");
    twice.devices = vec![(device("a:1"), span(0, None)), (device("a:1"), span(5, Some(6)))];
    assert!(matches!(refusal(store.put_unit(&by(&local, 0), &twice, IfMatch::Always)), Refusal::Overlap { .. }));
    twice.devices[1].1 = twice.devices[0].1;
    assert!(matches!(refusal(store.put_unit(&by(&local, 0), &twice, IfMatch::Always)), Refusal::Overlap { .. }));
    // Who gives it up frees it.
    store.put_unit(&by(&local, 0), &record("officer-2"), IfMatch::Always).unwrap();
    carry("officer-3", 150, None).unwrap();
    store.retire_unit(&by(&local, 0), &unit("officer-3"), IfMatch::Always).unwrap();
    carry("officer-2", 150, None).unwrap();
}

#[test]
fn a_person_rides_in_one_vehicle_at_a_time() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let ride = |vehicle, person, from, until| {
        let mut vehicle = record(vehicle);
        vehicle.crew = vec![(unit(person), span(from, until))];
        store.put_unit(&by(&local, 10), &vehicle, IfMatch::Always)
    };
    let refused = refusal(ride("car-1", "officer-1", 0, None)).to_string();
    assert_eq!(refused, "unit `car-1`: crew: there is no unit `officer-1`");
    assert!(refusal(ride("car-1", "nobody", 0, Some(5))).to_string().contains("there is no unit `nobody`"));
    store.put_unit(&by(&local, 0), &record("officer-1"), IfMatch::Always).unwrap();
    ride("car-1", "officer-1", 0, Some(100)).unwrap();
    assert!(matches!(refusal(ride("car-2", "officer-1", 99, None)), Refusal::Overlap { what: "unit", .. }));
    ride("car-2", "officer-1", 100, Some(150)).unwrap();
    assert!(matches!(refusal(ride("car-3", "car-3", 0, None)), Refusal::Invalid { field: "crew", .. }));
    let retire = |ms| store.retire_unit(&by(&local, ms), &unit("officer-1"), IfMatch::Always);
    assert!(matches!(refusal(retire(120)), Refusal::InUse { dependents: "vehicles that it rides in", .. }));
    retire(150).unwrap();
    // What was stays true, also when the car is put again.
    ride("car-1", "officer-1", 0, Some(5)).unwrap();
}

#[test]
fn bad_parts_are_refused_by_field() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    store.put_unit(&by(&local, 0), &full("car-1"), IfMatch::Always).unwrap();
    let field = |change: &dyn Fn(&mut UnitRecord)| {
        let mut unit = record("car-2");
        change(&mut unit);
        match refusal(store.put_unit(&by(&local, 0), &unit, IfMatch::Always)) {
            Refusal::Invalid { field, .. } => field,
            other => panic!("{other}"),
        }
    };
    assert_eq!(field(&|unit| unit.call_sign = "a\nb".to_owned()), "call_sign");
    assert_eq!(field(&|unit| unit.call_sign = "x".repeat(257)), "call_sign");
    assert_eq!(field(&|unit| unit.unit.capabilities = vec!["two words".to_owned()]), "capabilities");
    assert_eq!(field(&|unit| unit.unit.capabilities = (0..65).map(|n| n.to_string()).collect()), "capabilities");
    assert_eq!(field(&|unit| unit.external = vec![("c:d".to_owned(), "1".to_owned())]), "external");
    assert_eq!(field(&|unit| unit.external = vec![("cad".to_owned(), "car-1|a:b".to_owned())]), "external");
    assert_eq!(field(&|unit| unit.devices = vec![(device("a:1"), span(5, Some(5)))]), "devices");
    assert_eq!(field(&|unit| unit.duty = Some((span(5, Some(4)), String::new()))), "duty");
    let west =
        model::Organisation { name: organisation("west"), label: String::new(), parent: None, territory: vec![] };
    store.put_organisation(&by(&local, 0), &west, IfMatch::Always).unwrap();
    assert_eq!(field(&|unit| unit.unit.organisation = Some(organisation("east"))), "org");
}

#[test]
fn who_follows_the_store_learns_of_every_change_once() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let put = |name| store.put_unit(&by(&local, 0), &record(name), IfMatch::Always).unwrap();
    let first = put("car-1");
    put("car-2");
    put("car-3");
    let again = put("car-1");
    let retired = store.retire_unit(&by(&local, 1), &unit("car-2"), IfMatch::Always).unwrap();
    let names = |changes: Vec<UnitChange>| -> Vec<_> {
        changes.into_iter().map(|change| (change.name.to_string(), change.version, change.record.is_some())).collect()
    };
    let expected =
        [("car-3".to_owned(), 3, true), ("car-1".to_owned(), again, true), ("car-2".to_owned(), retired, false)];
    assert_eq!(names(store.changed_since(first, 10).unwrap()), expected);
    assert_eq!(names(store.changed_since(3, 1).unwrap()), expected[1..2]);
    assert_eq!(store.changed_since(retired, 10).unwrap(), []);
    assert_eq!(store.version().unwrap(), retired);
    assert_eq!(store.unit(&unit("car-2")).unwrap(), None);
    assert_eq!(store.units(None, 10).unwrap().len(), 2);
    // A unit may come back.
    store.put_unit(&by(&local, 2), &record("car-2"), IfMatch::Absent).unwrap();
}

#[test]
fn an_import_is_taken_as_a_whole_or_not_at_all() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    store.put_unit(&by(&local, 0), &full("car-1"), IfMatch::Always).unwrap();
    store.put_unit(&by(&local, 0), &record("car-2"), IfMatch::Always).unwrap();
    let version = store.version().unwrap();
    let mut rows: Vec<_> = store.units(None, 10).unwrap().iter().map(|found| UnitRow::of(&found.value)).collect();
    assert_eq!(store.import_units(&by(&local, 1), &rows).unwrap().unchanged, 2);
    assert_eq!(store.version().unwrap(), version);
    // The devices change hands: there is no order in which that could be done one by one.
    let (one, two) = rows.split_at_mut(1);
    std::mem::swap(&mut one[0].devices, &mut two[0].devices);
    assert_eq!(store.import_units(&by(&local, 2), &rows).unwrap().changed, 2);
    let car = store.unit(&unit("car-1")).unwrap().unwrap().value;
    assert_eq!((car.devices.len(), car.unit.status), (0, Status::Available));
    rows[0].devices = rows[1].devices.clone();
    rows[0].call_sign = "changed".to_owned();
    let rows_before = store.query_audit(&Default::default(), None, 100).unwrap().rows;
    assert!(matches!(refusal(store.import_units(&by(&local, 3), &rows)), Refusal::Overlap { .. }));
    assert_eq!(store.unit(&unit("car-1")).unwrap().unwrap().value, car);
    assert_eq!(store.query_audit(&Default::default(), None, 100).unwrap().rows, rows_before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever spans are asked for, a device is with one unit at any instant, and what was refused would have been with two.
    #[test]
    fn devices_are_never_with_two_units(steps in proptest::collection::vec((0_u8..5, 0_i64..20, proptest::option::of(1_i64..8)), 1..40)) {
        let (store, local) = (Store::in_memory().unwrap(), Principal::local());
        let mut held: std::collections::BTreeMap<String, model::Span> = Default::default();
        for (who, from, length) in steps {
            let name = format!("officer-{who}");
            let span = span(from, length.map(|length| from + length));
            let mut unit = record(&name);
            unit.devices = vec![(device("tetra:pool-1"), span)];
            let is_free = held.iter().all(|(other, theirs)| *other == name || !theirs.overlaps(&span));
            let done = store.put_unit(&by(&local, 0), &unit, IfMatch::Always);
            prop_assert_eq!(done.is_ok(), is_free, "{:?}", done);
            if is_free { held.insert(name, span); }
        }
    }
}
