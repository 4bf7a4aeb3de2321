//! Zones: the ground that matters, in versions with the time when each is in force.

mod checks;
mod rows;
pub(crate) mod written;

use model::{Shape, Span, Timestamp, Zone, ZoneName};
use ring::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::audit::hex;
use crate::change::{Change, members};
use crate::exchange::ZoneRow;
use crate::spans::{OPEN, until_ms};
use crate::sqlite::{counter, raise, signed};
use crate::{By, IfMatch, Imported, Refusal, Store, StoreError};

const WHAT: &str = "zone";

/// A version of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneVersion {
    /// Its number among all changes of zones, which is its entity tag too.
    pub version: u64,
    /// The zone.
    pub zone: Zone,
    /// When it is in force.
    pub effective: Span,
}

impl Store {
    /// A number that rises with every change of zones and of nothing else, also of another process. What begins or ends by
    /// itself changes it not: [`Self::zones_turn_after`] says when to look.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn zones_version(&self) -> Result<u64, StoreError> {
        self.read(|connection| counter(connection, "zones"))
    }

    /// The zones in force at `as_of`, by name; 100,000 take about a second.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn zones(&self, as_of: Timestamp) -> Result<Vec<ZoneVersion>, StoreError> {
        self.read_apart(|connection| {
            let sql = format!("{} WHERE from_ms <= ?1 AND until_ms > ?1 ORDER BY name", rows::SELECT);
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map([as_of.unix_ms()], rows::version_in)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// The version of a zone in force at `as_of`.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn zone(&self, name: &ZoneName, as_of: Timestamp) -> Result<Option<ZoneVersion>, StoreError> {
        self.read(|connection| {
            let sql = format!("{} WHERE name = ?1 AND from_ms <= ?2 AND until_ms > ?2", rows::SELECT);
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row(params![name.as_str(), as_of.unix_ms()], rows::version_in).optional()?)
        })
    }

    /// The version of a zone in force at `now` or, when none is, the next one.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn zone_from(&self, name: &ZoneName, now: Timestamp) -> Result<Option<ZoneVersion>, StoreError> {
        self.read(|connection| {
            let sql = format!("{} WHERE name = ?1 AND until_ms > ?2 ORDER BY from_ms LIMIT 1", rows::SELECT);
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_row(params![name.as_str(), now.unix_ms()], rows::version_in).optional()?)
        })
    }

    /// The next instant after `now` at which a version begins or ends by itself.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn zones_turn_after(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT min(edge) FROM (SELECT min(from_ms) AS edge FROM zones WHERE from_ms > ?1
                       UNION ALL SELECT min(until_ms) FROM zones WHERE until_ms > ?1 AND until_ms < ?2)";
            let mut statement = connection.prepare_cached(sql)?;
            let edge: Option<i64> = statement.query_row(params![now.unix_ms(), OPEN], |row| row.get(0))?;
            Ok(edge.and_then(Timestamp::from_unix_ms))
        })
    }

    /// Puts a zone into force for `effective`, in the place of what would be in force then; returns the number of its version.
    /// What was in force before now stays written as it was: where the zone has such a past, a begin in it is now. `if_match`
    /// is held against the first version in whose place this one comes.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Invalid`] for an organisation that is not there, a list or number over
    /// its limit, or a span that has no inside or is all past. Borders that cross are not seen here: that is the caller's to check.
    pub fn put_zone(
        &self,
        by: &By<'_>,
        zone: &Zone,
        effective: Span,
        if_match: IfMatch,
    ) -> Result<ZoneVersion, StoreError> {
        self.change(by, |change| {
            let effective = change.effective(&zone.name, effective)?;
            let replaced = rows::first_in(change.transaction, &zone.name, effective)?;
            if_match.check(WHAT, zone.name.as_str(), replaced.map(|one| one.version))?;
            let version = change.write_zone(zone, effective)?;
            checks::count(change.transaction, zone.name.as_str(), by.now)?;
            Ok(ZoneVersion { version, zone: zone.clone(), effective })
        })
    }

    /// Ends a zone now; its past stays, what was to come does not. `if_match` is held against the version in force or, when none
    /// is, the next one.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Unknown`] when none is in force or to come.
    pub fn delete_zone(&self, by: &By<'_>, name: &ZoneName, if_match: IfMatch) -> Result<(), StoreError> {
        self.change(by, |change| {
            let found = rows::first_in(change.transaction, name, Span { from: by.now, until: None })?;
            if_match.check(WHAT, name.as_str(), found.map(|one| one.version))?;
            let unknown = Refusal::Unknown { what: WHAT, name: name.as_str().to_owned() };
            let found = found.ok_or(unknown)?;
            let (now, connection) = (by.now.unix_ms(), change.transaction);
            connection.execute("DELETE FROM zones WHERE name = ?1 AND from_ms >= ?2", params![name.as_str(), now])?;
            let version = raise(connection, "zones")?;
            let sql = "UPDATE zones SET until_ms = ?2, version = ?3 WHERE name = ?1 AND until_ms > ?2";
            connection.execute(sql, params![name.as_str(), now, signed(version)])?;
            let detail = members([("version", version.into()), ("version_before", found.version.into())]);
            change.record("zone.delete", name.as_str(), detail)
        })
    }

    /// Puts zones into force, all or none, each as [`Self::put_zone`] does; what is already so stays untouched. 100,000 take
    /// seconds.
    ///
    /// # Errors
    /// As [`Self::put_zone`].
    pub fn import_zones(&self, by: &By<'_>, zones: &[ZoneRow]) -> Result<Imported, StoreError> {
        self.change(by, |change| {
            let mut imported = Imported::default();
            for ZoneRow { zone, from, until } in zones {
                let asked = Span { from: from.unwrap_or(by.now), until: *until };
                let found = rows::first_in(change.transaction, &zone.name, asked)?;
                // A file that was exported says the begin of what is in force: that is no change.
                if let Some(found) = found
                    && from.is_none_or(|from| from == found.span.from)
                    && *until == found.span.until
                    && rows::same_as(change.transaction, found.id, zone)?
                {
                    imported.unchanged += 1;
                    continue;
                }
                let effective = change.effective(&zone.name, asked)?;
                change.write_zone(zone, effective)?;
                imported.changed += 1;
            }
            checks::count(change.transaction, zones.last().map_or("", |row| row.zone.name.as_str()), by.now)?;
            change.record("zones.import", "", imported.detail())?;
            Ok(imported)
        })
    }
}

impl Change<'_> {
    /// When a zone that is put for `asked` is in force: not in the past, where it has one.
    fn effective(&self, name: &ZoneName, asked: Span) -> Result<Span, StoreError> {
        let now = self.by.now;
        let past = Span { from: asked.from, until: Some(now) };
        let has_past = asked.from < now && rows::first_in(self.transaction, name, past)?.is_some();
        let effective = Span { from: if has_past { now } else { asked.from }, ..asked };
        checks::effective(name, effective)?;
        Ok(effective)
    }

    /// Writes a version with its row of the audit, and takes its time away from others.
    fn write_zone(&mut self, zone: &Zone, effective: Span) -> Result<u64, StoreError> {
        checks::alone(self.transaction, zone)?;
        self.clear(&zone.name, effective)?;
        let version = raise(self.transaction, "zones")?;
        let shape = rows::lay_shape(&zone.shape);
        rows::write(self.transaction, zone, &shape, effective, version)?;
        let mut detail = members([
            ("version", version.into()),
            ("from", effective.from.to_string().into()),
            ("until", effective.until.map(|until| until.to_string()).into()),
            ("label", zone.label.as_str().into()),
            ("layer", zone.layer.into()),
            ("org", zone.organisation.as_ref().map(|name| name.as_str()).into()),
            ("shape_points", points(&zone.shape).into()),
            ("shape_sha256", hex(digest(&SHA256, &shape).as_ref()).into()),
        ]);
        detail.insert("rest".to_owned(), written::rest_value(zone));
        self.record("zone.put", zone.name.as_str(), detail)?;
        Ok(version)
    }

    /// Takes the span out of the versions of a zone that are there: what lies in it goes, and what reaches out of it is cut.
    fn clear(&self, name: &ZoneName, span: Span) -> Result<(), StoreError> {
        let (name, from, until) = (name.as_str(), span.from.unix_ms(), until_ms(span));
        let connection: &Connection = self.transaction;
        let over = "SELECT id FROM zones WHERE name = ?1 AND until_ms > ?2 AND until_ms > ?3 AND from_ms < ?3";
        if until < OPEN
            && let Some(id) = connection
                .prepare_cached(over)?
                .query_row(params![name, from, until], |row| row.get::<_, i64>(0))
                .optional()?
        {
            // What comes after the span is a version of its own; before it stands what is cut below.
            let rest = "INSERT INTO zones (name, from_ms, until_ms, label, layer, organisation, shape, rest, version)
                        SELECT name, ?2, until_ms, label, layer, organisation, shape, rest, ?3 FROM zones WHERE id = ?1";
            connection.prepare_cached(rest)?.execute(params![id, until, signed(raise(connection, "zones")?)])?;
        }
        let inside = "DELETE FROM zones WHERE name = ?1 AND from_ms >= ?2 AND from_ms < ?3";
        connection.prepare_cached(inside)?.execute(params![name, from, until])?;
        let before = "UPDATE zones SET until_ms = ?2 WHERE name = ?1 AND from_ms < ?2 AND until_ms > ?2";
        connection.prepare_cached(before)?.execute(params![name, from])?;
        Ok(())
    }
}

/// How many points or cells a shape has.
fn points(shape: &Shape) -> usize {
    match shape {
        Shape::Polygons(polygons) => polygons.iter().flatten().map(Vec::len).sum(),
        Shape::Circle { .. } => 1,
        Shape::Cells(cells) => cells.len(),
    }
}
