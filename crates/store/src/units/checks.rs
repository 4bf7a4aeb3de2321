use model::limits::{CAPABILITIES_MAX, NAME_BYTES_MAX, RECORD_LIST_MAX};
use model::{Span, Timestamp, UnitName, UnitRecord};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::WHAT;
use crate::checks::{Of, label, span};
use crate::organisations::may_be_named;
use crate::spans::until_ms;
use crate::sqlite::unsigned;
use crate::{Refusal, StoreError};

/// Capabilities are a set: sorted, each once.
pub(super) fn normalise(record: &mut UnitRecord) {
    record.unit.capabilities.sort_unstable();
    record.unit.capabilities.dedup();
}

/// What can be wrong with a record whatever other units say.
pub(super) fn alone(connection: &Connection, record: &UnitRecord) -> Result<(), StoreError> {
    let name = record.unit.name.as_str();
    let of = Of { what: WHAT, name };
    label(of, "call_sign", &record.call_sign)?;
    if let Some(organisation) = &record.unit.organisation
        && !may_be_named(connection, organisation)?
    {
        return Err(of.invalid("org", format!("there is no organisation `{organisation}`")).into());
    }
    let lists = [
        ("capabilities", record.unit.capabilities.len(), CAPABILITIES_MAX),
        ("external", record.external.len(), RECORD_LIST_MAX),
        ("devices", record.devices.len(), RECORD_LIST_MAX),
        ("crew", record.crew.len(), RECORD_LIST_MAX),
    ];
    for (field, count, limit) in lists {
        if count > limit {
            return Err(of.invalid(field, format!("{count} entries are more than the {limit} allowed")).into());
        }
    }
    for word in &record.unit.capabilities {
        let is_bad = |c: char| c.is_control() || c.is_whitespace();
        if word.is_empty() || word.len() > NAME_BYTES_MAX || word.contains(is_bad) {
            return Err(of
                .invalid("capabilities", format!("{word:?} is no word of 1 to {NAME_BYTES_MAX} bytes"))
                .into());
        }
    }
    for (system, id) in &record.external {
        label(of, "external", system)?;
        label(of, "external", id)?;
        if system.is_empty() || system.contains(':') || id.is_empty() {
            let problem = format!("`{system}:{id}` is no name of a system without colon, and a name there");
            return Err(of.invalid("external", problem).into());
        }
    }
    for (_, at) in &record.devices {
        span(of, "devices", at.from, at.until)?;
    }
    for (person, at) in &record.crew {
        span(of, "crew", at.from, at.until)?;
        if *person == record.unit.name {
            return Err(of.invalid("crew", format!("`{person}` cannot ride in itself")).into());
        }
    }
    if let Some((at, zone)) = &record.duty {
        span(of, "duty", at.from, at.until)?;
        label(of, "duty", zone)?;
    }
    Ok(())
}

/// What can be wrong between a record that was written and those of other units.
pub(super) fn against_others(connection: &Connection, record: &UnitRecord, now: Timestamp) -> Result<(), StoreError> {
    let name = &record.unit.name;
    for (device, at) in &record.devices {
        one_at_a_time(
            connection,
            Dated { what: "device", table: "unit_devices", column: "device" },
            device.as_str(),
            name,
            at,
        )?;
    }
    for (person, at) in &record.crew {
        if !may_ride(connection, person, at, now)? {
            let of = Of { what: WHAT, name: name.as_str() };
            return Err(of.invalid("crew", format!("there is no unit `{person}`")).into());
        }
        one_at_a_time(
            connection,
            Dated { what: "unit", table: "unit_crew", column: "person" },
            person.as_str(),
            name,
            at,
        )?;
    }
    let sql = "SELECT unit FROM unit_external WHERE system = ?1 AND id = ?2 AND unit != ?3";
    let mut statement = connection.prepare_cached(sql)?;
    for (system, id) in &record.external {
        let other: Option<String> =
            statement.query_row(params![system, id, name.as_str()], |row| row.get(0)).optional()?;
        if let Some(other) = other {
            let of = Of { what: WHAT, name: name.as_str() };
            return Err(of.invalid("external", format!("`{system}:{id}` is unit `{other}`")).into());
        }
    }
    Ok(())
}

/// Whether `person` is a unit; one that is retired may have ridden in the past.
fn may_ride(connection: &Connection, person: &UnitName, at: &Span, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM units WHERE name = ?1 AND (retired_ms IS NULL OR ?2))";
    let is_past = at.until.is_some_and(|until| until <= now);
    Ok(connection.prepare_cached(sql)?.query_row(params![person.as_str(), is_past], |row| row.get(0))?)
}

/// A table that says what is with whom, and when.
#[derive(Clone, Copy)]
struct Dated {
    what: &'static str,
    table: &'static str,
    column: &'static str,
}

/// Refuses when `key` is elsewhere, or a second time here, while it is with `unit`.
fn one_at_a_time(
    connection: &Connection,
    dated: Dated,
    key: &str,
    unit: &UnitName,
    at: &Span,
) -> Result<(), StoreError> {
    let Dated { what, table, column } = dated;
    let sql = format!(
        "SELECT unit, max(from_ms, ?3) FROM {table} WHERE {column} = ?1 AND from_ms < ?4 AND until_ms > ?3
         AND (unit != ?2 OR from_ms != ?3 OR until_ms != ?4
              OR (SELECT count(*) FROM {table} WHERE {column} = ?1 AND unit = ?2 AND from_ms = ?3 AND until_ms = ?4) > 1)
         ORDER BY 2, 1 LIMIT 1"
    );
    let values = params![key, unit.as_str(), at.from.unix_ms(), until_ms(*at)];
    let other: Option<(String, i64)> =
        connection.prepare_cached(&sql)?.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((second, from_ms)) = other else { return Ok(()) };
    let (name, first) = (key.to_owned(), unit.as_str().to_owned());
    let at = Timestamp::from_unix_ms(from_ms).unwrap_or(at.from);
    Err(Refusal::Overlap { what, name, first, second, at }.into())
}

/// Refuses while a unit rides in a vehicle, or will.
pub(super) fn rides_nowhere(connection: &Connection, name: &UnitName, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT count(*), min(unit) FROM unit_crew WHERE person = ?1 AND until_ms > ?2";
    let (count, example): (i64, Option<String>) = connection
        .prepare_cached(sql)?
        .query_row(params![name.as_str(), now.unix_ms()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if count == 0 {
        return Ok(());
    }
    let (name, example) = (name.as_str().to_owned(), example.unwrap_or_default());
    Err(Refusal::InUse { what: WHAT, name, count: unsigned(count), dependents: "vehicles that it rides in", example }
        .into())
}
