//! What is said of a unit by the hour: its status and its assignment.

use model::limits::{CHANGE_KEYS_KEPT, DETAIL_NAME_BYTES_MAX};
use model::{Owner, Said, SaidOf, Sight, Status, Timestamp, UnitName};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::change::{Change, members};
use crate::checks::{Of, label};
use crate::sqlite::{misread, signed};
use crate::{By, Refusal, Store, StoreError, sights};

/// What became of something said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It holds, or would if no owner before this one had spoken.
    Taken,
    /// The same key was taken before: it is one change.
    Repeated,
    /// The same owner said something newer already. It is in the audit.
    Late,
}

impl Heard {
    /// The word in answers and in the audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Repeated => "repeated",
            Self::Late => "late",
        }
    }
}

impl Store {
    /// Takes what `owner` says of a unit at the event time in `said`; `key` makes it one change however often it is sent. What
    /// CAD says stands before what a terminal says, and that before the record; nothing older than what the same owner said is
    /// taken. Each is in the audit, so that what was known at any time can be told later.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] for a unit that is not in the store; [`Refusal::Invalid`] for a text over its limit.
    pub fn say(
        &self,
        by: &By<'_>,
        unit: &UnitName,
        owner: Owner,
        said: &Said,
        key: Option<&str>,
    ) -> Result<Heard, StoreError> {
        self.say_and_lend(by, unit, owner, said, key, None)
    }

    /// The same, and while an assignment in `said` stands the unit is lent to the `sight` of another organisation. The next
    /// assignment that is taken from the same owner ends that, whatever it is.
    ///
    /// # Errors
    /// As [`Self::say`]; [`Refusal::Invalid`] for a sight of an organisation that is not there, or that ends too late.
    pub fn say_and_lend(
        &self,
        by: &By<'_>,
        unit: &UnitName,
        owner: Owner,
        said: &Said,
        key: Option<&str>,
        sight: Option<&Sight>,
    ) -> Result<Heard, StoreError> {
        self.change(by, |change| {
            let of = Of { what: "unit", name: unit.as_str() };
            for (field, text) in
                [("source", Some(said.source.as_str())), ("idempotency_key", key), ("assignment", said.of.text())]
            {
                let Some(text) = text else { continue };
                label(of, field, text)?;
                if text.len() > DETAIL_NAME_BYTES_MAX {
                    return Err(of
                        .invalid(field, format!("{} bytes are more than {DETAIL_NAME_BYTES_MAX}", text.len()))
                        .into());
                }
            }
            change.known(unit)?;
            sight.map_or(Ok(()), |sight| sights::check(change.transaction, sight))?;
            let heard = change.hear(unit, owner, said, key)?;
            if heard == Heard::Taken && matches!(said.of, SaidOf::Assignment(_)) {
                sights::replace(change.transaction, unit, owner, sight)?;
            }
            let detail = members([
                ("heard", heard.as_str().into()),
                ("owner", owner.as_str().into()),
                ("value", said.of.text().into()),
                ("time", said.time.to_string().into()),
                ("source", said.source.as_str().into()),
                ("for_org", sight.map(|sight| sight.organisation.as_str()).into()),
                ("until", sight.map(|sight| sight.until.to_string()).into()),
            ]);
            change.record(said.of.action(), unit.as_str(), detail)?;
            Ok(heard)
        })
    }
}

impl Change<'_> {
    fn known(&self, unit: &UnitName) -> Result<(), StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM units WHERE name = ?1 AND retired_ms IS NULL)";
        let is_known: bool = self.transaction.query_row(sql, [unit.as_str()], |row| row.get(0))?;
        if is_known {
            return Ok(());
        }
        Err(Refusal::Unknown { what: "unit", name: unit.as_str().to_owned() }.into())
    }

    fn hear(&mut self, unit: &UnitName, owner: Owner, said: &Said, key: Option<&str>) -> Result<Heard, StoreError> {
        let transaction = self.transaction;
        let kept_from = self.by.now.shifted_ms(-(CHANGE_KEYS_KEPT.as_millis() as i64));
        transaction.execute("DELETE FROM said_keys WHERE time_ms < ?1", [kept_from.unix_ms()])?;
        if let Some(key) = key {
            let sql = "INSERT INTO said_keys (key, time_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            if transaction.execute(sql, params![key, self.by.now.unix_ms()])? == 0 {
                return Ok(Heard::Repeated);
            }
        }
        let sql = "INSERT INTO unit_said (unit, what, owner, value, time_ms, source) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT (unit, what, owner) DO UPDATE SET value = ?4, time_ms = ?5, source = ?6 WHERE time_ms <= ?5";
        let (what, value) = (said.of.what(), said.of.text());
        let values = params![unit.as_str(), what, owner.as_str(), value, said.time.unix_ms(), said.source];
        if transaction.execute(sql, values)? == 0 {
            return Ok(Heard::Late);
        }
        let version = self.next_version()?;
        transaction
            .execute("UPDATE units SET version = ?2 WHERE name = ?1", params![unit.as_str(), signed(version)])?;
        Ok(Heard::Taken)
    }
}

/// What stands of a unit: that of the first owner who has not taken it back.
pub(crate) fn standing(
    connection: &Connection,
    unit: &UnitName,
    what: &str,
) -> Result<Option<(Owner, Said)>, StoreError> {
    let sql = "SELECT owner, value, time_ms, source FROM unit_said WHERE unit = ?1 AND what = ?2 AND value IS NOT NULL
               ORDER BY owner != 'cad' LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![unit.as_str(), what], |row| said_in(row, what)).optional()?)
}

fn said_in(row: &Row<'_>, what: &str) -> Result<(Owner, Said), rusqlite::Error> {
    let owner: String = row.get(0)?;
    let value: String = row.get(1)?;
    let unix_ms: i64 = row.get(2)?;
    let of = if what == SaidOf::Status(None).what() {
        SaidOf::Status(Some(value.parse::<Status>().map_err(|error| misread("value", error))?))
    } else {
        SaidOf::Assignment(Some(value))
    };
    let said = Said {
        of,
        time: Timestamp::from_unix_ms(unix_ms).ok_or_else(|| misread("time_ms", unix_ms))?,
        source: row.get(3)?,
    };
    Ok((owner.parse().map_err(|error| misread("owner", error))?, said))
}
