//! The city's offices and its police, as `fixtures/nanning` has them, in the store of the demo.

use std::collections::HashMap;

use model::{Organisation, UnitRecord};
use server::Earth;
use simulate::Forces;
use store::exchange::{UnitRow, ZoneRow, parse_organisations_json, parse_units_csv, parse_zones_json};
use store::{By, IfMatch, Store};

const ORGANISATIONS: &[u8] = include_bytes!("../../../../fixtures/nanning/organisations.json");
const UNITS: &[u8] = include_bytes!("../../../../fixtures/nanning/units.csv");
const ZONES: &[u8] = include_bytes!("../../../../fixtures/nanning/zones.geojson");
/// The fixture is the city of this seed. Another city has its stations elsewhere: it is told by the generator alone.
const SEED: u64 = 42;

/// Who is in the store now.
pub(super) struct Loaded {
    pub(super) organisations: Vec<Organisation>,
    pub(super) records: Vec<UnitRecord>,
    pub(super) zones: usize,
}

/// Imports organisations, units and crews: of the fixture those that take part in this run. What it does not have (a larger fleet
/// than the city's) comes from the generator.
pub(super) fn load(store: &Store, by: &By<'_>, forces: &Forces) -> anyhow::Result<Loaded> {
    let (mut organisations, mut written) = (forces.organisations().to_vec(), HashMap::new());
    let from_now = |zone| ZoneRow { zone, from: None, until: None };
    let mut zones: Vec<ZoneRow> = forces.zones().into_iter().map(from_now).collect();
    if forces.city().seed() == SEED {
        zones = parse_zones_json(ZONES, None, &Earth)?;
        organisations = parse_organisations_json(ORGANISATIONS)?;
        written = parse_units_csv(UNITS)?.into_iter().map(|row| (row.name.clone(), row)).collect();
    }
    let mut records: Vec<UnitRecord> = forces.records().collect();
    for record in &mut records {
        if let Some(row) = written.remove(&record.unit.name) {
            *record = row.over(Some(record.clone()));
        }
    }
    store.import_organisations(by, &organisations)?;
    store.import_zones(by, &zones)?;
    store.import_units(by, &records.iter().map(UnitRow::of).collect::<Vec<_>>())?;
    // A file has no crews: those are written unit by unit, once everybody in them is there.
    for record in records.iter().filter(|record| !record.crew.is_empty()) {
        store.put_unit(by, record, IfMatch::Always)?;
    }
    Ok(Loaded { organisations, records, zones: zones.len() })
}

impl Loaded {
    /// What is there, in words.
    pub(super) fn said(&self) -> String {
        let offices =
            |prefix: &str| self.organisations.iter().filter(|one| one.name.as_str().starts_with(prefix)).count();
        let units = |is_wanted: &dyn Fn(&UnitRecord) -> bool| self.records.iter().filter(|one| is_wanted(one)).count();
        let posts = units(&|one| one.unit.kind == model::UnitKind::Post);
        let bare = units(&|one| one.devices.is_empty());
        format!(
            "{} bureau, {} districts, {} stations; {} police units that report, {posts} posts, {} people who ride in vehicles; {} zones",
            offices("bureau"),
            offices("district-"),
            offices("station-"),
            self.records.len() - bare,
            bare - posts,
            self.zones,
        )
    }
}
