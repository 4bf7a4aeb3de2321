//! Units, the devices they carry, and who rides in them.

mod checks;
mod rows;

use model::limits::PAGE_FEATURES_MAX;
use model::{UnitName, UnitRecord};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value};

use crate::change::{Change, members};
use crate::exchange::UnitRow;
use crate::sqlite::{signed, unsigned};
use crate::{By, IfMatch, Refusal, Store, StoreError, Versioned, sights};

const WHAT: &str = "unit";

/// What happened to a unit: its newest state, whatever came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitChange {
    /// The version of it.
    pub version: u64,
    /// The unit.
    pub name: UnitName,
    /// Its record; `None` when it was retired.
    pub record: Option<UnitRecord>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// New or different from before.
    pub changed: u64,
    /// Already so.
    pub unchanged: u64,
}

impl Imported {
    pub(crate) fn detail(self) -> Map<String, Value> {
        members([("changed", self.changed.into()), ("unchanged", self.unchanged.into())])
    }
}

impl Store {
    /// The record of a unit that is not retired.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn unit(&self, name: &UnitName) -> Result<Option<Versioned<UnitRecord>>, StoreError> {
        self.read_at_once(|connection| rows::find(connection, name))
    }

    /// Units that are not retired, by name, after `after`; at most `limit`, and at most [`PAGE_FEATURES_MAX`].
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn units(&self, after: Option<&UnitName>, limit: usize) -> Result<Vec<Versioned<UnitRecord>>, StoreError> {
        let after = after.map_or("", UnitName::as_str);
        let limit = signed(limit.min(PAGE_FEATURES_MAX) as u64);
        self.read_at_once(|connection| {
            let sql = "SELECT name FROM units WHERE name > ?1 AND retired_ms IS NULL ORDER BY name LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let names = statement.query_map(params![after, limit], |row| rows::name_in(row, 0))?;
            let mut units = Vec::new();
            for name in names {
                units.extend(rows::find(connection, &name?)?);
            }
            Ok(units)
        })
    }

    /// Units that changed after `version`, retired ones too, in the order of their versions; at most `limit`, and at most
    /// [`PAGE_FEATURES_MAX`]. Ask again from the last version until none comes: then what follows the store is level with it.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn changed_since(&self, version: u64, limit: usize) -> Result<Vec<UnitChange>, StoreError> {
        let limit = signed(limit.min(PAGE_FEATURES_MAX) as u64);
        self.read_at_once(|connection| {
            let sql = "SELECT name, version FROM units WHERE version > ?1 ORDER BY version LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let found = statement.query_map(params![signed(version), limit], |row| {
                Ok((rows::name_in(row, 0)?, unsigned(row.get(1)?)))
            })?;
            let mut changes = Vec::new();
            for one in found {
                let (name, version) = one?;
                let record = rows::find(connection, &name)?.map(|found| found.value);
                changes.push(UnitChange { version, name, record });
            }
            Ok(changes)
        })
    }

    /// Writes all of a unit's record; returns its new version. Capabilities are kept sorted and each once.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Invalid`] for an organisation or a person that is not there, a
    /// list or text over its limit, or a span without inside; [`Refusal::Overlap`] when a device would be with two units, or a
    /// person in two vehicles.
    pub fn put_unit(&self, by: &By<'_>, record: &UnitRecord, if_match: IfMatch) -> Result<u64, StoreError> {
        self.change(by, |change| {
            let name = &record.unit.name;
            if_match.check(WHAT, name.as_str(), version_of(change.transaction, name)?)?;
            let version = change.write_unit(record)?;
            checks::against_others(change.transaction, record, by.now)?;
            Ok(version)
        })
    }

    /// Takes a unit out of service; returns the version of its tombstone. Its devices are free from then on.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Unknown`]; [`Refusal::InUse`] while it rides in a vehicle, or
    /// will.
    pub fn retire_unit(&self, by: &By<'_>, name: &UnitName, if_match: IfMatch) -> Result<u64, StoreError> {
        self.change(by, |change| {
            let found = rows::find(change.transaction, name)?;
            if_match.check(WHAT, name.as_str(), found.as_ref().map(|found| found.version))?;
            let unknown = Refusal::Unknown { what: WHAT, name: name.as_str().to_owned() };
            let found = found.ok_or(unknown)?;
            checks::rides_nowhere(change.transaction, name, by.now)?;
            let version = change.next_version()?;
            rows::clear_parts(change.transaction, name)?;
            sights::end_all(change.transaction, name)?;
            let sql = "UPDATE units SET retired_ms = ?2, version = ?3 WHERE name = ?1";
            change.transaction.execute(sql, params![name.as_str(), by.now.unix_ms(), signed(version)])?;
            let detail = members([("version", version.into()), ("record", rows::json_of(&found.value))]);
            change.record("unit.retire", name.as_str(), detail)?;
            Ok(version)
        })
    }

    /// Makes or changes units, all or none, in any order; what a row does not tell (status, crew, duty) stays, and units that
    /// are already so stay untouched. Devices may change hands among the rows.
    ///
    /// # Errors
    /// As [`Self::put_unit`].
    pub fn import_units(&self, by: &By<'_>, units: &[UnitRow]) -> Result<Imported, StoreError> {
        self.change(by, |change| {
            let mut imported = Imported::default();
            let mut written = Vec::new();
            for row in units {
                let found = rows::find(change.transaction, &row.name)?.map(|found| found.value);
                let mut record = row.over(found.clone());
                checks::normalise(&mut record);
                if found.as_ref() == Some(&record) {
                    imported.unchanged += 1;
                } else {
                    change.write_unit(&record)?;
                    imported.changed += 1;
                    written.push(record);
                }
            }
            for record in &written {
                checks::against_others(change.transaction, record, by.now)?;
            }
            change.record("units.import", "", imported.detail())?;
            Ok(imported)
        })
    }
}

impl Change<'_> {
    /// Writes a record with its row of the audit; what other units have to do with it is checked later.
    fn write_unit(&mut self, record: &UnitRecord) -> Result<u64, StoreError> {
        let mut record = record.clone();
        checks::normalise(&mut record);
        checks::alone(self.transaction, &record)?;
        // A person may come after its vehicle; who is not there at the end is refused by name.
        self.transaction.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        let version = self.next_version()?;
        rows::write(self.transaction, &record, version)?;
        let detail = members([("version", version.into()), ("record", rows::json_of(&record))]);
        self.record("unit.put", record.unit.name.as_str(), detail)?;
        Ok(version)
    }
}

/// The version of a unit that is not retired.
fn version_of(connection: &Connection, name: &UnitName) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT version FROM units WHERE name = ?1 AND retired_ms IS NULL";
    Ok(connection.prepare_cached(sql)?.query_row([name.as_str()], |row| row.get(0)).optional()?.map(unsigned))
}
