use std::collections::BinaryHeap;

use geodesy::{distance_and_bearing, distance_m, geodesic_upper_m};
use index::{LiveIndex, Slot};
use model::{Position, Timestamp, UnitHandle};

use crate::filter::Candidates;
use crate::{Deadline, Explain, Names, NearestAsk, Omitted, OmittedReason, QueryError};

/// One unit of a nearest answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Which unit.
    pub unit: UnitHandle,
    /// All that is known of it.
    pub slot: Slot,
    /// Geodesic metres from the place asked for.
    pub distance_m: f64,
    /// Degrees clockwise from north, from the place asked for.
    pub bearing_deg: f64,
    /// Its fix is stale; such units rank after all fresh ones.
    pub stale: bool,
}

/// The answer to a [`NearestAsk`].
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// Fresh units first, then stale ones; each by distance, then by name.
    pub found: Vec<Found>,
    /// Who was left out: with `k` fresh units found, those not farther than the farthest of them;
    /// else all within the greatest distance.
    pub omitted: Omitted,
    /// The instant of all ages.
    pub as_of: Timestamp,
}

/// Answers `ask`. Cost: some microseconds for tens of units in dense places; the whole index when
/// fewer than `k` fresh units pass the filter.
///
/// # Errors
/// [`QueryError::DeadlineExceeded`]: never a shorter answer.
pub fn nearest(
    index: &LiveIndex,
    ask: &NearestAsk,
    names: &dyn Names,
    as_of: Timestamp,
    deadline: &Deadline<'_>,
) -> Result<Nearest, QueryError> {
    let mut search = Search::new(ask, as_of);
    let mut examined = 0;
    deadline.check(examined)?;
    index.near(ask.centre, ask.distance_m_max, |unit, slot, chord_m| {
        examined += 1;
        deadline.check(examined)?;
        Ok(search.take(unit, slot, chord_m))
    })?;
    Ok(search.answer(names))
}

/// A unit with its chord, which is a little shorter than its distance.
type Near = (f64, UnitHandle, Slot);

/// Ranks by chord, which is cheap, and keeps what the margin between chord and geodesic leaves
/// undecided; only that pays for the exact distance.
struct Search<'a> {
    ask: &'a NearestAsk,
    as_of: Timestamp,
    /// The `k` shortest chords of fresh units, the longest of them on top; in mm, to be ordered.
    chords_mm: BinaryHeap<u64>,
    fresh: Vec<Near>,
    stale: Vec<Near>,
    omitted: Vec<(f64, UnitHandle, OmittedReason, Position)>,
    bound_m: f64,
}

impl<'a> Search<'a> {
    fn new(ask: &'a NearestAsk, as_of: Timestamp) -> Self {
        Self {
            ask,
            as_of,
            chords_mm: BinaryHeap::with_capacity(ask.k + 1),
            fresh: Vec::new(),
            stale: Vec::new(),
            omitted: Vec::new(),
            bound_m: ask.distance_m_max,
        }
    }

    /// Looks at one unit; gives the chord beyond which nothing matters any more.
    fn take(&mut self, unit: UnitHandle, slot: &Slot, chord_m: f64) -> f64 {
        let Some(fix) = slot.fix else { return self.bound_m };
        if let Some(reason) = self.ask.filter.omits(slot, self.as_of, Candidates::Sendable) {
            self.omitted.push((chord_m, unit, reason, fix.position));
        } else if slot.is_stale(self.as_of) {
            self.stale.push((chord_m, unit, *slot));
        } else {
            self.fresh.push((chord_m, unit, *slot));
            self.narrow(fix.position, chord_m);
        }
        self.bound_m
    }

    /// A fresh unit that counts may be the k-th: then nothing beyond it matters.
    fn narrow(&mut self, position: Position, chord_m: f64) {
        if !is_within(self.ask.centre, position, chord_m, self.ask.distance_m_max) {
            return;
        }
        self.chords_mm.push((chord_m * 1_000.0).ceil() as u64);
        if self.chords_mm.len() > self.ask.k {
            self.chords_mm.pop();
        }
        if self.chords_mm.len() == self.ask.k {
            let longest_m = self.chords_mm.peek().map_or(0.0, |mm| *mm as f64 / 1_000.0);
            self.bound_m = self.bound_m.min(geodesic_upper_m(longest_m));
        }
    }

    fn answer(self, names: &dyn Names) -> Nearest {
        let (ask, as_of) = (self.ask, self.as_of);
        let mut found = exact(ask, self.fresh, self.bound_m, Freshness::Fresh, names);
        let is_full = found.len() >= ask.k;
        found.truncate(ask.k);
        let limit_m = if is_full { found.last().map_or(0.0, |last| last.distance_m) } else { ask.distance_m_max };
        let mut stale = exact(ask, self.stale, limit_m, Freshness::Stale, names);
        let rest = stale.split_off((ask.k - found.len()).min(stale.len()));
        found.append(&mut stale);
        let left_out = rest.into_iter().map(|one| (one.unit, OmittedReason::Stale));
        let mut omitted = Omitted::default();
        let by_filter = self.omitted.into_iter().filter_map(|(chord_m, unit, reason, position)| {
            is_within(ask.centre, position, chord_m, limit_m).then_some((unit, reason))
        });
        for (unit, reason) in by_filter.chain(left_out) {
            omitted.count(reason);
            // Covert units are counted, never named: a right of their own.
            if ask.explain == Explain::Name && reason != OmittedReason::Covert {
                omitted.name(unit, reason);
            }
        }
        Nearest { found, omitted, as_of }
    }
}

/// Whether a place is within `limit_m`; asks exactly only where the chord does not tell.
fn is_within(centre: Position, position: Position, chord_m: f64, limit_m: f64) -> bool {
    chord_m <= limit_m && (geodesic_upper_m(chord_m) <= limit_m || distance_m(centre, position) <= limit_m)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Fresh,
    Stale,
}

/// Exact distances of those whose chord is within `limit_m`, sorted; those farther are dropped.
fn exact(ask: &NearestAsk, near: Vec<Near>, limit_m: f64, freshness: Freshness, names: &dyn Names) -> Vec<Found> {
    let measured = near.into_iter().filter(|(chord_m, _, _)| *chord_m <= limit_m).filter_map(|(_, unit, slot)| {
        let (distance_m, bearing_deg) = distance_and_bearing(ask.centre, slot.fix?.position);
        let stale = freshness == Freshness::Stale;
        (distance_m <= limit_m.min(ask.distance_m_max)).then_some(Found { unit, slot, distance_m, bearing_deg, stale })
    });
    let mut found: Vec<_> = measured.collect();
    let by_name = |a: &Found, b: &Found| names.name(a.unit).cmp(&names.name(b.unit));
    found.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m).then_with(|| by_name(a, b)));
    found
}
