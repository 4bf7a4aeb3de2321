//! The index as a whole: its parts agree after any changes, and readers miss nothing beside a writer.

#[cfg(not(loom))]
mod parts {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use geodesy::{Area, Vantage};
    use model::{Position, Timestamp, UnitHandle};
    use testkit::{Seeded, Shape};

    use crate::slot::tests::fix;
    use crate::{Change, Fix, LiveIndex, Sight, UnitTraits};

    const NOW_MS: i64 = 1_795_000_000_000;

    fn place(unit: u32, position: Position) -> Change {
        let fix = fix(position.lat_e7(), position.lon_e7(), NOW_MS);
        Change::Place { unit: UnitHandle(unit), fix, contact: fix.time, interval_ms: None }
    }

    /// All units of the index, with the place that the search showed.
    fn all(index: &LiveIndex, from: Position) -> BTreeMap<u32, Position> {
        let mut seen = BTreeMap::new();
        let visit = |sight: &Sight| {
            let position = if sight.digest.is_some() { sight.position } else { slot_position(index, sight.unit) };
            assert_eq!(seen.insert(sight.unit.0, position), None, "unit {} is shown once", sight.unit.0);
            Ok::<_, ()>(f64::INFINITY)
        };
        index.near(&Vantage::of(from), f64::INFINITY, |_| false, visit).unwrap();
        seen
    }

    fn slot_position(index: &LiveIndex, unit: UnitHandle) -> Position {
        index.slot(unit).and_then(|slot| slot.fix).expect("a unit that is shown has a place").position
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

        /// Units come, crowd together, scatter, leave: buckets split, merge and are used again, and every part agrees.
        #[test]
        fn all_parts_agree_after_any_changes(seed: u64, units in 1u32..1_500, phases in 1usize..8) {
            let mut random = Seeded::new(seed);
            let (index, mut expected) = (LiveIndex::new(), BTreeMap::new());
            for _ in 0..phases {
                let shape = Shape::ALL[(random.next() % 5) as usize];
                let share = random.unit();
                for unit in 0..units {
                    if random.unit() < share {
                        let position = shape.place(&mut random);
                        index.apply(&[place(unit, position)]);
                        expected.insert(unit, position);
                    } else if random.next().is_multiple_of(8) {
                        index.withdraw(UnitHandle(unit));
                        expected.remove(&unit);
                    }
                }
                proptest::prop_assert_eq!((index.check().0, index.located()), (expected.len(), expected.len()));
                proptest::prop_assert_eq!(all(&index, shape.place(&mut random)), expected.clone());
            }
        }
    }

    #[test]
    fn leaves_become_one_again_when_their_units_leave() {
        let index = LiveIndex::new();
        let mut random = Seeded::new(5);
        let changes: Vec<_> = (0..20_000).map(|unit| place(unit, Shape::City.place(&mut random))).collect();
        index.apply(&changes);
        let crowded = index.check().1;
        let changes: Vec<_> = (0..19_000).map(|unit| place(unit, Shape::Spot.place(&mut random))).collect();
        changes.chunks(500).for_each(|changes| index.apply(changes));
        let (units, leaves) = index.check();
        assert_eq!(units, 20_000);
        assert!(crowded > 400 && leaves < crowded / 3, "{crowded} leaves became {leaves}");
    }

    /// A column drives through the land for long: leaves that it left behind are given up, however the cuts lie.
    #[test]
    fn what_moves_one_way_leaves_no_leaves_behind() {
        let index = LiveIndex::new();
        for minute in 0..4_000 {
            let changes: Vec<_> = (0..100)
                .map(|unit| place(unit, Position::from_e7(200_000_000, minute * 30_000 + unit as i32 * 700).unwrap()))
                .collect();
            index.apply(&changes);
        }
        let (units, leaves) = index.check();
        assert_eq!(units, 100);
        assert!(leaves < 200, "{leaves} leaves");
        assert_eq!(all(&index, Position::from_e7(0, 0).unwrap()).len(), 100);
    }

    #[test]
    fn what_filters_ask_follows_a_unit_that_is_enrolled_again() {
        let index = LiveIndex::new();
        index.apply(&[place(3, Shape::City.place(&mut Seeded::new(1)))]);
        let traits = UnitTraits { kind: model::UnitKind::Drone, covert: true, ..UnitTraits::default() };
        index.enrol(UnitHandle(3), traits);
        let mut digests = Vec::new();
        let visit = |sight: &Sight| {
            digests.extend(sight.digest.map(|digest| (digest.kind(), digest.covert())));
            Ok::<_, ()>(f64::INFINITY)
        };
        index.near(&Vantage::of(Shape::City.place(&mut Seeded::new(2))), f64::INFINITY, |_| false, visit).unwrap();
        assert_eq!(digests, [(model::UnitKind::Drone, true)]);
        assert_eq!(index.slot(UnitHandle(3)).unwrap().traits, traits);
    }

    /// A search that is so slow that the notes of moves went round looks at all units, and shows them all, also those that are
    /// too far: its caller looks at the clock for each.
    #[test]
    fn a_search_that_lost_the_notes_shows_everyone_once() {
        const UNITS: u32 = 500;
        let (index, mut random) = (LiveIndex::new(), Seeded::new(4));
        let crowd: Vec<_> = (0..UNITS).map(|unit| place(unit, Shape::City.place(&mut random))).collect();
        index.apply(&crowd);
        let mut shown = vec![0u8; UNITS as usize];
        let visit = |sight: &Sight| {
            if shown.iter().all(|times| *times == 0) {
                // On two sides of the city: no leaf has both.
                let ends =
                    [(0, 0), (500_000_000, 1_500_000_000)].map(|(lat, lon)| Position::from_e7(lat, lon).unwrap());
                let there_and_back = ends.map(|end| place(0, end));
                (0..crate::moves::NOTES).for_each(|_| index.apply(&there_and_back));
            }
            shown[sight.unit.0 as usize] += 1;
            Ok::<_, ()>(0.0)
        };
        index.near(&Vantage::of(Shape::City.place(&mut random)), f64::INFINITY, |_| false, visit).unwrap();
        assert!(shown.iter().all(|times| *times == 1), "{shown:?}");
    }

    /// They stay in the region of their leaf, so nothing enters it: its chain is cut all the same.
    #[test]
    fn units_that_leave_one_spot_get_leaves_of_their_own() {
        let (index, mut random) = (LiveIndex::new(), Seeded::new(3));
        let crowd: Vec<_> = (0..5_000).map(|unit| place(unit, Position::from_e7(1, 1).unwrap())).collect();
        index.apply(&crowd);
        assert_eq!(index.check(), (5_000, 1));
        let mut expected = BTreeMap::new();
        for unit in 0..5_000 {
            let position = Shape::City.place(&mut random);
            index.apply(&[place(unit, position)]);
            expected.insert(unit, position);
        }
        let (units, leaves) = index.check();
        assert!(units == 5_000 && leaves > 60, "{leaves} leaves");
        assert_eq!(all(&index, Position::from_e7(0, 0).unwrap()), expected);
    }

    /// Digests are stored only where they change: the report that keeps a unit fresh is one of those.
    #[test]
    fn a_digest_stays_fresh_as_long_as_reports_come() {
        let index = LiveIndex::new();
        let spot = Shape::Spot.place(&mut Seeded::new(1));
        for second in 0..60 {
            let time = Timestamp::from_unix_ms(NOW_MS + second * 1_000).unwrap();
            let fix = Fix { time, received: time, ..fix(spot.lat_e7(), spot.lon_e7(), NOW_MS) };
            index.apply(&[Change::Place { unit: UnitHandle(0), fix, contact: time, interval_ms: Some(1_000) }]);
            let mut is_fresh = Vec::new();
            let visit = |sight: &Sight| {
                is_fresh.extend(sight.digest.map(|digest| digest.is_surely_fresh(time.shifted_ms(5_000))));
                Ok::<_, ()>(f64::INFINITY)
            };
            index.near(&Vantage::of(spot), f64::INFINITY, |_| false, visit).unwrap();
            assert_eq!(is_fresh, [true], "second {second}");
        }
    }

    /// A writer lets units swap between two spots, scatters and gathers others. Whatever a reader asks meanwhile, every unit is
    /// shown once, where it was at some moment of the question.
    #[test]
    fn readers_miss_nothing_beside_a_writer() {
        const UNITS: u32 = 3_000;
        let index = LiveIndex::new();
        let spot = |unit: u32, turn: u64| {
            // Each unit has two homes, far enough from each other for two buckets.
            let mut random = Seeded::new(u64::from(unit) * 2 + turn % 2);
            Shape::City.place(&mut random)
        };
        let first: Vec<_> = (0..UNITS).map(|unit| place(unit, spot(unit, 0))).collect();
        index.apply(&first);
        let (asked, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Seeded::new(9);
                let mut turns = vec![0u64; UNITS as usize];
                // Until the reader has asked often enough, so that a slow machine proves as much as a fast one.
                while asked.load(Ordering::Relaxed) < 400 {
                    let mut changes = Vec::new();
                    for _ in 0..random.next() % 200 {
                        let unit = (random.next() % u64::from(UNITS)) as u32;
                        turns[unit as usize] += 1;
                        changes.push(place(unit, spot(unit, turns[unit as usize])));
                    }
                    index.apply(&changes);
                }
                is_done.store(true, Ordering::Relaxed);
            });
            let circle = Area::circle(Shape::Spot.place(&mut Seeded::new(1)), 200_000.0).unwrap();
            let mut random = Seeded::new(8);
            while !is_done.load(Ordering::Relaxed) {
                let seen = all(&index, Shape::City.place(&mut random));
                assert_eq!(seen.len(), UNITS as usize);
                assert!(seen.iter().all(|(unit, at)| *at == spot(*unit, 0) || *at == spot(*unit, 1)));
                let mut inside = vec![0u8; UNITS as usize];
                let visit = |unit: UnitHandle, _: Option<Position>, _| {
                    inside[unit.0 as usize] += 1;
                    Ok::<_, ()>(())
                };
                index.inside(&circle.tiles(), |tile| Ok(circle.overlap(tile)), visit).unwrap();
                assert!(inside.iter().all(|times| *times == 1));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        index.check();
    }

    #[test]
    fn a_contact_is_never_set_back() {
        let index = LiveIndex::new();
        let at = |ms| Timestamp::from_unix_ms(NOW_MS + ms).unwrap();
        index.apply(&[Change::Touch { unit: UnitHandle(0), contact: at(50) }]);
        index.apply(&[Change::Touch { unit: UnitHandle(0), contact: at(20) }]);
        index.apply(&[place(0, Shape::City.place(&mut Seeded::new(1)))]);
        let slot = index.slot(UnitHandle(0)).unwrap();
        assert_eq!((slot.contact_time, slot.fix.is_some(), index.located()), (Some(at(50)), true, 1));
    }
}

/// Run with `cargo xtask loom`: every interleaving, and every order of stores that the memory model allows.
#[cfg(loom)]
mod model_of_the_move {
    use ::model::{Position, UnitHandle};
    use geodesy::Tile;
    use loom::sync::Arc;

    use crate::bucket::{Bucket, NONE, Places, Row};
    use crate::digest::{Digest, FreshUntil};
    use crate::moves::{Moves, TooMany};
    use crate::slot::tests::fix;
    use crate::{UnitTraits, units::Units};

    struct World {
        moves: Moves,
        buckets: [Bucket; 2],
    }

    fn row(unit: u32, lat_e7: i32) -> Row {
        let fix = fix(lat_e7, 0, 1_795_000_000_000);
        Row {
            position: Position::from_e7(lat_e7, 0).unwrap(),
            digest: Digest::new(UnitHandle(unit), &UnitTraits::default())
                .fresh_until(FreshUntil::of(fix.time, fix.time, None)),
        }
    }

    fn world() -> Arc<World> {
        let world = World { moves: Moves::default(), buckets: [Bucket::default(), Bucket::default()] };
        for bucket in &world.buckets {
            bucket.begin(Tile::EARTH, NONE);
        }
        world.buckets[0].push(row(1, 10));
        world.buckets[0].push(row(2, 20));
        Arc::new(world)
    }

    /// Unit 1 goes from the first bucket to the second; unit 2, the last of the first, comes to its row. Rows that were never
    /// stored name unit 0, which is not there.
    fn move_unit(world: &World) {
        world.moves.begin(1);
        world.moves.begin(2);
        let last = world.buckets[0].row(1);
        world.buckets[0].set(0, last);
        world.buckets[0].pop();
        world.buckets[1].push(row(1, 30));
        world.moves.settle();
    }

    /// How often a search that looks at the buckets in this order shows each of the two units.
    fn search(world: &World, order: [usize; 2]) -> [u32; 3] {
        let (mut mark, mut moved, mut shown) = (world.moves.mark(), Units::default(), Units::default());
        let mut times = [0, 0, 0];
        let mut has_too_many = false;
        for bucket in order {
            let mut places = Places::default();
            world.buckets[bucket].copy_to(&mut places);
            let units: Vec<_> = (0..places.len).map(|at| world.buckets[bucket].digest(at).unit().0).collect();
            has_too_many |= world.moves.follow(&mut mark, &mut moved) == Err(TooMany);
            for unit in units {
                if (has_too_many || moved.has(unit)) && shown.has(unit) {
                    continue;
                }
                shown.add(unit);
                times[unit as usize] += 1;
            }
        }
        has_too_many |= world.moves.follow(&mut mark, &mut moved) == Err(TooMany);
        for unit in 1..3 {
            if (has_too_many || moved.has(unit)) && !shown.has(unit) {
                shown.add(unit);
                times[unit as usize] += 1;
            }
        }
        times
    }

    #[test]
    fn a_unit_that_moves_is_shown_once() {
        for order in [[0, 1], [1, 0]] {
            loom::model(move || {
                let world = world();
                let writing = {
                    let world = Arc::clone(&world);
                    loom::thread::spawn(move || move_unit(&world))
                };
                assert_eq!(search(&world, order), [0, 1, 1], "each unit once");
                writing.join().unwrap();
                assert_eq!(search(&world, order), [0, 1, 1]);
            });
        }
    }

    /// A slot is seen whole.
    #[test]
    fn words_of_a_cell_are_of_one_moment() {
        loom::model(|| {
            let cell = Arc::new(crate::cell::Cell::<2>::new(0));
            let writing = {
                let cell = Arc::clone(&cell);
                loom::thread::spawn(move || cell.write([1, 1]))
            };
            let [first, second] = cell.read();
            assert_eq!(first, second);
            writing.join().unwrap();
        });
    }
}
