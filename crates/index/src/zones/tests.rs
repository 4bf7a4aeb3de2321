use std::f64::consts::TAU;
use std::sync::Arc;

use geodesy::{Area, Tile, Vertex};
use model::{Position, ZoneHandle};
use proptest::prelude::*;
use testkit::Seeded;

use super::{Beyond, ZoneEntry, ZoneIndex, margin_for};

const DEGREE_M: f64 = 111_000.0;

fn wrapped(lon: f64) -> f64 {
    (lon + 180.0).rem_euclid(360.0) - 180.0
}

fn at(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat.clamp(-90.0, 90.0), wrapped(lon)).unwrap()
}

fn vertex(lat: f64, lon: f64) -> Vertex {
    Vertex::from_degrees(lat.clamp(-90.0, 90.0), wrapped(lon)).unwrap()
}

/// A star of `count` corners, `least_m` to `most_m` from its middle.
fn star(random: &mut Seeded, (lat, lon): (f64, f64), count: usize, (least_m, most_m): (f64, f64)) -> Vec<Vertex> {
    let narrow = lat.to_radians().cos().max(0.01);
    let mut ring: Vec<Vertex> = (0..count)
        .map(|corner| {
            let (sin, cos) = (TAU * corner as f64 / count as f64).sin_cos();
            let reach = random.between(least_m, most_m) / DEGREE_M;
            vertex(lat + sin * reach, lon + cos * reach / narrow)
        })
        .collect();
    ring.push(ring[0]);
    ring
}

fn rectangle(south: f64, north: f64, west: f64, east: f64) -> Vec<Vertex> {
    let corner = |lat, lon| Vertex::from_degrees(lat, lon).unwrap();
    vec![corner(south, west), corner(south, east), corner(north, east), corner(north, west), corner(south, west)]
}

/// An area of any kind about a place.
fn area(random: &mut Seeded, middle: (f64, f64), size_m: f64) -> Area {
    let count = 3 + (random.next() % 12) as usize;
    let polygon = |random: &mut Seeded, middle: (f64, f64)| {
        let outline = star(random, middle, count, (0.6 * size_m, size_m));
        let hole = star(random, middle, count, (0.1 * size_m, 0.3 * size_m));
        if random.next().is_multiple_of(3) { vec![outline, hole] } else { vec![outline] }
    };
    let made = match random.next() % 8 {
        0 | 1 => Area::circle(at(middle.0, middle.1), size_m),
        2 | 3 => {
            let beside = (middle.0 + 2.0 * size_m / DEGREE_M, middle.1);
            let both = [polygon(random, middle), polygon(random, beside)];
            Area::polygons(&both)
        }
        4 => {
            // A needle, a thousand times as long as wide.
            let (half, wide) = (size_m / DEGREE_M, size_m / DEGREE_M / 1_000.0);
            Area::polygons(&[vec![vec![
                vertex(middle.0, middle.1 - half),
                vertex(middle.0 + half, middle.1 + half),
                vertex(middle.0 + half + wide, middle.1 + half),
                vertex(middle.0, middle.1 - half),
            ]]])
        }
        // Corners in any order, a hole that may lie outside: what crosses itself is not made.
        5 => Area::polygons(&[vec![
            star(random, middle, count, (0.01 * size_m, size_m)),
            star(random, middle, 5, (0.2 * size_m, 1.2 * size_m)),
        ]]),
        _ => Area::polygons(&[polygon(random, middle)]),
    };
    made.unwrap_or_else(|_| Area::circle(at(middle.0, middle.1), size_m).unwrap())
}

/// Zones that hold half the earth and more, each shape that is rare.
fn rare() -> Vec<Area> {
    let polygons = |polygons: &[Vec<Vec<Vertex>>]| Area::polygons(polygons).unwrap();
    vec![
        polygons(&[vec![rectangle(-90.0, 90.0, -180.0, 180.0)]]),
        polygons(&[vec![rectangle(-90.0, 90.0, -180.0, 180.0), rectangle(-10.0, 70.0, 100.0, 180.0)]]),
        polygons(&[vec![rectangle(60.0, 90.0, -180.0, 180.0)]]),
        polygons(&[vec![rectangle(-1.0, 1.0, 179.0, -179.0)]]),
        polygons(&[vec![rectangle(-1.0, 1.0, 179.0, 180.0)], vec![rectangle(-1.0, 1.0, -180.0, -179.0)]]),
        polygons(&[vec![rectangle(-80.0, 80.0, 120.0, -70.0)]]),
        polygons(&[vec![rectangle(89.0, 90.0, 100.0, 170.0)]]),
        Area::circle(at(60.0, 179.9), 1_000_000.0).unwrap(),
        Area::circle(at(89.99, 0.0), 5_000.0).unwrap(),
        Area::circle(at(0.0, 0.0), 900_000.0).unwrap(),
    ]
}

fn entries(areas: impl IntoIterator<Item = Area>, margin_m: f64) -> Vec<ZoneEntry> {
    let entry = |(number, area): (u32, Area)| {
        let margin_m = margin_for(&area, margin_m);
        // Handles are any numbers.
        ZoneEntry { zone: ZoneHandle(number * 3 + 1), area: Arc::new(area), margin_m, far_m: 4.0 * margin_m }
    };
    (0..).zip(areas).map(entry).collect()
}

fn holding_by_scan(entries: &[ZoneEntry], place: Position) -> Vec<ZoneHandle> {
    entries.iter().filter(|entry| entry.area.contains(place)).map(|entry| entry.zone).collect()
}

fn observed_by_scan(entries: &[ZoneEntry], place: Position, settled: &[ZoneHandle]) -> Vec<Beyond> {
    let beyond = |entry: &ZoneEntry| {
        let is_settled = settled.contains(&entry.zone);
        let depth_m = entry.area.depth_m(place);
        let over_m = if is_settled { -depth_m } else { depth_m };
        (over_m > entry.margin_m).then_some(Beyond {
            zone: entry.zone,
            is_inside: !is_settled,
            is_far: over_m >= entry.far_m,
        })
    };
    entries.iter().filter_map(beyond).collect()
}

/// Nearer to a pole a border that is beyond the antimeridian may be taken for one that is far.
fn is_off_the_poles(place: Position) -> bool {
    place.lat_deg().abs() < 89.9
}

/// A place on an edge of some zone or within centimetres of one, near one, or anywhere about.
fn place(random: &mut Seeded, entries: &[ZoneEntry], middle: (f64, f64), size_m: f64) -> Position {
    let off = |random: &mut Seeded, most: i64| random.next() as i64 % (most + 1);
    let moved = |lon: i64, lat: i64| {
        let lon = (lon + 1_800_000_000).rem_euclid(3_600_000_000) - 1_800_000_000;
        Position::from_e7(lat.clamp(-900_000_000, 900_000_000) as i32, lon as i32).unwrap()
    };
    let entry = &entries[(random.next() % entries.len() as u64) as usize];
    let rings: Vec<_> = entry.area.outlines().collect();
    match (random.next() % 3, rings.get((random.next() % rings.len().max(1) as u64) as usize)) {
        (0 | 1, Some(ring)) => {
            let edge = (random.next() % (ring.corners.len() as u64 - 1)) as usize;
            let (from, to) = (ring.corners[edge], ring.corners[edge + 1]);
            let part = [0.0, 0.5, random.between(0.0, 1.0)][(random.next() % 3) as usize];
            let on = |from: i64, to: i64| from + ((to - from) as f64 * part).round() as i64;
            let most = [0, 2, 3_000][(random.next() % 3) as usize];
            moved(on(from.0, to.0) + off(random, most), on(from.1, to.1) + off(random, most))
        }
        _ => {
            let mut far = || random.between(-3.0, 3.0) * size_m / DEGREE_M;
            let (north, east) = (far(), far());
            at(middle.0 + north, middle.1 + east / middle.0.to_radians().cos().max(0.01))
        }
    }
}

fn middles() -> impl Strategy<Value = (f64, f64)> {
    prop_oneof![
        Just((22.8, 108.35)),
        (-80.0..80.0f64, -180.0..180.0f64),
        (-80.0..80.0f64, 179.99..180.01f64),
        (59.0..61.0f64, -1.0..1.0f64),
        // On the borders between squares of every size.
        Just((0.0, 0.0)),
        Just((0.0, 107.374_182_4)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Zones of every kind in a heap, at the poles too: exactly those hold a place that say so themselves.
    #[test]
    fn zones_that_hold_a_place_are_those_of_a_scan(
        seed: u64, middle in prop_oneof![middles(), (88.0..=90.0f64, -180.0..180.0f64), (-90.0..=-89.9f64, -180.0..180.0f64)],
        count in 1..60usize, size in 0.0..1.0f64, has_rare: bool,
    ) {
        let mut random = Seeded::new(seed);
        let size_m = 20.0 * 5_000.0f64.powf(size);
        let mut areas: Vec<Area> = (0..count).map(|_| {
            let mut off = || random.between(-2.0, 2.0) * size_m / DEGREE_M;
            let near = (middle.0 + off(), middle.1 + off() / middle.0.to_radians().cos().max(0.01));
            let share = random.between(0.05, 1.0);
            area(&mut random, (near.0.clamp(-90.0, 90.0), near.1), size_m * share)
        }).collect();
        if has_rare { areas.extend(rare()) }
        let entries = entries(areas, 25.0);
        let index = ZoneIndex::of(entries.clone());
        let mut found = vec![ZoneHandle(7)];
        for _ in 0..100 {
            let place = place(&mut random, &entries, middle, size_m);
            index.holding(place, &mut found);
            prop_assert_eq!(&found, &holding_by_scan(&entries, place), "{}", place);
        }
    }

    /// What a place says against what is settled is what each border by itself says; and in the tile nobody says anything else.
    #[test]
    fn places_in_a_tile_say_what_a_scan_says(seed: u64, middle in middles(), count in 1..40usize, size in 0.0..1.0f64, margin in 1.0..200.0f64, has_rare: bool) {
        let mut random = Seeded::new(seed);
        let size_m = 50.0 * 400.0f64.powf(size);
        let mut areas: Vec<Area> = (0..count).map(|_| {
            let mut off = || random.between(-2.0, 2.0) * size_m / DEGREE_M;
            let near = (middle.0 + off(), middle.1 + off() / middle.0.to_radians().cos());
            let share = random.between(0.05, 1.0);
            area(&mut random, near, size_m * share)
        }).collect();
        if has_rare { areas.extend(rare()) }
        let entries = entries(areas, margin);
        let index = ZoneIndex::of(entries.clone());
        let mut beyond = Vec::new();
        for _ in 0..40 {
            let place = place(&mut random, &entries, middle, size_m);
            // Those that hold it; of those within the margin any; sometimes one more is settled, or one less.
            let mut settled: Vec<ZoneHandle> = entries.iter().filter(|entry| {
                let depth_m = entry.area.depth_m(place);
                let is_open = depth_m.abs() <= entry.margin_m && random.next().is_multiple_of(2);
                (depth_m >= 0.0) != is_open
            }).map(|entry| entry.zone).collect();
            if random.next().is_multiple_of(4) {
                let other = ZoneHandle((random.next() % (3 * entries.len() as u64)) as u32 / 3 * 3 + 1);
                match settled.binary_search(&other) {
                    Ok(at) => { settled.remove(at); }
                    Err(at) => settled.insert(at, other),
                }
            }
            let tile = index.observe(place, &settled, &mut beyond);
            if is_off_the_poles(place) {
                prop_assert_eq!(&beyond, &observed_by_scan(&entries, place, &settled), "{} {:?}", place, settled);
            }
            prop_assert_eq!(tile.contains(place), beyond.is_empty());
            if beyond.is_empty() {
                in_the_tile_nothing_is_beyond(&mut random, &index, &entries, &settled, &tile)?;
            }
        }
    }
}

fn in_the_tile_nothing_is_beyond(
    random: &mut Seeded,
    index: &ZoneIndex,
    entries: &[ZoneEntry],
    settled: &[ZoneHandle],
    tile: &Tile,
) -> Result<(), TestCaseError> {
    let mut beyond = Vec::new();
    for corner in 0..8 {
        let mut between = |low: i32, high: i32, is_high: bool| match (corner < 4, is_high) {
            (true, true) => high,
            (true, false) => low,
            (false, _) => low + ((f64::from(high) - f64::from(low)) * random.between(0.0, 1.0)) as i32,
        };
        let lat = between(tile.south, tile.north, corner & 1 != 0);
        let place = Position::from_e7(lat, between(tile.west, tile.east, corner & 2 != 0)).unwrap();
        index.observe(place, settled, &mut beyond);
        prop_assert!(beyond.is_empty(), "{} in {:?}: {:?}", place, tile, beyond);
        if is_off_the_poles(place) {
            prop_assert_eq!(observed_by_scan(entries, place, settled), vec![], "{} in {:?}", place, tile);
        }
    }
    Ok(())
}

/// Compares the index with a scan at `places`, and says how many bytes it takes for each zone.
fn checked(entries: Vec<ZoneEntry>, places: impl IntoIterator<Item = Position>) -> usize {
    let index = ZoneIndex::of(entries.clone());
    let (mut found, mut beyond) = (Vec::new(), Vec::new());
    for place in places {
        let wanted = holding_by_scan(&entries, place);
        index.holding(place, &mut found);
        assert_eq!(found, wanted, "{place}");
        index.observe(place, &wanted, &mut beyond);
        assert_eq!(beyond, [], "{place}");
    }
    index.bytes() / entries.len()
}

#[test]
fn no_heap_of_zones_takes_more_memory_than_its_share() {
    let mut random = Seeded::new(5);
    let middle = (22.8, 108.35);
    let places: Vec<Position> =
        (0..20).map(|_| at(middle.0 + random.between(-0.02, 0.02), middle.1 + random.between(-0.02, 0.02))).collect();
    let same = |random: &mut Seeded| {
        let ring = star(random, middle, 12, (500.0, 1_000.0));
        move |_: usize| Area::polygons(&[vec![ring.clone()]]).unwrap()
    };
    let spot = (0..3_000).map(same(&mut random));
    assert!(checked(entries(spot, 25.0), places.clone()) < 2_500, "one spot");
    let overlapping = (0..3_000).map(|_| area(&mut random, middle, 2_000.0));
    assert!(checked(entries(overlapping, 25.0), places.clone()) < 2_500, "overlapping");
    let earth = (0..1_000).map(|_| rare().swap_remove(0));
    assert!(checked(entries(earth, 25.0), places.clone()) < 2_500, "as large as the earth");
    let needles = (0..1_000).map(|_| {
        let mut corner = || vertex(random.between(-60.0, 60.0), random.between(-90.0, 90.0));
        let ring = [corner(), corner(), corner()];
        Area::polygons(&[vec![vec![ring[0], ring[1], ring[2], ring[0]]]]).unwrap()
    });
    assert!(checked(entries(needles, 25.0), places) < 2_500, "over half the earth");
}

/// A place 99 m inside, with an edge 130 m away near its square and the nearest edge not, was once told to be 100 m inside.
#[test]
fn far_is_judged_by_all_edges_not_by_those_near_the_square() {
    let mut random = Seeded::new(13);
    let areas = (0..1_500).map(|_| {
        let middle = (22.8 + random.between(-0.01, 0.01), 108.35 + random.between(-0.01, 0.01));
        Area::polygons(&[vec![star(&mut random, middle, 12, (150.0, 500.0))]]).unwrap()
    });
    let entries = entries(areas.collect::<Vec<_>>(), 25.0);
    let index = ZoneIndex::of(entries.clone());
    let all: Vec<ZoneHandle> = entries.iter().map(|entry| entry.zone).collect();
    let mut beyond = Vec::new();
    for _ in 0..40 {
        let place = at(22.8 + random.between(-0.01, 0.01), 108.35 + random.between(-0.01, 0.01));
        for settled in [&[][..], &all] {
            index.observe(place, settled, &mut beyond);
            assert_eq!(beyond, observed_by_scan(&entries, place, settled), "{place}");
        }
    }
}

#[test]
fn a_border_of_ten_thousand_points_costs_a_place_a_few_of_them() {
    let mut random = Seeded::new(9);
    let ring = star(&mut random, (22.8, 108.35), 9_999, (9_000.0, 10_000.0));
    let entries = entries([Area::polygons(&[vec![ring]]).unwrap()], 25.0);
    let index = ZoneIndex::of(entries.clone());
    let places: Vec<Position> = (0..300).map(|_| place(&mut random, &entries, (22.8, 108.35), 10_000.0)).collect();
    let edges = |place: &Position| {
        let (_, near) = index.leaf(*place, |_| {});
        near.iter().map(|near| super::rings::weight(index.parts_of(near))).sum::<usize>()
    };
    assert!(places.iter().all(|place| edges(place) < 500), "{:?}", places.iter().map(edges).max());
    checked(entries, places);
}

#[test]
fn without_zones_the_earth_is_one_tile_and_what_was_settled_is_over() {
    let index = ZoneIndex::default();
    let (mut found, mut beyond) = (vec![ZoneHandle(1)], Vec::new());
    index.holding(at(1.0, 2.0), &mut found);
    assert_eq!(found, []);
    assert_eq!(index.observe(at(1.0, 2.0), &[], &mut beyond), Tile::EARTH);
    index.observe(at(1.0, 2.0), &[ZoneHandle(4)], &mut beyond);
    assert_eq!(beyond, [Beyond { zone: ZoneHandle(4), is_inside: false, is_far: true }]);
}

#[test]
fn a_small_zone_has_a_margin_that_something_is_inside_of() {
    let booth = Area::circle(at(22.8, 108.35), 20.0).unwrap();
    let margin_m = margin_for(&booth, 25.0);
    assert!(margin_m < 5.0 && margin_m > 4.0, "{margin_m}");
    assert!((margin_for(&Area::circle(at(22.8, 108.35), 200.0).unwrap(), 25.0) - 25.0).abs() < 1e-9);
}
