//! What changed, numbered: a SQLite file of its own (`events.db`), so that events never wait for the audit nor looks for them.
//!
//! Events and what the watcher must remember to make the next ones are written in one transaction: after a kill it goes on
//! exactly where its last event left, and nothing is told twice under two numbers.

mod deliveries;

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::limits::{EVENTS_RETAIN_BYTES, EVENTS_RETAIN_TIME};
use model::{Event, EventKind, OrganisationName, Position, Timestamp, UnitHandle, UnitName, ZoneName};
use parking_lot::Mutex;
use rusqlite::{CachedStatement, Connection, Row, Transaction, TransactionBehavior, params};
use serde_json::Value;

use crate::StoreError;
use crate::sqlite::{connect, misread, prepare, quick_check, signed, unsigned};

pub use deliveries::{Dead, Delivered};

/// The file in the data folder.
pub(crate) const FILE: &str = "events.db";
/// Its tables, as migrations: entry N takes a file from layout N to N + 1. An entry that was released is never changed.
const MIGRATIONS: &[&str] = &[include_str!("events/1.sql"), include_str!("events/2.sql")];
const COLUMNS: &str =
    "number, kind, time_ms, noted_ms, unit, zone, organisation, zone_organisation, lat_e7, lon_e7, detail";
/// Events that one call removes at most.
const EXPIRE_AT_ONCE: u64 = 20_000;

/// Events on disk. Shared between threads; calls block.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    writer: Mutex<Connection>,
    /// `None` in memory, where the one connection does both.
    reader: Option<Mutex<Connection>>,
    retain_time: Duration,
    retain_bytes: u64,
}

/// A unit in a zone, or on its way in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// Whether it counts as in the zone.
    pub is_in: bool,
    /// Since when that is so.
    pub since: Timestamp,
    /// Since when every fix says the opposite.
    pub turning: Option<Timestamp>,
    /// What was told of it already, one bit a kind of event.
    pub told: u8,
}

/// What the watcher remembered when it wrote last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// By unit.
    pub stays: Vec<(UnitHandle, ZoneName, Stay)>,
    /// The zones that it had, with the version of each.
    pub zones: Vec<(ZoneName, u64)>,
    /// What has begun and not ended.
    pub marks: Vec<(EventKind, String, Timestamp)>,
}

/// What is written at once.
#[derive(Debug, Default)]
pub struct Commit {
    /// New events in their order; numbered by [`Events::commit`].
    pub events: Vec<Event>,
    /// The journal that is followed; 0: none.
    pub log: u64,
    /// The last entry of it that was looked at.
    pub entry: u64,
    /// Stays that changed; `None`: it is out, and not on its way in.
    pub stays: Vec<(UnitHandle, ZoneName, Option<Stay>)>,
    /// The zones, when they are others than before.
    pub zones: Option<Vec<(ZoneName, u64)>>,
    /// Marks that were set or, with `None`, ended.
    pub marks: Vec<(EventKind, String, Option<Timestamp>)>,
}

impl Commit {
    /// Whether nothing but the place in the journal would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.stays.is_empty() && self.zones.is_none() && self.marks.is_empty()
    }
}

impl Events {
    /// Opens `events.db` in `folder`, and makes it when it is not there.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Damaged`], [`StoreError::Unusable`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let unusable = |error| StoreError::Unusable { path: path.clone(), error };
        std::fs::create_dir_all(folder).map_err(unusable)?;
        // Where officers were is nobody else's to read.
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(unusable)?;
        let mut connection = connect(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(StoreError::at(&path))?;
        quick_check(&connection, &path)?;
        lay_out(&mut connection, &path)?;
        let reader = Some(Mutex::new(connect(&path)?));
        Ok(Self::of(path, connection, reader))
    }

    /// Whether there are events in `folder`.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Events that are gone with the process.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], which is not expected.
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from("the events in memory");
        let mut connection = Connection::open_in_memory()?;
        prepare(&connection)?;
        lay_out(&mut connection, &path)?;
        Ok(Self::of(path, connection, None))
    }

    const fn of(path: PathBuf, writer: Connection, reader: Option<Mutex<Connection>>) -> Self {
        let (retain_time, retain_bytes) = (EVENTS_RETAIN_TIME, EVENTS_RETAIN_BYTES);
        Self { path, writer: Mutex::new(writer), reader, retain_time, retain_bytes }
    }

    /// The same, and events older than `time`, or beyond `bytes` all together, are removed.
    #[must_use]
    pub fn keeping(self, time: Duration, bytes: u64) -> Self {
        Self { retain_time: time, retain_bytes: bytes, ..self }
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// [`Commit::log`] and [`Commit::entry`] as they were written last.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn looked_at(&self) -> Result<(u64, u64), StoreError> {
        let both = |connection: &Connection| Ok((reached(connection, "log")?, reached(connection, "entry")?));
        self.read(both).map(|(log, entry)| (log.cast_unsigned(), unsigned(entry)))
    }

    /// What the watcher remembered when it wrote last.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn memory(&self) -> Result<Memory, StoreError> {
        self.read(|connection| {
            let mut stays = connection.prepare("SELECT unit, zone, is_in, since_ms, turning_ms, told FROM stays")?;
            let mut zones = connection.prepare("SELECT zone, version FROM zones_seen")?;
            let mut marks = connection.prepare("SELECT kind, name, since_ms FROM marks")?;
            let zone = |row: &Row<'_>| Ok((zone_in(row, "zone")?, unsigned(row.get("version")?)));
            Ok(Memory {
                stays: stays.query_map([], stay_in)?.collect::<Result<_, _>>()?,
                zones: zones.query_map([], zone)?.collect::<Result<_, _>>()?,
                marks: marks.query_map([], mark_in)?.collect::<Result<_, _>>()?,
            })
        })
    }

    /// What is on disk of marks of one kind, by name.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn marks(&self, kind: EventKind) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT name FROM marks WHERE kind = ?1 ORDER BY name")?;
            let names = statement.query_map([kind.as_str()], |row| row.get(0))?;
            Ok(names.collect::<Result<_, _>>()?)
        })
    }

    /// Forgets what the watcher remembered: it followed another journal. Events stay, and their numbers go on.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn forget(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM stays; DELETE FROM zones_seen; DELETE FROM marks;
                   UPDATE reached SET value = 0 WHERE name <> 'last'";
        Ok(self.writer.lock().execute_batch(sql)?)
    }

    /// Writes all of `commit` or nothing, and numbers its events. On stable storage when it returns, unless only the place in the
    /// journal changed: without that the watcher looks again at what it knows already.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn commit(&self, commit: &mut Commit) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        writer.pragma_update(None, "synchronous", if commit.is_empty() { "NORMAL" } else { "FULL" })?;
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = unsigned(reached(&transaction, "last")?);
        let sql = format!("INSERT INTO events ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
        let mut statement = transaction.prepare_cached(&sql)?;
        for (number, event) in (before + 1..).zip(&mut commit.events) {
            event.number = number;
            insert(&mut statement, event)?;
        }
        drop(statement);
        write_memory(&transaction, commit)?;
        let reached = [
            ("log", commit.log.cast_signed()),
            ("entry", signed(commit.entry)),
            ("last", signed(before + commit.events.len() as u64)),
        ];
        let mut statement = transaction.prepare_cached("UPDATE reached SET value = ?2 WHERE name = ?1")?;
        for (name, value) in reached {
            statement.execute(params![name, value])?;
        }
        drop(statement);
        Ok(transaction.commit()?)
    }

    /// Up to `limit` events after number `after`, in their order.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn after(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM events WHERE number > ?1 ORDER BY number LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![signed(after), signed(limit as u64)], event_in)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The numbers of the oldest event that is kept, and of the last one ever; (last + 1, last) when none is kept.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn span(&self) -> Result<(u64, u64), StoreError> {
        self.read(|connection| {
            let last = unsigned(reached(connection, "last")?);
            let first: Option<i64> = connection.query_row("SELECT min(number) FROM events", [], |row| row.get(0))?;
            Ok((first.map_or(last + 1, unsigned), last))
        })
    }

    /// Removes events that are older than they are kept, and the oldest while all of them take more bytes than they may, some
    /// thousands a call. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let before = now.shifted_ms(-i64::try_from(self.retain_time.as_millis()).unwrap_or(i64::MAX));
        let writer = self.writer.lock();
        let pragma = |name: &str| writer.pragma_query_value(None, name, |row| row.get(0)).map(unsigned);
        let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
        let is_too_large = pages.saturating_mul(pragma("page_size")?) > self.retain_bytes;
        let sql = "DELETE FROM events WHERE number IN
                   (SELECT number FROM (SELECT number, noted_ms FROM events ORDER BY number LIMIT ?3) WHERE ?2 OR noted_ms < ?1)";
        let values = params![before.unix_ms(), is_too_large, signed(EXPIRE_AT_ONCE)];
        Ok(writer.prepare_cached(sql)?.execute(values)? as u64)
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.reader {
            Some(reader) => work(&reader.lock()),
            None => work(&self.writer.lock()),
        }
    }
}

fn lay_out(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let at = StoreError::at(path);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(&at)?;
    let known = MIGRATIONS.len() as i64;
    let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    let missing = missing.ok_or_else(|| StoreError::Newer { path: path.to_owned(), found, known })?;
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&at)?;
    for migration in missing {
        transaction.execute_batch(migration).map_err(&at)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(&at)?;
    transaction.commit().map_err(&at)
}

fn reached(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT value FROM reached WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0))?)
}

fn insert(statement: &mut CachedStatement<'_>, event: &Event) -> Result<(), StoreError> {
    let values = params![
        signed(event.number),
        event.kind.as_str(),
        event.time.unix_ms(),
        event.noted.unix_ms(),
        event.unit.as_ref().map(UnitName::as_str),
        event.zone.as_ref().map(ZoneName::as_str),
        event.organisation.as_ref().map(OrganisationName::as_str),
        event.zone_organisation.as_ref().map(OrganisationName::as_str),
        event.place.map(Position::lat_e7),
        event.place.map(Position::lon_e7),
        detail_text(event),
    ];
    statement.execute(values)?;
    Ok(())
}

fn write_memory(transaction: &Transaction<'_>, commit: &Commit) -> Result<(), StoreError> {
    let sql =
        "INSERT OR REPLACE INTO stays (unit, zone, is_in, since_ms, turning_ms, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut put = transaction.prepare_cached(sql)?;
    let mut remove = transaction.prepare_cached("DELETE FROM stays WHERE unit = ?1 AND zone = ?2")?;
    for (unit, zone, stay) in &commit.stays {
        match stay {
            Some(Stay { is_in, since, turning, told }) => {
                let turning = turning.map(Timestamp::unix_ms);
                put.execute(params![unit.0, zone.as_str(), is_in, since.unix_ms(), turning, told])?;
            }
            None => {
                remove.execute(params![unit.0, zone.as_str()])?;
            }
        }
    }
    drop((put, remove));
    for (kind, name, since) in &commit.marks {
        match since {
            Some(since) => {
                let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO marks VALUES (?1, ?2, ?3)")?;
                statement.execute(params![kind.as_str(), name, since.unix_ms()])?;
            }
            None => {
                let mut statement = transaction.prepare_cached("DELETE FROM marks WHERE kind = ?1 AND name = ?2")?;
                statement.execute(params![kind.as_str(), name])?;
            }
        }
    }
    if let Some(zones) = &commit.zones {
        transaction.execute("DELETE FROM zones_seen", [])?;
        let mut statement = transaction.prepare_cached("INSERT INTO zones_seen VALUES (?1, ?2)")?;
        for (zone, version) in zones {
            statement.execute(params![zone.as_str(), signed(*version)])?;
        }
    }
    Ok(())
}

fn time_in(row: &Row<'_>, column: &'static str) -> Result<Timestamp, rusqlite::Error> {
    let unix_ms = row.get(column)?;
    Timestamp::from_unix_ms(unix_ms).ok_or_else(|| misread(column, unix_ms))
}

fn zone_in(row: &Row<'_>, column: &'static str) -> Result<ZoneName, rusqlite::Error> {
    ZoneName::new(&row.get::<_, String>(column)?).map_err(|error| misread(column, error))
}

fn kind_in(row: &Row<'_>) -> Result<EventKind, rusqlite::Error> {
    row.get::<_, String>("kind")?.parse().map_err(|error: model::UnknownWord| misread("kind", error))
}

fn stay_in(row: &Row<'_>) -> Result<(UnitHandle, ZoneName, Stay), rusqlite::Error> {
    let turning: Option<i64> = row.get("turning_ms")?;
    let stay = Stay {
        is_in: row.get("is_in")?,
        since: time_in(row, "since_ms")?,
        turning: turning.and_then(Timestamp::from_unix_ms),
        told: row.get("told")?,
    };
    Ok((UnitHandle(row.get("unit")?), zone_in(row, "zone")?, stay))
}

fn mark_in(row: &Row<'_>) -> Result<(EventKind, String, Timestamp), rusqlite::Error> {
    Ok((kind_in(row)?, row.get("name")?, time_in(row, "since_ms")?))
}

fn event_in(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    let organisation = |column: &'static str| {
        let name: Option<String> = row.get(column)?;
        name.map(|name| OrganisationName::new(&name)).transpose().map_err(|error| misread(column, error))
    };
    let unit: Option<String> = row.get("unit")?;
    let zone: Option<String> = row.get("zone")?;
    let place: (Option<i32>, Option<i32>) = (row.get("lat_e7")?, row.get("lon_e7")?);
    Ok(Event {
        number: unsigned(row.get("number")?),
        kind: kind_in(row)?,
        time: time_in(row, "time_ms")?,
        noted: time_in(row, "noted_ms")?,
        unit: unit.map(|name| UnitName::new(&name)).transpose().map_err(|error| misread("unit", error))?,
        zone: zone.map(|name| ZoneName::new(&name)).transpose().map_err(|error| misread("zone", error))?,
        organisation: organisation("organisation")?,
        zone_organisation: organisation("zone_organisation")?,
        place: place.0.zip(place.1).and_then(|(lat, lon)| Position::from_e7(lat, lon)),
        detail: detail_of(&row.get::<_, String>("detail")?).map_err(|error| misread("detail", error))?,
    })
}

/// The details as a JSON object; empty when there are none.
fn detail_text(event: &Event) -> String {
    if event.detail.is_empty() {
        return String::new();
    }
    let members = event.detail.iter().map(|(word, value)| (word.to_string(), Value::from(value.as_str())));
    Value::Object(members.collect()).to_string()
}

/// The reverse of [`detail_text`].
fn detail_of(text: &str) -> Result<Vec<(Cow<'static, str>, String)>, serde_json::Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let members: std::collections::BTreeMap<String, String> = serde_json::from_str(text)?;
    Ok(members.into_iter().map(|(word, value)| (Cow::Owned(word), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms).unwrap()
    }

    fn event(kind: EventKind, unit: &str, ms: i64) -> Event {
        Event { unit: Some(UnitName::new(unit).unwrap()), ..Event::of(kind, at(ms), at(ms + 5)) }
    }

    fn stay() -> Stay {
        Stay { is_in: true, since: at(7), turning: Some(at(9)), told: 2 }
    }

    #[test]
    fn events_and_memory_are_there_after_a_restart_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let zone = ZoneName::new("beat-1").unwrap();
        let mut commit = Commit {
            events: vec![
                event(EventKind::Enter, "car-1", 1),
                event(EventKind::Exit, "car-1", 2).with("cause", "retired"),
            ],
            log: u64::MAX - 3,
            entry: 17,
            stays: vec![(UnitHandle(4), zone.clone(), Some(stay())), (UnitHandle(5), zone.clone(), Some(stay()))],
            zones: Some(vec![(zone.clone(), 3)]),
            marks: vec![(EventKind::ContactLost, "car-9".to_owned(), Some(at(3)))],
        };
        Events::open(folder.path()).unwrap().commit(&mut commit).unwrap();
        assert_eq!(commit.events[1].number, 2);
        let events = Events::open(folder.path()).unwrap();
        assert_eq!(events.span().unwrap(), (1, 2));
        assert_eq!(events.after(0, 10).unwrap(), commit.events);
        assert_eq!(events.looked_at().unwrap(), (u64::MAX - 3, 17));
        assert_eq!(
            events.memory().unwrap(),
            Memory {
                stays: vec![(UnitHandle(4), zone.clone(), stay()), (UnitHandle(5), zone.clone(), stay())],
                zones: vec![(zone.clone(), 3)],
                marks: vec![(EventKind::ContactLost, "car-9".to_owned(), at(3))],
            }
        );
        let marks = vec![(EventKind::ContactLost, "car-9".to_owned(), None)];
        let stays = vec![(UnitHandle(4), zone, None)];
        let mut next = Commit { events: vec![event(EventKind::Enter, "car-2", 4)], stays, marks, ..Commit::default() };
        events.commit(&mut next).unwrap();
        assert_eq!((next.events[0].number, events.after(2, 10).unwrap()), (3, next.events));
        assert_eq!((events.memory().unwrap().stays.len(), events.memory().unwrap().marks), (1, vec![]));
    }

    #[test]
    fn old_events_go_and_their_numbers_are_not_used_again() {
        let events = Events::in_memory().unwrap().keeping(Duration::from_millis(10), u64::MAX);
        let all = (0..10).map(|ms| event(EventKind::Enter, "car-1", ms)).collect();
        events.commit(&mut Commit { events: all, ..Commit::default() }).unwrap();
        assert_eq!(events.expire(at(19)).unwrap(), 4);
        assert_eq!(events.span().unwrap(), (5, 10));
        let events = events.keeping(Duration::MAX, 0);
        assert_eq!(events.expire(at(19)).unwrap(), 6, "too many bytes: the oldest go");
        assert_eq!(events.span().unwrap(), (11, 10));
        let mut next = Commit { events: vec![event(EventKind::Exit, "car-1", 20)], ..Commit::default() };
        events.commit(&mut next).unwrap();
        assert_eq!(next.events[0].number, 11);
    }
}
