use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::Timestamp;
use model::limits::{AUDIT_HEAD_ROWS, AUDIT_HEAD_TIME, STORE_BUSY_TIMEOUT};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::audit::{Chain, Head, HeadFile};
use crate::{StoreError, schema};

/// The file in the data folder.
pub(crate) const FILE: &str = "muster.db";

/// The truth of who: tokens, organisations, units and the audit. Shared between threads; calls block.
#[derive(Debug)]
pub struct Store {
    pub(crate) path: PathBuf,
    writer: Mutex<Writer>,
    /// `None` in memory, where the one connection does both.
    reader: Option<Mutex<Connection>>,
    pub(crate) head: Option<HeadFile>,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// The last row that this process appended or found: it must be there when the next one is appended.
    last: Option<Head>,
    /// Whether its transactions are synced, as it was told last.
    is_full: Option<bool>,
    /// Looks since the head was kept, and when that was.
    unkept: u64,
    kept_at: Option<Timestamp>,
}

/// When a transaction survives the end of the machine, not only that of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When it returns.
    Machine,
    /// When the next transaction of the first kind returns.
    Process,
}

impl Store {
    /// Opens `muster.db` in `folder`, and makes both when they are not there. All of the file is checked
    /// (`PRAGMA quick_check`), so the time grows with it.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Damaged`], [`StoreError::Unusable`], [`StoreError::Busy`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let unusable = |error| StoreError::Unusable { path: path.clone(), error };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        // Digests of tokens and the audit are nobody else's to read.
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(unusable)?;
        let mut connection = connect(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(StoreError::at(&path))?;
        quick_check(&connection, &path)?;
        schema::migrate(&mut connection, &path)?;
        let reader = Some(Mutex::new(connect(&path)?));
        let head = Some(HeadFile::beside(&path));
        let writer = Mutex::new(Writer { connection, last: None, is_full: None, unkept: 0, kept_at: None });
        let store = Self { path, writer, reader, head };
        store.check_head()?;
        Ok(store)
    }

    /// Opens the store of a data folder only if there is one: for tools.
    ///
    /// # Errors
    /// As [`Self::open`]; [`StoreError::Unusable`] when there is none.
    pub fn open_existing(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        match std::fs::metadata(&path) {
            Ok(_) => Self::open(folder),
            Err(error) => Err(StoreError::Unusable { path, error }),
        }
    }

    /// Whether there is a store in `folder`.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// A store that is gone with the process.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], which is not expected.
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from("the store in memory");
        let mut connection = Connection::open_in_memory()?;
        prepare(&connection)?;
        schema::migrate(&mut connection, &path)?;
        let writer = Mutex::new(Writer { connection, last: None, is_full: None, unkept: 0, kept_at: None });
        Ok(Self { path, writer, reader: None, head: None })
    }

    /// A number that rises with every change of units and organisations, also of another process.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn version(&self) -> Result<u64, StoreError> {
        self.read(|connection| counter(connection, "version"))
    }

    /// Reads beside a writer. What is read is of one moment only within one statement.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.reader {
            Some(reader) => work(&reader.lock()),
            None => work(&self.writer.lock().connection),
        }
    }

    /// Reads all of one moment.
    pub(crate) fn read_at_once<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read(|connection| at_once(connection, work))
    }

    /// Reads all of one moment on a connection of its own, for what takes long: nobody waits for it.
    pub(crate) fn read_apart<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &self.reader {
            Some(_) => at_once(&connect(&self.path)?, work),
            None => self.read_at_once(work),
        }
    }

    /// One transaction that appends to the audit; nothing of it is there when `work` fails.
    pub(crate) fn write<T>(
        &self,
        now: Timestamp,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>, &mut Chain) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.lock();
        let is_due = writer.is_head_due(now);
        let is_full = durability == Durability::Machine || is_due;
        if writer.is_full != Some(is_full) {
            writer.connection.pragma_update(None, "synchronous", if is_full { "FULL" } else { "NORMAL" })?;
            writer.is_full = Some(is_full);
        }
        let last = writer.last;
        let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut chain = Chain::end(&transaction)?;
        let before = chain.head().sequence;
        if let Some(last) = last {
            chain.expect(&transaction, last, now)?;
        }
        let value = work(&transaction, &mut chain)?;
        transaction.commit()?;
        let head = chain.head();
        writer.last = Some(head);
        writer.unkept += head.sequence.saturating_sub(before);
        if is_full {
            self.keep_head(&mut writer, now)?;
        }
        Ok(value)
    }

    fn keep_head(&self, writer: &mut MutexGuard<'_, Writer>, now: Timestamp) -> Result<(), StoreError> {
        if let (Some(file), Some(head)) = (&self.head, writer.last) {
            file.keep(&writer.connection, head)?;
        }
        writer.unkept = 0;
        writer.kept_at = Some(now);
        Ok(())
    }

    /// Says in the audit when its end is not the one that was kept.
    fn check_head(&self) -> Result<(), StoreError> {
        let Some(file) = &self.head else { return Ok(()) };
        let mut writer = self.writer.lock();
        let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut chain = Chain::end(&transaction)?;
        let is_new = chain.head().sequence == 0;
        if file.check_at_open(&transaction, &mut chain, is_new)? {
            transaction.commit()?;
            file.keep(&writer.connection, chain.head())?;
        }
        Ok(())
    }
}

impl Writer {
    fn is_head_due(&self, now: Timestamp) -> bool {
        let age = |kept_at| now.ms_since(kept_at) >= AUDIT_HEAD_TIME.as_millis() as i64;
        self.unkept >= AUDIT_HEAD_ROWS || self.kept_at.is_none_or(age)
    }
}

impl Drop for Store {
    /// An orderly end leaves no looks behind that the head does not cover.
    fn drop(&mut self) {
        let writer = self.writer.get_mut();
        if let (Some(file), Some(last), true) = (&self.head, writer.last, writer.unkept > 0) {
            let synced = writer.connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(TRUNCATE)");
            // At worst the head is older than the end, as after a kill.
            let _ = synced.map_err(StoreError::from).and_then(|()| file.keep(&writer.connection, last));
        }
    }
}

fn at_once<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let value = work(&transaction)?;
    transaction.finish()?;
    Ok(value)
}

pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let at = StoreError::at(path);
    let connection = Connection::open_with_flags(path, flags).map_err(&at)?;
    prepare(&connection).map_err(&at)?;
    Ok(connection)
}

/// The log is moved into the file each 32 MiB: that waits for the disk, and looks should not each few hundred transactions.
pub(crate) fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(STORE_BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 67108864;
             PRAGMA wal_autocheckpoint = 8192",
    )
}

pub(crate) fn quick_check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let at = StoreError::at(path);
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(&at)?;
    if said == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged { path: path.to_owned(), problem: said })
}

/// The value of a counter.
pub(crate) fn counter(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM counters WHERE name = ?1")?;
    Ok(unsigned(statement.query_row([name], |row| row.get(0))?))
}

/// Adds 1 to a counter.
pub(crate) fn raise(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let mut statement =
        connection.prepare_cached("UPDATE counters SET value = value + 1 WHERE name = ?1 RETURNING value")?;
    Ok(unsigned(statement.query_row([name], |row| row.get(0))?))
}

/// SQLite has signed numbers only; ours count from 0.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// As [`unsigned`], the other way.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A column that does not hold what was written. Ours, or somebody else changed the file.
pub(crate) fn misread(column: &'static str, problem: impl ToString) -> rusqlite::Error {
    let error = io::Error::other(format!("column `{column}`: {}", problem.to_string()));
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use model::{Principal, PrincipalName, Role};

    use super::*;
    use crate::By;
    use crate::audit::{Filter, Look};

    /// A full disk is played by a file that may not grow: SQLite says the same of both.
    fn allow_pages(store: &Store, pages: i64) {
        store.writer.lock().connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    #[test]
    fn a_full_disk_refuses_changes_and_heals() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let local = Principal::local();
        let at = |n: i64| Timestamp::MIN.shifted_ms(n);
        let create = |n: i64| {
            let name = PrincipalName::new(&format!("desk-{n}")).unwrap();
            let by = By { principal: &local, now: at(n), reason: Some("x") };
            store.create_token(&by, &Principal { name, role: Role::Viewer, organisation: None }, at(n + 1))
        };
        create(0).unwrap();
        allow_pages(&store, 1);
        let n = 1 + taken_until_full(&create);
        let error = create(n).unwrap_err();
        assert!(matches!(error, StoreError::Full), "{error}");
        assert!(error.to_string().contains("no change is taken"), "{error}");
        let units =
            (0..1_000).map(|at| model::UnitName::new(&format!("a-unit-of-a-long-name-{at}")).unwrap()).collect();
        let look =
            Look { time: at(n), principal: local.clone().into(), action: "look", resource: String::new(), units };
        assert!(matches!(store.looks(&[look]), Err(StoreError::Full)));
        let rows = store.query_audit(&Filter::default(), None, 1_000).unwrap().rows.len();
        assert_eq!(store.tokens().unwrap().len(), rows, "no change without its row, no row without its change");
        allow_pages(&store, 100_000);
        create(n).unwrap();
        assert_eq!(store.verify_audit(&[]).unwrap().fault, None);
    }

    /// How many changes the pages that are there still take.
    fn taken_until_full(create: &dyn Fn(i64) -> Result<String, StoreError>) -> i64 {
        (1..10_000).take_while(|n| create(*n).is_ok()).count() as i64
    }
}
