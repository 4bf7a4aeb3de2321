use model::limits::{AUDIT_EXPIRE_ROWS_MAX, AUDIT_RETAIN_TIME};
use rusqlite::{Connection, params};

use super::chain::head_in;
use super::head::Head;
use crate::change::members;
use crate::sqlite::signed;
use crate::{By, Store, StoreError};

/// The action of the row that says up to where rows were removed.
pub(crate) const EXPIRE: &str = "audit.expire";

impl Store {
    /// Removes rows older than [`AUDIT_RETAIN_TIME`], from the first on, up to [`AUDIT_EXPIRE_ROWS_MAX`] of them; returns how
    /// many. What is left stays verifiable: the last removed row is kept as anchor, and a new row names it.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is removed.
    pub fn expire_audit(&self, by: &By<'_>) -> Result<u64, StoreError> {
        let cutoff = by.now.shifted_ms(-(AUDIT_RETAIN_TIME.as_millis() as i64)).unix_ms();
        if self.read(|connection| last_before(connection, cutoff))?.is_none() {
            return Ok(0);
        }
        self.change(by, |change| {
            let connection = change.transaction;
            // Another process may have removed them just now.
            let last = last_before(connection, cutoff)?.ok_or(StoreError::Busy)?;
            let detail = members([("up_to", last.sequence.into()), ("hash", last.hex().into())]);
            change.record(EXPIRE, "audit", detail)?;
            connection.execute(
                "UPDATE audit_anchor SET sequence = ?1, hash = ?2",
                params![signed(last.sequence), last.hash],
            )?;
            let removed = connection.execute("DELETE FROM audit WHERE sequence <= ?1", [signed(last.sequence)])?;
            Ok(removed as u64)
        })
    }
}

/// The last of the rows from the first on that are older than `cutoff`.
fn last_before(connection: &Connection, cutoff: i64) -> Result<Option<Head>, StoreError> {
    let mut statement = connection.prepare("SELECT sequence, hash, time_ms FROM audit ORDER BY sequence LIMIT ?1")?;
    let mut rows = statement.query([signed(AUDIT_EXPIRE_ROWS_MAX)])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(2)? >= cutoff {
            break;
        }
        last = Some(head_in(row)?);
    }
    Ok(last)
}
