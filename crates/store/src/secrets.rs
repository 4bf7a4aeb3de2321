use model::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::sqlite::{Durability, misread};
use crate::{Store, StoreError};

/// Bytes of a secret: those of a key of HMAC-SHA256.
pub const SECRET_BYTES: usize = 32;

impl Store {
    /// The secret for `purpose`, the same for as long as the store lasts; made, and on the disk, when it is asked for first.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    ///
    /// # Panics
    /// Where the system gives no random numbers: nothing that is kept secret could be made.
    pub fn secret(&self, purpose: &str, now: Timestamp) -> Result<[u8; SECRET_BYTES], StoreError> {
        if let Some(secret) = self.read(|connection| kept(connection, purpose))? {
            return Ok(secret);
        }
        let mut fresh = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut fresh).expect("the system gives random numbers");
        self.write(now, Durability::Machine, |transaction, _| {
            // Another process may have been quicker, and its secret is used already.
            transaction.execute("INSERT OR IGNORE INTO secrets VALUES (?1, ?2)", params![purpose, fresh])?;
            Ok(kept(transaction, purpose)?.unwrap_or(fresh))
        })
    }
}

fn kept(connection: &Connection, purpose: &str) -> Result<Option<[u8; SECRET_BYTES]>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM secrets WHERE purpose = ?1")?;
    let value: Option<Vec<u8>> = statement.query_row([purpose], |row| row.get(0)).optional()?;
    let whole = |value: Vec<u8>| {
        let bytes = value.len();
        value.try_into().map_err(|_| misread("value", format!("a secret of {bytes} bytes")))
    };
    Ok(value.map(whole).transpose()?)
}
