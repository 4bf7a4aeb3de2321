use model::Timestamp;
use model::limits::{AUDIT_DETAIL_BYTES_MAX, AUDIT_RESOURCE_BYTES_MAX};
use ring::digest::{Context, SHA256, digest};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

use super::Outcome;
use super::head::Head;
use crate::StoreError;
use crate::sqlite::{misread, signed, unsigned};

/// A SHA-256 digest.
pub(crate) type Hash = [u8; 32];

/// Begins every hash, so that no other text of ours has the same.
const TITLE: &[u8] = b"muster audit 1\n";

/// The action of the row that says that the end of the audit was not the one that was expected.
pub(crate) const BROKEN: &str = "audit.broken";

/// What a row says, before it is hashed.
pub(crate) struct Fields<'a> {
    pub(crate) time: Timestamp,
    pub(crate) principal: &'a str,
    pub(crate) role: &'a str,
    pub(crate) organisation: Option<&'a str>,
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) outcome: Outcome,
    pub(crate) detail: &'a Value,
    pub(crate) seen: Option<&'a [u8]>,
}

/// A row as it lies in the table.
pub(crate) struct Stored<'a> {
    pub(crate) sequence: u64,
    pub(crate) time_ms: i64,
    pub(crate) principal: &'a str,
    pub(crate) role: &'a str,
    pub(crate) organisation: Option<&'a str>,
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) outcome: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) seen: Option<&'a [u8]>,
}

impl Stored<'_> {
    /// The hash of this row behind the one with the hash `before`.
    pub(crate) fn hash(&self, before: &Hash) -> Hash {
        let mut bytes = Vec::with_capacity(256 + self.seen.map_or(0, <[u8]>::len));
        bytes.extend_from_slice(TITLE);
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.time_ms.to_le_bytes());
        lay(&mut bytes, self.principal.as_bytes());
        lay(&mut bytes, self.role.as_bytes());
        lay_optional(&mut bytes, self.organisation.map(str::as_bytes));
        lay(&mut bytes, self.action.as_bytes());
        lay(&mut bytes, self.resource.as_bytes());
        lay(&mut bytes, self.outcome.as_bytes());
        lay(&mut bytes, self.detail.as_bytes());
        lay_optional(&mut bytes, self.seen);
        let mut context = Context::new(&SHA256);
        context.update(&bytes);
        hash_of(context.finish().as_ref()).expect("SHA-256 has 32 bytes")
    }
}

fn lay(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
    bytes.extend_from_slice(field);
}

fn lay_optional(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    bytes.push(u8::from(field.is_some()));
    lay(bytes, field.unwrap_or_default());
}

/// The digest in `bytes`, if they are one.
pub(crate) fn hash_of(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok()
}

/// The end of the audit, to which rows are appended.
#[derive(Debug)]
pub(crate) struct Chain(Head);

impl Chain {
    /// The end as it is in the file: the last row, or the anchor where no row is left.
    pub(crate) fn end(connection: &Connection) -> Result<Self, StoreError> {
        let mut statement =
            connection.prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?;
        let last = statement.query_row([], head_in).optional()?;
        Ok(Self(match last {
            Some(head) => head,
            None => anchor(connection)?,
        }))
    }

    /// The last row.
    pub(crate) fn head(&self) -> Head {
        self.0
    }

    /// Says so in the audit when the row `last`, which this process knows, is not there any more.
    pub(crate) fn expect(&mut self, connection: &Connection, last: Head, now: Timestamp) -> Result<(), StoreError> {
        // Most often nobody else wrote in between.
        if self.0 == last || holds(connection, last)? {
            return Ok(());
        }
        self.complain(connection, "a row that was appended is not there", last, now)
    }

    /// Appends the row [`BROKEN`].
    pub(crate) fn complain(
        &mut self,
        connection: &Connection,
        problem: &str,
        expected: Head,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let detail = json!({"problem": problem, "sequence": expected.sequence, "hash": expected.hex()});
        let mut said = connection.prepare("SELECT 1 FROM audit WHERE action = ?1 AND detail = ?2")?;
        // Once is enough, however often the store is opened.
        if said.exists([BROKEN, &detail.to_string()])? {
            return Ok(());
        }
        self.append_own(connection, BROKEN, &detail, now)
    }

    /// Appends a row of which Muster itself is the author.
    pub(crate) fn append_own(
        &mut self,
        connection: &Connection,
        action: &str,
        detail: &Value,
        time: Timestamp,
    ) -> Result<(), StoreError> {
        let (principal, role, outcome) = ("muster", "", Outcome::Refused);
        let fields = Fields {
            time,
            principal,
            role,
            organisation: None,
            action,
            resource: "audit",
            outcome,
            detail,
            seen: None,
        };
        self.append(connection, &fields)
    }

    /// Appends one row.
    pub(crate) fn append(&mut self, connection: &Connection, fields: &Fields<'_>) -> Result<(), StoreError> {
        let detail = bounded_detail(fields.detail);
        let stored = Stored {
            sequence: self.0.sequence + 1,
            time_ms: fields.time.unix_ms(),
            principal: fields.principal,
            role: fields.role,
            organisation: fields.organisation,
            action: fields.action,
            resource: cut(fields.resource, AUDIT_RESOURCE_BYTES_MAX),
            outcome: fields.outcome.as_str(),
            detail: &detail,
            seen: fields.seen,
        };
        let hash = stored.hash(&self.0.hash);
        let mut statement = connection.prepare_cached(
            "INSERT INTO audit (sequence, time_ms, principal, role, organisation, action, resource, outcome, detail, seen, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        statement.execute(params![
            signed(stored.sequence),
            stored.time_ms,
            stored.principal,
            stored.role,
            stored.organisation,
            stored.action,
            stored.resource,
            stored.outcome,
            stored.detail,
            stored.seen,
            hash,
        ])?;
        self.0 = Head { sequence: stored.sequence, hash };
        Ok(())
    }
}

/// The row before the first.
pub(crate) fn anchor(connection: &Connection) -> Result<Head, StoreError> {
    let mut statement = connection.prepare_cached("SELECT sequence, hash FROM audit_anchor WHERE id = 1")?;
    Ok(statement.query_row([], head_in)?)
}

/// Whether `head` is a row of the audit, or was removed by retention since.
pub(crate) fn holds(connection: &Connection, head: Head) -> Result<bool, StoreError> {
    let anchor = anchor(connection)?;
    if head.sequence <= anchor.sequence {
        return Ok(head.sequence < anchor.sequence || head.hash == anchor.hash);
    }
    let mut statement = connection.prepare_cached("SELECT sequence, hash FROM audit WHERE sequence = ?1")?;
    let found = statement.query_row([signed(head.sequence)], head_in).optional()?;
    Ok(found == Some(head))
}

/// Sequence and hash, the first two columns.
pub(crate) fn head_in(row: &rusqlite::Row<'_>) -> Result<Head, rusqlite::Error> {
    let bytes = row.get_ref(1)?.as_blob()?;
    let hash = hash_of(bytes).ok_or_else(|| misread("hash", format!("{} bytes are no hash", bytes.len())))?;
    Ok(Head { sequence: unsigned(row.get(0)?), hash })
}

fn bounded_detail(detail: &Value) -> String {
    if detail.is_null() {
        return String::new();
    }
    let text = detail.to_string();
    if text.len() <= AUDIT_DETAIL_BYTES_MAX {
        return text;
    }
    let mut short = json!({"bytes": text.len(), "sha256": hex(digest(&SHA256, text.as_bytes()).as_ref())});
    // What finds the change again stays.
    for kept in ["version", "reason"] {
        if let Some(value) = detail.get(kept) {
            short[kept] = value.clone();
        }
    }
    short.to_string()
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
