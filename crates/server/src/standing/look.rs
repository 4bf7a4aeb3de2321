//! One look at a standing query: what is so now, by what its organisation sees.

use std::collections::BTreeSet;

use engine::{Live, UnitView, WatchedZone};
use geodesy::distance_m;
use index::Fix;
use model::limits::{STANDING_APART, STANDING_DEADLINE};
use model::{
    Event, EventKind, Minimum, OrganisationName, Position, Standing, StandingEnd, StandingFilter, StandingQuestion,
    Timestamp, UnitKind, UnitName, ZoneName,
};
use query::{Filter, NearestAsk, Scope};
use ring::digest::{SHA256, digest};

use crate::zones::InForce;

const NEAR: &str = "near";
const APART: &str = "apart";
const BELOW: &str = "below";
const ENOUGH: &str = "enough";

/// What an organisation sees.
pub(super) struct Seen {
    pub(super) scope: Scope,
    /// Whose zones it sees; `None`: all.
    pub(super) under: Option<BTreeSet<OrganisationName>>,
}

/// What is looked at.
pub(super) struct Looker<'a> {
    pub(super) live: &'a Live,
    pub(super) zones: &'a InForce,
    pub(super) seen: &'a Seen,
    pub(super) now: Timestamp,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Reading {
    /// The answer.
    Is(Answer),
    /// Nobody can tell: a place is too old, or there is none.
    Unknown,
    /// It took too long: never a guess.
    Late,
    /// What it names is not there, or not seen: the two look alike.
    Unseen(StandingEnd),
}

/// An answer, and what an event would say of it.
#[derive(Debug)]
pub(super) struct Answer {
    /// A word, or a digest: another one is another answer.
    pub(super) state: String,
    /// Whether it must last two looks before it is told.
    pub(super) must_last: bool,
    pub(super) event: Event,
}

impl Looker<'_> {
    /// What is so now; `told` is the state that was told last.
    pub(super) fn look(&self, standing: &Standing, told: Option<&str>) -> Reading {
        match standing.question() {
            StandingQuestion::Nearest { place, k, only } => self.nearest(*place, *k, only),
            StandingQuestion::Strength { zone, kinds, fewer_than } => self.strength(zone, kinds, *fewer_than),
            StandingQuestion::Near { unit, other, metres } => self.near(unit, other, *metres, told),
        }
    }

    fn nearest(&self, place: Position, k: u32, only: &StandingFilter) -> Reading {
        let ask = NearestAsk::new(place, self.seen.scope.clone()).filter(self.filter(only));
        let Ok(nearest) = ask.k(k as usize).map(|ask| self.live.nearest(&ask, STANDING_DEADLINE)) else {
            return Reading::Unknown;
        };
        let Ok(nearest) = nearest else { return Reading::Late };
        let roster = self.live.roster();
        let named = nearest.found.iter().filter_map(|one| Some((roster.unit(one.unit)?.name.clone(), one)));
        let named: Vec<_> = named.collect();
        let joined = |words: Vec<String>| words.join(" ");
        let units = joined(named.iter().map(|(name, _)| name.to_string()).collect());
        let metres = joined(named.iter().map(|(_, one)| format!("{:.0}", one.distance_m)).collect());
        let stale: Vec<_> = named.iter().filter(|(_, one)| one.stale).map(|(name, _)| name.to_string()).collect();
        let mut event = Event { place: Some(place), ..self.event() };
        event = event.with("answer", "changed").with("nearest", units.clone()).with("distances_m", metres);
        if !stale.is_empty() {
            event = event.with("stale", joined(stale));
        }
        if !self.seen.scope.is_everything() {
            event = event.with("nearer_outside_scope", nearest.nearer_outside_scope.to_string());
        }
        Reading::Is(Answer { state: short_digest(&units), must_last: true, event })
    }

    fn filter(&self, only: &StandingFilter) -> Filter {
        let roster = self.live.roster();
        let filter = Filter::new().kinds(only.kinds.clone()).statuses(only.statuses.clone());
        let filter = only.capabilities.iter().fold(filter, |filter, word| match roster.capability(word) {
            Some(bit) => filter.capability(bit),
            None => filter.unknown_capability(),
        });
        only.organisations.iter().fold(filter, |filter, name| match roster.organisation(name.as_str()) {
            Some(found) => filter.organisation(found),
            None => filter.unknown_organisation(),
        })
    }

    fn strength(&self, zone: &ZoneName, kinds: &[UnitKind], fewer_than: u32) -> Reading {
        let Some(found) = self.zone(zone) else { return Reading::Unseen(StandingEnd::ZoneGone) };
        let minimum = Minimum { kinds: kinds.to_vec(), hours: Vec::new(), at_least: fewer_than };
        let Ok(have) = self.live.count_within(&found.area, &minimum, &self.seen.scope, STANDING_DEADLINE) else {
            return Reading::Late;
        };
        let is_below = have < fewer_than;
        let state = if is_below { BELOW } else { ENOUGH };
        let mut event = Event { zone: Some(zone.clone()), ..self.event() };
        event.zone_organisation.clone_from(&found.zone.organisation);
        event = event.with("answer", state).with("fewer_than", fewer_than.to_string());
        if is_below {
            event = event.with("have", have.to_string());
        }
        Reading::Is(Answer { state: state.to_owned(), must_last: true, event })
    }

    fn near(&self, unit: &UnitName, other: &UnitName, metres: f64, told: Option<&str>) -> Reading {
        let (Some(one), Some(two)) = (self.followed(unit), self.followed(other)) else {
            return Reading::Unseen(StandingEnd::UnitGone);
        };
        // An old place brings nobody near, and takes nobody away.
        let (Some(here), Some(there)) = (self.fresh(&one), self.fresh(&two)) else { return Reading::Unknown };
        let apart_m = distance_m(here.position, there.position);
        let limit_m = if told == Some(NEAR) { metres * STANDING_APART } else { metres };
        let state = if apart_m <= limit_m { NEAR } else { APART };
        let event = Event { unit: Some(unit.clone()), place: Some(here.position), ..self.event() };
        let event = event.with("answer", state).with("other", other.as_str()).with("metres", format!("{apart_m:.0}"));
        Reading::Is(Answer { state: state.to_owned(), must_last: false, event })
    }

    /// A unit that is seen and that events follow: no volunteer, and not covert.
    pub(super) fn followed(&self, unit: &UnitName) -> Option<UnitView> {
        let view = self.live.unit(unit, &self.seen.scope)?;
        (!view.slot.traits.covert && view.slot.traits.kind != UnitKind::Community).then_some(view)
    }

    /// A zone that is in force and seen.
    pub(super) fn zone(&self, zone: &ZoneName) -> Option<&WatchedZone> {
        let is_seen = |name: &OrganisationName| self.seen.under.as_ref().is_none_or(|under| under.contains(name));
        self.zones.find(zone).filter(|found| found.zone.organisation.as_ref().is_none_or(is_seen))
    }

    fn fresh(&self, view: &UnitView) -> Option<Fix> {
        view.slot.fix.filter(|_| !view.slot.is_stale(self.now))
    }

    const fn event(&self) -> Event {
        Event::of(EventKind::Standing, self.now, self.now)
    }
}

/// The same on every machine and in every version: it is kept.
fn short_digest(text: &str) -> String {
    let bytes = digest(&SHA256, text.as_bytes());
    bytes.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
