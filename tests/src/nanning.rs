//! What `fixtures/nanning` says, made from the simulated city.

use model::{Span, Timestamp};
use simulate::{Forces, UNITS};
use store::exchange::{UnitRow, write_organisations_json, write_units_csv, write_zones_json};

/// The seed of the fixture, and of the city that reports unless another is asked for.
pub const SEED: u64 = 42;

/// The forces of the fixture.
#[must_use]
pub fn forces() -> Forces {
    Forces::new(SEED, UNITS)
}

/// The files of the fixture by name.
///
/// # Panics
/// Never: memory takes all that is written.
#[must_use]
pub fn files(forces: &Forces) -> [(&'static str, Vec<u8>); 3] {
    let (mut organisations, mut units) = (Vec::new(), Vec::new());
    write_organisations_json(forces.organisations(), &mut organisations).expect("memory takes all");
    let rows: Vec<UnitRow> = forces.records().map(|record| UnitRow::of(&record)).collect();
    write_units_csv(&rows, &mut units).expect("memory takes all");
    let from = Timestamp::from_civil((2026, 1, 1), (0, 0, 0), 0).expect("the new year is a time");
    let (zones, mut file) = (forces.zones(), Vec::new());
    let effective = Span { from, until: None };
    write_zones_json(zones.iter().map(|zone| (zone, effective)), &mut file).expect("memory takes all");
    [("organisations.json", organisations), ("units.csv", units), ("zones.geojson", file)]
}
