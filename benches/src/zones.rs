//! Seeded zones: as many as the city has, and heaps of them.

use std::sync::Arc;

use geodesy::{Area, Vertex};
use index::{ZoneEntry, margin_for};
use model::{Position, Settle, ZoneHandle};
use testkit::Seeded;

use crate::Fleet;

/// Metres of a degree of a meridian.
const DEGREE_M: f64 = 111_000.0;
/// Layers that leave no gap: so many zones, of so many rows and columns.
const LAYERS: [(usize, usize, usize); 3] = [(11, 3, 4), (31, 4, 8), (148, 12, 13)];
/// Booths that answer first within 200 m.
const BOOTHS: usize = 64;
/// Edges on each side of a zone that borders on others.
const SIDE_EDGES: usize = 8;

/// How zones lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// None.
    None,
    /// The city's 254: three layers over 60 km by 60 km, and booths.
    City,
    /// So many of 100 m to 2 km across, over 500 km by 500 km.
    Province(u32),
    /// So many of the same sizes, all within the 60 km by 60 km of the city.
    Crowded(u32),
}

impl Ground {
    /// A few words for tables.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::None => "no zones".into(),
            Self::City => "254 zones, the city's".into(),
            Self::Province(zones) => format!("{zones} zones over a province"),
            Self::Crowded(zones) => format!("{zones} zones in the city"),
        }
    }

    /// The areas, the same for the same ground.
    #[must_use]
    pub fn areas(self) -> Vec<Area> {
        let mut random = Seeded::new(11);
        match self {
            Self::None => Vec::new(),
            Self::City => city(&mut random),
            Self::Province(zones) => (0..zones).map(|_| blot(&mut random, 250_000.0)).collect(),
            Self::Crowded(zones) => (0..zones).map(|_| blot(&mut random, 30_000.0)).collect(),
        }
    }

    /// The zones with the margins that zones have by default.
    #[must_use]
    pub fn entries(self) -> Vec<ZoneEntry> {
        let entry = |(number, area): (u32, Area)| {
            let margin_m = margin_for(&area, f64::from(Settle::default().margin_m));
            let far_m = margin_m * f64::from(Settle::FAR);
            ZoneEntry { zone: ZoneHandle(number), area: Arc::new(area), margin_m, far_m }
        };
        (0..).zip(self.areas()).map(entry).collect()
    }
}

/// So many metres north and east of the middle of the city.
fn vertex(north_m: f64, east_m: f64) -> Vertex {
    let middle = Fleet::middle();
    let narrow = middle.lat_deg().to_radians().cos();
    Vertex::from_degrees(middle.lat_deg() + north_m / DEGREE_M, middle.lon_deg() + east_m / DEGREE_M / narrow)
        .expect("a province is on earth")
}

/// A polygon of 6 to 20 corners, or in one of four a circle, 100 m to 2 km across, no farther north, south, east or west than `reach_m`.
fn blot(random: &mut Seeded, reach_m: f64) -> Area {
    let (north_m, east_m) = (random.between(-reach_m, reach_m), random.between(-reach_m, reach_m));
    let radius_m = random.between(50.0, 1_000.0);
    if random.next().is_multiple_of(4) {
        return circle(north_m, east_m, radius_m);
    }
    let count = 6 + random.next() % 15;
    let mut corner = |number: u64| {
        let (sin, cos) = (number as f64 / count as f64 * std::f64::consts::TAU).sin_cos();
        let reach_m = radius_m * random.between(0.7, 1.0);
        vertex(north_m + reach_m * sin, east_m + reach_m * cos)
    };
    let mut ring: Vec<Vertex> = (0..count).map(&mut corner).collect();
    ring.push(ring[0]);
    Area::polygons(&[vec![ring]]).expect("a star does not cross itself")
}

fn circle(north_m: f64, east_m: f64, radius_m: f64) -> Area {
    let middle = Fleet::middle();
    let narrow = middle.lat_deg().to_radians().cos();
    let (lat, lon) = (middle.lat_deg() + north_m / DEGREE_M, middle.lon_deg() + east_m / DEGREE_M / narrow);
    Area::circle(Position::from_degrees(lat, lon).expect("a province is on earth"), radius_m).expect("it has a radius")
}

fn city(random: &mut Seeded) -> Vec<Area> {
    let mut areas = Vec::new();
    for (zones, rows, columns) in LAYERS {
        areas.extend(layer(random, rows, columns).into_iter().take(zones));
    }
    areas.extend((0..BOOTHS).map(|_| circle(random.between(-2e4, 2e4), random.between(-2e4, 2e4), 200.0)));
    areas
}

/// Zones in rows and columns over the city, whose borders waver and fit each other.
fn layer(random: &mut Seeded, rows: usize, columns: usize) -> Vec<Area> {
    let (height_m, width_m) = (60_000.0 / rows as f64, 60_000.0 / columns as f64);
    // Points of all borders, so many a zone; neighbours share them.
    let (tall, wide) = (rows * SIDE_EDGES + 1, columns * SIDE_EDGES + 1);
    let step_m = height_m.min(width_m) / SIDE_EDGES as f64;
    let mut waver = || random.between(-0.35, 0.35) * step_m;
    let points: Vec<Vertex> = (0..tall * wide)
        .map(|at| {
            let (row, column) = ((at / wide) as f64, (at % wide) as f64);
            let north_m = row * height_m / SIDE_EDGES as f64 - 30_000.0 + waver();
            vertex(north_m, column * width_m / SIDE_EDGES as f64 - 30_000.0 + waver())
        })
        .collect();
    let zone = |row: usize, column: usize| {
        let (south, west) = (row * SIDE_EDGES, column * SIDE_EDGES);
        let (north, east) = (south + SIDE_EDGES, west + SIDE_EDGES);
        let along = (west..east).map(|column| (south, column)).chain((south..north).map(|row| (row, east)));
        let back =
            (west + 1..=east).rev().map(|column| (north, column)).chain((south..=north).rev().map(|row| (row, west)));
        let ring = along.chain(back).map(|(row, column)| points[row * wide + column]).collect();
        Area::polygons(&[vec![ring]]).expect("borders waver by less than they are apart")
    };
    (0..rows * columns).map(|at| zone(at / columns, at % columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_city_has_254_zones_and_its_layers_no_gaps() {
        let areas = Ground::City.areas();
        assert_eq!(areas.len(), 254);
        let mut random = Seeded::new(3);
        for _ in 0..200 {
            let (lat, lon) = (random.between(22.6, 22.95), random.between(108.15, 108.5));
            let place = Position::from_degrees(lat, lon).unwrap();
            let beats = areas[42..190].iter().filter(|area| area.contains(place)).count();
            assert_eq!(beats, 1, "{place}");
        }
    }
}

/// What a bench of zones is told on its command line.
#[derive(Debug)]
pub struct Options {
    /// Units in the city.
    pub units: usize,
    /// Rounds that are interleaved.
    pub rounds: usize,
    /// Only grounds of so many zones; `None`: all.
    pub zones: Option<usize>,
}

impl Options {
    /// Reads `--units`, `--rounds` and `--zones`, each with a number.
    ///
    /// # Panics
    /// When a word is not known or its number is missing: the message says which.
    #[must_use]
    pub fn read(units: usize) -> Self {
        let mut options = Self { units, rounds: 5, zones: None };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().and_then(|value| value.parse().ok());
            let value: usize = value.unwrap_or_else(|| panic!("`{word}` needs a number"));
            match word.as_str() {
                "--units" => options.units = value,
                "--rounds" => options.rounds = value,
                "--zones" => options.zones = Some(value),
                _ => panic!("`{word}` is not known; known are --units --rounds --zones"),
            }
        }
        assert!(options.units > 0 && options.rounds > 0, "nothing is left to be measured");
        options
    }
}
