//! A degraded answer is a narrower question answered whole, and says how narrow.

use index::{Change, Fix, LiveIndex, UnitTraits};
use model::{DeviceHandle, Flags, Position, TimeBasis, Timestamp, UnitHandle, UnitKind, UnitName};
use query::{Deadline, Filter, Names, NearestAsk, QueryError, Scope, nearest, nearest_degraded};

struct Numbers;

impl Names for Numbers {
    fn name(&self, unit: UnitHandle) -> UnitName {
        UnitName::new(&unit.0.to_string()).unwrap()
    }
}

fn as_of() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000).unwrap()
}

/// Some metres north of the place that is asked for; a degree is about 110.7 km here.
fn north_m(metres: f64) -> Position {
    Position::from_e7(228_170_000 + (metres * 90.3) as i32, 1_083_660_000).unwrap()
}

fn index_of(units: impl IntoIterator<Item = (UnitKind, f64)>) -> LiveIndex {
    let index = LiveIndex::new();
    for (number, (kind, metres)) in units.into_iter().enumerate() {
        let unit = UnitHandle(number as u32);
        index.enrol(unit, UnitTraits { kind, ..UnitTraits::default() });
        let fix = Fix {
            position: north_m(metres),
            time: as_of(),
            received: as_of(),
            source: DeviceHandle(0),
            time_basis: TimeBasis::Gnss,
            speed_mps: None,
            course_deg: None,
            altitude: None,
            accuracy_m: None,
            accuracy_basis: None,
            flags: Flags::default(),
        };
        index.apply(&[Change::Place { unit, fix, contact: as_of(), interval_ms: None }]);
    }
    index
}

fn boats() -> NearestAsk {
    NearestAsk::new(north_m(0.0), Scope::everything()).filter(Filter::new().kinds(vec![UnitKind::Boat]))
}

#[test]
fn a_crowd_of_others_narrows_the_search_and_the_answer_says_how_far_it_looked() {
    let crowd = (0..3_000).map(|number| (UnitKind::Car, 1_500.0 + f64::from(number % 1_000)));
    let index = index_of([(UnitKind::Boat, 500.0), (UnitKind::Boat, 5_000.0)].into_iter().chain(crowd));
    let degraded = nearest_degraded(&index, &boats(), &Numbers, as_of(), &Deadline::never()).unwrap();
    let narrower = boats().max_distance_m(1_000.0).unwrap();
    let whole = nearest(&index, &narrower, &Numbers, as_of(), &Deadline::never()).unwrap();
    assert_eq!((degraded.searched_m, degraded.nearest.found.len()), (1_000.0, 1));
    assert_eq!(degraded.nearest, whole);
}

#[test]
fn what_is_asked_for_bounds_the_search_too() {
    let index = index_of([(UnitKind::Boat, 500.0)]);
    let ask = boats().max_distance_m(200.0).unwrap();
    let degraded = nearest_degraded(&index, &ask, &Numbers, as_of(), &Deadline::never()).unwrap();
    assert_eq!((degraded.searched_m, degraded.nearest.found.len()), (200.0, 0));
}

#[test]
fn too_many_on_one_spot_is_an_error_and_no_short_answer() {
    let index = index_of((0..2_000).map(|_| (UnitKind::Car, 10.0)));
    let answer = nearest_degraded(&index, &boats(), &Numbers, as_of(), &Deadline::never());
    assert!(matches!(answer, Err(QueryError::TooManyUnits { .. })), "{answer:?}");
}
