use model::limits::{
    UTC_OFFSET_MIN_MAX, ZONE_CELLS_MAX, ZONE_LAYER_MAX, ZONE_MARGIN_M_MAX, ZONE_MINIMUMS_MAX, ZONE_POINTS_MAX,
    ZONE_TIME_S_MAX, ZONES_MAX,
};
use model::{Shape, Span, Timestamp, Zone, ZoneName};
use rusqlite::Connection;

use super::{WHAT, points};
use crate::checks::{Of, label, span};
use crate::organisations::may_be_named;
use crate::sqlite::unsigned;
use crate::{Refusal, StoreError};

/// Names under which questions about all zones are asked.
const RESERVED: [&str; 2] = ["draft", "strength"];

/// What can be wrong with a zone whatever others say; its borders are looked at by those who know geodesy.
pub(super) fn alone(connection: &Connection, zone: &Zone) -> Result<(), StoreError> {
    let of = Of { what: WHAT, name: zone.name.as_str() };
    if RESERVED.contains(&zone.name.as_str()) {
        return Err(of.invalid("zone", "this name is a word of the API: choose another".to_owned()).into());
    }
    label(of, "label", &zone.label)?;
    if let Some(organisation) = &zone.organisation
        && !may_be_named(connection, organisation)?
    {
        return Err(of.invalid("org", format!("there is no organisation `{organisation}`")).into());
    }
    numbers(of, zone)?;
    Ok(ground(of, &zone.shape)?)
}

fn numbers(of: Of<'_>, zone: &Zone) -> Result<(), Refusal> {
    if !(1..=ZONE_LAYER_MAX).contains(&zone.layer) {
        return Err(of.invalid("layer", format!("{} is not in 1 to {ZONE_LAYER_MAX}", zone.layer)));
    }
    if zone.utc_offset_min.unsigned_abs() > UTC_OFFSET_MIN_MAX.unsigned_abs() {
        return Err(of.invalid("utc_offset", format!("{} minutes are too much", zone.utc_offset_min)));
    }
    let margin_m = zone.settle.margin_m;
    if !(margin_m > 0.0 && margin_m <= ZONE_MARGIN_M_MAX) {
        return Err(of.invalid("settle", format!("{margin_m} m is not above 0 and at most {ZONE_MARGIN_M_MAX}")));
    }
    let lists = [("hours", zone.hours.len()), ("minimum", zone.minimum.len())];
    let of_minimums = zone.minimum.iter().flat_map(|one| [("minimum", one.hours.len()), ("minimum", one.kinds.len())]);
    for (field, count) in lists.into_iter().chain(of_minimums) {
        if count > ZONE_MINIMUMS_MAX {
            return Err(of.invalid(field, format!("{count} entries are more than the {ZONE_MINIMUMS_MAX} allowed")));
        }
    }
    let times = [("settle", Some(zone.settle.time_s)), ("dwell_s", zone.dwell_s), ("stay_s_max", zone.stay_s_max)];
    for (field, seconds) in times {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > ZONE_TIME_S_MAX) {
            return Err(of.invalid(field, format!("{seconds} s are more than the {ZONE_TIME_S_MAX} allowed")));
        }
    }
    Ok(())
}

fn ground(of: Of<'_>, shape: &Shape) -> Result<(), Refusal> {
    let wrong = |problem: String| Err(of.invalid("shape", problem));
    let (count, limit) = match shape {
        Shape::Cells(cells) => (cells.len(), ZONE_CELLS_MAX),
        _ => (points(shape), ZONE_POINTS_MAX),
    };
    if count == 0 {
        return wrong("there is no ground".to_owned());
    }
    if count > limit {
        return wrong(format!("{count} points or cells are more than the {limit} allowed"));
    }
    match shape {
        Shape::Circle { radius_m, .. } if !(radius_m.is_finite() && *radius_m > 0.0) => {
            wrong(format!("a radius of {radius_m} m is not above 0"))
        }
        Shape::Polygons(polygons) => {
            let is_open = |ring: &Vec<_>| ring.len() < 4 || ring.first() != ring.last();
            match (1..).zip(polygons).find(|(_, rings)| rings.is_empty() || rings.iter().any(is_open)) {
                Some((number, _)) => {
                    wrong(format!("polygon {number} has a ring that does not end where it begins, or none"))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The time of a version has an inside.
pub(super) fn effective(name: &ZoneName, effective: Span) -> Result<(), Refusal> {
    span(Of { what: WHAT, name: name.as_str() }, "effective", effective.from, effective.until)
}

/// There are not too many zones that are in force or to come.
pub(super) fn count(connection: &Connection, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM zones WHERE until_ms > ?1";
    let count = unsigned(connection.prepare_cached(sql)?.query_row([now.unix_ms()], |row| row.get(0))?);
    if count > ZONES_MAX as u64 {
        let problem = format!("{count} zones in force or to come are more than the {ZONES_MAX} allowed");
        return Err(Of { what: WHAT, name }.invalid("name", problem).into());
    }
    Ok(())
}
