//! Muster's index with what a server puts into it, and the whole queries over it.

use std::convert::Infallible;

use geodesy::{Area, Vantage, Vertex};
use index::{Change, Fix, LiveIndex, UnitTraits};
use model::{DeviceHandle, Flags, Position, TimeBasis, Timestamp, UnitHandle, UnitKind, UnitName};
use muster_benches::Best;
use query::{Deadline, Filter, Names, NearestAsk, Scope, WithinAsk};

/// Changes of one call: about what a busy engine gathers.
pub(crate) const BATCH: usize = 256;

/// One unit in so many is what the filtered query asks for.
pub(crate) const RARE: u32 = 20;

/// Whether a filtered query asks for `unit`.
pub(crate) const fn kind_of(unit: u32) -> UnitKind {
    if unit.is_multiple_of(RARE) { UnitKind::Motorcycle } else { UnitKind::Car }
}

/// The names of a fleet, made beforehand, as a roster has them.
pub(crate) struct Roster(Vec<UnitName>);

impl Roster {
    pub(crate) fn of(units: usize) -> Self {
        Self((0..units).map(|unit| UnitName::new(&format!("{unit:08}")).expect("digits are a name")).collect())
    }
}

impl Names for Roster {
    fn name(&self, unit: UnitHandle) -> UnitName {
        self.0[unit.0 as usize].clone()
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000).expect("a time of this century")
}

pub(crate) fn change(unit: u32, position: Position) -> Change {
    let fix = Fix {
        position,
        time: now(),
        received: now(),
        source: DeviceHandle(unit),
        time_basis: TimeBasis::Gnss,
        speed_mps: Some(8.0),
        course_deg: Some(90.0),
        altitude: None,
        accuracy_m: None,
        accuracy_basis: None,
        flags: Flags::default(),
    };
    Change::Place { unit: UnitHandle(unit), fix, contact: now(), interval_ms: Some(1_000) }
}

/// An index that holds `places`, by unit; filled in small batches, so that its memory is its own.
pub(crate) fn index_of(places: &[Position]) -> LiveIndex {
    let index = LiveIndex::new();
    for unit in 0..places.len() as u32 {
        index.enrol(UnitHandle(unit), UnitTraits { kind: kind_of(unit), ..UnitTraits::default() });
    }
    let mut batch = Vec::with_capacity(BATCH);
    for (number, some) in (0u32..).zip(places.chunks(BATCH)) {
        batch.clear();
        batch.extend((number * BATCH as u32..).zip(some).map(|(unit, place)| change(unit, *place)));
        index.apply(&batch);
    }
    assert_eq!(index.located(), places.len());
    index
}

/// The whole query: who may be sent, ages, `omitted`, exact distances and bearings; the units found.
pub(crate) fn nearest(index: &LiveIndex, names: &Roster, ask: &NearestAsk) -> Vec<(u32, f64)> {
    let answer = query::nearest(index, ask, names, now(), &Deadline::never()).expect("no deadline passes");
    answer.found.iter().map(|found| (found.unit.0, found.distance_m)).collect()
}

/// Only the search: units and upper bounds of their distances, in metres.
pub(crate) fn bare_nearest(index: &LiveIndex, centre: Position) -> Best<f64> {
    let mut best = Best::default();
    let searched = index.near(
        &Vantage::of(centre),
        f64::INFINITY,
        |_| false,
        |sight| {
            best.offer(sight.reach.most_m * sight.reach.most_m, sight.unit.0);
            Ok::<_, Infallible>(best.bound().sqrt())
        },
    );
    searched.expect("the visitor does not fail");
    best
}

pub(crate) fn filtered(centre: Position) -> NearestAsk {
    NearestAsk::new(centre, Scope::everything()).filter(Filter::new().kinds(vec![UnitKind::Motorcycle]))
}

/// How many are inside, on all pages.
pub(crate) fn within(index: &LiveIndex, names: &Roster, area: Area) -> usize {
    let answer = query::within(index, &WithinAsk::new(area, Scope::everything()), names, now(), &Deadline::never());
    answer.expect("no deadline passes").found.len()
}

pub(crate) fn disc(centre: Position, radius_m: f64) -> Area {
    Area::circle(centre, radius_m).expect("a circle of a kilometre is an area")
}

pub(crate) fn polygon(corners: &[Position]) -> Area {
    let vertex = |at: &Position| Vertex::from_e7(at.lat_e7(), at.lon_e7()).expect("a corner is on earth");
    let ring = corners.iter().chain(corners.first()).map(vertex).collect();
    Area::polygons(&[vec![ring]]).expect("a star is an area")
}
