//! Who did and saw what: rows that are appended only, each hashed with the one before. `docs/formats/audit.md` is the layout.

mod chain;
mod expire;
mod head;
mod query;
mod seen;
mod verify;

use std::fmt;
use std::sync::Arc;

use model::limits::LOOK_UNITS_MAX;
use model::{Principal, Timestamp, UnitName};
use serde_json::Value;

pub(crate) use chain::{Chain, Fields, hex};
pub use head::Head;
pub(crate) use head::HeadFile;
pub use query::{Cursor, Filter, Page, Row};
pub use verify::{Fault, Problem, Verdict};

use crate::sqlite::Durability;
use crate::{Store, StoreError};

/// What came of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was not allowed, or could not be done.
    Refused,
}

impl Outcome {
    /// The word in the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is to be remembered and is no change of the store: a log-on, a refusal, broken glass.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When.
    pub time: Timestamp,
    /// Who; `None` where it could not be told, as with an unknown token.
    pub principal: Option<Principal>,
    /// What, as a word that stays the same: `log_on`.
    pub action: &'static str,
    /// Of what; cut at [`model::limits::AUDIT_RESOURCE_BYTES_MAX`].
    pub resource: String,
    /// What came of it.
    pub outcome: Outcome,
    /// More, as JSON; beyond [`model::limits::AUDIT_DETAIL_BYTES_MAX`] only its length and digest are kept.
    pub detail: Value,
}

/// That somebody saw places of units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub time: Timestamp,
    /// Who.
    pub principal: Arc<Principal>,
    /// How, as a word that stays the same: `look.nearest`.
    pub action: &'static str,
    /// For what: an incident, a zone; may be empty.
    pub resource: String,
    /// Whom, in any order.
    pub units: Vec<UnitName>,
}

impl Store {
    /// Appends records in one transaction; they are on stable storage when it returns.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is in the audit.
    pub fn audit(&self, records: &[Record]) -> Result<(), StoreError> {
        let Some(last) = records.last() else { return Ok(()) };
        self.write(last.time, Durability::Machine, |transaction, chain| {
            for record in records {
                let principal = record.principal.as_ref();
                let organisation = principal.and_then(|principal| principal.organisation.as_ref());
                let fields = Fields {
                    time: record.time,
                    principal: principal.map_or("", |principal| principal.name.as_str()),
                    role: principal.map_or("", |principal| principal.role.as_str()),
                    organisation: organisation.map(|name| name.as_str()),
                    action: record.action,
                    resource: &record.resource,
                    outcome: record.outcome,
                    detail: &record.detail,
                    seen: None,
                };
                chain.append(transaction, &fields)?;
            }
            Ok(())
        })
    }

    /// Appends looks in one transaction, a row each, or more for one at more than [`LOOK_UNITS_MAX`] units.
    ///
    /// They survive the end of the process when it returns; the end of the machine only after the next change, the next
    /// [`Self::audit`], 10,000 looks or an hour (`PRAGMA synchronous = NORMAL`): nobody waits for the disk to see a map.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is in the audit.
    pub fn looks(&self, looks: &[Look]) -> Result<(), StoreError> {
        let Some(last) = looks.last() else { return Ok(()) };
        self.write(last.time, Durability::Process, |transaction, chain| {
            for look in looks {
                let parts = look.units.chunks(LOOK_UNITS_MAX).map(seen::lay);
                let none = look.units.is_empty().then(|| seen::lay(&[]));
                for seen in parts.chain(none) {
                    let fields = Fields {
                        time: look.time,
                        principal: look.principal.name.as_str(),
                        role: look.principal.role.as_str(),
                        organisation: look.principal.organisation.as_ref().map(|name| name.as_str()),
                        action: look.action,
                        resource: &look.resource,
                        outcome: Outcome::Ok,
                        detail: &Value::Null,
                        seen: Some(&seen),
                    };
                    chain.append(transaction, &fields)?;
                }
            }
            Ok(())
        })
    }
}
