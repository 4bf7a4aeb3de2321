use model::{Position, Shape, Span, Zone, ZoneName};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{ZoneVersion, written};
use crate::StoreError;
use crate::organisations::{lay_territory, name_in as organisation_in, territory_in};
use crate::spans::{span_in, until_ms};
use crate::sqlite::{misread, signed, unsigned};

/// What [`version_in`] reads.
pub(super) const SELECT: &str =
    "SELECT name, from_ms, until_ms, label, layer, organisation, shape, rest, version FROM zones";

/// How the bytes of a shape begin.
const POLYGONS: u8 = 1;
const CIRCLE: u8 = 2;
const CELLS: u8 = 3;

/// Which row a version is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) id: i64,
    pub(super) version: u64,
    pub(super) span: Span,
}

/// The first version of a zone that is in force at some instant of `span`.
pub(super) fn first_in(connection: &Connection, name: &ZoneName, span: Span) -> Result<Option<Known>, StoreError> {
    let sql = "SELECT id, version, from_ms, until_ms FROM zones WHERE name = ?1 AND until_ms > ?2 AND from_ms < ?3
               ORDER BY from_ms LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let known =
        |row: &Row<'_>| Ok(Known { id: row.get(0)?, version: unsigned(row.get(1)?), span: span_in(row, 2, 3)? });
    Ok(statement.query_row(params![name.as_str(), span.from.unix_ms(), until_ms(span)], known).optional()?)
}

/// Whether a row tells of this very zone.
pub(super) fn same_as(connection: &Connection, id: i64, zone: &Zone) -> Result<bool, StoreError> {
    let sql = format!("{SELECT} WHERE id = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([id], version_in)?;
    Ok(found.zone == *zone)
}

pub(super) fn write(
    connection: &Connection,
    zone: &Zone,
    shape: &[u8],
    effective: Span,
    version: u64,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO zones (name, from_ms, until_ms, label, layer, organisation, shape, rest, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute(params![
        zone.name.as_str(),
        effective.from.unix_ms(),
        until_ms(effective),
        zone.label,
        zone.layer,
        zone.organisation.as_ref().map(|name| name.as_str()),
        shape,
        written::rest_value(zone).to_string(),
        signed(version),
    ])?;
    Ok(())
}

pub(super) fn version_in(row: &Row<'_>) -> Result<ZoneVersion, rusqlite::Error> {
    let organisation: Option<String> = row.get(5)?;
    let shape = shape_in(row.get_ref(6)?.as_blob()?).ok_or_else(|| misread("shape", "it is no shape"))?;
    let rest = written::rest_in(row.get_ref(7)?.as_str()?).map_err(|error| misread("rest", error))?;
    let zone = Zone {
        name: name_in(row, 0)?,
        label: row.get(3)?,
        layer: row.get(4)?,
        organisation: organisation.map(|name| organisation_in("organisation", &name)).transpose()?,
        shape,
        utc_offset_min: rest.utc_offset_min,
        hours: rest.hours,
        minimum: rest.minimum,
        settle: rest.settle,
        dwell_s: rest.dwell_s,
        stay_s_max: rest.stay_s_max,
    };
    Ok(ZoneVersion { version: unsigned(row.get(8)?), zone, effective: span_in(row, 1, 2)? })
}

pub(super) fn name_in(row: &Row<'_>, at: usize) -> Result<ZoneName, rusqlite::Error> {
    ZoneName::new(row.get_ref(at)?.as_str()?).map_err(|error| misread("name", error))
}

/// A byte that says what it is, then polygons as territories have them; or latitude and longitude in 1e-7 degrees (4 bytes each)
/// and the radius in metres (8 bytes); or the cells, 8 bytes each. All little-endian.
pub(super) fn lay_shape(shape: &Shape) -> Vec<u8> {
    match shape {
        Shape::Polygons(polygons) => [vec![POLYGONS], lay_territory(polygons)].concat(),
        Shape::Circle { centre, radius_m } => {
            let (lat, lon) = (centre.lat_e7().to_le_bytes(), centre.lon_e7().to_le_bytes());
            [&[CIRCLE][..], &lat, &lon, &radius_m.to_le_bytes()].concat()
        }
        Shape::Cells(cells) => {
            let cells = cells.iter().flat_map(|cell| cell.to_le_bytes());
            [CELLS].into_iter().chain(cells).collect()
        }
    }
}

fn shape_in(blob: &[u8]) -> Option<Shape> {
    let (kind, rest) = blob.split_first()?;
    match *kind {
        POLYGONS => territory_in(rest).map(Shape::Polygons),
        CIRCLE => {
            let (lat, rest) = rest.split_first_chunk()?;
            let (lon, radius) = rest.split_first_chunk()?;
            let centre = Position::from_e7(i32::from_le_bytes(*lat), i32::from_le_bytes(*lon))?;
            Some(Shape::Circle { centre, radius_m: f64::from_le_bytes(radius.try_into().ok()?) })
        }
        CELLS => {
            let (cells, left) = rest.as_chunks::<8>();
            left.is_empty().then(|| Shape::Cells(cells.iter().map(|cell| u64::from_le_bytes(*cell)).collect()))
        }
        _ => None,
    }
}
