use std::collections::HashMap;
use std::io::{self, Write};

use csv::{ByteRecord, ErrorKind, ReaderBuilder, Terminator, WriterBuilder};
use model::limits::IMPORT_BYTES_MAX;
use model::{OrganisationName, UnitName};

use super::{ExchangeError, UnitRow, device_of, device_text, external_of, external_text};

const COLUMNS: [&str; 8] = ["unit", "call_sign", "kind", "org", "capabilities", "covert", "devices", "external"];

/// Reads units from CSV in UTF-8, with or without a byte order mark.
///
/// # Errors
/// [`ExchangeError`] names the first fault.
pub fn parse_units_csv(bytes: &[u8]) -> Result<Vec<UnitRow>, ExchangeError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ExchangeError::new(1, "unit", format!("{} bytes are more than {IMPORT_BYTES_MAX}", bytes.len())));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let (mut rows, mut lines) = (Vec::new(), HashMap::new());
    let mut header = None;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| of_csv(&error))? {
        let line = record.position().map_or(1, |position| line_of(bytes, position));
        let Some(places) = &header else {
            header = Some(places_in(&record)?);
            continue;
        };
        if record.len() != COLUMNS.len() {
            let column = COLUMNS.get(record.len()).unwrap_or(&"after the last");
            let problem = format!("there are {} columns, and the first line names {}", record.len(), COLUMNS.len());
            return Err(ExchangeError::new(line, format_args!("`{column}`"), problem));
        }
        let row = row_in(&Cells { record: &record, places, line })?;
        if let Some(before) = lines.insert(row.name.clone(), line) {
            return Err(ExchangeError::new(line, "`unit`", format!("`{}` is in line {before} already", row.name)));
        }
        rows.push(row);
    }
    match header {
        Some(_) => Ok(rows),
        None => Err(ExchangeError::new(1, "`unit`", format!("the first line must be {}", COLUMNS.join(",")))),
    }
}

/// The line of a record. What stands before it is the end of the one before, and blank lines, which the reader counts later.
fn line_of(bytes: &[u8], position: &csv::Position) -> u64 {
    let before = bytes.get(position.byte() as usize..).unwrap_or_default();
    let ends = before.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + ends.filter(|byte| **byte == b'\n').count() as u64
}

/// Where each of [`COLUMNS`] stands.
fn places_in(header: &ByteRecord) -> Result<Vec<usize>, ExchangeError> {
    let named = |name: &[u8]| COLUMNS.iter().position(|column| column.as_bytes() == name.trim_ascii());
    for name in header {
        if named(name).is_none() {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(ExchangeError::new(1, format_args!("{name:?}"), format!("known are {}", COLUMNS.join(","))));
        }
    }
    let place = |(at, column): (usize, &&str)| {
        let mut places = header.iter().enumerate().filter(|(_, name)| named(name) == Some(at)).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => Err(ExchangeError::new(1, format_args!("`{column}`"), "it is missing")),
            _ => Err(ExchangeError::new(1, format_args!("`{column}`"), "it is there twice")),
        }
    };
    COLUMNS.iter().enumerate().map(place).collect()
}

struct Cells<'a> {
    record: &'a ByteRecord,
    places: &'a [usize],
    line: u64,
}

impl<'a> Cells<'a> {
    fn fault(&self, at: usize, problem: impl ToString) -> ExchangeError {
        ExchangeError::new(self.line, format_args!("`{}`", COLUMNS[at]), problem)
    }

    fn text(&self, at: usize) -> Result<&'a str, ExchangeError> {
        let cell = self.record.get(self.places[at]).unwrap_or_default();
        std::str::from_utf8(cell).map_err(|error| self.fault(at, format!("it is no UTF-8: {error}")))
    }

    fn list<T>(&self, at: usize, entry: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, ExchangeError> {
        let entries = parted(self.text(at)?).map_err(|problem| self.fault(at, problem))?;
        entries.iter().map(|text| entry(text).map_err(|problem| self.fault(at, problem))).collect()
    }
}

fn row_in(cells: &Cells<'_>) -> Result<UnitRow, ExchangeError> {
    let name = cells.text(0)?;
    let organisation = match cells.text(3)? {
        "" => None,
        text => Some(OrganisationName::new(text).map_err(|error| cells.fault(3, format!("{text:?}: {error}")))?),
    };
    let word = |text: &str| if text.is_empty() { Err("an entry is empty".to_owned()) } else { Ok(text.to_owned()) };
    Ok(UnitRow {
        name: UnitName::new(name).map_err(|error| cells.fault(0, format!("{name:?}: {error}")))?,
        call_sign: cells.text(1)?.to_owned(),
        kind: cells.text(2)?.parse().map_err(|error| cells.fault(2, error))?,
        organisation,
        capabilities: cells.list(4, word)?,
        covert: match cells.text(5)? {
            "true" => true,
            "false" => false,
            other => return Err(cells.fault(5, format!("{other:?} is neither true nor false"))),
        },
        devices: cells.list(6, device_of)?,
        external: cells.list(7, external_of)?,
    })
}

/// The entries of a list; none when it is empty.
fn parted(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let (mut entries, mut entry) = (Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '|' => entries.push(std::mem::take(&mut entry)),
            '\\' => match characters.next() {
                Some(escaped @ ('|' | '\\')) => entry.push(escaped),
                _ => return Err(format!("in {text:?} a backslash is not followed by `|` or a backslash")),
            },
            other => entry.push(other),
        }
    }
    entries.push(entry);
    Ok(entries)
}

fn joined(entries: impl Iterator<Item = String>) -> String {
    let escaped = entries.map(|entry| entry.replace('\\', r"\\").replace('|', r"\|"));
    escaped.collect::<Vec<_>>().join("|")
}

/// Writes units as CSV with a first line of names.
///
/// # Errors
/// What `out` says.
pub fn write_units_csv(rows: &[UnitRow], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = WriterBuilder::new().terminator(Terminator::Any(b'\n')).from_writer(out);
    writer.write_record(COLUMNS)?;
    for row in rows {
        writer.write_record([
            row.name.as_str(),
            &row.call_sign,
            row.kind.as_str(),
            row.organisation.as_ref().map_or("", |name| name.as_str()),
            &joined(row.capabilities.iter().cloned()),
            if row.covert { "true" } else { "false" },
            &joined(row.devices.iter().map(device_text)),
            &joined(row.external.iter().map(external_text)),
        ])?;
    }
    writer.flush()
}

fn of_csv(error: &csv::Error) -> ExchangeError {
    let line = match error.kind() {
        ErrorKind::Utf8 { pos: Some(pos), .. } | ErrorKind::UnequalLengths { pos: Some(pos), .. } => pos.line(),
        _ => 1,
    };
    ExchangeError::new(line, "`unit`", error)
}
