//! The tables, as migrations: entry N takes a file from layout N to N + 1. An entry that was released is never changed.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::StoreError;

const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
];

/// Brings a file to the newest layout.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let at = StoreError::at(path);
    let known = MIGRATIONS.len() as i64;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&at)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(&at)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let done = usize::try_from(found).map_err(|_| StoreError::Damaged {
        path: path.to_owned(),
        problem: format!("its layout is {found}, which is none"),
    })?;
    for migration in MIGRATIONS.get(done..).unwrap_or_default() {
        transaction.execute_batch(migration).map_err(&at)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(&at)?;
    transaction.commit().map_err(&at)
}
