use std::cell::OnceCell;
use std::cmp::Ordering;

use geodesy::{Reach, Ruler, SHORT_ERROR_M, Way, distance_m};
use model::{Position, UnitHandle};

use crate::Names;

/// Stands where no slot was asked.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// A unit with bounds on its distance. Small, since it is moved about while units are ranked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near {
    pub(crate) unit: UnitHandle,
    pub(crate) position: Position,
    pub(crate) reach: Reach,
    /// Which of the search's slots it was judged by; [`NO_SLOT`] when a digest told enough.
    pub(crate) slot: u32,
}

/// A unit with its distance to a few millimetres.
#[derive(Debug)]
pub(crate) struct Ranked {
    pub(crate) near: Near,
    pub(crate) way: Way,
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
        let surely_m = (self.way.distance_m - SHORT_ERROR_M, self.way.distance_m + SHORT_ERROR_M);
        Limit { centre: self.centre, surely_m, place: Some(self.near.position), exact_m: OnceCell::new() }
    }
}

/// Those within `limit`, nearest first, ties by name.
///
/// Distances to a few millimetres decide; units that are as near to each other as that pay for exact ones.
pub(crate) fn rank(near: Vec<Near>, limit: &Limit, names: &dyn Names) -> Vec<Ranked> {
    let centre = limit.centre;
    let within = near.into_iter().filter(|near| limit.holds(near));
    let ruler = Ruler::at(centre);
    let mut ranked: Vec<_> = within.map(|near| Ranked { near, way: ruler.way_to(near.position), centre }).collect();
    ranked.sort_unstable_by(by_distance);
    let is_close = |a: &Ranked, b: &Ranked| b.way.distance_m - a.way.distance_m <= 2.0 * SHORT_ERROR_M;
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
            one.way = Way::exact(one.centre, one.near.position);
        }
    }
    let by_name = |a: &Ranked, b: &Ranked| names.name(a.near.unit).cmp(&names.name(b.near.unit));
    close.sort_unstable_by(|a, b| by_distance(a, b).then_with(|| by_name(a, b)));
}

fn by_distance(a: &Ranked, b: &Ranked) -> Ordering {
    a.way.distance_m.total_cmp(&b.way.distance_m)
}
