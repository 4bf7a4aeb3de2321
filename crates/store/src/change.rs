use model::limits::REASON_BYTES_MAX;
use rusqlite::Transaction;
use serde_json::{Map, Value};

use crate::audit::{Chain, Fields, Outcome};
use crate::sqlite::{Durability, raise};
use crate::tokens::BOOTSTRAP;
use crate::{By, Refusal, Store, StoreError};

/// The action of the one change that the one-time token may make.
pub(crate) const TOKEN_CREATE: &str = "token.create";

/// A change on its way: its transaction, and the audit that it appends to.
pub(crate) struct Change<'a> {
    pub(crate) transaction: &'a Transaction<'a>,
    pub(crate) by: &'a By<'a>,
    chain: &'a mut Chain,
    records: u64,
}

impl Store {
    /// Makes a change and its rows of the audit in one transaction, on stable storage when it returns.
    pub(crate) fn change<T>(
        &self,
        by: &By<'_>,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(reason) = by.reason.filter(|reason| reason.len() > REASON_BYTES_MAX) {
            return Err(Refusal::ReasonTooLong { bytes: reason.len() }.into());
        }
        self.write(by.now, Durability::Machine, |transaction, chain| {
            let mut change = Change { transaction, by, chain, records: 0 };
            let value = work(&mut change)?;
            assert!(change.records > 0, "a change writes its row of the audit");
            Ok(value)
        })
    }
}

impl Change<'_> {
    /// The version of the next thing that is changed.
    pub(crate) fn next_version(&self) -> Result<u64, StoreError> {
        raise(self.transaction, "version")
    }

    /// Appends the row that tells of this change.
    pub(crate) fn record(
        &mut self,
        action: &str,
        resource: &str,
        mut detail: Map<String, Value>,
    ) -> Result<(), StoreError> {
        let principal = self.by.principal;
        if principal.name.as_str() == BOOTSTRAP && action != TOKEN_CREATE {
            return Err(Refusal::OneTime.into());
        }
        if let Some(reason) = self.by.reason {
            detail.insert("reason".to_owned(), reason.into());
        }
        self.records += 1;
        let fields = Fields {
            time: self.by.now,
            principal: principal.name.as_str(),
            role: principal.role.as_str(),
            organisation: principal.organisation.as_ref().map(|name| name.as_str()),
            action,
            resource,
            outcome: Outcome::Ok,
            detail: &Value::Object(detail),
            seen: None,
        };
        self.chain.append(self.transaction, &fields)
    }
}

/// The members of a JSON object.
pub(crate) fn members<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
