//! Units as gRPC answers show them.

use engine::Look;
use index::Slot;
use ingest::LostGateways;
use model::{Status, Timestamp, UnitHandle};
use wire::proto;

use super::laid::Laid;
use crate::http::{ages_of, lost_word};

/// A unit of an answer, with its distance and bearing where a place was asked for.
pub(super) type Row<'a> = (UnitHandle, &'a Slot, Option<(f64, f64)>);

/// Bytes of most units; a longer one grows the answer.
const UNIT_BYTES: usize = 208;
/// Bytes of the rest of most answers.
const REST_BYTES: usize = 128;

/// An answer that begins, as both do, with its units: by one look into the roster.
pub(super) fn units<'a>(
    look: &Look<'_>,
    rows: impl ExactSizeIterator<Item = Row<'a>> + Clone,
    lost: &LostGateways<'_>,
    as_of: Timestamp,
) -> Laid {
    look.ask_for(rows.clone().map(|(unit, slot, _)| (unit, slot.fix.as_ref().map(|fix| fix.source))));
    let mut answer = Laid::with_room(REST_BYTES + rows.len() * UNIT_BYTES);
    for row in rows {
        lay_unit(&mut answer, look, row, lost, as_of);
    }
    answer
}

/// Who was left out, as field 2 of both answers.
pub(super) fn lay_omitted(answer: &mut Laid, omitted: &query::Omitted) {
    for (reason, units) in omitted.iter() {
        answer.message(2, |one| {
            one.text(1, reason.as_str());
            one.number(2, units);
        });
    }
}

/// Those who were left out by name, as fields 11 and 12 of the answer to a nearest query.
pub(super) fn lay_left_out(answer: &mut Laid, look: &Look<'_>, omitted: &query::Omitted) {
    for left_out in omitted.named() {
        let Some(unit) = look.unit(left_out.unit) else { continue };
        answer.message(11, |one| {
            one.text(1, unit.name.as_str());
            one.text(2, left_out.reason.as_str());
            one.double(3, left_out.distance_m);
            one.double_if_known(4, left_out.fix_age_ms.map(|ms| ms as f64 / 1_000.0));
        });
    }
    answer.number(12, omitted.unnamed());
}

/// A `FoundUnit`, as field 1 of both answers.
fn lay_unit(
    answer: &mut Laid,
    look: &Look<'_>,
    (handle, slot, way): Row<'_>,
    lost: &LostGateways<'_>,
    as_of: Timestamp,
) {
    let Some(unit) = look.unit(handle) else { return };
    let (fix, ages) = (slot.fix.as_ref(), ages_of(slot, as_of));
    let source = fix.and_then(|fix| look.device(fix.source));
    let altitude = fix.and_then(|fix| fix.altitude);
    answer.message(1, |one| {
        one.text(1, unit.name.as_str());
        one.text(2, unit.kind.as_str());
        one.number(3, status(unit.status) as u64);
        one.text(4, unit.organisation.as_ref().map_or("", |name| name.as_str()));
        if let Some(fix) = fix {
            one.message(5, |place| {
                place.signed(1, fix.position.lat_e7());
                place.signed(2, fix.position.lon_e7());
            });
        }
        one.double_if_known(6, way.map(|(distance_m, _)| distance_m));
        one.double_if_known(7, way.map(|(_, bearing_deg)| bearing_deg));
        one.number(8, fix.map_or(0, |fix| fix.time.unix_ms()).cast_unsigned());
        one.double(9, ages.fix_s.unwrap_or(f64::INFINITY));
        one.double(10, ages.contact_s.unwrap_or(f64::INFINITY));
        one.number(11, slot.is_stale(as_of).into());
        one.float_if_known(12, fix.and_then(|fix| fix.accuracy_m));
        one.text(13, source.map_or("", |device| device.as_str()));
        one.float_if_known(14, fix.and_then(|fix| fix.speed_mps));
        one.float_if_known(15, fix.and_then(|fix| fix.course_deg));
        one.float_if_known(16, altitude.map(|altitude| altitude.metres));
        one.number(17, altitude.map_or(0, |altitude| reference(altitude.reference) as u64));
        for word in fix.into_iter().flat_map(|fix| fix.flags.words()).chain(lost_word(lost, slot)) {
            one.element(18, word);
        }
        one.number(19, fix.map_or(0, |fix| basis(fix.time_basis) as u64));
        let possible_m = way.and_then(|(distance_m, _)| query::possible_m(distance_m, slot, as_of));
        one.double_if_known(20, possible_m.map(|[least, _]| least));
        one.double_if_known(21, possible_m.map(|[_, most]| most));
    });
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

#[cfg(test)]
mod tests;
