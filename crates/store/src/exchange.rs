//! Files of units and organisations: what is written reads back as the same, and a fault names its line and column.
//!
//! Units as CSV have the columns `unit,call_sign,kind,org,capabilities,covert,devices,external` in any order; lists are parted
//! by `|`, which is written `\|` inside an entry, as `\` is written `\\`. A device is its name, for always, or
//! `name/from/until` with times of RFC 3339, of which `until` may be empty. A name elsewhere is `system:name`. As JSON they are
//! a list of objects with members of the same names and lists as lists. Organisations are JSON:
//! `{"datum":"wgs84","organisations":[{"org","label","parent","territory"}]}`, the territory a GeoJSON Polygon, MultiPolygon or
//! null.
//!
//! Zones are a GeoJSON FeatureCollection with the foreign member `datum`, or KML whose reader is told the datum; [`ZoneRow`] says
//! how a zone is written.

pub(crate) mod checked;
mod csv_units;
mod json;
mod kml;
mod territory;
mod zones;

use model::{DeviceId, OrganisationName, Span, Timestamp, Unit, UnitKind, UnitName, UnitRecord};

pub use csv_units::{parse_units_csv, write_units_csv};
pub use json::{parse_organisations_json, parse_units_json, write_organisations_json, write_units_json};
pub use kml::parse_zones_kml;
pub use zones::{Ground, ZoneRow, parse_zone_json, parse_zones_json, write_zone_json, write_zones_json};

/// What is wrong with a file, and where. The caller's fault; nothing of it is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ExchangeError {
    /// The line, from 1. In CSV the first of a row; in JSON where it was noticed, which is behind the entry if that is in the
    /// list twice.
    pub line: u64,
    /// The name of a column of CSV, or the number of a character of JSON, from 1.
    pub column: String,
    /// What is wrong with which value.
    pub problem: String,
}

impl ExchangeError {
    fn new(line: u64, column: impl ToString, problem: impl ToString) -> Self {
        Self { line, column: column.to_string(), problem: problem.to_string() }
    }
}

/// What a file tells of a unit: its record without status, crew and duty, which change by the hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRow {
    /// Its name.
    pub name: UnitName,
    /// What it is called on the radio.
    pub call_sign: String,
    /// What it is.
    pub kind: UnitKind,
    /// Whose it is.
    pub organisation: Option<OrganisationName>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Left out of default answers.
    pub covert: bool,
    /// The devices that it carries, and when.
    pub devices: Vec<(DeviceId, Span)>,
    /// Its names in other systems: the system, then the name there.
    pub external: Vec<(String, String)>,
}

impl UnitRow {
    /// What a file tells of `record`.
    #[must_use]
    pub fn of(record: &UnitRecord) -> Self {
        let unit = &record.unit;
        Self {
            name: unit.name.clone(),
            call_sign: record.call_sign.clone(),
            kind: unit.kind,
            organisation: unit.organisation.clone(),
            capabilities: unit.capabilities.clone(),
            covert: unit.covert,
            devices: record.devices.clone(),
            external: record.external.clone(),
        }
    }

    /// The record of the unit with what this row tells, and all else as it was.
    #[must_use]
    pub fn over(&self, before: Option<UnitRecord>) -> UnitRecord {
        let mut record = before.unwrap_or_else(|| UnitRecord::of(Unit::named(self.name.clone())));
        let row = self.clone();
        record.unit.kind = row.kind;
        record.unit.organisation = row.organisation;
        record.unit.capabilities = row.capabilities;
        record.unit.covert = row.covert;
        record.call_sign = row.call_sign;
        record.devices = row.devices;
        record.external = row.external;
        record
    }
}

/// A device and when it is carried, as it is written.
fn device_text((device, span): &(DeviceId, Span)) -> String {
    match span {
        Span { from: Timestamp::MIN, until: None } => device.to_string(),
        Span { from, until } => format!("{device}/{from}/{}", until.map_or(String::new(), |until| until.to_string())),
    }
}

/// The reverse of [`device_text`].
fn device_of(text: &str) -> Result<(DeviceId, Span), String> {
    let mut parts = text.split('/');
    let name = parts.next().unwrap_or_default();
    let device = DeviceId::new(name).map_err(|error| format!("device {name:?}: {error}"))?;
    let mut time = || match parts.next() {
        None | Some("") => Ok(None),
        Some(text) => match Timestamp::from_rfc3339(text) {
            Some(time) => Ok(Some(time)),
            None => Err(format!("device `{device}`: {text:?} is no time like 2026-11-23T06:00:00Z")),
        },
    };
    let (from, until) = (time()?, time()?);
    match parts.next() {
        Some(more) => Err(format!("device `{device}`: {more:?} is too much: name, from, until")),
        None => Ok((device, Span { from: from.unwrap_or(Timestamp::MIN), until })),
    }
}

fn external_text((system, name): &(String, String)) -> String {
    format!("{system}:{name}")
}

/// The reverse of [`external_text`].
fn external_of(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((system, name)) if !system.is_empty() && !name.is_empty() => Ok((system.to_owned(), name.to_owned())),
        _ => Err(format!("{text:?} is no `system:name`")),
    }
}
