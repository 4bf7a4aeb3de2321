//! Every answer must be the one that a plain scan of the whole fleet gives.

use std::collections::BTreeMap;
use std::time::Duration;

use geodesy::{Area, Vantage, Vertex};
use index::{Change, Fix, LiveIndex, Sight, Slot, UnitTraits};
use model::{
    Clock, DeviceHandle, Flags, Minimum, OrganisationHandle, Position, Shards, Status, TimeBasis, Timestamp,
    UnitHandle, UnitKind, UnitName,
};
use proptest::prelude::*;
use query::{
    Deadline, EXPLAINED_MAX, Explain, Filter, Include, Names, NearestAsk, Omitted, OmittedReason, QueryError, Rank,
    Realm, Scope, WithinAsk,
};
use testkit::{ManualClock, Seeded, Shape};

/// Names in another order than the numbers, so that a tie broken by number shows.
struct Backwards;

impl Names for Backwards {
    fn name(&self, unit: UnitHandle) -> UnitName {
        UnitName::new(&format!("unit-{:05}", 99_999 - unit.0)).unwrap()
    }
}

fn as_of() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000).unwrap()
}

fn fix(position: Position, age_ms: i64) -> Fix {
    Fix {
        position,
        time: as_of().shifted_ms(-age_ms),
        received: as_of(),
        source: DeviceHandle(0),
        time_basis: TimeBasis::Gnss,
        speed_mps: None,
        course_deg: None,
        altitude: None,
        accuracy_m: None,
        accuracy_basis: None,
        flags: Flags::default(),
    }
}

/// The fleet twice: in the index, and as plain rows.
struct Fleet {
    index: LiveIndex,
    rows: BTreeMap<UnitHandle, Slot>,
}

impl Fleet {
    /// `units` of `shape`, moved several times, some of them withdrawn, of mixed kinds and ages.
    fn moved(seed: u64, units: usize, shape: Shape) -> Self {
        Self::in_shards(1, seed, units, shape)
    }

    /// The same fleet, in so many shards.
    fn in_shards(shards: usize, seed: u64, units: usize, shape: Shape) -> Self {
        let mut random = Seeded::new(seed);
        let index = LiveIndex::in_shards(Shards::new(shards).unwrap());
        let mut fleet = Self { index, rows: BTreeMap::new() };
        for number in 0..units as u32 {
            let traits = UnitTraits {
                kind: UnitKind::ALL[(random.next() % UnitKind::ALL.len() as u64) as usize],
                status: Status::ALL[(random.next() % Status::ALL.len() as u64) as usize],
                covert: random.next().is_multiple_of(20),
                organisation: Some(OrganisationHandle((random.next() % 3) as u32)),
                ..UnitTraits::default()
            };
            fleet.index.enrol(UnitHandle(number), traits);
            fleet.rows.insert(UnitHandle(number), Slot { traits, ..Slot::default() });
        }
        for _ in 0..units * 3 {
            let unit = UnitHandle((random.next() % units as u64) as u32);
            if random.next().is_multiple_of(16) {
                fleet.index.withdraw(unit);
                let slot = fleet.rows.get_mut(&unit).unwrap();
                *slot = Slot { traits: slot.traits, ..Slot::default() };
            } else {
                fleet.place(unit, shape, &mut random);
            }
        }
        fleet
    }

    fn place(&mut self, unit: UnitHandle, shape: Shape, random: &mut Seeded) {
        let mut fix = fix(shape.place(random), random.between(0.0, 60_000.0) as i64);
        fix.accuracy_m = random.next().is_multiple_of(2).then(|| random.between(0.0, 900.0) as f32);
        let contact = as_of().shifted_ms(-(random.between(0.0, 80_000.0) as i64));
        let slot = self.rows.get_mut(&unit).unwrap();
        let interval_ms = Some(random.between(1_000.0, 20_000.0) as u32);
        *slot = Slot {
            fix: Some(fix),
            contact_time: slot.contact_time.max(Some(contact)),
            expected_interval_ms: interval_ms,
            ..*slot
        };
        self.index.apply(&[Change::Place { unit, fix, contact, interval_ms }]);
    }
}

/// The default rules of candidates once more, in the plainest words.
fn left_out(slot: &Slot, wide: bool) -> Option<OmittedReason> {
    let unit = slot.traits;
    let contact_age = as_of().ms_since(slot.contact_time.unwrap());
    if contact_age > 50_000.max(10 * i64::from(slot.expected_interval_ms.unwrap())) {
        return Some(OmittedReason::OutOfContact);
    }
    if unit.covert {
        return Some(OmittedReason::Covert);
    }
    match unit.kind {
        UnitKind::Community | UnitKind::Helicopter | UnitKind::Drone if !wide => return Some(OmittedReason::Kind),
        _ => {}
    }
    match unit.status {
        Status::Busy | Status::OffDuty if !wide => Some(OmittedReason::Status),
        _ => None,
    }
}

fn is_stale(slot: &Slot) -> bool {
    as_of().ms_since(slot.fix.unwrap().time) > 15_000.max(3 * i64::from(slot.expected_interval_ms.unwrap()))
}

/// What is found, what is left out, and who is named as that with how many more.
#[derive(Debug, PartialEq)]
struct Answer {
    found: Vec<(UnitName, f64, bool)>,
    omitted: Vec<(OmittedReason, u64)>,
    named: Vec<(UnitName, OmittedReason)>,
    unnamed: u64,
}

/// How far a unit can be at most by now, in the plainest words.
fn possible_m(slot: &Slot, distance_m: f64) -> f64 {
    let fix = slot.fix.unwrap();
    let seconds = (as_of().unix_ms() - fix.time.unix_ms()) as f64 / 1_000.0;
    distance_m + (fix.accuracy_m.map_or(30.0, f64::from) + slot.traits.kind.speed_mps_max() * seconds)
}

/// Sees a third by organisation, an area with a strip, and one unit in eight.
fn district(centre: Position, size_m: f64) -> Scope {
    Scope::of(Realm {
        organisations: [OrganisationHandle(1)].into(),
        ground: vec![Area::circle(centre, size_m).unwrap()],
        strip_m: size_m / 4.0,
        units: (0..400).step_by(16).map(UnitHandle).collect(),
        ringing: (8..400).step_by(16).map(UnitHandle).collect(),
    })
}

/// The same in the plainest words.
fn is_hidden(scope: Option<(Position, f64)>, unit: UnitHandle, slot: &Slot) -> bool {
    let Some((centre, size_m)) = scope else { return false };
    let near = |fix: Fix| !slot.traits.covert && geodesy::distance_m(centre, fix.position) <= size_m * 1.25;
    slot.traits.organisation != Some(OrganisationHandle(1)) && !unit.0.is_multiple_of(8) && !slot.fix.is_some_and(near)
}

/// A question to the fleet: whose scope, around where, how many, how far, whether also those who are no default candidates, by what rank.
struct Asked {
    scope: Option<(Position, f64)>,
    centre: Position,
    k: usize,
    max_m: f64,
    wide: bool,
    rank: Rank,
}

fn nearest_by_scan(fleet: &Fleet, asked: &Asked) -> (Answer, bool) {
    let Asked { scope, centre, k, max_m, wide, rank } = *asked;
    let located = fleet.rows.iter().filter(|(_, slot)| slot.fix.is_some());
    let rows: Vec<_> =
        located.map(|(unit, slot)| ((Backwards.name(*unit), *unit), slot.fix.unwrap().position)).collect();
    let near = testkit::by_distance(centre, &rows).into_iter().filter(|(_, distance)| *distance <= max_m);
    let key = |slot: &Slot, distance| if rank == Rank::Distance { distance } else { possible_m(slot, distance) };
    let mut near: Vec<_> = near
        .map(|((name, unit), distance)| (name, unit, fleet.rows[&unit], distance, key(&fleet.rows[&unit], distance)))
        .collect();
    near.sort_by(|a, b| a.4.total_cmp(&b.4).then_with(|| a.0.cmp(&b.0)));
    let (hidden, near): (Vec<_>, Vec<_>) =
        near.into_iter().partition(|(_, unit, slot, ..)| is_hidden(scope, *unit, slot));
    let good = |stale: bool| {
        near.iter().filter(move |(_, _, slot, ..)| left_out(slot, wide).is_none() && is_stale(slot) == stale)
    };
    let fresh: Vec<_> = good(false).take(k).collect();
    let limit = if fresh.len() == k { fresh[k - 1].4 } else { f64::INFINITY };
    let stale: Vec<_> = good(true).take(k - fresh.len()).collect();
    let (mut counts, mut named) = (BTreeMap::new(), Vec::new());
    for (name, unit, slot, _, key) in near.iter().filter(|(.., key)| *key <= limit) {
        let is_left = is_stale(slot) && !stale.iter().any(|(_, one, ..)| one == unit);
        let reason = left_out(slot, wide).or_else(|| is_left.then_some(OmittedReason::Stale));
        let is_told = |reason: &OmittedReason| scope.is_none() || *reason != OmittedReason::Covert;
        if let Some(reason) = reason.filter(is_told) {
            *counts.entry(reason).or_insert(0) += 1;
            if reason != OmittedReason::Covert {
                named.push((*key, name.clone(), reason));
            }
        }
    }
    let outside =
        hidden.iter().any(|(_, _, slot, _, key)| left_out(slot, wide).is_none() && !is_stale(slot) && *key <= limit);
    let found = fresh.into_iter().map(|row| (row, false)).chain(stale.into_iter().map(|row| (row, true)));
    let found = found.map(|((name, _, _, distance, _), stale)| (name.clone(), *distance, stale)).collect();
    let unnamed = named.len().saturating_sub(EXPLAINED_MAX) as u64;
    let named = named.into_iter().take(EXPLAINED_MAX).map(|(_, name, reason)| (name, reason)).collect();
    (Answer { found, omitted: counts.into_iter().collect(), named, unnamed }, outside)
}

/// The same units in the same order, with distances to a few millimetres.
fn is_same(found: &[(UnitName, f64, bool)], expected: &[(UnitName, f64, bool)]) -> bool {
    let is_close = |a: f64, b: f64| (a - b).abs() <= geodesy::SHORT_ERROR_M;
    let pairs = found.iter().zip(expected);
    found.len() == expected.len() && pairs.into_iter().all(|(a, b)| a.0 == b.0 && is_close(a.1, b.1) && a.2 == b.2)
}

fn counted(omitted: &Omitted) -> Vec<(OmittedReason, u64)> {
    omitted.iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// The index must answer exactly as a scan of the whole fleet does.
    #[test]
    fn nearest_agrees_with_a_full_scan(
        seed in any::<u64>(), shards in 1usize..4, units in 1usize..400, shape in 0usize..5, k in 1usize..30,
        max_m in prop_oneof![Just(f64::INFINITY), 10.0..5_000_000.0f64], wide in any::<bool>(),
        scope_m in prop::option::of(100.0..100_000.0f64), by_possible: bool,
    ) {
        let shape = Shape::ALL[shape];
        let fleet = Fleet::in_shards(shards, seed, units, shape);
        let centre = shape.place(&mut Seeded::new(!seed));
        let rank = if by_possible { Rank::Possible } else { Rank::Distance };
        let mut filter = Filter::new();
        if wide {
            for word in [Include::Community, Include::Air, Include::Busy, Include::OffDuty] {
                filter = filter.include(word);
            }
        }
        let scope = scope_m.map(|size_m| (shape.place(&mut Seeded::new(seed ^ 1)), size_m));
        let seen = scope.map_or(Scope::everything(), |(centre, size_m)| district(centre, size_m));
        let mut ask = NearestAsk::new(centre, seen).k(k).unwrap().filter(filter).rank(rank).explain(Explain::Name);
        if max_m.is_finite() {
            ask = ask.max_distance_m(max_m).unwrap();
        }
        let answer = query::nearest(&fleet.index, &ask, &Backwards, as_of(), &Deadline::never()).unwrap();
        let found: Vec<_> = answer.found.iter().map(|one| (Backwards.name(one.unit), one.distance_m, one.stale)).collect();
        let (expected, outside) = nearest_by_scan(&fleet, &Asked { scope, centre, k, max_m, wide, rank });
        prop_assert!(is_same(&found, &expected.found), "{found:?} is not {:?}", expected.found);
        prop_assert_eq!(counted(&answer.omitted), expected.omitted);
        let named: Vec<_> = answer.omitted.named().iter().map(|one| (Backwards.name(one.unit), one.reason)).collect();
        prop_assert_eq!((named, answer.omitted.unnamed()), (expected.named, expected.unnamed));
        for one in answer.omitted.named() {
            let fix = fleet.rows[&one.unit].fix.unwrap();
            prop_assert!((one.distance_m - geodesy::distance_m(centre, fix.position)).abs() <= geodesy::SHORT_ERROR_M);
            prop_assert_eq!(one.fix_age_ms, Some(as_of().ms_since(fix.time)));
        }
        for one in &answer.found {
            let [least_m, most_m] = query::possible_m(one.distance_m, &one.slot, as_of()).unwrap();
            prop_assert_eq!(most_m, possible_m(&one.slot, one.distance_m));
            prop_assert!(least_m >= 0.0 && least_m <= one.distance_m);
        }
        prop_assert_eq!(answer.nearer_outside_scope, outside);
    }

    /// Areas too, page by page.
    #[test]
    fn within_agrees_with_a_full_scan(
        seed in any::<u64>(), shards in 1usize..4, units in 1usize..400, shape in 0usize..4, size in 0.001..3.0f64, circle in any::<bool>(), limit in 1usize..50,
        scope_m in prop::option::of(100.0..100_000.0f64),
    ) {
        let shape = Shape::ALL[shape];
        let fleet = Fleet::in_shards(shards, seed, units, shape);
        let centre = shape.place(&mut Seeded::new(!seed));
        let area = if circle {
            Area::circle(centre, size * 100_000.0).unwrap()
        } else {
            let wrap = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
            let corner = |scale: f64, (x, y): (f64, f64)| {
                let lat = (centre.lat_deg() + y * size * scale).clamp(-90.0, 90.0);
                Vertex::from_degrees(lat, wrap(centre.lon_deg() + x * size * scale)).unwrap()
            };
            let ring = |scale: f64| [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)].map(|at| corner(scale, at)).to_vec();
            Area::polygons(&[vec![ring(1.0), ring(0.4)]]).unwrap()
        };
        let visible = |slot: &Slot| !slot.traits.covert && slot.fix.is_some_and(|fix| area.contains(fix.position));
        let scope = scope_m.map(|size_m| (shape.place(&mut Seeded::new(seed ^ 1)), size_m));
        let visible = |unit: UnitHandle, slot: &Slot| visible(slot) && !is_hidden(scope, unit, slot);
        let mut expected: Vec<_> = fleet.rows.iter().filter(|(unit, slot)| visible(**unit, slot)).map(|(unit, _)| Backwards.name(*unit)).collect();
        expected.sort();
        let seen = scope.map_or(Scope::everything(), |(centre, size_m)| district(centre, size_m));
        let mut ask = WithinAsk::new(area.clone(), seen).limit(limit).unwrap();
        let mut found = Vec::new();
        loop {
            let page = query::within(&fleet.index, &ask, &Backwards, as_of(), &Deadline::never()).unwrap();
            prop_assert!(page.found.len() <= limit);
            found.extend(page.found.iter().map(|one| Backwards.name(one.unit)));
            match page.next {
                Some(next) => ask = ask.after(next),
                None => break,
            }
        }
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A count is that of a full scan, and ends at what is asked for.
    #[test]
    fn a_count_agrees_with_a_full_scan(
        seed in any::<u64>(), shards in 1usize..4, units in 1usize..400, shape in 0usize..4, size_m in 100.0..300_000.0f64,
        at_least in 1u32..100, police in any::<bool>(), scope_m in prop::option::of(100.0..100_000.0f64),
    ) {
        let shape = Shape::ALL[shape];
        let fleet = Fleet::in_shards(shards, seed, units, shape);
        let area = Area::circle(shape.place(&mut Seeded::new(!seed)), size_m).unwrap();
        let scope = scope_m.map(|size_m| (shape.place(&mut Seeded::new(seed ^ 1)), size_m));
        let counts = |unit: UnitHandle, slot: &Slot| {
            let kind = slot.traits.kind;
            let is_wanted = if police { kind != UnitKind::Community } else { kind == UnitKind::Car };
            let is_here = slot.fix.is_some_and(|fix| area.contains(fix.position));
            is_here && is_wanted && slot.traits.status != Status::OffDuty && !is_hidden(scope, unit, slot)
                && !matches!(left_out(slot, true), Some(OmittedReason::Covert | OmittedReason::OutOfContact))
        };
        let expected = fleet.rows.iter().filter(|(unit, slot)| slot.fix.is_some() && counts(**unit, slot)).count() as u32;
        let seen = scope.map_or(Scope::everything(), |(centre, size_m)| district(centre, size_m));
        let kinds = if police { Vec::new() } else { vec![UnitKind::Car] };
        let minimum = Minimum { kinds, hours: Vec::new(), at_least };
        let count = query::count_within(&fleet.index, &area, &minimum, &seen, as_of(), &Deadline::never()).unwrap();
        prop_assert_eq!(count, expected.min(at_least));
    }
}

#[test]
fn ten_thousand_units_on_one_spot_are_each_found_once() {
    let fleet = Fleet::moved(7, 10_000, Shape::Spot);
    let centre = Shape::Spot.place(&mut Seeded::new(1));
    let (max_m, rank) = (f64::INFINITY, Rank::Distance);
    let (expected, _) = nearest_by_scan(&fleet, &Asked { scope: None, centre, k: 1_000, max_m, wide: false, rank });
    let ask = NearestAsk::new(centre, Scope::everything()).k(1_000).unwrap();
    let answer = query::nearest(&fleet.index, &ask, &Backwards, as_of(), &Deadline::never()).unwrap();
    let found: Vec<_> = answer.found.iter().map(|one| (Backwards.name(one.unit), one.distance_m, one.stale)).collect();
    assert!(is_same(&found, &expected.found));
}

/// An answer is the same bit for bit, whoever keeps the units.
#[test]
fn one_and_three_shards_give_equal_answers() {
    for (seed, shape) in (0..).zip(Shape::ALL.into_iter().cycle().take(50)) {
        let [one, three] = [1, 3].map(|shards| Fleet::in_shards(shards, seed, 1_000, shape));
        let centre = shape.place(&mut Seeded::new(!seed));
        for rank in [Rank::Distance, Rank::Possible] {
            let ask = NearestAsk::new(centre, Scope::everything()).k(20).unwrap().rank(rank).explain(Explain::Name);
            let nearest =
                |fleet: &Fleet| query::nearest(&fleet.index, &ask, &Backwards, as_of(), &Deadline::never()).unwrap();
            assert_eq!(nearest(&one), nearest(&three));
        }
        let ask = WithinAsk::new(Area::circle(centre, 20_000.0).unwrap(), Scope::everything()).limit(50).unwrap();
        let within =
            |fleet: &Fleet| query::within(&fleet.index, &ask, &Backwards, as_of(), &Deadline::never()).unwrap();
        assert_eq!(within(&one), within(&three));
        assert_eq!(one.index.located(), three.index.located());
    }
}

#[test]
fn out_of_time_is_an_error_and_never_a_shorter_answer() {
    let fleet = Fleet::moved(7, 2_000, Shape::City);
    let clock = ManualClock::at(as_of());
    let deadline = Deadline::after(&clock, Duration::from_millis(5));
    clock.advance(Duration::from_millis(5));
    assert!(clock.now() > as_of());
    let ask = NearestAsk::new(Shape::City.place(&mut Seeded::new(1)), Scope::everything());
    let answer = query::nearest(&fleet.index, &ask, &Backwards, as_of(), &deadline);
    assert_eq!(answer, Err(QueryError::DeadlineExceeded { examined: 0 }));
}

#[test]
fn a_reader_sees_every_unit_exactly_once_while_they_move() {
    [1, 3].into_iter().for_each(sees_every_unit_exactly_once);
}

/// While each shard has a writer.
fn sees_every_unit_exactly_once(shards: usize) {
    let shards = Shards::new(shards).unwrap();
    let index = LiveIndex::in_shards(shards);
    let place = |random: &mut Seeded, unit| Change::Place {
        unit,
        fix: fix(Shape::City.place(random), 0),
        contact: as_of(),
        interval_ms: None,
    };
    let units = 2_000u32;
    let mut random = Seeded::new(3);
    let all: Vec<_> = (0..units).map(|number| place(&mut random, UnitHandle(number))).collect();
    index.apply(&all);
    std::thread::scope(|scope| {
        let write = |shard: usize| {
            let mut random = Seeded::new(4 + shard as u64);
            for _ in 0..200 {
                let changes: Vec<_> = (0..256)
                    .map(|_| {
                        let within = (random.next() % u64::from(units / shards.count() as u32)) as u32;
                        place(&mut random, UnitHandle(within))
                    })
                    .collect();
                index.shard(shard).apply(&changes);
            }
        };
        let writers: Vec<_> = (0..shards.count()).map(|shard| scope.spawn(move || write(shard))).collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let mut seen = vec![0u8; units as usize];
            let visit = |sight: &Sight| {
                seen[sight.unit.0 as usize] += 1;
                Ok::<_, ()>(f64::INFINITY)
            };
            let vantage = Vantage::of(Shape::Spot.place(&mut Seeded::new(1)));
            index.near(&vantage, f64::INFINITY, |_| false, visit).unwrap();
            assert!(seen.iter().all(|count| *count == 1));
        }
    });
}

#[test]
fn asks_over_a_limit_name_field_value_and_limit() {
    let centre = Position::from_degrees(0.0, 0.0).unwrap();
    let error = NearestAsk::new(centre, Scope::everything()).k(0).unwrap_err();
    assert_eq!(error.to_string(), "`k` is 0: must be 1 to 1000");
    assert!(NearestAsk::new(centre, Scope::everything()).max_distance_m(f64::NAN).is_err());
    assert!(Filter::new().max_age(Duration::ZERO).is_err());
}
