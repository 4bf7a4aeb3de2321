use super::roads::{NOWHERE, RoadClass};
use super::{BRIDGES, River};
use crate::plane::Point;
use crate::rng::{Rng, fraction, hashed};

/// Lattice of the streets: 161 x 121 crossroads, 250 m apart; every fourth line is a main road.
const COLUMNS: usize = 161;
const ROWS: usize = 121;
const STEP_M: f32 = 250.0;
const WEST_M: f32 = -20_000.0;
const SOUTH_M: f32 = -15_000.0;
const ARTERIAL_EVERY: usize = 4;
/// No crossroads lie closer than this to the middle of the river.
const BANK_M: f32 = 180.0;
/// Columns whose main road crosses the river, by their metres east. The two rings cross it twice each.
const BRIDGE_COLUMNS_M: [f32; BRIDGES - 4] = [-16_000.0, -6_000.0, -2_000.0, 1_000.0, 8_000.0, 16_000.0];
/// Ring roads: centre east and north, half axes east and north, in metres.
const RINGS: [(f32, f32, f32, f32); 2] = [(-1_500.0, -800.0, 6_500.0, 5_200.0), (0.0, -500.0, 13_500.0, 10_500.0)];
const EXPRESS_STEP_M: f32 = 400.0;
/// The airport lies outside the grid; a road without crossroads leads there from this point.
const AIRPORT: (f64, f64) = (22.608, 108.172);
const AIRPORT_ROAD_FROM: Point = Point::new(-13_000.0, -9_000.0);

/// Crossroads and roads as drawn, before what does not hang together is left out.
pub(super) struct Layout {
    pub(super) points: Vec<Point>,
    pub(super) edges: Vec<(u32, u32, RoadClass)>,
    pub(super) airport: u32,
}

struct Drawing<'a> {
    seed: u64,
    river: &'a River,
    points: Vec<Point>,
    edges: Vec<(u32, u32, RoadClass)>,
    /// The crossroads at each place of the lattice, row by row.
    lattice: Vec<u32>,
}

/// Draws the roads of the city.
pub(super) fn lay_out(seed: u64, river: &River) -> Layout {
    let mut drawing =
        Drawing { seed, river, points: Vec::new(), edges: Vec::new(), lattice: vec![NOWHERE; COLUMNS * ROWS] };
    drawing.crossroads();
    drawing.streets();
    for east_m in BRIDGE_COLUMNS_M {
        drawing.bridge(east_m);
    }
    for ring in RINGS {
        drawing.ring(ring);
    }
    let airport = drawing.airport_road();
    Layout { points: drawing.points, edges: drawing.edges, airport }
}

fn is_arterial(line: usize) -> bool {
    line.is_multiple_of(ARTERIAL_EVERY)
}

/// Whether there are smaller streets: the built-up middle, and the new town in the south.
fn is_built_up(point: Point) -> bool {
    let within = |east_m: f32, north_m: f32, half_east_m: f32, half_north_m: f32| {
        ((point.east_m - east_m) / half_east_m).hypot((point.north_m - north_m) / half_north_m) < 1.0
    };
    within(-500.0, 500.0, 12_000.0, 8_000.0) || within(-1_000.0, -7_500.0, 6_500.0, 3_500.0)
}

impl Drawing<'_> {
    fn add(&mut self, point: Point) -> u32 {
        self.points.push(point);
        (self.points.len() - 1) as u32
    }

    fn point(&self, node: u32) -> Point {
        self.points[node as usize]
    }

    /// Joins two crossroads, unless the river lies between.
    fn join_on_land(&mut self, a: u32, b: u32, class: RoadClass) {
        if self.river.crossings(self.point(a), self.point(b)) == 0 {
            self.edges.push((a, b, class));
        }
    }

    /// Places of the lattice, gently warped so that no road is ruler-straight, streets a little more.
    fn crossroads(&mut self) {
        let bend = fraction(hashed(&[self.seed, 1])) as f32 * 6.0;
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let (east_m, north_m) = (WEST_M + STEP_M * column as f32, SOUTH_M + STEP_M * row as f32);
                let mut point = Point::new(
                    east_m + 110.0 * (north_m / 2_300.0 + bend).sin(),
                    north_m + 110.0 * (east_m / 2_700.0 + bend).cos(),
                );
                if !is_arterial(row) && !is_arterial(column) {
                    if !is_built_up(point) {
                        continue;
                    }
                    let mut rng = Rng::of(&[self.seed, 2, column as u64, row as u64]);
                    point = point.moved(rng.between(-35.0, 35.0), rng.between(-35.0, 35.0));
                }
                if !self.river.is_near(point, BANK_M) {
                    self.lattice[row * COLUMNS + column] = self.add(point);
                }
            }
        }
    }

    fn streets(&mut self) {
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                if column + 1 < COLUMNS {
                    self.street((row, column), (row, column + 1), row);
                }
                if row + 1 < ROWS {
                    self.street((row, column), (row + 1, column), column);
                }
            }
        }
    }

    /// The road between two neighbours of the lattice on line number `line`. One small street in five is missing.
    fn street(&mut self, from: (usize, usize), to: (usize, usize), line: usize) {
        let (a, b) = (self.lattice[from.0 * COLUMNS + from.1], self.lattice[to.0 * COLUMNS + to.1]);
        if a == NOWHERE || b == NOWHERE {
            return;
        }
        if is_arterial(line) {
            self.join_on_land(a, b, RoadClass::Arterial);
        } else if fraction(hashed(&[self.seed, 3, u64::from(a), u64::from(b)])) < 0.8 {
            self.join_on_land(a, b, RoadClass::Street);
        }
    }

    /// Joins the two banks along the column at `east_m`.
    fn bridge(&mut self, east_m: f32) {
        let column = ((east_m - WEST_M) / STEP_M).round() as usize;
        let in_column = (0..ROWS).map(|row| self.lattice[row * COLUMNS + column]).filter(|node| *node != NOWHERE);
        let in_column: Vec<u32> = in_column.collect();
        let over = |two: &&[u32]| self.river.crossings(self.point(two[0]), self.point(two[1])) == 1;
        if let Some(two) = in_column.windows(2).find(over) {
            self.edges.push((two[0], two[1], RoadClass::Arterial));
        }
    }

    /// An ellipse with a slip road to the grid at every second point.
    fn ring(&mut self, (east_m, north_m, half_east_m, half_north_m): (f32, f32, f32, f32)) {
        let count = (std::f32::consts::PI * (half_east_m + half_north_m) / EXPRESS_STEP_M) as usize;
        let angle = |index: usize| index as f32 / count as f32 * std::f32::consts::TAU;
        let at = |index| {
            Point::new(east_m + half_east_m * f32::cos(angle(index)), north_m + half_north_m * f32::sin(angle(index)))
        };
        let points = (0..count).map(at).filter(|point| !self.river.is_near(*point, BANK_M));
        let points: Vec<Point> = points.collect();
        let nodes: Vec<u32> = points.into_iter().map(|point| self.add(point)).collect();
        for (index, node) in nodes.iter().enumerate() {
            self.edges.push((*node, nodes[(index + 1) % nodes.len()], RoadClass::Express));
            if index.is_multiple_of(2)
                && let Some(nearest) = self.nearest_on_land(self.point(*node))
            {
                self.join_on_land(*node, nearest, RoadClass::Arterial);
            }
        }
    }

    /// The crossroads of the lattice next to `point`, at most 3 steps away.
    fn nearest_on_land(&self, point: Point) -> Option<u32> {
        let (column, row) = ((point.east_m - WEST_M) / STEP_M, (point.north_m - SOUTH_M) / STEP_M);
        let around = |middle: f32, count: usize| {
            let middle = middle.round().max(0.0) as usize;
            middle.saturating_sub(3)..(middle + 4).min(count)
        };
        let near = around(row, ROWS).flat_map(|row| around(column, COLUMNS).map(move |column| row * COLUMNS + column));
        let near = near.map(|place| self.lattice[place]).filter(|node| *node != NOWHERE);
        near.min_by(|a, b| self.point(*a).distance_m(point).total_cmp(&self.point(*b).distance_m(point)))
    }

    fn airport_road(&mut self) -> u32 {
        let airport = Point::from_degrees(AIRPORT.0, AIRPORT.1);
        let mut node = self.nearest_on_land(AIRPORT_ROAD_FROM).unwrap_or(0);
        let start = self.point(node);
        let pieces = (start.distance_m(airport) / f64::from(EXPRESS_STEP_M)).ceil() as usize;
        for piece in 1..=pieces {
            let share = piece as f64 / pieces as f64;
            let next = self.add(start.towards(airport, share));
            self.edges.push((node, next, RoadClass::Express));
            node = next;
        }
        // The terminal's forecourt, where people walk.
        let forecourt = self.add(airport.moved(150.0, 60.0));
        self.edges.push((node, forecourt, RoadClass::Street));
        node
    }
}
