use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use model::{Status, UnitKind};

use super::*;

fn named(name: &str, kind: UnitKind) -> Unit {
    Unit { kind, status: Status::Available, ..Unit::named(UnitName::new(name).expect("it is a name")) }
}

fn device(number: usize) -> DeviceId {
    DeviceId::of("test", &number.to_string()).expect("it is a name")
}

/// Two changes of one unit once could leave the entry of one and the filters of the other.
#[test]
fn index_roster_and_log_agree_on_the_last_of_two_changes_at_once() {
    const ROUNDS: usize = 2_000;
    let (roster, pending, index) = (Roster::default(), Pending::default(), LiveIndex::new());
    let (together, differences) = (Barrier::new(2), AtomicUsize::new(0));
    let change = |kind| {
        for _ in 0..ROUNDS {
            together.wait();
            roster.enrol(named("car-1", kind), &[], Taken::Refuse, &pending, &index).expect("there is room");
            if together.wait().is_leader() {
                let handle = roster.find(&UnitName::new("car-1").expect("it is a name")).expect("it was enrolled");
                let entry = roster.unit(handle).expect("it was enrolled").kind;
                let filtered = index.slot(handle).expect("it was enrolled").traits.kind;
                let Some(Entry::Enrol(last)) = pending.lend(2, usize::MAX).pop() else { panic!("two were made") };
                // The other thread waits at the barrier: it must not wait for ever.
                differences
                    .fetch_add(usize::from((entry, filtered) != (last.unit.kind, last.unit.kind)), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| change(UnitKind::Car));
        change(UnitKind::Foot);
        other.join().expect("it ends");
    });
    assert_eq!(differences.into_inner(), 0, "of {ROUNDS} rounds");
}

#[test]
fn a_unit_is_after_the_names_that_its_own_comes_after() {
    use query::Names as _;
    let (roster, pending, index) = (Roster::default(), Pending::default(), LiveIndex::new());
    let names = ["car-2", "car-10", "car-1", "boat"];
    for name in names {
        roster.enrol(named(name, UnitKind::Car), &[], Taken::Refuse, &pending, &index).expect("there is room");
    }
    for (unit, own) in (0..).map(UnitHandle).zip(names) {
        for other in names {
            let is_after = roster.is_after(unit, &UnitName::new(other).expect("it is a name"));
            assert_eq!(is_after, own > other, "{own} after {other}");
        }
    }
}

/// A report of a device that was found is appended after the entry that made the device known.
#[test]
fn a_device_is_found_only_when_its_enrolment_waits_for_the_journal_and_is_in_the_index() {
    const DEVICES: usize = 5_000;
    let (roster, pending, index) = (Roster::default(), Pending::default(), LiveIndex::new());
    let (found, unknown) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..DEVICES {
                // One after the other, so that the search for each is on its way when it comes.
                while found.load(Ordering::Acquire) < number {
                    std::thread::yield_now();
                }
                let unit = named(&format!("car-{number}"), UnitKind::Car);
                roster.enrol(unit, &[device(number)], Taken::Refuse, &pending, &index).expect("there is room");
            }
        });
        for number in 0..DEVICES {
            let device = device(number);
            let binding = std::iter::repeat_with(|| roster.binding(&device)).flatten().next().expect("it comes");
            let kind = index.slot(binding.unit).map(|slot| slot.traits.kind);
            let is_known = pending.len() > number && kind == Some(UnitKind::Car);
            unknown.fetch_add(usize::from(!is_known), Ordering::Relaxed);
            found.fetch_add(1, Ordering::Release);
        }
    });
    assert_eq!(unknown.into_inner(), 0, "of {DEVICES} devices");
}

#[test]
fn a_device_that_is_named_twice_in_one_change_has_one_number() {
    let (roster, pending, index) = (Roster::default(), Pending::default(), LiveIndex::new());
    roster
        .enrol(named("car-1", UnitKind::Car), &[device(1), device(1)], Taken::Refuse, &pending, &index)
        .expect("there is room");
    let Some(Entry::Enrol(enrolment)) = pending.lend(1, usize::MAX).pop() else { panic!("one was made") };
    assert_eq!(enrolment.devices, [(DeviceHandle(0), device(1))]);
}

/// A device that changed hands belongs to the newest unit, also after a restart, and to nobody once that one is retired.
#[test]
fn a_device_changes_hands_and_stays_with_the_newest_unit() {
    let (roster, pending, index) = (Roster::default(), Pending::default(), LiveIndex::new());
    let unit = |name| named(name, UnitKind::Foot);
    let put = |name, taken| roster.enrol(unit(name), &[device(1)], taken, &pending, &index);
    put("shift-1", Taken::Refuse).expect("nobody carries it");
    let before = roster.generation();
    assert!(matches!(put("shift-2", Taken::Refuse), Err(RosterError::DeviceTaken { .. })));
    put("shift-2", Taken::Move).expect("it changes hands");
    assert!(roster.generation() > before, "open connections ask anew");
    let carrier = |roster: &Roster| {
        let binding = roster.binding(&device(1))?;
        Some(roster.unit(binding.unit)?.name.to_string())
    };
    assert_eq!(carrier(&roster).as_deref(), Some("shift-2"));
    let rebuilt = |entries: &[Entry]| {
        let mut state = State::default();
        entries.iter().for_each(|entry| drop(state.apply(entry)));
        Roster::of(&State::from_bytes(&state.to_bytes()).expect("it was laid here")).0
    };
    let entries = pending.lend(9, usize::MAX);
    assert_eq!(carrier(&rebuilt(&entries)).as_deref(), Some("shift-2"));
    pending.order().give_back(entries);
    roster.remove(&UnitName::new("shift-2").expect("it is a name"), &pending);
    assert_eq!(carrier(&roster), None);
    assert_eq!(carrier(&rebuilt(&pending.lend(9, usize::MAX))), None);
}
