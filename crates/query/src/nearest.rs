use std::collections::{BinaryHeap, HashMap};

use geodesy::{Reach, Vantage};
use index::{Digest, LiveIndex, Sight, Slot};
use model::{Timestamp, UnitHandle};

use crate::filter::Candidates;
use crate::rank::{Limit, NO_SLOT, Near, Scale, rank};
use crate::{Deadline, EXPLAINED_MAX, Explain, LeftOut, Names, NearestAsk, Omitted, OmittedReason, QueryError, Rank};

/// One unit of a nearest answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Which unit.
    pub unit: UnitHandle,
    /// All that is known of it.
    pub slot: Slot,
    /// Geodesic metres from the place asked for, to 5 mm.
    pub distance_m: f64,
    /// Degrees clockwise from north, from the place asked for.
    pub bearing_deg: f64,
    /// Its fix is stale; such units rank after all fresh ones.
    pub stale: bool,
}

/// The least and the most metres that a unit can be away by now, whose place is `distance_m` away: less and more by its accuracy (30 m
/// where it states none) and by what its kind can go at its greatest speed in the age of the fix. `None` without a place.
#[must_use]
pub fn possible_m(distance_m: f64, slot: &Slot, as_of: Timestamp) -> Option<[f64; 2]> {
    let radius_m = slot.fix?.possible_radius_m(slot.traits.kind, as_of);
    Some([(distance_m - radius_m).max(0.0), distance_m + radius_m])
}

/// The answer to a [`NearestAsk`].
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// Fresh units first, then stale ones; each by the rank that was asked for, then by name.
    pub found: Vec<Found>,
    /// Who was left out: with `k` fresh units found, those that would not be ranked after the last of them;
    /// else all within the greatest distance.
    pub omitted: Omitted,
    /// Beyond the scope there is a fresh unit that would be in the answer.
    pub nearer_outside_scope: bool,
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
    let vantage = Vantage::of(ask.centre);
    // A digest does not know whose its unit is, nor how old its fix is.
    let is_told = ask.scope.is_everything() && ask.rank == Rank::Distance;
    let first = if is_told { Trust::Digests } else { Trust::Slots };
    for trust in [first, Trust::Slots] {
        let mut search = Search::new(index, ask, &vantage, as_of, trust);
        let mut examined = 0;
        deadline.check(examined)?;
        let asks_all = trust == Trust::Slots || ask.filter.asks_more();
        let asks_slot = |digest: Digest| asks_all || !digest.is_surely_fresh(as_of);
        index.near(&vantage, ask.distance_m_max, asks_slot, |sight| {
            examined += 1;
            deadline.check(examined)?;
            Ok(search.take(sight))
        })?;
        if let Some(answer) = search.answer(names) {
            return Ok(answer);
        }
    }
    unreachable!("a search that asks slots has an answer")
}

/// What a search decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Digests where they tell enough. They lie in the bucket beside the place; a slot is a load from somewhere else.
    Digests,
    /// The slot of each unit, as it was when the unit was seen.
    Slots,
}

/// Ranks by bounds, which are cheap; only what they leave undecided pays for an exact distance.
struct Search<'a> {
    index: &'a LiveIndex,
    ask: &'a NearestAsk,
    vantage: &'a Vantage,
    as_of: Timestamp,
    trust: Trust,
    /// The `k` least upper bounds of fresh units, the greatest of them on top: bits of f64, which are in the same order.
    most_m: BinaryHeap<u64>,
    /// Those that were asked.
    slots: Vec<Slot>,
    /// For each of them, the metres that its unit can be farther than its place; empty when it is ranked by distance.
    beyond_m: Vec<f64>,
    fresh: Vec<Near>,
    stale: Vec<Near>,
    omitted: Vec<(Near, OmittedReason)>,
    /// Fresh ones that the scope hides.
    outside: Vec<Near>,
    bound_m: f64,
}

impl<'a> Search<'a> {
    fn new(index: &'a LiveIndex, ask: &'a NearestAsk, vantage: &'a Vantage, as_of: Timestamp, trust: Trust) -> Self {
        Self {
            index,
            ask,
            vantage,
            as_of,
            trust,
            most_m: BinaryHeap::with_capacity(ask.k + 1),
            slots: Vec::new(),
            beyond_m: Vec::new(),
            fresh: Vec::with_capacity(8 * ask.k),
            stale: Vec::new(),
            omitted: Vec::new(),
            outside: Vec::new(),
            // What can be far is ranked after what is: such a rank has no bound of its own at first.
            bound_m: if ask.rank == Rank::Distance { ask.distance_m_max } else { f64::INFINITY },
        }
    }

    /// Looks at one unit; gives the distance beyond which nothing matters any more. No unit is ranked before its distance.
    fn take(&mut self, sight: &Sight) -> f64 {
        let near = Near { unit: sight.unit, position: sight.position, reach: sight.reach, slot: NO_SLOT };
        let by_digest = sight.digest.filter(|_| self.trust == Trust::Digests);
        match by_digest.and_then(|digest| self.ask.filter.omits_by_digest(digest, self.as_of)) {
            Some(None) => self.take_fresh(near),
            Some(Some(reason)) => self.omitted.push((near, reason)),
            None => self.take_slot(near),
        }
        self.bound_m
    }

    fn take_slot(&mut self, near: Near) {
        let Some(slot) = self.index.slot(near.unit) else { return };
        let Some(fix) = slot.fix else { return };
        let has_moved = fix.position != near.position;
        let reach = if has_moved { self.vantage.reach(fix.position) } else { near.reach };
        if reach.least_m > self.bound_m {
            return;
        }
        let mut near = Near { unit: near.unit, position: fix.position, reach, slot: self.slots.len() as u32 };
        if self.ask.rank == Rank::Possible {
            let scale = Scale { centre: self.ask.centre, beyond_m: None };
            if !Limit::metres(scale, self.ask.distance_m_max).holds(&near) {
                return;
            }
            let beyond_m = fix.possible_radius_m(slot.traits.kind, self.as_of);
            near.reach = Reach { least_m: reach.least_m + beyond_m, most_m: reach.most_m + beyond_m };
            if near.reach.least_m > self.bound_m {
                return;
            }
            self.slots.push(slot);
            self.beyond_m.push(beyond_m);
        }
        self.judge(near, slot);
    }

    fn judge(&mut self, near: Near, slot: Slot) {
        let omitted = self.ask.filter.omits(&slot, self.as_of, Candidates::Sendable);
        if !self.ask.scope.sees(near.unit, &slot) {
            // Who names an organisation would learn where its units are not seen.
            let tells = !self.ask.filter.names_organisations();
            if tells && omitted.is_none() && !slot.is_stale(self.as_of) {
                self.outside.push(near);
            }
            return;
        }
        if let Some(reason) = omitted {
            if reason == OmittedReason::Covert && !self.ask.scope.is_everything() {
                return;
            }
            // Its slot is not needed again.
            return self.omitted.push((near, reason));
        }
        if self.ask.rank == Rank::Distance {
            self.slots.push(slot);
        }
        if slot.is_stale(self.as_of) {
            self.stale.push(near);
        } else {
            self.take_fresh(near);
        }
    }

    /// A fresh unit that counts may be the k-th: then nothing beyond it matters.
    fn take_fresh(&mut self, near: Near) {
        let Reach { most_m, .. } = near.reach;
        self.fresh.push(near);
        if self.ask.rank == Rank::Distance && most_m > self.ask.distance_m_max {
            return;
        }
        self.most_m.push(most_m.to_bits());
        if self.most_m.len() > self.ask.k {
            self.most_m.pop();
        }
        if self.most_m.len() == self.ask.k {
            let greatest_m = self.most_m.peek().map_or(f64::INFINITY, |bits| f64::from_bits(*bits));
            self.bound_m = self.bound_m.min(greatest_m);
        }
    }

    /// The answer; `None` when a digest that was trusted is not what the slot says by now.
    fn answer(self, names: &dyn Names) -> Option<Nearest> {
        let (ask, as_of, index, slots) = (self.ask, self.as_of, self.index, self.slots);
        let is_as_seen = |near: &Near, slot: &Slot| {
            slot.fix.is_some_and(|fix| fix.position == near.position)
                && !slot.is_stale(as_of)
                && ask.filter.omits(slot, as_of, Candidates::Sendable).is_none()
        };
        let slot_of = |near: &Near| match slots.get(near.slot as usize) {
            Some(slot) => Some(*slot),
            None => index.slot(near.unit).filter(|slot| is_as_seen(near, slot)),
        };
        let (beyond_m, everywhere_m) = match ask.rank {
            Rank::Distance => (None, ask.distance_m_max),
            // Nothing beyond the greatest distance was taken.
            Rank::Possible => (Some(&*self.beyond_m), f64::INFINITY),
        };
        let scale = Scale { centre: ask.centre, beyond_m };
        let everywhere = Limit::metres(scale, everywhere_m);
        let mut fresh = self.fresh;
        fresh.retain(|near| near.reach.least_m <= self.bound_m);
        let mut found = rank(fresh, &everywhere, names);
        let is_full = found.len() >= ask.k;
        found.truncate(ask.k);
        let limit = found.last().filter(|_| is_full).map_or(everywhere, |last| Limit::of(scale, last));
        let nearer_outside_scope = self.outside.iter().any(|near| limit.holds(near));
        let room = ask.k - found.len();
        let (stale, farther) = nearest_of(self.stale, room.max(EXPLAINED_MAX));
        let mut stale = rank(stale, &limit, names);
        let rest = stale.split_off(room.min(stale.len()));
        let by_filter = self.omitted.into_iter().filter(|(near, _)| limit.holds(near));
        let farther = farther.into_iter().filter(|near| limit.holds(near));
        let left_out = rest.into_iter().map(|one| one.near).chain(farther).map(|near| (near, OmittedReason::Stale));
        let mut omitted = Omitted::default();
        let left_out = by_filter.chain(left_out).inspect(|(_, reason)| omitted.count(*reason));
        match ask.explain {
            Explain::Count => left_out.for_each(drop),
            Explain::Name => {
                let left_out = left_out.collect();
                name(&mut omitted, left_out, &limit, names, |unit| index.slot(unit)?.fix_age_ms(as_of));
            }
        }
        // Their slots lie far from each other: ask for all before the first is read.
        index.ask_for(found.iter().chain(&stale).map(|one| one.near.unit));
        let found = [(found, false), (stale, true)]
            .into_iter()
            .flat_map(|(found, stale)| found.into_iter().map(move |one| (one, stale)));
        let found = found.map(|(one, stale)| {
            let (distance_m, bearing_deg) = (one.way.distance_m, one.way.bearing_deg());
            Some(Found { unit: one.near.unit, slot: slot_of(&one.near)?, distance_m, bearing_deg, stale })
        });
        Some(Nearest { found: found.collect::<Option<_>>()?, omitted, nearer_outside_scope, as_of })
    }
}

/// Names the first of those that were left out. Covert units are counted, never named: a right of their own.
fn name(
    omitted: &mut Omitted,
    mut left_out: Vec<(Near, OmittedReason)>,
    limit: &Limit<'_>,
    names: &dyn Names,
    fix_age_ms: impl Fn(UnitHandle) -> Option<i64>,
) {
    left_out.retain(|(_, reason)| *reason != OmittedReason::Covert);
    let reasons: HashMap<_, _> = left_out.iter().map(|(near, reason)| (near.unit, *reason)).collect();
    let (nearest, _) = nearest_of(left_out.into_iter().map(|(near, _)| near).collect(), EXPLAINED_MAX);
    let mut ranked = rank(nearest, limit, names);
    ranked.truncate(EXPLAINED_MAX);
    let named = ranked.into_iter().map(|one| {
        let unit = one.near.unit;
        LeftOut { unit, reason: reasons[&unit], distance_m: one.way.distance_m, fix_age_ms: fix_age_ms(unit) }
    });
    let named: Vec<_> = named.collect();
    let unnamed = (reasons.len() - named.len()) as u64;
    omitted.name(named, unnamed);
}

/// Parts those that can be among the `count` nearest from those that cannot, so that not all of a city that fell silent is
/// ranked.
fn nearest_of(mut near: Vec<Near>, count: usize) -> (Vec<Near>, Vec<Near>) {
    if near.len() <= count {
        return (near, Vec::new());
    }
    let by_most = |a: &Near, b: &Near| a.reach.most_m.total_cmp(&b.reach.most_m);
    let (_, last, _) = near.select_nth_unstable_by(count - 1, by_most);
    let most_m = last.reach.most_m;
    near.into_iter().partition(|near| near.reach.least_m <= most_m)
}
