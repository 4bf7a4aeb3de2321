use std::collections::HashMap;

use model::limits::{ORGANISATION_DEPTH_MAX, ORGANISATIONS_MAX, TERRITORY_POINTS_MAX};
use model::{Organisation, OrganisationName, Position, Rings};
use ring::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::audit::hex;
use crate::change::{Change, members};
use crate::checks::{Of, label};
use crate::sqlite::{misread, signed, unsigned};
use crate::{By, IfMatch, Imported, Refusal, Store, StoreError, Versioned};

pub(crate) const WHAT: &str = "organisation";

impl Store {
    /// One organisation.
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn organisation(&self, name: &OrganisationName) -> Result<Option<Versioned<Organisation>>, StoreError> {
        self.read(|connection| find(connection, name))
    }

    /// All organisations, by name; at most [`ORGANISATIONS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`], ours or the disk's.
    pub fn organisations(&self) -> Result<Vec<Versioned<Organisation>>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT name, label, parent, territory, version FROM organisations ORDER BY name";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], organisation_in)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Makes or changes an organisation; returns its new version.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Invalid`] for a parent that is not there, a depth over
    /// [`ORGANISATION_DEPTH_MAX`] or a territory that is none; [`Refusal::Cycle`].
    pub fn put_organisation(
        &self,
        by: &By<'_>,
        organisation: &Organisation,
        if_match: IfMatch,
    ) -> Result<u64, StoreError> {
        self.change(by, |change| {
            let found = version_of(change.transaction, &organisation.name)?;
            if_match.check(WHAT, organisation.name.as_str(), found)?;
            let version = change.write_organisation(organisation)?;
            check_tree(change.transaction, std::slice::from_ref(organisation))?;
            Ok(version)
        })
    }

    /// Makes or changes organisations, all or none, in any order; those that are already so stay untouched.
    ///
    /// # Errors
    /// As [`Self::put_organisation`].
    pub fn import_organisations(&self, by: &By<'_>, organisations: &[Organisation]) -> Result<Imported, StoreError> {
        self.change(by, |change| {
            let mut imported = Imported::default();
            for organisation in organisations {
                let found = find(change.transaction, &organisation.name)?;
                if found.is_some_and(|found| found.value == *organisation) {
                    imported.unchanged += 1;
                } else {
                    change.write_organisation(organisation)?;
                    imported.changed += 1;
                }
            }
            check_tree(change.transaction, organisations)?;
            change.record("organisations.import", "", imported.detail())?;
            Ok(imported)
        })
    }

    /// Removes an organisation that nothing depends on, with its commands that have ended.
    ///
    /// # Errors
    /// [`Refusal::Changed`] against `if_match`; [`Refusal::Unknown`]; [`Refusal::InUse`] by organisations below it, units,
    /// commands or tokens.
    pub fn delete_organisation(
        &self,
        by: &By<'_>,
        name: &OrganisationName,
        if_match: IfMatch,
    ) -> Result<(), StoreError> {
        self.change(by, |change| {
            let found = version_of(change.transaction, name)?;
            if_match.check(WHAT, name.as_str(), found)?;
            let unknown = Refusal::Unknown { what: WHAT, name: name.as_str().to_owned() };
            let version = found.ok_or(unknown)?;
            refuse_in_use(change, name)?;
            let key = [name.as_str()];
            change.transaction.execute("DELETE FROM commands WHERE organisation = ?1 OR under = ?1", key)?;
            change.transaction.execute("DELETE FROM organisations WHERE name = ?1", key)?;
            let after = change.next_version()?;
            let detail = members([("version", after.into()), ("version_before", version.into())]);
            change.record("organisation.delete", name.as_str(), detail)
        })
    }
}

impl Change<'_> {
    fn write_organisation(&mut self, organisation: &Organisation) -> Result<u64, StoreError> {
        let Organisation { name, label, parent, territory } = organisation;
        check(organisation)?;
        let version = self.next_version()?;
        let parent = parent.as_ref().map(|parent| parent.as_str());
        // A parent may come after its children; one that is not there at the end is refused by name.
        self.transaction.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO organisations (name, label, parent, territory, version) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET label = ?2, parent = ?3, territory = ?4, version = ?5",
        )?;
        let laid = lay_territory(territory);
        statement.execute(params![name.as_str(), label, parent, laid, signed(version)])?;
        let points: usize = territory.iter().flatten().map(Vec::len).sum();
        let detail = members([
            ("version", version.into()),
            ("label", label.as_str().into()),
            ("parent", parent.into()),
            ("territory_points", points.into()),
            ("territory_sha256", hex(digest(&SHA256, &laid).as_ref()).into()),
        ]);
        self.record("organisation.put", name.as_str(), detail)?;
        Ok(version)
    }
}

/// The version of an organisation that is there.
pub(crate) fn version_of(connection: &Connection, name: &OrganisationName) -> Result<Option<u64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT version FROM organisations WHERE name = ?1")?;
    Ok(statement.query_row([name.as_str()], |row| row.get(0)).optional()?.map(unsigned))
}

/// Whether `name` is there; any name is while no organisation is known.
pub(crate) fn may_be_named(connection: &Connection, name: &OrganisationName) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM organisations WHERE name = ?1) OR NOT EXISTS (SELECT 1 FROM organisations)";
    Ok(connection.prepare_cached(sql)?.query_row([name.as_str()], |row| row.get(0))?)
}

fn find(connection: &Connection, name: &OrganisationName) -> Result<Option<Versioned<Organisation>>, StoreError> {
    let sql = "SELECT name, label, parent, territory, version FROM organisations WHERE name = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([name.as_str()], organisation_in).optional()?)
}

fn organisation_in(row: &Row<'_>) -> Result<Versioned<Organisation>, rusqlite::Error> {
    let parent: Option<String> = row.get(2)?;
    let territory = territory_in(row.get_ref(3)?.as_blob()?).ok_or_else(|| misread("territory", "no polygons"))?;
    let value = Organisation {
        name: name_in("name", &row.get::<_, String>(0)?)?,
        label: row.get(1)?,
        parent: parent.map(|parent| name_in("parent", &parent)).transpose()?,
        territory,
    };
    Ok(Versioned { version: unsigned(row.get(4)?), value })
}

pub(crate) fn name_in(column: &'static str, text: &str) -> Result<OrganisationName, rusqlite::Error> {
    OrganisationName::new(text).map_err(|error| misread(column, error))
}

/// What can be wrong with one organisation alone.
fn check(organisation: &Organisation) -> Result<(), Refusal> {
    let of = Of { what: WHAT, name: organisation.name.as_str() };
    label(of, "label", &organisation.label)?;
    let wrong = |problem: String| Err(of.invalid("territory", problem));
    let mut points = 0;
    for (number, polygon) in organisation.territory.iter().enumerate() {
        if polygon.is_empty() {
            return wrong(format!("polygon {} has no outline", number + 1));
        }
        for ring in polygon {
            points += ring.len();
            if ring.len() < 4 || ring.first() != ring.last() {
                let (number, points) = (number + 1, ring.len());
                return wrong(format!(
                    "a ring of polygon {number} with {points} points does not end where it begins, or has fewer than 4"
                ));
            }
        }
    }
    if points > TERRITORY_POINTS_MAX {
        return wrong(format!("{points} points are more than the {TERRITORY_POINTS_MAX} allowed"));
    }
    Ok(())
}

/// Every parent is there, nobody is above itself, and no branch is too deep.
fn check_tree(connection: &Connection, changed: &[Organisation]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("SELECT name, parent FROM organisations")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
    let parents: HashMap<String, Option<String>> = rows.collect::<Result<_, _>>()?;
    if parents.len() > ORGANISATIONS_MAX {
        let of = Of { what: WHAT, name: changed.last().map_or("", |last| last.name.as_str()) };
        return Err(of.invalid("name", format!("it would be one more than the {ORGANISATIONS_MAX} allowed")).into());
    }
    for Organisation { name, parent, .. } in changed {
        let of = Of { what: WHAT, name: name.as_str() };
        let mut above = parent.as_ref().map(|parent| parent.as_str());
        for _ in 0..=parents.len() {
            let Some(one) = above else { break };
            if one == name.as_str() {
                let under = parent.as_ref().map_or(one, |parent| parent.as_str()).to_owned();
                return Err(Refusal::Cycle { organisation: one.to_owned(), under }.into());
            }
            let Some(parent) = parents.get(one) else {
                return Err(of.invalid("parent", format!("there is no organisation `{one}`")).into());
            };
            above = parent.as_deref();
        }
    }
    // There are no cycles: the changed ones are in none, and the others were in none before.
    for name in parents.keys() {
        let mut depth = 0;
        let mut above = Some(name.as_str());
        while let Some(one) = above {
            depth += 1;
            if depth > ORGANISATION_DEPTH_MAX {
                let problem = format!("more than {ORGANISATION_DEPTH_MAX} organisations would be above each other");
                return Err(Of { what: WHAT, name }.invalid("parent", problem).into());
            }
            above = parents.get(one).and_then(Option::as_deref);
        }
    }
    Ok(())
}

fn refuse_in_use(change: &Change<'_>, name: &OrganisationName) -> Result<(), StoreError> {
    let now = change.by.now.unix_ms();
    let dependents = [
        ("organisations below it", "SELECT name AS one FROM organisations WHERE parent = ?1 AND ?2 = ?2"),
        ("units", "SELECT name AS one FROM units WHERE organisation = ?1 AND retired_ms IS NULL AND ?2 = ?2"),
        ("zones", "SELECT name AS one FROM zones WHERE organisation = ?1 AND until_ms > ?2"),
        ("webhooks", "SELECT name AS one FROM webhooks WHERE organisation = ?1 AND ?2 = ?2"),
        (
            "commands that have not ended",
            "SELECT organisation || ' under ' || under AS one FROM commands WHERE (organisation = ?1 OR under = ?1) AND until_ms > ?2",
        ),
        (
            "valid tokens",
            "SELECT principal AS one FROM tokens WHERE organisation = ?1 AND revoked_ms IS NULL AND expires_ms > ?2",
        ),
    ];
    for (dependents, sql) in dependents {
        let sql = format!("SELECT count(*), min(one) FROM ({sql})");
        let (count, example): (i64, Option<String>) =
            change.transaction.query_row(&sql, params![name.as_str(), now], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if count > 0 {
            let (name, example) = (name.as_str().to_owned(), example.unwrap_or_default());
            return Err(Refusal::InUse { what: WHAT, name, count: unsigned(count), dependents, example }.into());
        }
    }
    Ok(())
}

/// Count of polygons; each its count of rings; each its count of points; each latitude and longitude in 1e-7 degrees. All in
/// 4 bytes, little-endian.
pub(crate) fn lay_territory(territory: &[Rings]) -> Vec<u8> {
    let mut blob = Vec::new();
    let count = |blob: &mut Vec<u8>, count: usize| blob.extend_from_slice(&(count as u32).to_le_bytes());
    count(&mut blob, territory.len());
    for polygon in territory {
        count(&mut blob, polygon.len());
        for ring in polygon {
            count(&mut blob, ring.len());
            for point in ring {
                blob.extend_from_slice(&point.lat_e7().to_le_bytes());
                blob.extend_from_slice(&point.lon_e7().to_le_bytes());
            }
        }
    }
    blob
}

pub(crate) fn territory_in(blob: &[u8]) -> Option<Vec<Rings>> {
    let mut words = blob.as_chunks::<4>().0.iter().copied();
    let mut territory = Vec::new();
    for _ in 0..u32::from_le_bytes(words.next()?) {
        let mut polygon = Vec::new();
        for _ in 0..u32::from_le_bytes(words.next()?) {
            let mut ring = Vec::new();
            for _ in 0..u32::from_le_bytes(words.next()?) {
                let (lat, lon) = (i32::from_le_bytes(words.next()?), i32::from_le_bytes(words.next()?));
                ring.push(Position::from_e7(lat, lon)?);
            }
            polygon.push(ring);
        }
        territory.push(polygon);
    }
    words.next().is_none().then_some(territory)
}
