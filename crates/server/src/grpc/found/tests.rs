//! What is laid against the generated messages: the same bytes.

use engine::Look;
use index::{Fix, Slot};
use model::{
    AccuracyBasis, Altitude, AltitudeRef, DeviceHandle, DeviceId, Flags, OrganisationName, Position, Status, TimeBasis,
    Timestamp, Unit, UnitHandle, UnitName, limits,
};
use prost::Message as _;
use wire::proto;

use super::*;
use crate::Server;
use crate::config::{Config, Data};

const AS_OF_MS: i64 = 1_790_000_000_000;

/// The message of a row, field by field as the schema has them.
fn message(look: &Look<'_>, (handle, slot, way): Row<'_>, as_of: Timestamp) -> Option<proto::FoundUnit> {
    let unit = look.unit(handle)?;
    let fix = slot.fix;
    let ages = ages_of(slot, as_of);
    Some(proto::FoundUnit {
        unit: unit.name.to_string(),
        kind: unit.kind.to_string(),
        status: status(unit.status).into(),
        organisation: unit.organisation.as_ref().map(ToString::to_string).unwrap_or_default(),
        place: fix.map(|fix| proto::Place { lat_e7: fix.position.lat_e7(), lon_e7: fix.position.lon_e7() }),
        distance_m: way.map(|way| way.0),
        bearing_deg: way.map(|way| way.1),
        fix_time_ms: fix.map(|fix| fix.time.unix_ms()).unwrap_or_default(),
        fix_age_s: ages.fix_s.unwrap_or(f64::INFINITY),
        contact_age_s: ages.contact_s.unwrap_or(f64::INFINITY),
        stale: slot.is_stale(as_of),
        accuracy_m: fix.and_then(|fix| fix.accuracy_m),
        source: fix.and_then(|fix| look.device(fix.source)).map(ToString::to_string).unwrap_or_default(),
        speed_mps: fix.and_then(|fix| fix.speed_mps),
        course_deg: fix.and_then(|fix| fix.course_deg),
        altitude_m: fix.and_then(|fix| fix.altitude).map(|altitude| altitude.metres),
        altitude_ref: fix.and_then(|fix| fix.altitude).map_or(0, |altitude| reference(altitude.reference).into()),
        flags: fix.map(|fix| fix.flags.words().map(String::from).collect()).unwrap_or_default(),
        time_basis: fix.map_or(0, |fix| basis(fix.time_basis).into()),
        possible_least_m: way.and_then(|way| query::possible_m(way.0, slot, as_of)).map(|[least, _]| least),
        possible_most_m: way.and_then(|way| query::possible_m(way.0, slot, as_of)).map(|[_, most]| most),
    })
}

/// A fix of which nothing more is known, then of which all is known, then one before 1970 where the equator meets the meridian.
fn fixes() -> Vec<Option<Fix>> {
    let time = Timestamp::from_unix_ms(AS_OF_MS - 1_500).unwrap();
    let bare = Fix {
        position: Position::from_e7(-228_170_000, 1_083_660_001).unwrap(),
        time,
        received: time,
        source: DeviceHandle(0),
        time_basis: TimeBasis::Receipt,
        speed_mps: None,
        course_deg: None,
        altitude: None,
        accuracy_m: None,
        accuracy_basis: None,
        flags: Flags::default(),
    };
    let whole = Fix {
        source: DeviceHandle(1),
        time_basis: TimeBasis::Gnss,
        speed_mps: Some(0.0),
        course_deg: Some(359.5),
        altitude: Some(Altitude { metres: -3.5, reference: AltitudeRef::Agl }),
        accuracy_m: Some(12.0),
        accuracy_basis: Some(AccuracyBasis::Device),
        flags: Flags::NOT_STORED,
        ..bare
    };
    let old = Timestamp::from_unix_ms(-1).unwrap();
    let strange = Fix {
        position: Position::from_e7(0, 0).unwrap(),
        time: old,
        received: old,
        source: DeviceHandle(u32::MAX),
        ..whole
    };
    vec![None, Some(bare), Some(whole), Some(strange)]
}

/// One unit with short names and one with the longest, so that lengths take one byte and two.
fn enrol(server: &Server) {
    let named = |name: &str| Unit::named(UnitName::new(name).unwrap());
    let long = "n".repeat(limits::NAME_BYTES_MAX);
    let organisation = Some(OrganisationName::new(&long).unwrap());
    let engine = &server.service().engine;
    engine.enrol(named("a"), &[DeviceId::new("tak:1").unwrap()]).unwrap();
    let unit = Unit { status: Status::OffDuty, organisation, ..named(&long) };
    engine.enrol(unit, &[DeviceId::new(&long).unwrap()]).unwrap();
}

#[tokio::test]
async fn what_is_laid_has_the_bytes_of_the_message() {
    let config = Config { http: "127.0.0.1:0".parse().unwrap(), grpc: None, data: Data::Off, ..Config::default() };
    let server = Server::start(&config).await.unwrap();
    enrol(&server);
    let as_of = Timestamp::from_unix_ms(AS_OF_MS).unwrap();
    let contact = |fix: Option<Fix>| fix.map(|fix| fix.received);
    let slots: Vec<_> =
        fixes().into_iter().map(|fix| Slot { fix, contact_time: contact(fix), ..Slot::default() }).collect();
    let look = server.service().engine.live().roster().look();
    // The last one is not there.
    let handles = [UnitHandle(0), UnitHandle(1), UnitHandle(2)];
    let ways = [None, Some((0.0, 0.0)), Some((1_234.5, 90.0))];
    let rows: Vec<Row<'_>> =
        handles.iter().flat_map(|handle| slots.iter().flat_map(|slot| ways.map(|way| (*handle, slot, way)))).collect();
    let expected: Vec<_> = rows.iter().filter_map(|row| message(&look, *row, as_of)).collect();
    assert_eq!(expected.len(), 24);
    for one in &expected {
        assert_eq!(proto::FoundUnit::decode(one.encode_to_vec().as_slice()).as_ref(), Ok(one));
    }
    let expected = proto::NearestResponse { units: expected, ..Default::default() }.encode_to_vec();
    let lost = server.service().setting.gateways.lost();
    assert_eq!(units(&look, rows.iter().copied(), &lost, as_of).bytes(), expected);
    drop(look);
    server.stop().await;
}
