//! Who is under whom, and for how long.

use std::collections::BTreeMap;

use model::{Command, Organisation, Position, Principal, Role, Timestamp};
use proptest::prelude::*;
use store::audit::Filter;
use store::{IfMatch, Refusal, Store};

use crate::{at, by, holder, organisation, record, refusal};

fn node(name: &str, parent: Option<&str>) -> Organisation {
    Organisation {
        name: organisation(name),
        label: format!("the {name}"),
        parent: parent.map(organisation),
        territory: Vec::new(),
    }
}

fn square(lat_e7: i32) -> Vec<Vec<Position>> {
    let corner = |lat, lon| Position::from_e7(lat_e7 + lat, 1_083_000_000 + lon).unwrap();
    vec![vec![corner(0, 0), corner(0, 9), corner(9, 9), corner(9, 0), corner(0, 0)]]
}

/// A store with `bureau` over `west` over `station`, and `east` beside `west`.
fn city() -> Store {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let nodes = [
        node("station", Some("west")),
        node("west", Some("bureau")),
        node("east", Some("bureau")),
        node("bureau", None),
    ];
    assert_eq!(store.import_organisations(&by(&local, 0), &nodes).unwrap().changed, 4);
    store
}

fn command(organisation_name: &str, under: &str, from: i64, until: i64) -> Command {
    Command {
        organisation: organisation(organisation_name),
        under: organisation(under),
        from: at(from),
        until: at(until),
    }
}

#[test]
fn an_organisation_comes_back_as_it_was_put_with_a_version_that_rises() {
    let (store, local) = (city(), Principal::local());
    let west =
        Organisation { territory: vec![square(228_000_000), square(229_000_000)], ..node("west", Some("bureau")) };
    let before = store.organisation(&west.name).unwrap().unwrap().version;
    let after = store.put_organisation(&by(&local, 1), &west, IfMatch::Version(before)).unwrap();
    assert!(after > before);
    let found = store.organisation(&west.name).unwrap().unwrap();
    assert_eq!((found.version, found.value), (after, west));
    assert_eq!(store.organisations().unwrap().len(), 4);
    assert_eq!(store.organisation(&organisation("north")).unwrap(), None);
}

#[test]
fn a_change_with_another_expectation_is_refused_with_what_is_there() {
    let (store, local) = (city(), Principal::local());
    let west = node("west", Some("bureau"));
    let version = store.organisation(&west.name).unwrap().unwrap().version;
    let put = |node: &Organisation, if_match| store.put_organisation(&by(&local, 1), node, if_match);
    for if_match in [IfMatch::Absent, IfMatch::Version(version + 1)] {
        let refused = refusal(put(&west, if_match)).to_string();
        assert!(refused.contains(&format!("is at version {version}")), "{refused}");
    }
    let refused = refusal(put(&node("new", None), IfMatch::Present)).to_string();
    assert!(refused.contains("no version, as it is not there"), "{refused}");
    put(&node("new", None), IfMatch::Absent).unwrap();
    put(&node("new", Some("west")), IfMatch::Present).unwrap();
    let refused = refusal(store.delete_organisation(&by(&local, 2), &organisation("new"), IfMatch::Version(1)));
    assert!(matches!(refused, Refusal::Changed { .. }), "{refused}");
}

#[test]
fn a_tree_stays_a_tree() {
    let (store, local) = (city(), Principal::local());
    let put =
        |name: &str, parent: Option<&str>| store.put_organisation(&by(&local, 1), &node(name, parent), IfMatch::Always);
    let cycle = Refusal::Cycle { organisation: "bureau".to_owned(), under: "station".to_owned() };
    assert_eq!(refusal(put("bureau", Some("station"))), cycle);
    assert!(matches!(refusal(put("west", Some("west"))), Refusal::Cycle { .. }));
    let refused = refusal(put("west", Some("nowhere"))).to_string();
    assert_eq!(refused, "organisation `west`: parent: there is no organisation `nowhere`");
    for depth in 4..=16 {
        let above = if depth == 4 { "station".to_owned() } else { format!("d{}", depth - 1) };
        put(&format!("d{depth}"), Some(&above)).unwrap();
    }
    assert!(matches!(refusal(put("d17", Some("d16"))), Refusal::Invalid { field: "parent", .. }));
    // The branch below would become too deep, not the one that is moved.
    assert!(matches!(refusal(put("bureau", Some("top"))), Refusal::Invalid { field: "parent", .. }));
    put("top", None).unwrap();
    assert!(matches!(refusal(put("bureau", Some("top"))), Refusal::Invalid { field: "parent", .. }));
    assert_eq!(store.verify_audit(&[]).unwrap().fault, None);
}

#[test]
fn what_something_depends_on_is_not_deleted() {
    let (store, local) = (city(), Principal::local());
    let delete = |name, ms| store.delete_organisation(&by(&local, ms), &organisation(name), IfMatch::Always);
    let refused = refusal(delete("bureau", 1)).to_string();
    assert_eq!(refused, "organisation `bureau` has 2 organisations below it, for example `east`");
    let mut car = record("car-1");
    car.unit.organisation = Some(organisation("station"));
    store.put_unit(&by(&local, 1), &car, IfMatch::Always).unwrap();
    assert!(refusal(delete("station", 2)).to_string().contains("1 units, for example `car-1`"));
    store.retire_unit(&by(&local, 3), &car.unit.name, IfMatch::Always).unwrap();
    store.put_command(&by(&local, 3), &command("station", "east", 0, 10), IfMatch::Always).unwrap();
    assert!(refusal(delete("station", 4)).to_string().contains("`station under east`"));
    let holder = Principal { organisation: Some(organisation("station")), ..holder("desk", Role::Viewer) };
    store.create_token(&by(&local, 4), &holder, at(20)).unwrap();
    assert!(refusal(delete("station", 11)).to_string().contains("valid tokens, for example `desk`"));
    delete("station", 20).unwrap();
    assert!(matches!(refusal(delete("station", 21)), Refusal::Unknown { .. }));
    assert_eq!(store.commands().unwrap(), []);
}

#[test]
fn a_territory_that_is_none_is_refused() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let mut open = square(0);
    open[0].pop();
    let line = vec![vec![Position::from_e7(0, 0).unwrap(); 3]];
    let many = vec![vec![Position::from_e7(0, 0).unwrap(); 10_001]];
    for territory in [vec![open], vec![line], vec![vec![]], vec![many]] {
        let node = Organisation { territory, ..node("west", None) };
        let refused = refusal(store.put_organisation(&by(&local, 0), &node, IfMatch::Always));
        assert!(matches!(refused, Refusal::Invalid { field: "territory", .. }), "{refused}");
    }
}

#[test]
fn a_command_holds_for_its_time_and_makes_no_cycle() {
    let (store, local) = (city(), Principal::local());
    let put = |command: &Command| store.put_command(&by(&local, 0), command, IfMatch::Always);
    put(&command("station", "east", 0, 100)).unwrap();
    put(&command("station", "east", 0, 50)).unwrap();
    let held = store.commands().unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].value, command("station", "east", 0, 50));
    assert!(held[0].value.holds(at(49)) && !held[0].value.holds(at(50)));
    assert!(matches!(refusal(put(&command("bureau", "station", 0, 10))), Refusal::Cycle { .. }));
    // East would command the station and be commanded by it.
    assert!(matches!(refusal(put(&command("east", "station", 40, 60))), Refusal::Cycle { .. }));
    put(&command("east", "station", 50, 60)).unwrap();
    assert!(matches!(refusal(put(&command("east", "nobody", 0, 10))), Refusal::Invalid { field: "under", .. }));
    assert!(matches!(refusal(put(&command("east", "west", 10, 10))), Refusal::Invalid { field: "until", .. }));
    store.delete_command(&by(&local, 1), &command("east", "station", 50, 60), IfMatch::Present).unwrap();
    assert_eq!(store.commands().unwrap().len(), 1);
}

/// Whether `name` may have `parent`, by walking up a plain map.
fn fits(tree: &BTreeMap<String, Option<String>>, name: &str, parent: Option<&str>) -> bool {
    let mut changed = tree.clone();
    changed.insert(name.to_owned(), parent.map(str::to_owned));
    changed.keys().all(|start| {
        let (mut depth, mut above) = (0, Some(start));
        while let Some(one) = above {
            depth += 1;
            match changed.get(one) {
                Some(next) if depth <= 16 => above = next.as_ref(),
                _ => return false,
            }
        }
        true
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is put, moved or deleted, the store holds the tree that a plain map holds, and one row for each change.
    #[test]
    fn trees_agree_with_a_plain_map(steps in proptest::collection::vec((0_u8..24, 0_u8..30, any::<bool>()), 1..80)) {
        let (store, local) = (Store::in_memory().unwrap(), Principal::local());
        let (mut tree, mut changes) = (BTreeMap::<String, Option<String>>::new(), 0);
        for (name, parent, deletes) in steps {
            let name = format!("o{name}");
            let parent = (parent < 24).then(|| format!("o{parent}"));
            let done = if deletes && name.len() == 2 {
                let is_free = tree.contains_key(&name) && !tree.values().any(|parent| parent.as_ref() == Some(&name));
                let done = store.delete_organisation(&by(&local, 0), &organisation(&name), IfMatch::Always);
                prop_assert_eq!(done.is_ok(), is_free, "{:?}", done);
                if is_free { tree.remove(&name); }
                is_free
            } else {
                let is_fit = fits(&tree, &name, parent.as_deref());
                let done = store.put_organisation(&by(&local, 0), &node(&name, parent.as_deref()), IfMatch::Always);
                prop_assert_eq!(done.is_ok(), is_fit, "{:?}", done);
                if is_fit { tree.insert(name, parent); }
                is_fit
            };
            changes += usize::from(done);
        }
        let held: BTreeMap<_, _> = store.organisations().unwrap().into_iter()
            .map(|found| (found.value.name.to_string(), found.value.parent.map(|parent| parent.to_string()))).collect();
        prop_assert_eq!(held, tree);
        prop_assert_eq!(store.query_audit(&Filter::default(), None, 1_000).unwrap().rows.len(), changes);
        prop_assert_eq!(store.version().unwrap(), changes as u64);
    }
}

#[test]
fn times_of_commands_may_be_the_ends_of_time() {
    let (store, local) = (city(), Principal::local());
    let ever = Command { from: Timestamp::MIN, until: Timestamp::MAX, ..command("station", "east", 0, 1) };
    store.put_command(&by(&local, 0), &ever, IfMatch::Absent).unwrap();
    assert_eq!(store.commands().unwrap()[0].value, ever);
}
