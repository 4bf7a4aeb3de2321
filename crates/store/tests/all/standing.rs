//! Standing queries are kept, ended once and forgotten, and the audit knows.

use std::sync::Arc;

use model::limits::{STANDING_MAX, STANDING_PER_ORGANISATION_MAX};
use model::{
    Position, Principal, Role, Standing, StandingEnd, StandingFilter, StandingQuestion, Status, UnitKind, ZoneName,
};
use store::audit::Filter;
use store::{Refusal, Store};

use crate::{at, by, holder, organisation, refusal, unit};

fn asked(owner: &Principal, question: StandingQuestion) -> Standing {
    Standing::new(Arc::new(owner.clone()), "robbery 12", at(0), at(3_600_000), question).unwrap()
}

fn near() -> StandingQuestion {
    StandingQuestion::Near { unit: unit("car-1"), other: unit("car-2"), metres: 300.5 }
}

#[test]
fn a_query_comes_back_as_it_was_asked_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Principal { organisation: Some(organisation("east")), ..holder("desk-1", Role::Dispatcher) };
    let only = StandingFilter {
        kinds: vec![UnitKind::Car, UnitKind::Motorcycle],
        statuses: vec![Status::Available],
        capabilities: vec!["breath test".to_owned()],
        organisations: vec![organisation("east")],
    };
    let place = Position::from_e7(-228_170_001, 1_083_660_002).unwrap();
    let zone = ZoneName::new("beat-7").unwrap();
    let questions = [
        StandingQuestion::Nearest { place, k: 5, only },
        StandingQuestion::Strength { zone, kinds: vec![UnitKind::Car], fewer_than: 2 },
        near(),
    ];
    let all: Vec<_> = questions.into_iter().map(|question| asked(&desk, question)).collect();
    let store = Store::open(folder.path()).unwrap();
    let numbers: Vec<_> = all.iter().map(|one| store.add_standing(&by(&desk, 0), one).unwrap()).collect();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let kept = store.standing().unwrap();
    assert_eq!(kept.iter().map(|record| record.number).collect::<Vec<_>>(), numbers);
    assert_eq!(kept.into_iter().map(|record| record.standing).collect::<Vec<_>>(), all);
    assert_eq!(store.standing_version().unwrap(), numbers[2]);
}

#[test]
fn a_query_ends_once_and_its_number_does_not_come_again() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let add = || store.add_standing(&by(&local, 0), &asked(&local, near())).unwrap();
    let (first, second) = (add(), add());
    store.delete_standing(&by(&local, 1), first).unwrap();
    let ends = [(first, StandingEnd::Until), (second, StandingEnd::UnitGone), (99, StandingEnd::Until)];
    assert_eq!(store.end_standing(&by(&local, 2), &ends).unwrap(), 1, "one had ended, and one never was");
    for number in [first, 99] {
        let again = refusal(store.delete_standing(&by(&local, 3), number));
        assert_eq!(again, Refusal::Unknown { what: "standing query", name: number.to_string() });
    }
    let why: Vec<_> = store.standing().unwrap().into_iter().map(|record| (record.number, record.ended)).collect();
    assert_eq!(why, [(first, Some(StandingEnd::Deleted)), (second, Some(StandingEnd::UnitGone))]);
    let open = add();
    store.forget_standing(&[first, second, open]).unwrap();
    assert_eq!(store.standing().unwrap().len(), 1, "who has not ended is not forgotten");
    assert!(add() > open);
    let rows = store.query_audit(&Filter::default(), None, 100).unwrap().rows;
    let ended: Vec<_> =
        rows.iter().filter(|row| row.action == "standing.end").map(|row| row.resource.as_str()).collect();
    assert_eq!((rows.len(), ended.len()), (6, 2), "four came, and two ended");
    assert!([first, second].iter().all(|number| ended.contains(&number.to_string().as_str())));
    assert!(store.verify_audit(&[]).unwrap().fault.is_none());
}

#[test]
fn one_organisation_does_not_take_the_room_of_the_others() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let of = |name| Principal { organisation: Some(organisation(name)), ..holder("desk", Role::Dispatcher) };
    let add = |owner: &Principal| store.add_standing(&by(&local, 0), &asked(owner, near()));
    let (east, west) = (of("east"), of("west"));
    let numbers: Vec<_> = (0..STANDING_PER_ORGANISATION_MAX).map(|_| add(&east).unwrap()).collect();
    let too_many = |limit| Refusal::TooMany { what: "standing query", limit };
    assert_eq!(refusal(add(&east)), too_many(STANDING_PER_ORGANISATION_MAX));
    add(&west).unwrap();
    store.delete_standing(&by(&local, 1), numbers[0]).unwrap();
    add(&east).unwrap();
    (STANDING_PER_ORGANISATION_MAX + 1..STANDING_MAX).for_each(|_| _ = add(&local).unwrap());
    assert_eq!(refusal(add(&local)), too_many(STANDING_MAX));
}
