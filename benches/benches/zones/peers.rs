//! What else finds the zones that hold a place: boxes in an R-tree, H3 cells, and a look at every zone.

use std::collections::HashMap;
use std::sync::Arc;

use geodesy::{Area, Overlap, Tile};
use h3o::{CellIndex, LatLng, Resolution};
use index::ZoneEntry;
use model::{Position, ZoneHandle};
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

/// Cells of some 0.7 km²: with smaller ones 100,000 zones take gigabytes.
const CELLS: Resolution = Resolution::Eight;
/// Places that are tried for cells lie so far apart, in 1e-7 degrees: 200 m, less than half of a cell.
const STEP_E7: usize = 20_000;

/// A way to find zones.
pub(crate) trait Finder {
    /// The zones that hold a place, in any order.
    fn holding(&self, place: Position, found: &mut Vec<ZoneHandle>);
}

/// A box around each zone; what a box holds is asked.
pub(crate) struct Boxes(RTree<Boxed>);

type Boxed = GeomWithData<Rectangle<[f64; 2]>, (ZoneHandle, Arc<Area>)>;

impl Boxes {
    pub(crate) fn of(entries: &[ZoneEntry]) -> Self {
        let boxes = entries.iter().flat_map(|entry| {
            let tiles = entry.area.tiles().into_iter();
            tiles.map(|tile| {
                let corner = |lon: i32, lat: i32| [f64::from(lon), f64::from(lat)];
                let around = Rectangle::from_corners(corner(tile.west, tile.south), corner(tile.east, tile.north));
                GeomWithData::new(around, (entry.zone, entry.area.clone()))
            })
        });
        Self(RTree::bulk_load(boxes.collect()))
    }
}

impl Finder for Boxes {
    fn holding(&self, place: Position, found: &mut Vec<ZoneHandle>) {
        found.clear();
        let at = AABB::from_point([f64::from(place.lon_e7()), f64::from(place.lat_e7())]);
        for one in self.0.locate_in_envelope_intersecting(at) {
            if one.data.1.contains(place) {
                found.push(one.data.0);
            }
        }
    }
}

/// The cells of each zone: those it holds, and those that are asked.
pub(crate) struct Cells {
    zones: HashMap<CellIndex, Vec<(u32, bool)>>,
    entries: Vec<ZoneEntry>,
}

impl Cells {
    pub(crate) fn of(entries: &[ZoneEntry]) -> Self {
        let mut zones: HashMap<CellIndex, Vec<(u32, bool)>> = HashMap::new();
        for (at, entry) in (0..).zip(entries) {
            for (cell, is_held) in cover(&entry.area) {
                zones.entry(cell).or_default().push((at, is_held));
            }
        }
        Self { zones, entries: entries.to_vec() }
    }

    /// How often a zone stands at a cell.
    pub(crate) fn notes(&self) -> usize {
        self.zones.values().map(Vec::len).sum()
    }
}

fn cell_of(lat_deg: f64, lon_deg: f64) -> CellIndex {
    LatLng::new(lat_deg, lon_deg).expect("a place is on earth").to_cell(CELLS)
}

/// The cells that may have a place of the area, and whether it holds all of the cell.
fn cover(area: &Area) -> HashMap<CellIndex, bool> {
    let mut cells = HashMap::new();
    for tile in area.tiles() {
        for lat in (tile.south..=tile.north).step_by(STEP_E7).chain([tile.north]) {
            for lon in (tile.west..=tile.east).step_by(STEP_E7).chain([tile.east]) {
                for cell in cell_of(f64::from(lat) / 1e7, f64::from(lon) / 1e7).grid_disk::<Vec<_>>(1) {
                    if cells.contains_key(&cell) {
                        continue;
                    }
                    match area.overlap(&around(cell)) {
                        Overlap::None => {}
                        overlap => {
                            cells.insert(cell, overlap == Overlap::All);
                        }
                    }
                }
            }
        }
    }
    cells
}

fn around(cell: CellIndex) -> Tile {
    let corners = cell.boundary();
    let tile = corners
        .iter()
        .map(|corner| Tile::of(Position::from_degrees(corner.lat(), corner.lng()).expect("a corner is on earth")));
    tile.reduce(Tile::joined).expect("a cell has corners").grown_within(1_000, Tile::EARTH)
}

impl Finder for Cells {
    fn holding(&self, place: Position, found: &mut Vec<ZoneHandle>) {
        found.clear();
        let Some(zones) = self.zones.get(&cell_of(place.lat_deg(), place.lon_deg())) else { return };
        for (at, is_held) in zones {
            let entry = &self.entries[*at as usize];
            if *is_held || entry.area.contains(place) {
                found.push(entry.zone);
            }
        }
    }
}

/// Every zone is asked about every place.
pub(crate) struct Scan(pub(crate) Vec<ZoneEntry>);

impl Finder for Scan {
    fn holding(&self, place: Position, found: &mut Vec<ZoneHandle>) {
        found.clear();
        found.extend(self.0.iter().filter(|entry| entry.area.contains(place)).map(|entry| entry.zone));
    }
}
