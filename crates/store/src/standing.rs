//! Standing queries: they outlive the process, and each change of them is in the audit.

mod written;

use std::sync::Arc;

use model::limits::{STANDING_MAX, STANDING_PER_ORGANISATION_MAX};
use model::{OrganisationName, Principal, PrincipalName, Standing, StandingEnd, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::change::members;
use crate::sqlite::{counter, misread, raise, signed, unsigned};
use crate::{By, Refusal, Store, StoreError};

const WHAT: &str = "standing query";

/// A standing query as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingRecord {
    /// Its name; never used again.
    pub number: u64,
    /// What is asked.
    pub standing: Standing,
    /// Why it ended: it is there only so that this can be told.
    pub ended: Option<StandingEnd>,
}

impl Store {
    /// A number that rises with every change of standing queries, also of another process.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn standing_version(&self) -> Result<u64, StoreError> {
        self.read(|connection| counter(connection, "standing"))
    }

    /// All of them by number, also those that ended and whose end was not told.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn standing(&self) -> Result<Vec<StandingRecord>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT number, principal, role, organisation, incident, created_ms, until_ms, question, ended
                       FROM standing ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], record_in)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps a query; returns its number.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] when there are [`STANDING_MAX`], or [`STANDING_PER_ORGANISATION_MAX`] of its organisation.
    pub fn add_standing(&self, by: &By<'_>, standing: &Standing) -> Result<u64, StoreError> {
        self.change(by, |change| {
            refuse_too_many(change.transaction, standing.organisation())?;
            let number = raise(change.transaction, "standing")?;
            let question = written::question_value(standing.question());
            let sql =
                "INSERT INTO standing (number, principal, role, organisation, incident, created_ms, until_ms, question)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let owner = standing.owner();
            let values = params![
                signed(number),
                owner.name.as_str(),
                owner.role.as_str(),
                owner.organisation.as_ref().map(|name| name.as_str()),
                standing.incident(),
                standing.created().unix_ms(),
                standing.until().unix_ms(),
                question.to_string(),
            ];
            change.transaction.prepare_cached(sql)?.execute(values)?;
            let detail = members([
                ("incident", standing.incident().into()),
                ("until", standing.until().to_string().into()),
                ("question", question),
            ]);
            change.record("standing.add", &number.to_string(), detail)?;
            Ok(number)
        })
    }

    /// Ends queries; those that ended already, or are not there, are left as they are. Returns how many ended.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn end_standing(&self, by: &By<'_>, ends: &[(u64, StandingEnd)]) -> Result<usize, StoreError> {
        let open = self.standing()?.into_iter().filter(|record| record.ended.is_none());
        let open: Vec<_> = open.map(|record| record.number).collect();
        let ends: Vec<_> = ends.iter().filter(|(number, _)| open.contains(number)).collect();
        if ends.is_empty() {
            return Ok(0);
        }
        self.change(by, |change| {
            for (number, why) in &ends {
                let sql = "UPDATE standing SET ended = ?2 WHERE number = ?1 AND ended IS NULL";
                change.transaction.prepare_cached(sql)?.execute(params![signed(*number), why.as_str()])?;
                change.record("standing.end", &number.to_string(), members([("why", why.as_str().into())]))?;
            }
            raise(change.transaction, "standing")?;
            Ok(ends.len())
        })
    }

    /// Ends a query because somebody wants it to.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] when it is not there or has ended.
    pub fn delete_standing(&self, by: &By<'_>, number: u64) -> Result<(), StoreError> {
        match self.end_standing(by, &[(number, StandingEnd::Deleted)])? {
            0 => Err(Refusal::Unknown { what: WHAT, name: number.to_string() }.into()),
            _ => Ok(()),
        }
    }

    /// Forgets queries whose end was told. Nothing of that is audited: the end was.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn forget_standing(&self, numbers: &[u64]) -> Result<(), StoreError> {
        self.write(Timestamp::MIN, crate::sqlite::Durability::Process, |transaction, _| {
            let mut statement =
                transaction.prepare_cached("DELETE FROM standing WHERE number = ?1 AND ended IS NOT NULL")?;
            for number in numbers {
                statement.execute([signed(*number)])?;
            }
            raise(transaction, "standing")?;
            Ok(())
        })
    }
}

fn refuse_too_many(connection: &Connection, organisation: Option<&OrganisationName>) -> Result<(), StoreError> {
    let count = |sql: &str, of: &[&dyn rusqlite::ToSql]| -> Result<usize, StoreError> {
        let count: i64 = connection.prepare_cached(sql)?.query_row(of, |row| row.get(0))?;
        Ok(unsigned(count) as usize)
    };
    let all = count("SELECT count(*) FROM standing WHERE ended IS NULL", &[])?;
    let too_many = |limit| Err(Refusal::TooMany { what: WHAT, limit }.into());
    if all >= STANDING_MAX {
        return too_many(STANDING_MAX);
    }
    let Some(organisation) = organisation else { return Ok(()) };
    let own = "SELECT count(*) FROM standing WHERE ended IS NULL AND organisation = ?1";
    if count(own, &[&organisation.as_str()])? >= STANDING_PER_ORGANISATION_MAX {
        return too_many(STANDING_PER_ORGANISATION_MAX);
    }
    Ok(())
}

fn record_in(row: &Row<'_>) -> Result<StandingRecord, rusqlite::Error> {
    let time = |column: &'static str| {
        let unix_ms = row.get(column)?;
        Timestamp::from_unix_ms(unix_ms).ok_or_else(|| misread(column, unix_ms))
    };
    let text = |column: &'static str| row.get::<_, String>(column);
    let organisation: Option<String> = row.get("organisation")?;
    let organisation = organisation.map(|name| OrganisationName::new(&name)).transpose();
    let owner = Principal {
        name: PrincipalName::new(&text("principal")?).map_err(|error| misread("principal", error))?,
        role: text("role")?.parse().map_err(|error| misread("role", error))?,
        organisation: organisation.map_err(|error| misread("organisation", error))?,
    };
    let question = written::question_in(&text("question")?).map_err(|error| misread("question", error))?;
    let (created, until) = (time("created_ms")?, time("until_ms")?);
    let standing = Standing::new(Arc::new(owner), &text("incident")?, created, until, question);
    let ended: Option<String> = row.get("ended")?;
    Ok(StandingRecord {
        number: unsigned(row.get("number")?),
        standing: standing.map_err(|error| misread("question", error))?,
        ended: ended.map(|why| why.parse().map_err(|error| misread("ended", error))).transpose()?,
    })
}
