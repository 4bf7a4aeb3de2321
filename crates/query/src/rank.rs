use std::cell::OnceCell;
use std::cmp::Ordering;

use geodesy::{Reach, Ruler, SHORT_ERROR_M, Way, distance_m};
use model::{Position, UnitHandle};

use crate::Names;

/// Stands where no slot was asked.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// A unit with bounds on what it is ranked by. Small, since it is moved about while units are ranked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near {
    pub(crate) unit: UnitHandle,
    pub(crate) position: Position,
    /// Of its distance, or of how far it can be at most.
    pub(crate) reach: Reach,
    /// Which of the search's slots it was judged by; [`NO_SLOT`] when a digest told enough.
    pub(crate) slot: u32,
}

/// From where units are ranked, and by what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale<'a> {
    pub(crate) centre: Position,
    /// By slot, the metres that a unit can be farther than its place; `None` where distance alone counts.
    pub(crate) beyond_m: Option<&'a [f64]>,
}

impl Scale<'_> {
    fn beyond_m(&self, near: &Near) -> f64 {
        self.beyond_m.and_then(|all| all.get(near.slot as usize)).copied().unwrap_or(0.0)
    }
}

/// A unit with its distance to a few millimetres.
#[derive(Debug)]
pub(crate) struct Ranked {
    pub(crate) near: Near,
    pub(crate) way: Way,
    /// What it is ranked by beside the distance.
    beyond_m: f64,
}

/// The greatest that counts; exact, but that costs a geodesic only where somebody is as far to a few millimetres.
pub(crate) struct Limit<'a> {
    scale: Scale<'a>,
    /// Surely within below the first, surely beyond above the second.
    surely_m: (f64, f64),
    /// The place that is just as far, and what counts beside its distance; `None` when the limit is a number.
    just: Option<(Position, f64)>,
    exact_m: OnceCell<f64>,
}

impl<'a> Limit<'a> {
    /// So many metres.
    pub(crate) fn metres(scale: Scale<'a>, metres: f64) -> Self {
        Self { scale, surely_m: (metres, metres), just: None, exact_m: OnceCell::from(metres) }
    }

    /// As far as `last`.
    pub(crate) fn of(scale: Scale<'a>, last: &Ranked) -> Self {
        let surely_m = (last.key_m() - SHORT_ERROR_M, last.key_m() + SHORT_ERROR_M);
        Self { scale, surely_m, just: Some((last.near.position, last.beyond_m)), exact_m: OnceCell::new() }
    }

    /// Whether a unit is within.
    pub(crate) fn holds(&self, near: &Near) -> bool {
        let exact_m = || distance_m(self.scale.centre, near.position) + self.scale.beyond_m(near);
        near.reach.most_m <= self.surely_m.0 || (near.reach.least_m <= self.surely_m.1 && exact_m() <= self.exact_m())
    }

    fn exact_m(&self) -> f64 {
        *self.exact_m.get_or_init(|| {
            let (place, beyond_m) = self.just.expect("a limit is a number or a place");
            distance_m(self.scale.centre, place) + beyond_m
        })
    }
}

impl Ranked {
    /// What it is ranked by, in metres.
    fn key_m(&self) -> f64 {
        self.way.distance_m + self.beyond_m
    }
}

/// Those within `limit`, the least first, ties by name.
///
/// Distances to a few millimetres decide; units that are as near to each other as that pay for exact ones.
pub(crate) fn rank(near: Vec<Near>, limit: &Limit<'_>, names: &dyn Names) -> Vec<Ranked> {
    let scale = &limit.scale;
    let within = near.into_iter().filter(|near| limit.holds(near));
    let ruler = Ruler::at(scale.centre);
    let ranked = |near: Near| Ranked { near, way: ruler.way_to(near.position), beyond_m: scale.beyond_m(&near) };
    let mut ranked: Vec<_> = within.map(ranked).collect();
    ranked.sort_unstable_by(by_key);
    let is_close = |a: &Ranked, b: &Ranked| b.key_m() - a.key_m() <= 2.0 * SHORT_ERROR_M;
    for close in ranked.chunk_by_mut(is_close).filter(|close| close.len() > 1) {
        settle(scale.centre, close, names);
    }
    ranked
}

/// Puts units that are nearly as far as each other in order.
fn settle(centre: Position, close: &mut [Ranked], names: &dyn Names) {
    let place = close[0].near.position;
    if close.iter().any(|one| one.near.position != place) {
        for one in &mut *close {
            one.way = Way::exact(centre, one.near.position);
        }
    }
    let by_name = |a: &Ranked, b: &Ranked| names.name(a.near.unit).cmp(&names.name(b.near.unit));
    close.sort_unstable_by(|a, b| by_key(a, b).then_with(|| by_name(a, b)));
}

fn by_key(a: &Ranked, b: &Ranked) -> Ordering {
    a.key_m().total_cmp(&b.key_m())
}
