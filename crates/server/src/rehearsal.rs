//! Gaps and overlaps between zones of a layer, found by looking at the places of a grid.

use std::collections::HashMap;

use geodesy::{Area, distance_m};
use model::{Position, ZoneHandle};

/// Places that are looked at, on all layers of a draft together.
const PLACES_MAX: usize = 256 * 256;
/// Gaps and overlaps that are told of a layer: the largest.
const TOLD_MAX: usize = 100;
/// A place that is no farther inside lies on a border that two zones share, metres.
const BORDER_M: f64 = 0.5;
const TURN_E7: i64 = 3_600_000_000;

/// What is looked at.
pub(crate) struct Survey<'a> {
    /// Grounds of all zones of the layer, before and after.
    pub(crate) grounds: &'a [&'a Area],
    /// How many layers share the places.
    pub(crate) layers: usize,
    /// Whether a zone of the layer holds the place now.
    pub(crate) before: &'a dyn Fn(Position) -> bool,
    /// Which ones would.
    pub(crate) after: &'a dyn Fn(Position, &mut Vec<ZoneHandle>),
    /// The ground of one of these.
    pub(crate) area: &'a dyn Fn(ZoneHandle) -> Option<&'a Area>,
    /// Whether there is no time left.
    pub(crate) is_late: &'a dyn Fn() -> bool,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(crate) resolution_m: f64,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) overlaps: Vec<Overlapping>,
}

/// Ground that no zone would have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gap {
    pub(crate) area_m2: f64,
    pub(crate) place: Position,
}

/// Ground of two zones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overlapping {
    pub(crate) zones: (ZoneHandle, ZoneHandle),
    pub(crate) area_m2: f64,
    pub(crate) place: Position,
}

/// Places in rows and columns over some ground.
struct Grid {
    south: i64,
    west: i64,
    step: (i64, i64),
    rows: usize,
    columns: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    Held,
    /// Nobody's, and that of a zone now.
    Lost,
    /// Nobody's.
    Free,
    /// Nobody's, and round the zones.
    Outside,
}

/// Looks at a layer; `None` when time runs out.
pub(crate) fn survey(survey: &Survey<'_>) -> Option<Surveyed> {
    let Some(grid) = Grid::over(survey.grounds, PLACES_MAX / survey.layers.max(1)) else {
        return Some(Surveyed { resolution_m: 0.0, gaps: Vec::new(), overlaps: Vec::new() });
    };
    let mut ground = Vec::with_capacity(grid.rows * grid.columns);
    let mut overlaps: HashMap<(ZoneHandle, ZoneHandle), Overlapping> = HashMap::new();
    let mut held = Vec::new();
    for row in 0..grid.rows {
        if (survey.is_late)() {
            return None;
        }
        for column in 0..grid.columns {
            let place = grid.place(row, column)?;
            (survey.after)(place, &mut held);
            ground.push(match held.is_empty() {
                false => Ground::Held,
                true if (survey.before)(place) => Ground::Lost,
                true => Ground::Free,
            });
            if held.len() > 1 {
                held.retain(|zone| (survey.area)(*zone).is_some_and(|area| area.depth_m(place) > BORDER_M));
                for (at, one) in held.iter().enumerate() {
                    for other in held.iter().skip(at + 1) {
                        let fresh = Overlapping { zones: (*one, *other), area_m2: 0.0, place };
                        overlaps.entry((*one, *other)).or_insert(fresh).area_m2 += grid.cell_m2(row);
                    }
                }
            }
        }
    }
    let mut overlaps: Vec<_> = overlaps.into_values().collect();
    overlaps.sort_by(|one, other| other.area_m2.total_cmp(&one.area_m2).then(one.zones.cmp(&other.zones)));
    overlaps.truncate(TOLD_MAX);
    Some(Surveyed { resolution_m: grid.resolution_m(), gaps: grid.gaps(ground), overlaps })
}

impl Grid {
    /// Over all of `grounds`, with a rim of places round it.
    fn over(grounds: &[&Area], places_max: usize) -> Option<Self> {
        let tiles: Vec<_> = grounds.iter().flat_map(|area| area.tiles()).collect();
        let base = i64::from(tiles.first()?.west);
        // Longitudes within half a turn of the first, so that the antimeridian parts nothing.
        let turned = |lon: i32| (i64::from(lon) - base + TURN_E7 / 2).rem_euclid(TURN_E7) - TURN_E7 / 2 + base;
        let (south, north) = (tiles.iter().map(|tile| tile.south).min()?, tiles.iter().map(|tile| tile.north).max()?);
        let west = tiles.iter().map(|tile| turned(tile.west)).min()?;
        let east = tiles.iter().map(|tile| turned(tile.west) + i64::from(tile.east) - i64::from(tile.west)).max()?;
        let side = (places_max.isqrt() as i64 - 2).max(8);
        let step = |from: i64, to: i64| ((to - from) / side + 1).max(1);
        let (south, north) = (i64::from(south), i64::from(north));
        let step = (step(south, north), step(west, east));
        let rows = ((north - south) / step.0 + 3) as usize;
        let columns = ((east - west) / step.1 + 3) as usize;
        Some(Self { south: south - step.0 / 2, west: west - step.1 / 2, step, rows, columns })
    }

    /// In the middle of a cell; held at the poles.
    fn place(&self, row: usize, column: usize) -> Option<Position> {
        let lat = (self.south + row as i64 * self.step.0).clamp(-900_000_000, 900_000_000);
        let lon = self.west + column as i64 * self.step.1;
        let lon = (lon + TURN_E7 / 2).rem_euclid(TURN_E7) - TURN_E7 / 2;
        Position::from_e7(i32::try_from(lat).ok()?, i32::try_from(lon).ok()?)
    }

    fn cell_m2(&self, row: usize) -> f64 {
        let lat_deg = (self.south + row as i64 * self.step.0) as f64 / 1e7;
        let (height, width) = (self.step.0 as f64 / 1e7 * 110_900.0, self.step.1 as f64 / 1e7 * 111_320.0);
        height * width * lat_deg.to_radians().cos().max(0.0)
    }

    /// The longer way from one place to the next.
    fn resolution_m(&self) -> f64 {
        let (row, column) = (self.rows / 2, self.columns / 2);
        let between =
            |to: Option<Position>| self.place(row, column).zip(to).map_or(0.0, |(from, to)| distance_m(from, to));
        let (north, east) = (between(self.place(row + 1, column)), between(self.place(row, column + 1)));
        (north.max(east) * 10.0).round() / 10.0
    }

    fn neighbours(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        let (row, column) = (at / self.columns, at % self.columns);
        let (rows, columns) = (self.rows, self.columns);
        let near = [(row.wrapping_sub(1), column), (row + 1, column), (row, column.wrapping_sub(1)), (row, column + 1)];
        near.into_iter()
            .filter(move |(row, column)| *row < rows && *column < columns)
            .map(move |(row, column)| row * columns + column)
    }

    /// Marks all that can be reached from `starts` over ground that `is_open` lets through; gives it.
    fn flood(&self, ground: &mut [Ground], starts: Vec<usize>, is_open: impl Fn(Ground) -> bool) -> Vec<usize> {
        let (mut next, mut reached) = (starts, Vec::new());
        while let Some(at) = next.pop() {
            if is_open(ground[at]) {
                ground[at] = Ground::Outside;
                reached.push(at);
                next.extend(self.neighbours(at));
            }
        }
        reached
    }

    /// Ground that was lost, and ground that zones enclose.
    fn gaps(&self, mut ground: Vec<Ground>) -> Vec<Gap> {
        // The rim is outside, as no zone reaches it.
        let rim = (0..ground.len()).filter(|at| {
            let (row, column) = (at / self.columns, at % self.columns);
            row == 0 || column == 0 || row + 1 == self.rows || column + 1 == self.columns
        });
        self.flood(&mut ground, rim.collect(), |one| one == Ground::Free);
        let mut gaps = Vec::new();
        for at in 0..ground.len() {
            let is_gap = |one: Ground| matches!(one, Ground::Lost | Ground::Free);
            if is_gap(ground[at]) {
                let cells = self.flood(&mut ground, vec![at], is_gap);
                gaps.extend(self.gap(&cells));
            }
        }
        gaps.sort_by(|one, other| other.area_m2.total_cmp(&one.area_m2).then(one.place.cmp(&other.place)));
        gaps.truncate(TOLD_MAX);
        gaps
    }

    fn gap(&self, cells: &[usize]) -> Option<Gap> {
        let place_of = |at: usize| (at / self.columns, at % self.columns);
        let area_m2 = cells.iter().map(|at| self.cell_m2(place_of(*at).0)).sum();
        let count = cells.len().max(1);
        let (rows, columns) = cells.iter().fold((0, 0), |all, at| (all.0 + place_of(*at).0, all.1 + place_of(*at).1));
        let middle = (rows / count, columns / count);
        // The middle itself may lie beside a bent gap.
        let nearest = cells.iter().min_by_key(|at| {
            let (row, column) = place_of(**at);
            row.abs_diff(middle.0).pow(2) + column.abs_diff(middle.1).pow(2)
        })?;
        let (row, column) = place_of(*nearest);
        Some(Gap { area_m2, place: self.place(row, column)? })
    }
}
