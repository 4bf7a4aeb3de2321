use model::{Owner, Principal, Said, SaidOf, Status, Unit, UnitRecord};
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
