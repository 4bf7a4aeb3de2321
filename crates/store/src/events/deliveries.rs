use model::limits::WEBHOOK_DEAD_MAX;
use model::{Timestamp, WebhookName};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::{Events, time_in};
use crate::StoreError;
use crate::sqlite::{signed, unsigned};

/// How far a webhook is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// All up to this event is delivered, was not for it, or is in the dead-letter list.
    pub after: u64,
    /// Events that were removed before they could be sent.
    pub lost: u64,
    /// Entries of the dead-letter list that are no longer in it because there were too many.
    pub forgotten: u64,
}

/// Events that a webhook gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The number of the first.
    pub first: u64,
    /// The number of the last; those between that were not for the webhook are not meant.
    pub last: u64,
    /// How many.
    pub events: u64,
    /// When they were tried first.
    pub since: Timestamp,
    /// When they were given up.
    pub given_up: Timestamp,
    /// How often they were tried.
    pub tries: u32,
    /// What was wrong the last time.
    pub why: String,
}

impl Events {
    /// How far the webhook is that was `made` with this version; `None` when nothing was noted of it.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn delivered(&self, webhook: &WebhookName, made: u64) -> Result<Option<Delivered>, StoreError> {
        self.read(|connection| delivered(connection, webhook, made))
    }

    /// Notes how far a webhook is. When the machine ends at once, it may be less far: events are sent twice then, never left out.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn deliver(&self, webhook: &WebhookName, made: u64, after: u64, lost: u64) -> Result<(), StoreError> {
        self.note(false, |transaction| {
            let before = begin(transaction, webhook, made)?;
            put(transaction, webhook, made, Delivered { after, lost: before.lost.saturating_add(lost), ..before })
        })
    }

    /// Puts events into the dead-letter list of a webhook, which goes on after them; on stable storage when it returns.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn bury(&self, webhook: &WebhookName, made: u64, dead: &Dead) -> Result<(), StoreError> {
        self.note(true, |transaction| {
            let before = begin(transaction, webhook, made)?;
            let sql = "INSERT OR REPLACE INTO dead (webhook, first, last, events, since_ms, given_up_ms, tries, why)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let values = params![
                webhook.as_str(),
                signed(dead.first),
                signed(dead.last),
                signed(dead.events),
                dead.since.unix_ms(),
                dead.given_up.unix_ms(),
                dead.tries,
                dead.why,
            ];
            transaction.prepare_cached(sql)?.execute(values)?;
            let surplus = "DELETE FROM dead WHERE webhook = ?1 AND first IN
                           (SELECT first FROM dead WHERE webhook = ?1 ORDER BY first DESC LIMIT -1 OFFSET ?2)";
            let values = params![webhook.as_str(), signed(WEBHOOK_DEAD_MAX as u64)];
            let forgotten = before.forgotten + transaction.prepare_cached(surplus)?.execute(values)? as u64;
            put(transaction, webhook, made, Delivered { after: dead.last, forgotten, ..before })
        })
    }

    /// Sends a webhook back, so that it sends again what came after event `after`; what is in its dead-letter list of that is no longer.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn rewind(&self, webhook: &WebhookName, made: u64, after: u64) -> Result<(), StoreError> {
        self.note(true, |transaction| {
            let before = begin(transaction, webhook, made)?;
            let mut statement = transaction.prepare_cached("DELETE FROM dead WHERE webhook = ?1 AND first > ?2")?;
            statement.execute(params![webhook.as_str(), signed(after)])?;
            put(transaction, webhook, made, Delivered { after, ..before })
        })
    }

    /// The dead-letter list of a webhook, oldest first; at most [`WEBHOOK_DEAD_MAX`].
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn dead(&self, webhook: &WebhookName, made: u64) -> Result<Vec<Dead>, StoreError> {
        self.read(|connection| {
            if delivered(connection, webhook, made)?.is_none() {
                return Ok(Vec::new());
            }
            let sql = "SELECT first, last, events, since_ms, given_up_ms, tries, why FROM dead WHERE webhook = ?1
                       ORDER BY first";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([webhook.as_str()], dead_in)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Forgets how far a webhook was, and what it gave up.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn forget_webhook(&self, webhook: &WebhookName) -> Result<(), StoreError> {
        self.note(true, |transaction| clear(transaction, webhook))
    }

    fn note(
        &self,
        is_synced: bool,
        work: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        writer.pragma_update(None, "synchronous", if is_synced { "FULL" } else { "NORMAL" })?;
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        work(&transaction)?;
        Ok(transaction.commit()?)
    }
}

fn delivered(connection: &Connection, webhook: &WebhookName, made: u64) -> Result<Option<Delivered>, StoreError> {
    let sql = "SELECT after, lost, forgotten FROM delivered WHERE webhook = ?1 AND made = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| {
        let number = |column: &str| row.get(column).map(unsigned);
        Ok(Delivered { after: number("after")?, lost: number("lost")?, forgotten: number("forgotten")? })
    };
    Ok(statement.query_row(params![webhook.as_str(), signed(made)], row).optional()?)
}

/// What was noted of this webhook; what was noted of an older one of its name goes.
fn begin(transaction: &Transaction<'_>, webhook: &WebhookName, made: u64) -> Result<Delivered, StoreError> {
    if let Some(before) = delivered(transaction, webhook, made)? {
        return Ok(before);
    }
    clear(transaction, webhook)?;
    Ok(Delivered::default())
}

fn clear(transaction: &Transaction<'_>, webhook: &WebhookName) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM delivered WHERE webhook = ?1", [webhook.as_str()])?;
    transaction.execute("DELETE FROM dead WHERE webhook = ?1", [webhook.as_str()])?;
    Ok(())
}

fn put(transaction: &Transaction<'_>, webhook: &WebhookName, made: u64, now: Delivered) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO delivered (webhook, made, after, lost, forgotten) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![webhook.as_str(), signed(made), signed(now.after), signed(now.lost), signed(now.forgotten)];
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn dead_in(row: &Row<'_>) -> Result<Dead, rusqlite::Error> {
    let number = |column: &str| row.get(column).map(unsigned);
    Ok(Dead {
        first: number("first")?,
        last: number("last")?,
        events: number("events")?,
        since: time_in(row, "since_ms")?,
        given_up: time_in(row, "given_up_ms")?,
        tries: row.get("tries")?,
        why: row.get("why")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> WebhookName {
        WebhookName::new("cad").unwrap()
    }

    fn dead(first: u64) -> Dead {
        let at = |ms| Timestamp::from_unix_ms(ms).unwrap();
        Dead { first, last: first + 1, events: 2, since: at(5), given_up: at(9), tries: 3, why: "500".to_owned() }
    }

    /// A file as the first layout wrote it.
    #[test]
    fn a_file_of_the_first_layout_gets_the_tables() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("events.db")).unwrap();
        connection.execute_batch(include_str!("1.sql")).unwrap();
        connection.execute("UPDATE reached SET value = 7 WHERE name = 'last'", []).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        drop(connection);
        let events = Events::open(folder.path()).unwrap();
        assert_eq!(events.span().unwrap(), (8, 7));
        assert_eq!(events.delivered(&name(), 1).unwrap(), None);
    }

    #[test]
    fn how_far_a_webhook_is_survives_and_is_not_that_of_a_newer_one_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::open(folder.path()).unwrap();
        events.deliver(&name(), 1, 40, 3).unwrap();
        events.deliver(&name(), 1, 50, 4).unwrap();
        events.bury(&name(), 1, &dead(51)).unwrap();
        drop(events);
        let events = Events::open(folder.path()).unwrap();
        assert_eq!(
            events.delivered(&name(), 1).unwrap(),
            Some(Delivered { after: 52, lost: 7, forgotten: 0 }),
            "given up is done with, too"
        );
        assert_eq!(events.dead(&name(), 1).unwrap(), [dead(51)]);
        assert_eq!((events.delivered(&name(), 2).unwrap(), events.dead(&name(), 2).unwrap()), (None, vec![]));
        events.deliver(&name(), 2, 60, 0).unwrap();
        assert_eq!((events.delivered(&name(), 1).unwrap(), events.dead(&name(), 2).unwrap()), (None, vec![]));
        events.forget_webhook(&name()).unwrap();
        assert_eq!(events.delivered(&name(), 2).unwrap(), None);
    }

    #[test]
    fn who_is_sent_back_has_given_up_nothing_of_what_comes_again() {
        let events = Events::in_memory().unwrap();
        for first in [10, 20, 30] {
            events.bury(&name(), 1, &dead(first)).unwrap();
        }
        events.rewind(&name(), 1, 19).unwrap();
        assert_eq!(events.dead(&name(), 1).unwrap(), [dead(10)]);
        assert_eq!(events.delivered(&name(), 1).unwrap().unwrap().after, 19);
    }

    #[test]
    fn a_dead_letter_list_is_bounded_and_says_what_it_forgot() {
        let events = Events::in_memory().unwrap();
        let count = WEBHOOK_DEAD_MAX as u64 + 2;
        for at in 0..count {
            events.bury(&name(), 1, &dead(1 + 2 * at)).unwrap();
        }
        let left = events.dead(&name(), 1).unwrap();
        assert_eq!((left.len(), left[0].first), (WEBHOOK_DEAD_MAX, 5), "the oldest went");
        assert_eq!(
            events.delivered(&name(), 1).unwrap().unwrap(),
            Delivered { after: 2 * count, lost: 0, forgotten: 2 }
        );
    }
}
