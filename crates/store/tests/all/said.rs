use model::{Organisation, OrganisationName, Owner, Principal, Said, SaidOf, Sight, Status, Unit, UnitRecord};
use store::{Heard, IfMatch, Refusal, Store, StoreError};

use super::{at, by, unit};

fn status(status: Option<Status>, ms: i64) -> Said {
    Said { of: SaidOf::Status(status), time: at(ms), source: "desk".to_owned() }
}

/// CAD before terminal before the record, each by event time; the same key twice is one change.
#[test]
fn what_stands_is_what_the_first_owner_said_last() {
    let (store, local, car) = (Store::in_memory().unwrap(), Principal::local(), unit("car-1"));
    let record = UnitRecord::of(Unit { status: Status::Unknown, ..Unit::named(car.clone()) });
    store.put_unit(&by(&local, 0), &record, IfMatch::Always).unwrap();
    let mut now = 0;
    let mut say = |owner, value, ms, key| {
        now += 1;
        store.say(&by(&local, now), &car, owner, &status(value, ms), key).unwrap()
    };
    let stands = || {
        let said = store.unit(&car).unwrap().unwrap().value.status_said;
        said.map(|(owner, said)| (owner, said.of))
    };
    let of = |owner, value| Some((owner, SaidOf::Status(Some(value))));
    assert_eq!(stands(), None);
    assert_eq!(say(Owner::Terminal, Some(Status::Busy), 100, None), Heard::Taken);
    assert_eq!(stands(), of(Owner::Terminal, Status::Busy));
    assert_eq!(say(Owner::Cad, Some(Status::Available), 50, Some("k1")), Heard::Taken);
    assert_eq!(say(Owner::Terminal, Some(Status::OffDuty), 200, None), Heard::Taken);
    assert_eq!(stands(), of(Owner::Cad, Status::Available), "the terminal does not speak over CAD");
    assert_eq!(say(Owner::Cad, Some(Status::Busy), 60, Some("k1")), Heard::Repeated);
    assert_eq!(say(Owner::Cad, Some(Status::Busy), 40, Some("k2")), Heard::Late);
    assert_eq!(stands(), of(Owner::Cad, Status::Available));
    assert_eq!(say(Owner::Cad, None, 300, None), Heard::Taken);
    assert_eq!(stands(), of(Owner::Terminal, Status::OffDuty), "taken back: the terminal's word stands again");
    let rows = store.query_audit(&store::audit::Filter::default(), None, 100).unwrap().rows;
    assert_eq!(rows.iter().filter(|row| row.action == "unit.status").count(), 6, "late and repeated ones too");
    let error = store.say(&by(&local, 9), &unit("nobody"), Owner::Cad, &status(None, 0), None).unwrap_err();
    assert!(matches!(error, StoreError::Refused(Refusal::Unknown { .. })), "{error}");
}

/// A sight stands with the assignment of the owner that gave it, whatever others say, in a file that is opened again too.
#[test]
fn a_sight_ends_with_the_assignment_it_was_given_with() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path()).unwrap();
    let (store, local, car) = (open(), Principal::local(), unit("car-1"));
    let organisation = OrganisationName::new("east").unwrap();
    let east = Organisation { name: organisation.clone(), label: String::new(), parent: None, territory: Vec::new() };
    store.put_organisation(&by(&local, 0), &east, IfMatch::Always).unwrap();
    store.put_unit(&by(&local, 0), &UnitRecord::of(Unit::named(car.clone())), IfMatch::Always).unwrap();
    let sight = Sight { unit: car.clone(), organisation, from: at(10), until: at(100) };
    let say = |store: &Store, owner, value: Option<&str>, ms, sight| {
        let of = SaidOf::Assignment(value.map(str::to_owned));
        let said = Said { of, time: at(ms), source: String::new() };
        store.say_and_lend(&by(&local, ms), &car, owner, &said, None, sight).unwrap()
    };
    say(&store, Owner::Cad, Some("incident-1"), 10, Some(&sight));
    say(&store, Owner::Terminal, Some("fuel"), 11, None);
    drop(store);
    let store = open();
    assert_eq!(store.sights(at(99)).unwrap(), std::slice::from_ref(&sight));
    assert_eq!(store.sights(at(100)).unwrap(), [], "it ends by itself");
    assert_eq!(say(&store, Owner::Cad, None, 9, None), Heard::Late);
    assert_eq!(store.sights(at(20)).unwrap().len(), 1, "what came late changes nothing");
    say(&store, Owner::Cad, Some("incident-2"), 12, None);
    assert_eq!(store.sights(at(20)).unwrap(), []);
    say(&store, Owner::Cad, Some("incident-3"), 13, Some(&sight));
    store.retire_unit(&by(&local, 14), &car, IfMatch::Always).unwrap();
    assert_eq!(store.sights(at(20)).unwrap(), []);
}
