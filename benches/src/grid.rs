use model::Position;

use crate::block::{Block, LANES};
use crate::{Best, Plane, Region};

/// Side of a cell, metres.
const CELL_M: f32 = 250.0;
/// Places and cell sides are rounded to some millimetres; lower bounds give this much way.
const ROUNDING_M: f32 = 0.02;

/// The units of a cell: blocks in the pool, all full but the last.
#[derive(Debug, Clone, Default)]
struct Cell {
    blocks: Vec<u32>,
    units: u32,
}

/// Where a unit is: its cell, and its lane counted over the whole pool.
#[derive(Debug, Clone, Copy)]
struct Home {
    cell: u32,
    lane: u32,
}

/// A uniform grid over one city: the speed to beat. It knows the city's size, has one user, and keeps places only.
///
/// A report that stays in its cell is one read (the unit's home) and one write in each of two columns.
#[derive(Debug)]
pub struct Grid {
    plane: Plane,
    lower: [f32; 2],
    sides: [usize; 2],
    cells: Vec<Cell>,
    pool: Vec<Block>,
    free: Vec<u32>,
    homes: Vec<Home>,
}

impl Grid {
    /// Over `places`, by unit; what later leaves their box counts to the cells on its side.
    #[must_use]
    pub fn new(plane: Plane, places: &[Position]) -> Self {
        let flat: Vec<_> = places.iter().map(|place| plane.xy(*place)).collect();
        let ends = |axis: usize| {
            let ordinates = flat.iter().map(|at| at[axis]);
            let (low, high) = ordinates.fold((f32::MAX, f32::MIN), |(low, high), at| (low.min(at), high.max(at)));
            (low, ((high - low) / CELL_M) as usize + 1)
        };
        let ((west, columns), (south, rows)) = (ends(0), ends(1));
        let mut grid = Self {
            plane,
            lower: [west, south],
            sides: [columns, rows],
            cells: vec![Cell::default(); columns * rows],
            pool: Vec::new(),
            free: Vec::new(),
            homes: vec![Home { cell: 0, lane: 0 }; places.len()],
        };
        let mut order: Vec<_> = (0u32..).zip(&flat).map(|(unit, at)| (grid.cell_of(*at), unit)).collect();
        order.sort_unstable();
        order.into_iter().for_each(|(cell, unit)| grid.enter(cell, unit, flat[unit as usize]));
        grid
    }

    /// Column and row, held inside the grid.
    #[inline]
    fn column_and_row(&self, at: [f32; 2]) -> [usize; 2] {
        // A cast from a negative number gives 0.
        [0, 1].map(|axis| (((at[axis] - self.lower[axis]) * (1.0 / CELL_M)) as usize).min(self.sides[axis] - 1))
    }

    #[inline]
    fn cell_of(&self, at: [f32; 2]) -> u32 {
        let [column, row] = self.column_and_row(at);
        (row * self.sides[0] + column) as u32
    }

    /// Moves `unit` to `place`.
    #[inline]
    pub fn update(&mut self, unit: u32, place: Position) {
        let at = self.plane.xy(place);
        let (home, cell) = (self.homes[unit as usize], self.cell_of(at));
        if home.cell != cell {
            self.leave(home);
            return self.enter(cell, unit, at);
        }
        let block = &mut self.pool[home.lane as usize / LANES];
        (block.x[home.lane as usize % LANES], block.y[home.lane as usize % LANES]) = (at[0], at[1]);
    }

    /// Takes a unit out of its cell; the last one of the cell fills the gap.
    fn leave(&mut self, home: Home) {
        let cell = &mut self.cells[home.cell as usize];
        cell.units -= 1;
        let from = cell.units as usize % LANES;
        let last = *cell.blocks.last().expect("a cell that holds a unit has a block");
        let block = &mut self.pool[last as usize];
        let (at, moved) = ([block.x[from], block.y[from]], block.units[from]);
        block.set(from, [f32::INFINITY; 2], u32::MAX);
        if from == 0 {
            cell.blocks.pop();
            self.free.push(last);
        }
        if last as usize * LANES + from != home.lane as usize {
            self.pool[home.lane as usize / LANES].set(home.lane as usize % LANES, at, moved);
            self.homes[moved as usize] = home;
        }
    }

    fn enter(&mut self, cell: u32, unit: u32, at: [f32; 2]) {
        let into = &mut self.cells[cell as usize];
        let lane = into.units as usize % LANES;
        if lane == 0 {
            into.blocks.push(self.free.pop().unwrap_or(self.pool.len() as u32));
        }
        into.units += 1;
        let last = *into.blocks.last().expect("there is room in the last block");
        if last as usize == self.pool.len() {
            self.pool.push(Block::EMPTY);
        }
        self.pool[last as usize].set(lane, at, unit);
        self.homes[unit as usize] = Home { cell, lane: last * LANES as u32 + lane as u32 };
    }

    /// The nearest units.
    #[must_use]
    pub fn nearest(&self, centre: Position) -> Best<f32> {
        self.nearest_where(centre, |_| true)
    }

    /// The nearest of the units that `keep` lets through: ring by ring around the cell of `centre`.
    pub fn nearest_where(&self, centre: Position, keep: impl Fn(u32) -> bool) -> Best<f32> {
        let at = self.plane.xy(centre);
        let [column, row] = self.column_and_row(at);
        let mut best = Best::default();
        for ring in 0..self.sides[0].max(self.sides[1]) {
            // Everything inside this ring was seen; the rest is beyond one of four sides.
            let beyond = (0..2).map(|axis| {
                let within = at[axis] - self.lower[axis] - [column, row][axis] as f32 * CELL_M;
                within.min(CELL_M - within).max(0.0)
            });
            let beyond_m = beyond.fold(f32::MAX, f32::min) + (ring as f32 - 1.0) * CELL_M - ROUNDING_M;
            if ring > 0 && beyond_m > 0.0 && beyond_m * beyond_m >= best.bound() {
                break;
            }
            let (south, north) = (row as isize - ring as isize, row as isize + ring as isize);
            for y in south.max(0)..=north.min(self.sides[1] as isize - 1) {
                let step = if y == south || y == north { 1 } else { (2 * ring).max(1) };
                let (west, east) = (column as isize - ring as isize, column as isize + ring as isize);
                for x in (west..=east).step_by(step) {
                    if (0..self.sides[0] as isize).contains(&x) {
                        self.offer(x as usize, y as usize, at, &mut best, &keep);
                    }
                }
            }
        }
        best
    }

    /// Offers the units of one cell, if they may be near enough.
    #[inline]
    fn offer(&self, x: usize, y: usize, at: [f32; 2], best: &mut Best<f32>, keep: &impl Fn(u32) -> bool) {
        let cell = &self.cells[y * self.sides[0] + x];
        if cell.units == 0 {
            return;
        }
        // Cells on the side of the grid also hold what is beyond it, which is farther than the side.
        let outside = |axis: usize, number: usize| {
            let low = self.lower[axis] + number as f32 * CELL_M;
            ((low - at[axis]).max(at[axis] - low - CELL_M) - ROUNDING_M).max(0.0)
        };
        let is_side = x == 0 || y == 0 || x + 1 == self.sides[0] || y + 1 == self.sides[1];
        let (dx, dy) = (outside(0, x), outside(1, y));
        if !is_side && dx * dx + dy * dy >= best.bound() {
            return;
        }
        cell.blocks.iter().for_each(|block| self.pool[*block as usize].offer(at, best, keep));
    }

    /// Puts the units in `region` into `found`.
    pub fn inside(&self, region: &impl Region, found: &mut Vec<u32>) {
        let [lower, upper] = region.bounds();
        let ([west, south], [east, north]) = (self.column_and_row(lower), self.column_and_row(upper));
        for y in south..=north {
            let row = y * self.sides[0];
            for cell in self.cells[row + west..=row + east].iter().filter(|cell| cell.units > 0) {
                for block in cell.blocks.iter().map(|block| &self.pool[*block as usize]) {
                    for lane in 0..LANES {
                        let (x, y) = (block.x[lane], block.y[lane]);
                        let is_near = (lower[0]..=upper[0]).contains(&x) && (lower[1]..=upper[1]).contains(&y);
                        if is_near && region.contains([x, y]) {
                            found.push(block.units[lane]);
                        }
                    }
                }
            }
        }
    }

    /// Bytes in use, by calculation.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lists: usize = self.cells.iter().map(|cell| cell.blocks.capacity() * size_of::<u32>()).sum();
        self.cells.len() * size_of::<Cell>()
            + lists
            + self.pool.len() * size_of::<Block>()
            + self.homes.len() * size_of::<Home>()
    }
}
