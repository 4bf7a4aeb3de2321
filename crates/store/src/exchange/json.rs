use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::marker::PhantomData;

use model::limits::IMPORT_BYTES_MAX;
use model::{DeviceId, Organisation, OrganisationName, Span, UnitKind, UnitName};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::checked::{Checked, FromText};
use super::territory::Territory;
use super::{ExchangeError, UnitRow, device_text, external_text};

/// The one datum that is taken.
struct Wgs84;

impl FromText for Wgs84 {
    fn from_text(text: &str) -> Result<Self, String> {
        if text == "wgs84" { Ok(Self) } else { Err(format!("{text:?}: only wgs84 is taken: convert the file first")) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitEntry {
    unit: Checked<UnitName>,
    #[serde(default)]
    call_sign: String,
    kind: Checked<UnitKind>,
    #[serde(default)]
    org: Option<Checked<OrganisationName>>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    covert: bool,
    #[serde(default)]
    devices: Vec<Checked<(DeviceId, Span)>>,
    #[serde(default)]
    external: Vec<Checked<(String, String)>>,
}

#[derive(Serialize)]
struct WrittenUnit<'a> {
    unit: &'a str,
    call_sign: &'a str,
    kind: &'a str,
    org: Option<&'a str>,
    capabilities: &'a [String],
    covert: bool,
    devices: Vec<String>,
    external: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrganisationsFile {
    #[serde(rename = "datum")]
    _datum: Checked<Wgs84>,
    organisations: Listed<Organisation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrganisationEntry {
    org: Checked<OrganisationName>,
    #[serde(default)]
    label: String,
    #[serde(default)]
    parent: Option<Checked<OrganisationName>>,
    #[serde(default)]
    territory: Territory,
}

#[derive(Serialize)]
struct WrittenOrganisation<'a> {
    org: &'a str,
    label: &'a str,
    parent: Option<&'a str>,
    territory: Territory,
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ExchangeError> {
    small_enough(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| of_json(&error))
}

pub(super) fn small_enough(bytes: &[u8]) -> Result<(), ExchangeError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ExchangeError::new(1, 1, format!("{} bytes are more than {IMPORT_BYTES_MAX}", bytes.len())));
    }
    Ok(())
}

pub(super) fn of_json(error: &serde_json::Error) -> ExchangeError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let problem = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    ExchangeError::new(line as u64, column, problem)
}

/// A list in which no name is twice.
struct Listed<T>(Vec<T>);

/// What such a list is of.
trait Entry: Sized {
    type Raw: DeserializeOwned;
    fn of(raw: Self::Raw) -> Self;
    fn name(&self) -> &str;
}

impl<'de, T: Entry> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListedVisitor(PhantomData)).map(Self)
    }
}

struct ListedVisitor<T>(PhantomData<T>);

impl<'de, T: Entry> Visitor<'de> for ListedVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        while let Some(raw) = list.next_element()? {
            let entry = T::of(raw);
            if !names.insert(entry.name().to_owned()) {
                return Err(A::Error::custom(format_args!("`{}` is in the list twice", entry.name())));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl Entry for UnitRow {
    type Raw = UnitEntry;

    fn of(raw: UnitEntry) -> Self {
        Self {
            name: raw.unit.0,
            call_sign: raw.call_sign,
            kind: raw.kind.0,
            organisation: raw.org.map(|name| name.0),
            capabilities: raw.capabilities,
            covert: raw.covert,
            devices: raw.devices.into_iter().map(|device| device.0).collect(),
            external: raw.external.into_iter().map(|name| name.0).collect(),
        }
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Entry for Organisation {
    type Raw = OrganisationEntry;

    fn of(raw: OrganisationEntry) -> Self {
        let OrganisationEntry { org, label, parent, territory } = raw;
        Self { name: org.0, label, parent: parent.map(|name| name.0), territory: territory.0 }
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Reads a list of units from JSON.
///
/// # Errors
/// [`ExchangeError`] names the first fault.
pub fn parse_units_json(bytes: &[u8]) -> Result<Vec<UnitRow>, ExchangeError> {
    parse::<Listed<UnitRow>>(bytes).map(|listed| listed.0)
}

/// Writes a list of units as JSON, one a line.
///
/// # Errors
/// What `out` says.
pub fn write_units_json(rows: &[UnitRow], out: &mut dyn Write) -> io::Result<()> {
    for (at, row) in rows.iter().enumerate() {
        let entry = WrittenUnit {
            unit: row.name.as_str(),
            call_sign: &row.call_sign,
            kind: row.kind.as_str(),
            org: row.organisation.as_ref().map(|name| name.as_str()),
            capabilities: &row.capabilities,
            covert: row.covert,
            devices: row.devices.iter().map(device_text).collect(),
            external: row.external.iter().map(external_text).collect(),
        };
        out.write_all(if at == 0 { b"[\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &entry)?;
    }
    out.write_all(if rows.is_empty() { b"[]\n" } else { b"\n]\n" })
}

/// Reads organisations from JSON.
///
/// # Errors
/// [`ExchangeError`] names the first fault.
pub fn parse_organisations_json(bytes: &[u8]) -> Result<Vec<Organisation>, ExchangeError> {
    parse::<OrganisationsFile>(bytes).map(|file| file.organisations.0)
}

/// Writes organisations as JSON, one a line.
///
/// # Errors
/// What `out` says.
pub fn write_organisations_json(organisations: &[Organisation], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"{\"datum\":\"wgs84\",\"organisations\":[")?;
    for (at, one) in organisations.iter().enumerate() {
        let entry = WrittenOrganisation {
            org: one.name.as_str(),
            label: &one.label,
            parent: one.parent.as_ref().map(|name| name.as_str()),
            territory: Territory(one.territory.clone()),
        };
        out.write_all(if at == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &entry)?;
    }
    out.write_all(b"\n]}\n")
}
