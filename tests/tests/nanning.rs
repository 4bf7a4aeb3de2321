//! The fixture of the city: what is committed is what the city says, and its grounds part the city among the stations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use geodesy::{Area, Vertex};
use model::{Organisation, Position, Rings, Shape, UnitKind, Zone};
use muster_tests::nanning;
use proptest::prelude::*;
use store::Store;
use store::exchange::{parse_organisations_json, parse_units_csv, parse_zones_json};

/// All files together may have no more bytes.
const BYTES_MAX: usize = 1 << 20;

fn committed(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/nanning")).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn organisations() -> Vec<Organisation> {
    parse_organisations_json(&committed("organisations.json")).unwrap()
}

fn area(territory: &[Rings]) -> Area {
    let ring = |ring: &Vec<Position>| ring.iter().map(|place| Vertex::from(*place)).collect();
    let polygons: Vec<Vec<Vec<Vertex>>> = territory.iter().map(|rings| rings.iter().map(ring).collect()).collect();
    Area::polygons(&polygons).unwrap()
}

#[test]
fn what_is_committed_is_what_the_city_says() {
    let files = nanning::files(&nanning::forces());
    for (name, content) in &files {
        assert!(committed(name) == *content, "fixtures/nanning/{name} differs: `cargo xtask nanning` writes it anew");
    }
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

#[test]
fn the_tree_is_a_bureau_nine_districts_with_seven_stations_each_and_two_forces() {
    let all = organisations();
    let below = |parent: Option<&str>| {
        all.iter().filter(move |one| one.parent.as_ref().map(|name| name.as_str()) == parent).collect::<Vec<_>>()
    };
    assert_eq!(below(None).len(), 1);
    assert_eq!((below(Some("bureau")).len(), all.len()), (9 + 2, 1 + 2 + 9 + 63));
    for district in 1..=9 {
        assert_eq!(below(Some(&format!("district-{district}"))).len(), 7, "district {district}");
    }
    let labels: BTreeSet<_> = all.iter().map(|one| &one.label).collect();
    assert_eq!(labels.len(), all.len(), "no label twice");
    let is_in_both_languages =
        |label: &str| label.contains(|c: char| c.is_ascii()) && label.contains(|c: char| c > '\u{4DFF}');
    assert!(labels.iter().all(|label| is_in_both_languages(label)), "{labels:?}");
}

/// Each border between two stations is said by both with the same corners, so there is neither gap nor overlap between them,
/// however thin. What remains is the border of the city, which the bureau says too.
#[test]
fn each_border_has_one_station_on_either_side() {
    let all = organisations();
    let edges = |is_wanted: &dyn Fn(&str) -> bool| {
        let wanted = all.iter().filter(|one| is_wanted(one.name.as_str()));
        let rings = wanted.flat_map(|one| one.territory.iter().flatten());
        let mut edges: HashMap<(Position, Position), u32> = HashMap::new();
        rings.flat_map(|ring| ring.windows(2)).for_each(|edge| *edges.entry((edge[0], edge[1])).or_default() += 1);
        assert!(edges.values().all(|times| *times == 1), "an edge is there twice in one direction");
        let outer: BTreeSet<_> = edges.keys().filter(|(a, b)| !edges.contains_key(&(*b, *a))).copied().collect();
        (edges.len(), outer)
    };
    let (of_stations, city) = edges(&|name| name.starts_with("station-"));
    assert!(of_stations > 63 * 3, "{of_stations}");
    for is_wanted in [(&|name: &str| name.starts_with("district-")) as &dyn Fn(&str) -> bool, &|name| name == "bureau"]
    {
        assert_eq!(edges(is_wanted).1, city);
    }
    for district in 1..=9 {
        let parent = format!("district-{district}");
        let below: BTreeSet<&str> = all
            .iter()
            .filter(|one| one.parent.as_ref().is_some_and(|name| name.as_str() == parent))
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(edges(&|name| below.contains(name)).1, edges(&|name| name == parent).1, "{parent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Looked at as the server does: each place of the city is on the ground of one station, of the district above it, and of no
    /// other. Places on a border, where two stations meet, are not drawn: a border has no width.
    #[test]
    fn each_place_of_the_city_is_in_one_station_and_in_its_district(
        places in prop::collection::vec((226_000_000..230_000_000i32, 1_081_300_000..1_086_000_000i32), 200)
    ) {
        let all = organisations();
        let areas: BTreeMap<&str, Area> = all.iter()
            .filter(|one| !one.territory.is_empty())
            .map(|one| (one.name.as_str(), area(&one.territory)))
            .collect();
        let parents: BTreeMap<&str, &str> =
            all.iter().filter_map(|one| Some((one.name.as_str(), one.parent.as_ref()?.as_str()))).collect();
        for (lat_e7, lon_e7) in places {
            let place = Position::from_e7(lat_e7, lon_e7).unwrap();
            let holders = |prefix: &str| {
                let ours = areas.iter().filter(|(name, area)| name.starts_with(prefix) && area.contains(place));
                ours.map(|(name, _)| *name).collect::<Vec<_>>()
            };
            let (stations, districts) = (holders("station-"), holders("district-"));
            if areas["bureau"].contains(place) {
                prop_assert_eq!((stations.len(), districts.len()), (1, 1), "{}: {:?} {:?}", place, stations, districts);
                prop_assert_eq!(parents[stations[0]], districts[0]);
            } else {
                prop_assert!(stations.is_empty() && districts.is_empty(), "{}: {:?} {:?}", place, stations, districts);
            }
        }
    }
}

fn zones() -> Vec<Zone> {
    let rows = parse_zones_json(&committed("zones.geojson"), None, &server::Earth).unwrap();
    rows.into_iter().map(|row| row.zone).collect()
}

#[test]
fn zones_are_those_of_the_report_and_those_of_a_layer_share_their_borders() {
    let all = zones();
    assert_eq!([1, 2, 3, 4].map(|layer| all.iter().filter(|zone| zone.layer == layer).count()), [11, 31, 148, 64]);
    let offices: BTreeSet<_> = organisations().into_iter().map(|one| one.name).collect();
    assert!(all.iter().all(|zone| zone.organisation.as_ref().is_some_and(|office| offices.contains(office))));
    assert!(all.iter().all(|zone| !zone.minimum.is_empty() && zone.utc_offset_min == 480));
    for layer in [1, 2, 3] {
        let mut edges: HashMap<(Position, Position), u32> = HashMap::new();
        for zone in all.iter().filter(|zone| zone.layer == layer) {
            let Shape::Polygons(polygons) = &zone.shape else { panic!("{}: no polygons", zone.name) };
            let rings = polygons.iter().flatten();
            rings.flat_map(|ring| ring.windows(2)).for_each(|edge| *edges.entry((edge[0], edge[1])).or_default() += 1);
        }
        assert!(edges.values().all(|times| *times == 1), "layer {layer}: an edge is there twice in one direction");
        // Whatever has nobody on its other side is the border of the city, a ring: so there is neither gap nor overlap.
        let outer: Vec<_> = edges.keys().filter(|(from, to)| !edges.contains_key(&(*to, *from))).collect();
        let begins: BTreeSet<_> = outer.iter().map(|edge| edge.0).collect();
        assert_eq!(begins, outer.iter().map(|edge| edge.1).collect(), "layer {layer}");
        assert_eq!(begins.len(), outer.len(), "layer {layer}");
    }
}

#[test]
fn units_are_those_that_the_city_sends() {
    let forces = nanning::forces();
    let rows = parse_units_csv(&committed("units.csv")).unwrap();
    let rows: HashMap<_, _> = rows.into_iter().map(|row| (row.name.clone(), row)).collect();
    let count = |kind: UnitKind| rows.values().filter(|row| row.kind == kind).count();
    let kinds = [UnitKind::Car, UnitKind::ArmedCar, UnitKind::Motorcycle, UnitKind::Helicopter, UnitKind::Drone];
    assert_eq!(kinds.map(count), [759, 82, 800, 2, 20]);
    assert_eq!([UnitKind::Post, UnitKind::Foot].map(count), [96, 1_800 + 82 * 4 + 2 * 2]);
    for (unit, devices) in forces.roster().filter(|(unit, _)| unit.kind != UnitKind::Community) {
        let row = &rows[&unit.name];
        let names: Vec<_> = row.devices.iter().map(|(device, _)| device.clone()).collect();
        assert_eq!((row.kind, &row.organisation, &names), (unit.kind, &unit.organisation, &devices), "{}", unit.name);
        assert_eq!(row.capabilities, unit.capabilities, "{}", unit.name);
        assert!(!row.call_sign.is_empty(), "{}", unit.name);
    }
}

/// Where a unit starts decides which station it belongs to.
#[test]
fn officers_and_cars_start_on_the_ground_of_their_station() {
    let forces = nanning::forces();
    let areas: HashMap<_, _> = organisations()
        .into_iter()
        .filter(|one| !one.territory.is_empty())
        .map(|one| (one.name, area(&one.territory)))
        .collect();
    let mut looked_at = BTreeSet::new();
    for unit in 0..forces.units() {
        let office = forces.unit(unit).organisation.unwrap();
        if office.as_str().starts_with("station-") && (unit < 2_559 || unit % 50 == 0) {
            assert!(areas[&office].contains(forces.home(unit)), "{} of {office}", forces.unit(unit).name);
            looked_at.insert(office);
        }
    }
    assert_eq!(looked_at.len(), 63);
}

#[test]
fn the_store_takes_the_fixture() {
    let store = Store::in_memory().unwrap();
    let now = model::Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap();
    let by = store::By { principal: &model::Principal::local(), now, reason: None };
    let all = organisations();
    assert_eq!(store.import_organisations(&by, &all).unwrap().changed, 75);
    let zones = parse_zones_json(&committed("zones.geojson"), None, &server::Earth).unwrap();
    assert_eq!(store.import_zones(&by, &zones).unwrap().changed, 254);
    let rows = parse_units_csv(&committed("units.csv")).unwrap();
    assert_eq!(store.import_units(&by, &rows).unwrap().changed, 3_463 + 96 + 332);
    let crewed: Vec<_> = nanning::forces().records().filter(|record| !record.crew.is_empty()).collect();
    assert_eq!(crewed.len(), 84);
    for record in crewed {
        store.put_unit(&by, &record, store::IfMatch::Always).unwrap();
    }
}
