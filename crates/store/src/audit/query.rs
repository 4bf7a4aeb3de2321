use std::io::{self, Write};

use model::limits::{AUDIT_PAGE_ROWS_MAX, AUDIT_SCAN_ROWS_MAX};
use model::{Timestamp, UnitName};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};

use super::chain::{Hash, Stored, hash_of, hex};
use super::seen::Names;
use crate::sqlite::{misread, signed, unsigned};
use crate::{Store, StoreError};

/// Which rows of the audit are asked for. All that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// By this principal.
    pub principal: Option<String>,
    /// With this action; `look.*` is any that begins with `look.`.
    pub action: Option<String>,
    /// About this.
    pub resource: Option<String>,
    /// Only looks at which this unit was seen.
    pub unit: Option<UnitName>,
}

/// One row of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number; they have no holes.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// Who; empty where it could not be told.
    pub principal: String,
    /// In which role; empty where it could not be told.
    pub role: String,
    /// For which organisation; `None` is all.
    pub organisation: Option<String>,
    /// What was done.
    pub action: String,
    /// To what.
    pub resource: String,
    /// `ok` or `refused`.
    pub outcome: String,
    /// More, as JSON text; may be empty.
    pub detail: String,
    /// Whom a look saw, in the order of their names; `None` where it is no look.
    pub units: Option<Vec<String>>,
    /// Covers this row and all before it.
    pub hash: [u8; 32],
}

impl Row {
    /// The row as a JSON object, as it is exported.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "sequence": self.sequence,
            "time": self.time.to_string(),
            "principal": self.principal,
            "role": self.role,
            "org": self.organisation,
            "action": self.action,
            "resource": self.resource,
            "outcome": self.outcome,
            "detail": serde_json::from_str::<Value>(&self.detail).unwrap_or_default(),
            "units": self.units,
            "hash": hex(&self.hash),
        })
    }
}

/// Where a page of the audit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    time_ms: i64,
    sequence: u64,
}

impl Cursor {
    /// Reads what [`std::fmt::Display`] prints.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time_ms, sequence) = text.split_once('.')?;
        Some(Self { time_ms: time_ms.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.time_ms, self.sequence)
    }
}

/// Rows of the audit, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where to go on; `None` when there are no more. A page may be short, or empty, and have it all the same: one
    /// question looks at no more than [`AUDIT_SCAN_ROWS_MAX`] rows.
    pub next: Option<Cursor>,
}

const COLUMNS: &str = "sequence, hash, time_ms, principal, role, organisation, action, resource, outcome, detail, seen";

impl Store {
    /// Asks for up to `limit` rows, at most [`AUDIT_PAGE_ROWS_MAX`], the newest first, after `after`.
    ///
    /// Costs a walk over the rows of the time asked for, or of the principal.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn query_audit(&self, filter: &Filter, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let limit = limit.min(AUDIT_PAGE_ROWS_MAX);
        let (mut conditions, mut values) = conditions(filter);
        if let Some(Cursor { time_ms, sequence }) = after {
            conditions.push("(time_ms, sequence) < (?, ?)".to_owned());
            values.extend([Sql::from(time_ms), Sql::from(signed(sequence))]);
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM audit WHERE {} ORDER BY time_ms DESC, sequence DESC",
            if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") }
        );
        self.read_apart(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let mut found = statement.query(params_from_iter(values))?;
            let (mut page, mut examined) = (Page { rows: Vec::new(), next: None }, 0);
            while let Some(row) = found.next()? {
                let (stored, hash) = stored_in(row)?;
                examined += 1;
                let here = Cursor { time_ms: stored.time_ms, sequence: stored.sequence };
                if wants(filter, &stored) {
                    page.rows.push(shown(&stored, hash)?);
                }
                if page.rows.len() >= limit || examined >= AUDIT_SCAN_ROWS_MAX {
                    page.next = Some(here);
                    break;
                }
            }
            Ok(page)
        })
    }

    /// Writes all rows asked for as JSON, one a line, the oldest first; returns how many.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unusable`] when `out` refuses.
    pub fn export_audit(&self, filter: &Filter, out: &mut dyn Write) -> Result<u64, StoreError> {
        let (conditions, values) = conditions(filter);
        let sql = format!(
            "SELECT {COLUMNS} FROM audit WHERE {} ORDER BY sequence",
            if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") }
        );
        let refused = |error: io::Error| StoreError::Unusable { path: "the output".into(), error };
        self.read_apart(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let mut found = statement.query(params_from_iter(values))?;
            let mut count = 0;
            while let Some(row) = found.next()? {
                let (stored, hash) = stored_in(row)?;
                if wants(filter, &stored) {
                    writeln!(out, "{}", shown(&stored, hash)?.to_json()).map_err(refused)?;
                    count += 1;
                }
            }
            out.flush().map_err(refused)?;
            Ok(count)
        })
    }

    /// Visits all rows as they are stored, in order, until `visit` says that it has enough.
    pub(super) fn walk(
        connection: &Connection,
        visit: &mut dyn FnMut(Stored<'_>, Hash) -> bool,
    ) -> Result<(), StoreError> {
        let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM audit ORDER BY sequence"))?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let (stored, hash) = stored_in(row)?;
            if !visit(stored, hash) {
                break;
            }
        }
        Ok(())
    }
}

fn conditions(filter: &Filter) -> (Vec<String>, Vec<Sql>) {
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    let mut also = |condition: &str, value: Sql| {
        conditions.push(condition.to_owned());
        values.push(value);
    };
    if let Some(from) = filter.from {
        also("time_ms >= ?", from.unix_ms().into());
    }
    if let Some(until) = filter.until {
        also("time_ms < ?", until.unix_ms().into());
    }
    if let Some(principal) = &filter.principal {
        also("principal = ?", principal.clone().into());
    }
    if let Some(resource) = &filter.resource {
        also("resource = ?", resource.clone().into());
    }
    if filter.unit.is_some() {
        conditions.push("seen IS NOT NULL".to_owned());
    }
    (conditions, values)
}

/// What SQL does not say of the filter.
fn wants(filter: &Filter, row: &Stored<'_>) -> bool {
    let is_action = filter.action.as_ref().is_none_or(|wanted| match wanted.strip_suffix('*') {
        Some(start) => row.action.starts_with(start),
        None => row.action == wanted,
    });
    let saw = |unit: &UnitName| row.seen.and_then(Names::of).is_some_and(|names| names.has(unit.as_str().as_bytes()));
    is_action && filter.unit.as_ref().is_none_or(saw)
}

fn stored_in<'a>(row: &'a rusqlite::Row<'_>) -> Result<(Stored<'a>, Hash), rusqlite::Error> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
    let bytes = row.get_ref(1)?.as_blob()?;
    let hash = hash_of(bytes).ok_or_else(|| misread("hash", format!("{} bytes are no hash", bytes.len())))?;
    let stored = Stored {
        sequence: unsigned(row.get(0)?),
        time_ms: row.get(2)?,
        principal: text(3)?,
        role: text(4)?,
        organisation: row.get_ref(5)?.as_str_or_null()?,
        action: text(6)?,
        resource: text(7)?,
        outcome: text(8)?,
        detail: text(9)?,
        seen: row.get_ref(10)?.as_blob_or_null()?,
    };
    Ok((stored, hash))
}

fn shown(row: &Stored<'_>, hash: Hash) -> Result<Row, StoreError> {
    let time = Timestamp::from_unix_ms(row.time_ms).ok_or_else(|| misread("time_ms", row.time_ms))?;
    let units = match row.seen {
        None => None,
        Some(blob) => {
            let names = Names::of(blob).and_then(Names::all);
            Some(names.ok_or_else(|| misread("seen", format!("row {} holds no names", row.sequence)))?)
        }
    };
    Ok(Row {
        sequence: row.sequence,
        time,
        principal: row.principal.to_owned(),
        role: row.role.to_owned(),
        organisation: row.organisation.map(str::to_owned),
        action: row.action.to_owned(),
        resource: row.resource.to_owned(),
        outcome: row.outcome.to_owned(),
        detail: row.detail.to_owned(),
        units,
        hash,
    })
}
