use model::{DeviceId, SaidOf, Span, Unit, UnitName, UnitRecord};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use crate::organisations::name_in as organisation_in;
use crate::said::standing;
use crate::spans::{span_in, until_ms};
use crate::sqlite::{misread, signed, unsigned};
use crate::{StoreError, Versioned};

/// Reads a unit that is not retired, with all its parts.
pub(super) fn find(connection: &Connection, name: &UnitName) -> Result<Option<Versioned<UnitRecord>>, StoreError> {
    let sql = "SELECT name, kind, status, organisation, capabilities, covert, call_sign, duty_from_ms, duty_until_ms,
                      duty_zone, version
               FROM units WHERE name = ?1 AND retired_ms IS NULL";
    let Some(mut found) = connection.prepare_cached(sql)?.query_row([name.as_str()], record_in).optional()? else {
        return Ok(None);
    };
    let record = &mut found.value;
    record.external =
        parts(connection, name, "SELECT system, id FROM unit_external WHERE unit = ?1 ORDER BY place", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let sql = "SELECT device, from_ms, until_ms FROM unit_devices WHERE unit = ?1 ORDER BY place";
    record.devices = parts(connection, name, sql, |row| {
        let device = row.get_ref(0)?.as_str()?;
        let device = DeviceId::new(device).map_err(|error| misread("device", error))?;
        Ok((device, span_in(row, 1, 2)?))
    })?;
    let sql = "SELECT person, from_ms, until_ms FROM unit_crew WHERE unit = ?1 ORDER BY place";
    record.status_said = standing(connection, name, SaidOf::Status(None).what())?;
    record.assignment = standing(connection, name, SaidOf::Assignment(None).what())?;
    record.crew = parts(connection, name, sql, |row| Ok((name_in(row, 0)?, span_in(row, 1, 2)?)))?;
    Ok(Some(found))
}

fn parts<T>(
    connection: &Connection,
    name: &UnitName,
    sql: &str,
    part_in: impl Fn(&Row<'_>) -> Result<T, rusqlite::Error>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([name.as_str()], part_in)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn record_in(row: &Row<'_>) -> Result<Versioned<UnitRecord>, rusqlite::Error> {
    let organisation: Option<String> = row.get(3)?;
    let capabilities: String = row.get(4)?;
    let unit = Unit {
        name: name_in(row, 0)?,
        kind: word(row, 1, "kind")?,
        status: word(row, 2, "status")?,
        organisation: organisation.map(|name| organisation_in("organisation", &name)).transpose()?,
        capabilities: serde_json::from_str(&capabilities).map_err(|error| misread("capabilities", error))?,
        covert: row.get(5)?,
    };
    let mut record = UnitRecord::of(unit);
    record.call_sign = row.get(6)?;
    if row.get::<_, Option<i64>>(7)?.is_some() {
        record.duty = Some((span_in(row, 7, 8)?, row.get(9)?));
    }
    Ok(Versioned { version: unsigned(row.get(10)?), value: record })
}

fn word<T: std::str::FromStr<Err: ToString>>(
    row: &Row<'_>,
    at: usize,
    column: &'static str,
) -> Result<T, rusqlite::Error> {
    row.get_ref(at)?.as_str()?.parse().map_err(|error| misread(column, error))
}

pub(super) fn name_in(row: &Row<'_>, at: usize) -> Result<UnitName, rusqlite::Error> {
    UnitName::new(row.get_ref(at)?.as_str()?).map_err(|error| misread("unit", error))
}

/// Writes a unit and all its parts over what is there.
pub(super) fn write(connection: &Connection, record: &UnitRecord, version: u64) -> Result<(), StoreError> {
    let unit = &record.unit;
    let name = unit.name.as_str();
    let mut statement = connection.prepare_cached(
        "INSERT INTO units (name, kind, status, organisation, capabilities, covert, call_sign, duty_from_ms, duty_until_ms,
                            duty_zone, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (name) DO UPDATE SET kind = ?2, status = ?3, organisation = ?4, capabilities = ?5, covert = ?6,
            call_sign = ?7, duty_from_ms = ?8, duty_until_ms = ?9, duty_zone = ?10, version = ?11, retired_ms = NULL",
    )?;
    let duty = record.duty.as_ref();
    statement.execute(params![
        name,
        unit.kind.as_str(),
        unit.status.as_str(),
        unit.organisation.as_ref().map(|name| name.as_str()),
        Value::from(unit.capabilities.clone()).to_string(),
        unit.covert,
        record.call_sign,
        duty.map(|(span, _)| span.from.unix_ms()),
        duty.map(|(span, _)| until_ms(*span)),
        duty.map(|(_, zone)| zone.as_str()),
        signed(version),
    ])?;
    clear_parts(connection, &unit.name)?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO unit_devices (unit, place, device, from_ms, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (place, (device, span)) in record.devices.iter().enumerate() {
        statement.execute(params![name, place as i64, device.as_str(), span.from.unix_ms(), until_ms(*span)])?;
    }
    let mut statement = connection
        .prepare_cached("INSERT INTO unit_crew (unit, place, person, from_ms, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (place, (person, span)) in record.crew.iter().enumerate() {
        statement.execute(params![name, place as i64, person.as_str(), span.from.unix_ms(), until_ms(*span)])?;
    }
    let mut statement =
        connection.prepare_cached("INSERT INTO unit_external (unit, place, system, id) VALUES (?1, ?2, ?3, ?4)")?;
    for (place, (system, id)) in record.external.iter().enumerate() {
        statement.execute(params![name, place as i64, system, id])?;
    }
    Ok(())
}

pub(super) fn clear_parts(connection: &Connection, name: &UnitName) -> Result<(), StoreError> {
    for table in ["unit_devices", "unit_crew", "unit_external"] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE unit = ?1"))?.execute([name.as_str()])?;
    }
    Ok(())
}

/// The record as the audit tells it.
pub(super) fn json_of(record: &UnitRecord) -> Value {
    let span = |span: &Span| json!({"from": span.from.to_string(), "until": span.until.map(|until| until.to_string())});
    let dated = |name: &str, at: &Span| json!([name, span(at)]);
    let unit = &record.unit;
    json!({
        "kind": unit.kind.as_str(),
        "status": unit.status.as_str(),
        "org": unit.organisation.as_ref().map(|name| name.as_str()),
        "capabilities": unit.capabilities,
        "covert": unit.covert,
        "call_sign": record.call_sign,
        "external": record.external,
        "devices": record.devices.iter().map(|(device, at)| dated(device.as_str(), at)).collect::<Vec<_>>(),
        "crew": record.crew.iter().map(|(person, at)| dated(person.as_str(), at)).collect::<Vec<_>>(),
        "duty": record.duty.as_ref().map(|(at, zone)| dated(zone, at)),
    })
}
