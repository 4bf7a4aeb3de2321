//! How spans of time stand in the tables: `from_ms` and `until_ms`.

use model::{Span, Timestamp};
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::sqlite::misread;

/// What `until_ms` is in a span without end.
pub(crate) const OPEN: i64 = i64::MAX;

pub(crate) fn span_in(row: &Row<'_>, from: usize, until: usize) -> Result<Span, rusqlite::Error> {
    let until: i64 = FromSql::column_result(row.get_ref(until)?)?;
    let time = |unix_ms| Timestamp::from_unix_ms(unix_ms).ok_or_else(|| misread("from_ms or until_ms", unix_ms));
    let until = if until == OPEN { None } else { Some(time(until)?) };
    Ok(Span { from: time(row.get(from)?)?, until })
}

pub(crate) fn until_ms(span: Span) -> i64 {
    span.until.map_or(OPEN, Timestamp::unix_ms)
}
