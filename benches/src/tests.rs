//! Each peer answers as a plain scan does; else its speed would say nothing.

use model::Position;
use testkit::Seeded;

use crate::{Disc, Fleet, Grid, Narrow, Outline, Packed, Plane, PointTree, Scan, Spread, Wide};

const UNITS: usize = 2_000;

/// A moving fleet with its scan, some hundred units of it on one spot.
fn fleet(spread: Spread) -> Fleet {
    let mut fleet = Fleet::new(42, UNITS, spread);
    let spot = fleet.places[7];
    fleet.places.iter_mut().skip(100).step_by(17).for_each(|place| *place = spot);
    fleet
}

/// Places near units, far outside the city, and on the spot where many stand.
fn asks(fleet: &Fleet) -> Vec<Position> {
    let mut random = Seeded::new(5);
    let mut asks: Vec<_> = (0..60).map(|_| fleet.ask(&mut random)).collect();
    asks.extend([(22.0, 108.0), (23.6, 109.0), (22.8, 107.5)].map(|at| Position::from_degrees(at.0, at.1).unwrap()));
    asks.push(fleet.places[7]);
    asks
}

#[test]
fn peers_find_the_nearest_that_a_scan_finds_while_units_move() {
    for spread in Spread::ALL {
        let (plane, mut fleet) = (Plane::around(Fleet::middle()), fleet(spread));
        let mut grid = Grid::new(plane, &fleet.places);
        let mut wide = PointTree::<f32, Wide>::new(plane, &fleet.places);
        let mut narrow = PointTree::<f64, Narrow>::new(plane, &fleet.places);
        for _ in 0..20 {
            for (unit, place) in fleet.reports(UNITS) {
                grid.update(unit, place);
                wide.update(unit, place);
                narrow.update(unit, place);
            }
            let (scan, packed) = (Scan::new(plane, &fleet.places), Packed::new(plane, &fleet.places));
            for at in asks(&fleet) {
                for keep in [|_| true, |unit: u32| unit.is_multiple_of(20)] {
                    assert!(scan.agrees(at, &grid.nearest_where(at, keep), keep), "grid at {at:?}");
                    assert!(scan.agrees(at, &wide.nearest_where(at, keep), keep), "f32 tree at {at:?}");
                    assert!(scan.agrees(at, &packed.nearest_where(at, keep), keep), "packed tree at {at:?}");
                }
                let metres = |found: Vec<(u32, f64)>| found.into_iter().map(|one| one.1.sqrt()).collect::<Vec<_>>();
                let by_iterator = metres(narrow.nearest_by_iterator(at).found().collect());
                assert_eq!(metres(narrow.nearest(at).found().collect()), by_iterator, "f64 tree at {at:?}");
                let right = scan.nearest(at, |_| true);
                let differs = |(one, other): (&f64, (u32, f32))| (one - f64::from(other.1).sqrt()).abs() > 0.05;
                assert!(!by_iterator.iter().zip(right.found()).any(differs), "f64 tree at {at:?}");
            }
        }
    }
}

#[test]
fn peers_find_inside_an_area_what_a_scan_finds() {
    for spread in Spread::ALL {
        let (plane, mut fleet) = (Plane::around(Fleet::middle()), fleet(spread));
        let mut grid = Grid::new(plane, &fleet.places);
        let mut tree = PointTree::<f32, Wide>::new(plane, &fleet.places);
        for (unit, place) in fleet.reports(10 * UNITS) {
            grid.update(unit, place);
            tree.update(unit, place);
        }
        let (scan, mut random) = (Scan::new(plane, &fleet.places), Seeded::new(6));
        let mut sum = 0;
        for at in asks(&fleet) {
            let disc = Disc::new(&plane, at, 1_000.0);
            let outline = Outline::new(&plane, &fleet.outline(&mut random));
            let [mut in_disc, mut in_outline, mut by_tree] = [vec![], vec![], vec![]];
            grid.inside(&disc, &mut in_disc);
            grid.inside(&outline, &mut in_outline);
            tree.inside(&outline, &mut by_tree);
            assert_eq!(in_disc.len(), scan.count(&disc), "grid, disc at {at:?}");
            assert_eq!(in_outline.len(), scan.count(&outline), "grid, outline near {at:?}");
            in_outline.sort_unstable();
            by_tree.sort_unstable();
            assert_eq!(in_outline, by_tree, "outline near {at:?}");
            by_tree.clear();
            tree.inside(&disc, &mut by_tree);
            assert_eq!(by_tree.len(), in_disc.len(), "tree, disc at {at:?}");
            sum += in_disc.len() + in_outline.len();
        }
        assert!(sum > 1_000, "the areas hold something");
    }
}

#[test]
fn what_is_known_by_calculation_is_near_what_the_columns_need() {
    let (plane, fleet) = (Plane::around(Fleet::middle()), fleet(Spread::Clustered));
    // Three columns of four bytes, and less than as much again for boxes.
    let packed = Packed::new(plane, &fleet.places).bytes();
    assert!((UNITS * 12..UNITS * 24).contains(&packed), "{packed}");
    assert!(Grid::new(plane, &fleet.places).bytes() > UNITS * 20);
}
