use std::cell::OnceCell;

use geodesy::{Reach, SHORT_ERROR_M, distance_and_bearing, distance_m, short_distance_and_bearing};
use index::Slot;
use model::{Position, UnitHandle};

use crate::Names;

/// A unit with bounds on its distance.
#[derive(Debug, Clone)]
pub(crate) struct Near {
    pub(crate) unit: UnitHandle,
    pub(crate) position: Position,
    pub(crate) reach: Reach,
    /// As it was when the unit was judged by it; `None` when a digest told enough.
    pub(crate) slot: Option<Slot>,
}

/// A unit with its distance to a few millimetres.
#[derive(Debug)]
pub(crate) struct Ranked {
    pub(crate) near: Near,
    pub(crate) distance_m: f64,
    pub(crate) bearing_deg: f64,
    centre: Position,
}

/// A greatest distance; exact, but that costs a geodesic only where somebody is as far to a few millimetres.
pub(crate) struct Limit {
    centre: Position,
    /// Surely within below the first, surely beyond above the second.
    surely_m: (f64, f64),
    /// The place that is just as far; `None` when the limit is a number.
    place: Option<Position>,
    exact_m: OnceCell<f64>,
}

impl Limit {
    /// So many metres from `centre`.
    pub(crate) fn metres(centre: Position, metres: f64) -> Self {
        Self { centre, surely_m: (metres, metres), place: None, exact_m: OnceCell::from(metres) }
    }

    /// Whether a unit is within.
    pub(crate) fn holds(&self, near: &Near) -> bool {
        near.reach.most_m <= self.surely_m.0
            || (near.reach.least_m <= self.surely_m.1 && distance_m(self.centre, near.position) <= self.exact_m())
    }

    fn exact_m(&self) -> f64 {
        *self.exact_m.get_or_init(|| distance_m(self.centre, self.place.expect("a limit is a number or a place")))
    }
}

impl Ranked {
    /// As far as this one.
    pub(crate) fn limit(&self) -> Limit {
        let surely_m = (self.distance_m - SHORT_ERROR_M, self.distance_m + SHORT_ERROR_M);
        Limit { centre: self.centre, surely_m, place: Some(self.near.position), exact_m: OnceCell::new() }
    }
}

/// Those within `limit`, nearest first, ties by name.
///
/// Distances to a few millimetres decide; units that are as near to each other as that pay for exact ones.
pub(crate) fn rank(near: Vec<Near>, limit: &Limit, names: &dyn Names) -> Vec<Ranked> {
    let centre = limit.centre;
    let within = near.into_iter().filter(|near| limit.holds(near));
    let mut ranked: Vec<_> = within
        .map(|near| {
            let (distance_m, bearing_deg) = short_distance_and_bearing(centre, near.position);
            Ranked { near, distance_m, bearing_deg, centre }
        })
        .collect();
    ranked.sort_unstable_by(|a, b| a.distance_m.total_cmp(&b.distance_m));
    let is_close = |a: &Ranked, b: &Ranked| b.distance_m - a.distance_m <= 2.0 * SHORT_ERROR_M;
    for close in ranked.chunk_by_mut(is_close).filter(|close| close.len() > 1) {
        settle(close, names);
    }
    ranked
}

/// Puts units that are nearly as far as each other in order.
fn settle(close: &mut [Ranked], names: &dyn Names) {
    let place = close[0].near.position;
    if close.iter().any(|one| one.near.position != place) {
        for one in &mut *close {
            (one.distance_m, one.bearing_deg) = distance_and_bearing(one.centre, one.near.position);
        }
    }
    let by_name = |a: &Ranked, b: &Ranked| names.name(a.near.unit).cmp(&names.name(b.near.unit));
    close.sort_unstable_by(|a, b| a.distance_m.total_cmp(&b.distance_m).then_with(|| by_name(a, b)));
}
