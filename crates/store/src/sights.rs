//! Units lent to the sight of another organisation. A sight stands with the assignment that it was given with, and no longer.

use model::limits::SIGHT_TIME_MAX;
use model::{Owner, Sight, Timestamp, UnitName};
use rusqlite::{Connection, params};

use crate::checks::{Of, span};
use crate::organisations::{name_in, version_of};
use crate::sqlite::misread;
use crate::{Store, StoreError};

impl Store {
    /// All that have not ended at `now`.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn sights(&self, now: Timestamp) -> Result<Vec<Sight>, StoreError> {
        self.read(|connection| {
            let sql =
                "SELECT unit, organisation, from_ms, until_ms FROM sights WHERE until_ms > ?1 ORDER BY unit, owner";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([now.unix_ms()], |row| {
                let time = |column: &'static str| {
                    let unix_ms = row.get(column)?;
                    Timestamp::from_unix_ms(unix_ms).ok_or_else(|| misread(column, unix_ms))
                };
                let unit = UnitName::new(row.get_ref(0)?.as_str()?).map_err(|error| misread("unit", error))?;
                let organisation = name_in("organisation", row.get_ref(1)?.as_str()?)?;
                Ok(Sight { unit, organisation, from: time("from_ms")?, until: time("until_ms")? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Refuses a sight that is none: of an organisation that is not there, or that does not end in time.
pub(crate) fn check(connection: &Connection, sight: &Sight) -> Result<(), StoreError> {
    let of = Of { what: "unit", name: sight.unit.as_str() };
    span(of, "until", sight.from, Some(sight.until))?;
    if sight.until > sight.from.after(SIGHT_TIME_MAX) {
        let hours = SIGHT_TIME_MAX.as_secs() / 3_600;
        return Err(of.invalid("until", format!("it ends more than {hours} hours after its begin")).into());
    }
    if version_of(connection, &sight.organisation)?.is_none() {
        return Err(of.invalid("for_org", format!("there is no organisation `{}`", sight.organisation)).into());
    }
    Ok(())
}

/// From now on `sight`, or none, stands with the assignment of `owner`.
pub(crate) fn replace(
    connection: &Connection,
    unit: &UnitName,
    owner: Owner,
    sight: Option<&Sight>,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM sights WHERE unit = ?1 AND owner = ?2";
    connection.execute(sql, params![unit.as_str(), owner.as_str()])?;
    if let Some(Sight { organisation, from, until, .. }) = sight {
        let sql = "INSERT INTO sights (unit, owner, organisation, from_ms, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![unit.as_str(), owner.as_str(), organisation.as_str(), from.unix_ms(), until.unix_ms()];
        connection.execute(sql, values)?;
    }
    Ok(())
}

/// A unit that is taken out of service is lent to nobody, also when one of its name comes later.
pub(crate) fn end_all(connection: &Connection, unit: &UnitName) -> Result<(), StoreError> {
    connection.execute("DELETE FROM sights WHERE unit = ?1", [unit.as_str()])?;
    Ok(())
}
