//! Sets of H3 cells as polygons: borders between two cells of a set vanish.

use std::collections::{BTreeSet, HashMap};

use h3o::{CellIndex, LatLng};
use model::{Position, limits};

use crate::ZoneError;
use crate::area::{Vertex, short_way};

/// A corner of cells, by its number.
type Node = usize;

/// Outlines and holes of what `cells` cover together. Cells of several resolutions are brought to the finest of them first, as a
/// cell and those below it do not have quite the same border.
pub(crate) fn polygons(cells: &[u64]) -> Result<Vec<Vec<Vec<Vertex>>>, ZoneError> {
    let cells = fine(cells)?;
    let mut corners = Corners::default();
    let mut next: HashMap<Node, Node> = HashMap::new();
    for cell in &cells {
        for edge in cell.edges().filter(|edge| !cells.contains(&edge.destination())) {
            let way: Vec<Node> = edge.boundary().iter().filter_map(|corner| corners.number(corner)).collect();
            next.extend(way.windows(2).filter(|two| two[0] != two[1]).map(|two| (two[0], two[1])));
        }
    }
    Ok(nested(rings(next, &corners)))
}

fn fine(cells: &[u64]) -> Result<BTreeSet<CellIndex>, ZoneError> {
    let given = cells.iter().map(|cell| CellIndex::try_from(*cell).map_err(|_| ZoneError::Cell { cell: *cell }));
    let given = given.collect::<Result<BTreeSet<_>, _>>()?;
    let finest = given.iter().map(|cell| cell.resolution()).max().ok_or(ZoneError::NoCells)?;
    let count = given.iter().fold(0_u64, |all, cell| all.saturating_add(cell.children_count(finest)));
    if count > limits::ZONE_FINE_CELLS_MAX {
        return Err(ZoneError::TooManyCells { cells: count });
    }
    Ok(given.into_iter().flat_map(|cell| cell.children(finest)).collect())
}

/// Corners by their place. Two cells say the same corner with an error far below 1e-7 degrees, which may yet round it to
/// neighbouring numbers; corners are farther apart than that by a factor of fifty, even of the smallest cells.
#[derive(Default)]
struct Corners {
    places: Vec<Position>,
    numbers: HashMap<(i32, i32), Node>,
}

impl Corners {
    fn number(&mut self, corner: &LatLng) -> Option<Node> {
        let place = Position::from_degrees(corner.lat(), corner.lng())?;
        let (lat, lon) = (place.lat_e7(), place.lon_e7());
        let near =
            (-1..=1).flat_map(|north| (-1..=1).map(move |east| (lat.saturating_add(north), lon.saturating_add(east))));
        if let Some(number) = near.filter_map(|key| self.numbers.get(&key)).next() {
            return Some(*number);
        }
        let number = self.places.len();
        self.places.push(place);
        self.numbers.insert((lat, lon), number);
        Some(number)
    }
}

/// A closed ring, and its corners with longitudes in one turn.
struct Closed {
    ring: Vec<Vertex>,
    flat: Vec<(i64, i64)>,
    doubled: i128,
}

/// The rings that the edges make. Three cells meet at a corner, so that one edge at most leads away from it.
fn rings(mut next: HashMap<Node, Node>, corners: &Corners) -> Vec<Closed> {
    let mut starts: Vec<Node> = next.keys().copied().collect();
    starts.sort_unstable();
    let mut rings = Vec::new();
    for start in starts {
        let mut way = Vec::new();
        let mut at = start;
        while let Some(to) = next.remove(&at) {
            way.push(corners.places[at]);
            at = to;
        }
        if at == start && way.len() > 2 {
            way.push(way[0]);
            rings.push(Closed::of(&way));
        }
    }
    rings
}

impl Closed {
    fn of(way: &[Position]) -> Self {
        let mut flat: Vec<(i64, i64)> = Vec::with_capacity(way.len());
        let mut before = 0;
        for place in way {
            let (lon, lat) = (i64::from(place.lon_e7()), i64::from(place.lat_e7()));
            let turned = flat.last().map_or(lon, |last| last.0 + short_way(lon - before));
            flat.push((turned, lat));
            before = lon;
        }
        let cross = |edge: &[(i64, i64)]| {
            i128::from(edge[0].0) * i128::from(edge[1].1) - i128::from(edge[1].0) * i128::from(edge[0].1)
        };
        let doubled = flat.windows(2).map(cross).sum();
        Self { ring: way.iter().map(|place| Vertex::from(*place)).collect(), flat, doubled }
    }

    /// Whether `corner` lies in it; rings of cells have no corner in common.
    fn holds(&self, corner: (i64, i64)) -> bool {
        const TURN_E7: i64 = 3_600_000_000;
        [-TURN_E7, 0, TURN_E7].into_iter().any(|turn| {
            let (lon, lat) = (corner.0 + turn, corner.1);
            let crossed = self.flat.windows(2).filter(|edge| {
                let (from, to) = (edge[0], edge[1]);
                let side = i128::from(to.0 - from.0) * i128::from(lat - from.1)
                    - i128::from(to.1 - from.1) * i128::from(lon - from.0);
                (from.1 <= lat && to.1 > lat && side > 0) || (to.1 <= lat && from.1 > lat && side < 0)
            });
            crossed.count() % 2 == 1
        })
    }
}

/// Outlines go round against the clock, holes with it; a hole belongs to the smallest outline round it.
fn nested(rings: Vec<Closed>) -> Vec<Vec<Vec<Vertex>>> {
    let (mut outlines, holes): (Vec<_>, Vec<_>) = rings.into_iter().partition(|ring| ring.doubled >= 0);
    outlines.sort_by_key(|outline| outline.doubled);
    let mut polygons: Vec<Vec<Vec<Vertex>>> = outlines.iter().map(|outline| vec![outline.ring.clone()]).collect();
    for hole in holes {
        let round = outlines.iter().position(|outline| hole.flat.first().is_some_and(|corner| outline.holds(*corner)));
        // Round a pole nothing is round it: the rings are refused as such.
        match round.and_then(|at| polygons.get_mut(at)) {
            Some(polygon) => polygon.push(hole.ring),
            None => polygons.push(vec![hole.ring]),
        }
    }
    polygons
}
