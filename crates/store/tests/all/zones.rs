//! Zones, their versions, and what was in force when.

use std::collections::BTreeMap;

use model::{Minimum, Position, Principal, Settle, Shape, Span, UnitKind, Zone, ZoneName};
use proptest::prelude::*;
use store::audit::Filter;
use store::exchange::ZoneRow;
use store::{IfMatch, Refusal, Store};

use crate::{at, by, organisation, refusal, span};

fn name(text: &str) -> ZoneName {
    ZoneName::new(text).unwrap()
}

fn square(lat_e7: i32) -> Shape {
    let corner = |lat, lon| Position::from_e7(lat_e7 + lat, 1_083_000_000 + lon).unwrap();
    Shape::Polygons(vec![vec![vec![corner(0, 0), corner(0, 90), corner(90, 90), corner(90, 0), corner(0, 0)]]])
}

fn zone(text: &str) -> Zone {
    Zone {
        name: name(text),
        label: format!("the {text}"),
        layer: 3,
        organisation: None,
        shape: square(228_000_000),
        utc_offset_min: 480,
        hours: vec!["mon-fri 07:00-19:00".parse().unwrap()],
        minimum: vec![Minimum { kinds: vec![UnitKind::Car], hours: Vec::new(), at_least: 2 }],
        settle: Settle { margin_m: 12.5, time_s: 20 },
        dwell_s: Some(600),
        stay_s_max: None,
    }
}

fn row(text: &str) -> ZoneRow {
    ZoneRow { zone: zone(text), from: None, until: None }
}

const FROM_NOW: Span = Span { from: model::Timestamp::MIN, until: None };

#[test]
fn zones_of_every_shape_come_back_as_they_were_put() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let circle = Shape::Circle { centre: Position::from_e7(228_000_000, 1_083_000_000).unwrap(), radius_m: 200.25 };
    let cells = Shape::Cells(vec![0x8841_1600_01ff_ffff, 7]);
    let mut version = store.zones_version().unwrap();
    for (text, shape) in [("a", square(1)), ("b", circle), ("c", cells)] {
        let zone = Zone { shape, ..zone(text) };
        let put = store.put_zone(&by(&local, 1), &zone, span(1, None), IfMatch::Absent).unwrap();
        let found = store.zone(&name(text), at(1)).unwrap().unwrap();
        assert_eq!(found, put);
        assert_eq!(found.zone, zone);
        let after = store.zones_version().unwrap();
        assert!(after > version && after == put.version);
        version = after;
    }
    assert_eq!(store.zones(at(1)).unwrap().len(), 3);
    assert_eq!(store.zones(at(0)).unwrap(), []);
}

#[test]
fn units_and_organisations_do_not_raise_the_version_of_zones() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    store.put_unit(&by(&local, 0), &crate::record("car-1"), IfMatch::Always).unwrap();
    assert_eq!(store.zones_version().unwrap(), 0);
    let before = store.version().unwrap();
    store.put_zone(&by(&local, 0), &zone("a"), FROM_NOW, IfMatch::Always).unwrap();
    assert_eq!(store.version().unwrap(), before);
}

#[test]
fn a_change_needs_the_version_that_it_expects() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let first = store.put_zone(&by(&local, 0), &zone("a"), span(0, None), IfMatch::Absent).unwrap();
    let again = store.put_zone(&by(&local, 1), &zone("a"), span(1, None), IfMatch::Absent);
    assert!(matches!(refusal(again), Refusal::Changed { .. }));
    let second = store.put_zone(&by(&local, 1), &zone("a"), span(1, None), IfMatch::Version(first.version)).unwrap();
    let stale = store.delete_zone(&by(&local, 2), &name("a"), IfMatch::Version(first.version));
    assert!(matches!(refusal(stale), Refusal::Changed { .. }));
    store.delete_zone(&by(&local, 2), &name("a"), IfMatch::Version(second.version)).unwrap();
    let gone = store.delete_zone(&by(&local, 3), &name("a"), IfMatch::Always);
    assert!(matches!(refusal(gone), Refusal::Unknown { what: "zone", .. }));
}

#[test]
fn the_past_stays_and_what_is_to_come_is_known() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let labelled = |label: &str| Zone { label: label.to_owned(), ..zone("a") };
    let label_at = |ms| store.zone(&name("a"), at(ms)).unwrap().map(|found| found.zone.label);
    // A first version may have begun long ago; a second one cannot.
    store.put_zone(&by(&local, 100), &labelled("old"), span(0, None), IfMatch::Always).unwrap();
    let second = store.put_zone(&by(&local, 200), &labelled("new"), span(50, None), IfMatch::Always).unwrap();
    assert_eq!(second.effective, span(200, None));
    store.put_zone(&by(&local, 210), &labelled("fair"), span(300, Some(400)), IfMatch::Always).unwrap();
    let labels = [10, 199, 200, 299, 300, 399, 400].map(|ms| label_at(ms).unwrap());
    assert_eq!(labels, ["old", "old", "new", "new", "fair", "fair", "new"]);
    assert_eq!(store.zones_turn_after(at(210)).unwrap(), Some(at(300)));
    assert_eq!(store.zones_turn_after(at(300)).unwrap(), Some(at(400)));
    assert_eq!(store.zones_turn_after(at(400)).unwrap(), None);
    let past = store.put_zone(&by(&local, 220), &labelled("late"), span(20, Some(150)), IfMatch::Always);
    assert!(matches!(refusal(past), Refusal::Invalid { field: "effective", .. }));
    store.delete_zone(&by(&local, 250), &name("a"), IfMatch::Always).unwrap();
    assert_eq!([199, 249, 250, 350].map(label_at), [Some("old".into()), Some("new".into()), None, None]);
}

#[test]
fn an_import_is_all_or_nothing_and_leaves_alone_what_is_so() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let all: Vec<_> = (0..3_000).map(|at| row(&format!("z-{at}"))).collect();
    let imported = store.import_zones(&by(&local, 0), &all).unwrap();
    assert_eq!((imported.changed, imported.unchanged), (3_000, 0));
    assert_eq!(store.import_zones(&by(&local, 1), &all).unwrap().unchanged, 3_000);
    let version = store.zones_version().unwrap();
    let mut bad = all.clone();
    bad[0].zone.layer = 9;
    bad[2_999].zone.layer = 0;
    let refused = refusal(store.import_zones(&by(&local, 2), &bad));
    assert!(matches!(refused, Refusal::Invalid { field: "layer", .. }), "{refused}");
    assert_eq!(store.zones_version().unwrap(), version);
    assert_eq!(store.zone(&name("z-0"), at(2)).unwrap().unwrap().zone.layer, 3);
}

#[test]
fn what_no_zone_can_have_is_refused() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let circle = |radius_m| Shape::Circle { centre: Position::from_e7(0, 0).unwrap(), radius_m };
    let cases = [
        ("layer", Zone { layer: 100, ..zone("a") }),
        ("label", Zone { label: "a\nb".to_owned(), ..zone("a") }),
        ("utc_offset", Zone { utc_offset_min: 1_081, ..zone("a") }),
        ("settle", Zone { settle: Settle { margin_m: f32::NAN, time_s: 1 }, ..zone("a") }),
        ("settle", Zone { settle: Settle { margin_m: 1.0, time_s: u32::MAX }, ..zone("a") }),
        ("hours", Zone { hours: vec![model::Hours::ALWAYS; 65], ..zone("a") }),
        ("shape", Zone { shape: circle(f64::NAN), ..zone("a") }),
        ("shape", Zone { shape: circle(0.0), ..zone("a") }),
        ("shape", Zone { shape: Shape::Cells(Vec::new()), ..zone("a") }),
        ("shape", Zone { shape: Shape::Cells(vec![1; 10_001]), ..zone("a") }),
        ("shape", Zone { shape: Shape::Polygons(vec![Vec::new()]), ..zone("a") }),
    ];
    for (expected, zone) in cases {
        match refusal(store.put_zone(&by(&local, 0), &zone, FROM_NOW, IfMatch::Always)) {
            Refusal::Invalid { field, .. } => assert_eq!(field, expected),
            other => panic!("{expected}: {other}"),
        }
    }
}

#[test]
fn an_organisation_with_zones_in_force_stays() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let west =
        model::Organisation { name: organisation("west"), label: String::new(), parent: None, territory: Vec::new() };
    store.import_organisations(&by(&local, 0), &[west]).unwrap();
    let of = |text: &str| Zone { organisation: Some(organisation(text)), ..zone("a") };
    let unknown = store.put_zone(&by(&local, 0), &of("east"), FROM_NOW, IfMatch::Always);
    assert!(matches!(refusal(unknown), Refusal::Invalid { field: "org", .. }));
    store.put_zone(&by(&local, 0), &of("west"), FROM_NOW, IfMatch::Always).unwrap();
    let used = refusal(store.delete_organisation(&by(&local, 1), &organisation("west"), IfMatch::Always));
    assert!(matches!(used, Refusal::InUse { dependents: "zones", count: 1, .. }), "{used}");
    store.delete_zone(&by(&local, 2), &name("a"), IfMatch::Always).unwrap();
    store.delete_organisation(&by(&local, 3), &organisation("west"), IfMatch::Always).unwrap();
}

#[test]
fn every_change_of_a_zone_is_in_the_audit() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    store.put_zone(&by(&local, 0), &zone("a"), FROM_NOW, IfMatch::Always).unwrap();
    store.import_zones(&by(&local, 1), &[row("b")]).unwrap();
    store.delete_zone(&by(&local, 2), &name("a"), IfMatch::Always).unwrap();
    let rows = store.query_audit(&Filter::default(), None, 10).unwrap().rows;
    let mut actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["zone.delete", "zone.put", "zone.put", "zones.import"]);
}

#[derive(Debug, Clone)]
enum Step {
    Put { from: i64, length: Option<i64>, label: u8 },
    Delete,
}

fn any_step() -> impl Strategy<Value = Step> {
    let put = (0..60i64, proptest::option::of(1..20i64), any::<u8>());
    prop_oneof![
        5 => put.prop_map(|(from, length, label)| Step::Put { from, length, label }),
        1 => Just(Step::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// What is in force at each instant is what a list with one entry an instant says.
    #[test]
    fn versions_agree_with_a_list_of_instants(steps in proptest::collection::vec(any_step(), 1..12)) {
        let (store, local) = (Store::in_memory().unwrap(), Principal::local());
        let mut instants: BTreeMap<i64, String> = BTreeMap::new();
        for (now, step) in (0..).map(|at| at * 4).zip(steps) {
            match step {
                Step::Put { from, length, label } => {
                    let label = label.to_string();
                    let until = length.map(|length| from + length);
                    let asked = span(from, until);
                    let has_past = from < now && instants.range(from..now).next().is_some();
                    let begin = if has_past { now } else { from };
                    let put = store.put_zone(&by(&local, now), &Zone { label: label.clone(), ..zone("a") }, asked, IfMatch::Always);
                    if until.is_some_and(|until| until <= begin) {
                        prop_assert!(put.is_err());
                        continue;
                    }
                    prop_assert_eq!(put.unwrap().effective, span(begin, until));
                    for at in begin..until.unwrap_or(200) {
                        instants.insert(at, label.clone());
                    }
                }
                Step::Delete => {
                    let is_there = instants.range(now..).next().is_some();
                    prop_assert_eq!(store.delete_zone(&by(&local, now), &name("a"), IfMatch::Always).is_ok(), is_there);
                    instants.retain(|at, _| *at < now);
                }
            }
        }
        for ms in 0..100 {
            let found = store.zone(&name("a"), at(ms)).unwrap().map(|found| found.zone.label);
            prop_assert_eq!(found.as_ref(), instants.get(&ms), "at {}", ms);
            prop_assert_eq!(store.zones(at(ms)).unwrap().len(), usize::from(found.is_some()));
        }
    }
}
