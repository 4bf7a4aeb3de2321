use std::collections::HashSet;

use model::{Command, OrganisationName, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::change::members;
use crate::checks::{Of, span};
use crate::organisations::{name_in, version_of};
use crate::sqlite::{misread, signed, unsigned};
use crate::{By, IfMatch, Refusal, Store, StoreError, Versioned};

const WHAT: &str = "command";
const COLUMNS: &str = "organisation, under, from_ms, until_ms, version";

impl Store {
    /// All commands, also those that ended.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn commands(&self) -> Result<Vec<Versioned<Command>>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM commands ORDER BY organisation, from_ms, under");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([], command_in)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Puts an organisation under operational command for a time, or changes when that ends. A command is known by its
    /// organisation, commander and begin.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Invalid`] for an organisation that is not there or a span without
    /// inside; [`Refusal::Cycle`] when the commander is below the commanded, at any time of the command.
    pub fn put_command(&self, by: &By<'_>, command: &Command, if_match: IfMatch) -> Result<u64, StoreError> {
        let Command { organisation, under, from, until } = command;
        let named = named(command);
        let of = Of { what: WHAT, name: &named };
        span(of, "until", *from, Some(*until))?;
        self.change(by, |change| {
            for (field, name) in [("organisation", organisation), ("under", under)] {
                if version_of(change.transaction, name)?.is_none() {
                    return Err(of.invalid(field, format!("there is no organisation `{name}`")).into());
                }
            }
            if_match.check(WHAT, &named, version_of_command(change.transaction, command)?)?;
            refuse_cycle(change.transaction, command)?;
            let version = change.next_version()?;
            let sql = format!(
                "INSERT INTO commands ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET until_ms = ?4, version = ?5"
            );
            let values =
                params![organisation.as_str(), under.as_str(), from.unix_ms(), until.unix_ms(), signed(version)];
            change.transaction.execute(&sql, values)?;
            change.record(
                "command.put",
                &named,
                members([("version", version.into()), ("until", until.to_string().into())]),
            )?;
            Ok(version)
        })
    }

    /// Removes a command as if it had never been; to end one, put it with its end.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Unknown`].
    pub fn delete_command(&self, by: &By<'_>, command: &Command, if_match: IfMatch) -> Result<(), StoreError> {
        let named = named(command);
        self.change(by, |change| {
            let found = version_of_command(change.transaction, command)?;
            if_match.check(WHAT, &named, found)?;
            if found.is_none() {
                return Err(Refusal::Unknown { what: WHAT, name: named.clone() }.into());
            }
            let sql = "DELETE FROM commands WHERE organisation = ?1 AND under = ?2 AND from_ms = ?3";
            let values = params![command.organisation.as_str(), command.under.as_str(), command.from.unix_ms()];
            change.transaction.execute(sql, values)?;
            let version = change.next_version()?;
            change.record("command.delete", &named, members([("version", version.into())]))
        })
    }
}

fn named(command: &Command) -> String {
    format!("{} under {} from {}", command.organisation, command.under, command.from)
}

fn version_of_command(connection: &Connection, command: &Command) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT version FROM commands WHERE organisation = ?1 AND under = ?2 AND from_ms = ?3";
    let values = params![command.organisation.as_str(), command.under.as_str(), command.from.unix_ms()];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?.map(unsigned))
}

/// Walks up from the commander, over parents and over commands of that time; the commanded must not be there.
fn refuse_cycle(connection: &Connection, command: &Command) -> Result<(), StoreError> {
    let sql = "SELECT parent FROM organisations WHERE name = ?1 AND parent IS NOT NULL
               UNION SELECT under FROM commands WHERE organisation = ?1 AND from_ms < ?3 AND until_ms > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut seen, mut open) = (HashSet::new(), vec![command.under.as_str().to_owned()]);
    while let Some(one) = open.pop() {
        if one == command.organisation.as_str() {
            let (organisation, under) = (one, command.under.as_str().to_owned());
            return Err(Refusal::Cycle { organisation, under }.into());
        }
        if seen.insert(one.clone()) {
            let values = params![one, command.from.unix_ms(), command.until.unix_ms()];
            let above = statement.query_map(values, |row| row.get(0))?;
            open.extend(above.collect::<Result<Vec<String>, _>>()?);
        }
    }
    Ok(())
}

fn command_in(row: &Row<'_>) -> Result<Versioned<Command>, rusqlite::Error> {
    let name = |column| name_in(column, &row.get::<_, String>(column)?);
    let time = |column: &'static str| {
        let unix_ms = row.get(column)?;
        Timestamp::from_unix_ms(unix_ms).ok_or_else(|| misread(column, unix_ms))
    };
    let (organisation, under): (OrganisationName, OrganisationName) = (name("organisation")?, name("under")?);
    let value = Command { organisation, under, from: time("from_ms")?, until: time("until_ms")? };
    Ok(Versioned { version: unsigned(row.get("version")?), value })
}
