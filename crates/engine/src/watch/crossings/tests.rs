use std::collections::BTreeMap;
use std::sync::Arc;

use geodesy::{Area, Vertex, destination};
use index::margin_for;
use model::{Settle, Zone, ZoneName};
use proptest::prelude::*;

use super::*;
use crate::watch::WatchedZone;

const UNIT: UnitHandle = UnitHandle(3);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + ms).unwrap()
}

fn place(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, lon).unwrap()
}

fn zone(name: &str, area: Area, version: u64) -> WatchedZone {
    let without = WatchedZone::without_ground(ZoneName::new(name).unwrap(), version);
    let zone = Zone { settle: Settle { margin_m: 25.0, time_s: 30 }, ..(*without.zone).clone() };
    WatchedZone { zone: Arc::new(zone), area: Arc::new(area), ..without }
}

/// A square of `side_m` with its south-west corner there.
fn square(lat: f64, lon: f64, side_m: f64) -> Area {
    let origin = place(lat, lon);
    let east = destination(origin, 90.0, side_m);
    let north = destination(origin, 0.0, side_m);
    let far = Position::from_e7(north.lat_e7(), east.lon_e7()).unwrap();
    let east = Position::from_e7(origin.lat_e7(), east.lon_e7()).unwrap();
    Area::polygons(&[vec![[origin, east, far, north, origin].map(Vertex::from).to_vec()]]).unwrap()
}

fn set_of(zones: Vec<WatchedZone>) -> ZoneSet {
    begun(zones, 0, &ZoneSet::default(), 0)
}

fn begun(zones: Vec<WatchedZone>, ms: i64, before: &ZoneSet, from: u64) -> ZoneSet {
    let mut set = ZoneSet::of(zones, at(ms));
    set.begin(before, Sequence(from));
    set
}

fn placed(place: Position, ms: i64) -> Placed {
    Placed { unit: UNIT, place, time: at(ms), sequence: Sequence(1 + ms.unsigned_abs()) }
}

/// The rule as it is written, with the depth of every zone at every place.
#[derive(Default)]
struct Plain(BTreeMap<ZoneHandle, (bool, Option<Timestamp>)>);

impl Plain {
    fn moved(&mut self, set: &ZoneSet, zones: &[WatchedZone], placed: &Placed) -> Vec<(ZoneHandle, bool)> {
        let mut crossed = Vec::new();
        for (zone, one) in set.handles().zip(zones) {
            let margin_m = margin_for(&one.area, f64::from(one.zone.settle.margin_m));
            let depth_m = one.area.depth_m(placed.place);
            let (is_in, turning) = self.0.entry(zone).or_default();
            let beyond_m = if *is_in { -depth_m } else { depth_m };
            if beyond_m <= margin_m {
                *turning = None;
                continue;
            }
            let since = *turning.get_or_insert(placed.time);
            let is_far = beyond_m >= margin_m * f64::from(Settle::FAR);
            if is_far || (since < placed.time && placed.time.ms_since(since) >= 30_000) {
                (*is_in, *turning) = (!*is_in, None);
                crossed.push((zone, *is_in));
            }
        }
        crossed.sort_by_key(|(zone, is_in)| (*is_in, *zone));
        crossed
    }
}

fn city() -> Vec<WatchedZone> {
    let ring = |corners: [(f64, f64); 5]| corners.map(|(lat, lon)| Vertex::from_degrees(lat, lon).unwrap()).to_vec();
    let outline = ring([(22.80, 108.30), (22.80, 108.32), (22.82, 108.32), (22.82, 108.30), (22.80, 108.30)]);
    let hole = ring([(22.807, 108.307), (22.807, 108.313), (22.813, 108.313), (22.813, 108.307), (22.807, 108.307)]);
    vec![
        zone("with-a-hole", Area::polygons(&[vec![outline, hole]]).unwrap(), 1),
        zone("booth", Area::circle(place(22.812, 108.306), 200.0).unwrap(), 1),
        zone("tiny", square(22.805, 108.305, 60.0), 1),
        zone("next-door", square(22.80, 108.32, 2_000.0), 1),
        zone("all", Area::circle(place(22.81, 108.31), 5_000.0).unwrap(), 1),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whoever is asked only when it leaves its quiet tile crosses as one who is asked at every place, and as the rule says.
    #[test]
    fn crossings_are_those_of_the_rule(
        start in (22.798..22.824f64, 108.298..108.345f64),
        steps in proptest::collection::vec((0.0..360.0f64, prop_oneof![0.0..12.0f64, 0.0..90.0f64, 0.0..600.0f64], 500..20_000i64), 1..150),
    ) {
        let zones = city();
        let set = set_of(zones.clone());
        let (mut plain, mut crossings, mut quiet) = (Plain::default(), Crossings::default(), Tile::EMPTY);
        let (mut here, mut ms) = (place(start.0, start.1), 0);
        for (bearing, metres, wait_ms) in steps {
            (here, ms) = (destination(here, bearing, metres), ms + wait_ms);
            let placed = placed(here, ms);
            let expected = plain.moved(&set, &zones, &placed);
            let mut crossed = Vec::new();
            if !quiet.contains(here) {
                quiet = crossings.moved(&set, &placed, &mut crossed);
            }
            let found: Vec<_> = crossed.iter().map(|one| (one.zone, one.is_in)).collect();
            prop_assert_eq!(found, expected, "at {} after {} ms", here, ms);
        }
        let inside: Vec<_> = plain.0.iter().filter(|(_, (is_in, _))| *is_in).map(|(zone, _)| *zone).collect();
        let settled: Vec<_> = crossings.stays(UNIT).iter().filter(|(_, stay)| stay.is_in).map(|(zone, _)| *zone).collect();
        prop_assert_eq!(settled, inside);
    }

    /// A car parked on a border for an hour, with a receiver that wavers by 15 m in each direction: at most one enter and one exit.
    #[test]
    fn a_parked_car_on_a_border_makes_no_storm(seed in any::<u64>(), off_m in -30.0..30.0f64) {
        let set = set_of(vec![zone("beat", square(22.80, 108.30, 1_000.0), 1)]);
        let border = destination(place(22.804, 108.30), 90.0, off_m);
        let (mut crossings, mut crossed, mut state) = (Crossings::default(), Vec::new(), seed | 1);
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        for second in (0..3_600).step_by(5) {
            // A sum of twelve uniform numbers is as good as normal.
            let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            let (east_m, north_m) = (15.0 * normal(), 15.0 * normal());
            let here = destination(destination(border, 90.0, east_m), 0.0, north_m);
            crossings.moved(&set, &placed(here, second * 1_000), &mut crossed);
        }
        let count = |is_in: bool| crossed.iter().filter(|one| one.is_in == is_in).count();
        prop_assert!(count(true) <= 1 && count(false) <= 1, "{:?}", crossed);
    }
}

#[test]
fn a_zone_that_comes_goes_or_changes_moves_those_who_are_there() {
    let beats = |east: f64| {
        vec![zone("west", square(22.80, 108.30, 1_000.0), 1), zone("east", square(22.80, east, 1_000.0), 1)]
    };
    let (empty, first) = (ZoneSet::default(), set_of(beats(108.31)));
    let mut crossings = Crossings::default();
    let here = place(22.804, 108.3002);
    let came = crossings.renumber(&empty, &first, at(5), [(UNIT, here)].into_iter());
    assert_eq!(came.entered.iter().map(|one| one.zone).collect::<Vec<_>>(), [ZoneHandle(0)], "also within the margin");
    // Another zone comes before it: the number changes, the stay goes on.
    let mut more = beats(108.31);
    more.insert(0, zone("all", square(22.79, 108.29, 9_000.0), 1));
    let second = begun(more.clone(), 6, &first, 0);
    let changed = crossings.renumber(&first, &second, at(6), [(UNIT, here)].into_iter());
    assert_eq!((changed.entered.len(), changed.entered[0].zone, changed.left.len()), (1, ZoneHandle(0), 0));
    assert_eq!(crossings.stay(UNIT, ZoneHandle(1)).unwrap().since, at(5));
    // "west" is drawn elsewhere, "all" anew where it was.
    let moved = vec![zone("all", square(22.79, 108.29, 9_500.0), 2), zone("west", square(22.9, 108.30, 1_000.0), 2)];
    let third = begun(moved, 7, &second, 0);
    let changed = crossings.renumber(&second, &third, at(7), [(UNIT, here)].into_iter());
    assert_eq!((changed.entered.len(), changed.left.len(), changed.left[0].zone), (0, 1, ZoneHandle(1)));
    assert_eq!(crossings.stay(UNIT, ZoneHandle(0)).unwrap().since, at(6), "who stays in stays since then");
}

#[test]
fn what_a_new_zone_was_judged_by_is_not_judged_again_by_what_is_older() {
    let set = begun(vec![zone("new", square(22.80, 108.30, 1_000.0), 1)], 0, &ZoneSet::default(), 10);
    let (mut crossings, mut crossed) = (Crossings::default(), Vec::new());
    let inside = place(22.804, 108.304);
    let old = Placed { unit: UNIT, place: inside, time: at(1), sequence: Sequence(10) };
    crossings.moved(&set, &old, &mut crossed);
    assert_eq!(crossed, []);
    crossings.moved(&set, &Placed { sequence: Sequence(11), ..old }, &mut crossed);
    assert_eq!(crossed.len(), 1);
}

/// A place 99 m inside was taken for one that is 100 m inside: the edges that are near its square of the index are not all there are.
#[test]
fn a_place_just_short_of_far_is_not_far() {
    let set = set_of(city());
    let here = place(22.806_148_1, 108.313_297_2);
    let mut crossed = Vec::new();
    Crossings::default().moved(&set, &placed(here, 0), &mut crossed);
    assert!(crossed.iter().all(|one| one.zone != ZoneHandle(0)), "{crossed:?}");
}
