//! Units as gRPC answers show them.

use engine::Look;
use index::Slot;
use model::{Status, Timestamp, UnitHandle};
use wire::proto;

use crate::http::ages_of;

/// A unit of an answer, with its distance and bearing where a place was asked for.
pub(super) type Row = (UnitHandle, Slot, Option<(f64, f64)>);

/// The units of an answer, by one look into the roster.
pub(super) fn units(look: &Look<'_>, rows: &[Row], as_of: Timestamp) -> Vec<proto::FoundUnit> {
    look.ask_for(rows.iter().map(|(unit, ..)| *unit));
    rows.iter().filter_map(|row| found(look, row, as_of)).collect()
}

fn found(look: &Look<'_>, row: &Row, as_of: Timestamp) -> Option<proto::FoundUnit> {
    let (handle, slot, distance_and_bearing) = row;
    let unit = look.unit(*handle)?;
    let fix = slot.fix.as_ref();
    let ages = ages_of(slot, as_of);
    let source = fix.and_then(|fix| look.device(fix.source));
    let altitude = fix.and_then(|fix| fix.altitude);
    Some(proto::FoundUnit {
        unit: unit.name.to_string(),
        kind: unit.kind.as_str().to_owned(),
        status: status(unit.status).into(),
        organisation: unit.organisation.as_ref().map(ToString::to_string).unwrap_or_default(),
        place: fix.map(|fix| proto::Place { lat_e7: fix.position.lat_e7(), lon_e7: fix.position.lon_e7() }),
        distance_m: distance_and_bearing.map(|(distance, _)| distance),
        bearing_deg: distance_and_bearing.map(|(_, bearing)| bearing),
        fix_time_ms: fix.map(|fix| fix.time.unix_ms()).unwrap_or_default(),
        fix_age_s: ages.fix_s.unwrap_or(f64::INFINITY),
        contact_age_s: ages.contact_s.unwrap_or(f64::INFINITY),
        stale: slot.is_stale(as_of),
        accuracy_m: fix.and_then(|fix| fix.accuracy_m),
        source: source.map(|device| device.to_string()).unwrap_or_default(),
        speed_mps: fix.and_then(|fix| fix.speed_mps),
        course_deg: fix.and_then(|fix| fix.course_deg),
        altitude_m: altitude.map(|altitude| altitude.metres),
        altitude_ref: altitude.map_or(proto::AltitudeRef::Unspecified, |altitude| reference(altitude.reference)).into(),
        flags: fix.map(|fix| fix.flags.words().map(String::from).collect()).unwrap_or_default(),
        time_basis: fix.map_or(proto::TimeBasis::Unspecified, |fix| basis(fix.time_basis)).into(),
    })
}

const fn status(status: Status) -> proto::UnitStatus {
    match status {
        Status::Unknown => proto::UnitStatus::Unspecified,
        Status::Available => proto::UnitStatus::Available,
        Status::Busy => proto::UnitStatus::Busy,
        Status::OffDuty => proto::UnitStatus::OffDuty,
    }
}

const fn reference(reference: model::AltitudeRef) -> proto::AltitudeRef {
    match reference {
        model::AltitudeRef::Ellipsoid => proto::AltitudeRef::Ellipsoid,
        model::AltitudeRef::Msl => proto::AltitudeRef::Msl,
        model::AltitudeRef::Pressure => proto::AltitudeRef::Pressure,
        model::AltitudeRef::Agl => proto::AltitudeRef::Agl,
    }
}

const fn basis(basis: model::TimeBasis) -> proto::TimeBasis {
    match basis {
        model::TimeBasis::Gnss => proto::TimeBasis::Gnss,
        model::TimeBasis::Device => proto::TimeBasis::Device,
        model::TimeBasis::Gateway => proto::TimeBasis::Gateway,
        model::TimeBasis::Receipt => proto::TimeBasis::Receipt,
    }
}
