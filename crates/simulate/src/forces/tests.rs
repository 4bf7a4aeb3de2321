use std::collections::HashSet;
use std::time::Instant;

use super::*;
use crate::plane::Point;

fn start() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap()
}

fn point(position: Position) -> Point {
    Point::from_degrees(position.lat_deg(), position.lon_deg())
}

#[test]
fn whole_city_has_the_counts_of_the_report() {
    let forces = Forces::new(42, UNITS);
    assert_eq!((forces.units(), forces.devices()), (35_045, 36_845));
    let roster: Vec<_> = forces.roster().collect();
    let count = |kind: &str| roster.iter().filter(|(unit, _)| unit.kind.as_str() == kind).count();
    let kinds = ["foot", "car", "armed_car", "motorcycle", "helicopter", "drone", "community"];
    assert_eq!(kinds.map(count), [1_800, 759, 82, 800, 2, 20, 31_582]);
    let devices: Vec<&DeviceId> = roster.iter().flat_map(|(_, devices)| devices).collect();
    assert_eq!((devices.len(), devices.iter().collect::<HashSet<_>>().len()), (36_845, 36_845), "no name twice");
    assert_eq!(roster.iter().map(|(unit, _)| &unit.name).collect::<HashSet<_>>().len(), 35_045);
    let named = |protocol: &str| devices.iter().filter(|device| device.protocol() == protocol).count();
    let protocols = ["tetra-lip", "lrrp", "cot", "jt808", "nmea", "taip", "sbs", "mavlink", "owntracks"];
    assert_eq!(protocols.map(named), [900, 900, 1_800, 841, 400, 400, 2, 20, 31_582]);
    let per_second: f64 = (0..forces.units())
        .flat_map(|unit| forces.devices_of(unit))
        .map(|device| device.interval.as_secs_f64().recip())
        .sum();
    assert!((1_000.0..1_200.0).contains(&per_second), "{per_second} reports/s");
}

#[test]
fn organisations_are_a_bureau_nine_districts_and_63_stations() {
    let forces = Forces::new(42, 500);
    let offices = forces.organisations();
    let count = |prefix: &str| offices.iter().filter(|office| office.name.as_str().starts_with(prefix)).count();
    assert_eq!([count("bureau"), count("district-"), count("station-")], [1, 9, 63]);
    let mut known = HashSet::new();
    for office in offices {
        assert!(office.parent.as_ref().is_none_or(|parent| known.contains(parent)), "{office:?}");
        known.insert(office.name.clone());
    }
    assert!(forces.roster().all(|(unit, _)| unit.organisation.is_some_and(|name| known.contains(&name))));
}

#[test]
fn same_seed_gives_the_same_day_and_another_seed_another() {
    let (a, b, other) = (Forces::new(5, 300), Forces::new(5, 300), Forces::new(6, 300));
    let mut same = 0;
    for unit in 0..300 {
        let at = start().shifted_ms(1_234_567 * unit as i64);
        assert_eq!(a.truth(unit, at), b.truth(unit, at));
        assert_eq!(a.fix(unit, 0, at), b.fix(unit, 0, at));
        same += usize::from(a.truth(unit, at) == other.truth(unit, at));
    }
    assert!(same < 10, "{same}");
}

/// Nobody jumps, nobody is faster than its kind can go, and speed is what the places say.
#[test]
fn every_kind_moves_steadily_and_not_too_fast() {
    let forces = Forces::new(42, 3_000);
    for unit in 0..forces.units() {
        let limit_mps = forces.force(unit).speed_mps_max();
        assert!(limit_mps < forces.force(unit).kind().speed_mps_max());
        let step_ms = if forces.force(unit) == Force::Community { 30_000 } else { 1_000 };
        let mut before = forces.truth(unit, start());
        for step in 1..=600 {
            let now = forces.truth(unit, start().shifted_ms(step * step_ms));
            let distance_m = point(before.position).distance_m(point(now.position));
            // Two places rounded to 1e-7 degrees and 4-byte metres: 5 cm.
            let reach_m = limit_mps * step_ms as f64 / 1_000.0 + 0.05;
            assert!(distance_m <= reach_m, "{}: {distance_m:.2} m", forces.unit(unit).name);
            assert!(f64::from(now.speed_mps) <= limit_mps && now.moving == (now.speed_mps > 0.0));
            assert!((0.0..360.0).contains(&now.course_deg));
            before = now;
        }
    }
}

#[test]
fn all_kinds_move_at_some_time_and_vehicles_stop_at_some_time() {
    let forces = Forces::new(42, 3_000);
    for force in Force::ALL {
        let samples: Vec<bool> = forces
            .numbers(force)
            .flat_map(|unit| (0..500).map(move |step| (unit, step * 20_000)))
            .map(|(unit, ms)| forces.truth(unit as usize, start().shifted_ms(ms)).moving)
            .collect();
        let share = samples.iter().filter(|moving| **moving).count() as f64 / samples.len() as f64;
        let expected = if force == Force::Community { 0.02..0.6 } else { 0.3..0.95 };
        assert!(expected.contains(&share), "{force:?} moves {:.0} % of the time", share * 100.0);
    }
}

#[test]
fn ground_units_cross_the_river_only_on_bridges() {
    let forces = Forces::new(42, 3_000);
    let city = forces.city();
    let mut crossings = 0;
    for unit in (0..forces.units()).filter(|unit| !forces.force(*unit).kind().is_air()) {
        let mut before = point(forces.truth(unit, start()).position);
        for step in 1..=2_000 {
            let now = point(forces.truth(unit, start().shifted_ms(step * 2_000)).position);
            if city.river().crossings(before, now) > 0 {
                crossings += 1;
                let on = |bridge: &crate::Bridge| {
                    let length_m = bridge.north.distance_m(bridge.south);
                    // On the straight line between the ends, give or take a turn at an end.
                    before.distance_m(bridge.north) + before.distance_m(bridge.south) < length_m + 60.0
                };
                assert!(city.bridges().iter().any(on), "{} at {before:?}", forces.unit(unit).name);
            }
            before = now;
        }
    }
    assert!(crossings > 20, "the river is no wall: {crossings} crossings");
}

#[test]
fn receivers_are_off_by_a_few_metres_and_not_by_more() {
    let forces = Forces::new(42, 100);
    let mut sum_m = 0.0;
    for step in 0..10_000 {
        let (unit, at) = (step % 100, start().shifted_ms(step as i64 * 777));
        let error_m = point(forces.truth(unit, at).position).distance_m(point(forces.fix(unit, 0, at).position));
        assert!(error_m < 9.3, "{error_m}");
        sum_m += error_m;
    }
    assert!((1.0..5.0).contains(&(sum_m / 10_000.0)), "{} m on average", sum_m / 10_000.0);
    let both = (forces.fix(0, 0, start()).position, forces.fix(0, 1, start()).position);
    assert_ne!(both.0, both.1, "two devices err differently");
}

#[test]
fn timetables_of_the_whole_city_fit_into_200_megabytes() {
    let began = Instant::now();
    let forces = Forces::new(42, UNITS);
    let built = began.elapsed();
    let bytes = forces.routes.bytes();
    let began = Instant::now();
    let sum: f64 = (0..1_000_000).map(|n| f64::from(forces.fix(n % UNITS, 0, start()).speed_mps)).sum();
    println!("built in {built:?}, {bytes} bytes, {:?} for a million fixes ({sum})", began.elapsed());
    assert!(bytes < 200_000_000, "{bytes}");
}
