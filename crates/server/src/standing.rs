//! Standing queries: each is looked at once a second beside the way of reports and of other questions, with what its owner's
//! organisation sees at that time, and an answer that is another one becomes an event.
//!
//! The store has the queries, and each end until it was told; the file of events has what was told of each, in the transaction
//! of its event. So a restart neither repeats an answer nor loses an end.

mod figures;
mod look;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Watch;
use model::limits::{STANDING_BUDGET, STANDING_GONE_TIME, STRENGTH_GRACE};
use model::{
    Event, EventKind, OrganisationName, Principal, PrincipalName, Role, Standing, StandingEnd, StandingQuestion,
    Timestamp,
};
use parking_lot::Mutex;
use query::Scope;
use store::audit::Look;
use store::{By, StandingRecord};
use tracing::error;

use crate::access::LogOnRule;
use crate::http::Problem;
use crate::run::Service;
pub(crate) use figures::StandingFigures;
use look::{Answer, Looker, Reading, Seen};

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The state of a query whose end was told.
const ENDED: &str = "ended";

/// All standing queries.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    /// Held for a whole round, so that none overtakes another: the number of the store's last change that was taken.
    reached: tokio::sync::Mutex<Option<u64>>,
    all: Mutex<All>,
    figures: Arc<StandingFigures>,
}

#[derive(Debug, Default)]
struct All {
    by_number: BTreeMap<u64, Query>,
    /// The first to be looked at in the next round.
    next: u64,
    /// When the server began to look: not all units have been heard for some time then.
    began: Option<Timestamp>,
}

/// One query, and what is known of its answer.
#[derive(Debug)]
struct Query {
    standing: Arc<Standing>,
    ended: Option<StandingEnd>,
    /// The event that says so is on its way.
    is_end_told: bool,
    /// The state that was told last.
    told: Option<String>,
    /// Another one, seen in the last look.
    turning: Option<String>,
    /// When all that it names was seen last.
    seen: Timestamp,
}

/// One that is to be looked at.
struct Turn {
    number: u64,
    standing: Arc<Standing>,
    told: Option<String>,
}

/// An answer to be told.
struct Change {
    number: u64,
    standing: Arc<Standing>,
    answer: Answer,
}

/// What a round found.
#[derive(Default)]
struct Round {
    changes: Vec<Change>,
    gone: Vec<(u64, StandingEnd)>,
}

impl Standings {
    pub(crate) const fn figures(&self) -> &Arc<StandingFigures> {
        &self.figures
    }

    /// What was told of a query last; `None` before its first answer, and when there is no such query.
    pub(crate) fn told(&self, number: u64) -> Option<String> {
        self.all.lock().by_number.get(&number)?.told.clone()
    }

    /// As if units had been heard since `began`.
    #[cfg(test)]
    pub(crate) fn suppose_begun(&self, began: Timestamp) {
        self.all.lock().began = Some(began);
    }

    /// Takes what the store has; `states` is what was told before this process began.
    fn take(&self, records: Vec<StandingRecord>, states: &HashMap<u64, String>, now: Timestamp) {
        let mut all = self.all.lock();
        all.began.get_or_insert(now);
        let kept: HashSet<_> = records.iter().map(|record| record.number).collect();
        all.by_number.retain(|number, _| kept.contains(number));
        for StandingRecord { number, standing, ended } in records {
            let state = states.get(&number);
            let query = all.by_number.entry(number).or_insert_with(|| Query {
                standing: Arc::new(standing),
                ended: None,
                is_end_told: state.is_some_and(|state| state == ENDED),
                told: state.cloned(),
                turning: None,
                seen: now,
            });
            query.ended = ended;
        }
        let open = all.by_number.values().filter(|query| query.ended.is_none()).count();
        self.figures.open.store(open as u64, Ordering::Relaxed);
    }

    /// Those whose time is over.
    fn over(&self, now: Timestamp) -> Vec<(u64, StandingEnd)> {
        let all = self.all.lock();
        let is_over = |query: &Query| query.ended.is_none() && now >= query.standing.until();
        let over = all.by_number.iter().filter(|(_, query)| is_over(query));
        over.map(|(number, _)| (*number, StandingEnd::Until)).collect()
    }

    fn ended(&self, ends: &[(u64, StandingEnd)]) {
        let mut all = self.all.lock();
        for (number, why) in ends {
            if let Some(query) = all.by_number.get_mut(number) {
                query.ended.get_or_insert(*why);
            }
        }
    }

    /// All that are open, the one whose turn it is first.
    fn turns(&self) -> (Vec<Turn>, Option<Timestamp>) {
        let all = self.all.lock();
        let turns = all.by_number.range(all.next..).chain(all.by_number.range(..all.next));
        let open = turns.filter(|(_, query)| query.ended.is_none());
        let turn = |(number, query): (&u64, &Query)| Turn {
            number: *number,
            standing: Arc::clone(&query.standing),
            told: query.told.clone(),
        };
        (open.map(turn).collect(), all.began)
    }

    /// Looks at as many as `budget` allows, at least at one; the others are the first of the next round.
    fn look(&self, service: &Service, now: Timestamp, budget: Duration) -> Round {
        let (turns, began) = self.turns();
        let mut round = Round::default();
        if began.is_none_or(|began| now.ms_since(began) < STRENGTH_GRACE.as_millis() as i64) {
            return round;
        }
        let (begun, live, zones) = (service.seats.now(), service.engine.live(), service.zones.now());
        let mut seen: HashMap<Option<OrganisationName>, Seen> = HashMap::new();
        let mut last = begun;
        for (at, Turn { number, standing, told }) in turns.iter().enumerate() {
            if at > 0 && last.saturating_sub(begun) >= budget {
                self.figures.postponed.fetch_add((turns.len() - at) as u64, Ordering::Relaxed);
                self.all.lock().next = *number;
                break;
            }
            let seen = seen
                .entry(standing.organisation().cloned())
                .or_insert_with(|| service.organisation_sees(standing.organisation()));
            let looker = Looker { live, zones: &zones, seen, now };
            let reading = looker.look(standing, told.as_deref());
            let ended = service.seats.now();
            self.figures.looked(standing.question(), ended.saturating_sub(last));
            last = ended;
            self.settle(*number, standing, reading, now, &mut round);
        }
        round
    }

    /// Decides whether a reading is to be told.
    fn settle(&self, number: u64, standing: &Arc<Standing>, reading: Reading, now: Timestamp, round: &mut Round) {
        let mut all = self.all.lock();
        let Some(query) = all.by_number.get_mut(&number) else { return };
        match reading {
            Reading::Unseen(why) => {
                if now.ms_since(query.seen) >= STANDING_GONE_TIME.as_millis() as i64 {
                    round.gone.push((number, why));
                }
                return;
            }
            Reading::Late => _ = self.figures.late.fetch_add(1, Ordering::Relaxed),
            Reading::Unknown => query.turning = None,
            Reading::Is(answer) => {
                let is_told = query.told.as_ref() == Some(&answer.state);
                let lasts = query.told.is_none() || !answer.must_last || query.turning.as_ref() == Some(&answer.state);
                query.turning = (!is_told).then(|| answer.state.clone());
                if !is_told && lasts {
                    round.changes.push(Change { number, standing: Arc::clone(standing), answer });
                }
            }
        }
        query.seen = now;
    }
}

impl Service {
    /// One round over all standing queries: what is over ends, what has another answer is told.
    ///
    /// # Errors
    /// The store or the events cannot be read or written; what was found is found again in the next round.
    pub(crate) async fn look_at_standing(self: &Arc<Self>, now: Timestamp, budget: Duration) -> Result<(), Problem> {
        // While events cannot be written none is found either: they would wait without a limit.
        let watch = self.engine.watch().filter(|watch| !watch.figures().has_failed);
        let Some(watch) = watch.map(Arc::clone) else { return Ok(()) };
        let mut reached = self.standings.reached.lock().await;
        self.take_standing(&mut reached, &watch, now).await?;
        self.end_standing(self.standings.over(now), now).await?;
        let service = Arc::clone(self);
        // Beside the seats: dispatchers wait for none of it.
        let looked = tokio::task::spawn_blocking(move || service.standings.look(&service, now, budget)).await;
        let Round { changes, gone } = looked.expect("a round ends without a panic");
        self.tell_answers(changes, &watch, now).await;
        self.end_standing(gone, now).await?;
        self.tell_ends(&watch, now).await
    }

    /// What `organisation` sees now; all when there is none.
    fn organisation_sees(&self, organisation: Option<&OrganisationName>) -> Seen {
        let live = self.engine.live();
        match organisation {
            None => Seen { scope: Scope::everything(), under: None },
            Some(one) => Seen { scope: self.scopes.of(one, live), under: Some(self.scopes.under(one, live.now())) },
        }
    }

    async fn take_standing(
        &self,
        reached: &mut Option<u64>,
        watch: &Arc<Watch>,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let before = *reached;
        let found = self.stored(move |store| {
            let version = store.standing_version()?;
            Ok(if before == Some(version) { None } else { Some((version, store.standing()?)) })
        });
        let Some((version, records)) = found.await? else { return Ok(()) };
        let states = if before.is_none() { states(watch).await? } else { HashMap::new() };
        // It ended, and the process did too before its state was removed.
        for number in states.keys().filter(|number| records.iter().all(|record| record.number != **number)) {
            watch.note_state(None, EventKind::Standing, number.to_string(), None);
        }
        self.standings.take(records, &states, now);
        *reached = Some(version);
        Ok(())
    }

    async fn end_standing(&self, ends: Vec<(u64, StandingEnd)>, now: Timestamp) -> Result<(), Problem> {
        if ends.is_empty() {
            return Ok(());
        }
        let ended = ends.clone();
        self.stored(move |store| {
            let name = PrincipalName::new("muster").expect("a word is a name");
            let system = Principal { name, role: Role::Administrator, organisation: None };
            store.end_standing(&By { principal: &system, now, reason: None }, &ended)
        })
        .await?;
        self.standings.ended(&ends);
        Ok(())
    }

    /// The owner looks at the units of each answer; what cannot be audited is not told, and found again.
    async fn tell_answers(&self, changes: Vec<Change>, watch: &Watch, now: Timestamp) {
        let is_audited = self.log_on.rule() != LogOnRule::Off;
        let tell = |Change { number, standing, answer }: Change| async move {
            let is_first = self.standings.told(number).is_none();
            let mut event = answer.event;
            event.organisation = standing.organisation().cloned();
            event = event.with("standing", number.to_string()).with("incident", standing.incident());
            if is_first {
                event = event.with("first", "true");
            }
            let units: Vec<_> = event.units().collect();
            if is_audited && !units.is_empty() {
                let (principal, resource) = (Arc::clone(standing.owner()), standing.incident().to_owned());
                let look = Look { time: now, principal, action: "look.standing", resource, units };
                if self.auditor.looked(look).await.is_err() {
                    return;
                }
            }
            watch.note_state(Some(event), EventKind::Standing, number.to_string(), Some(answer.state.clone()));
            self.standings.figures.told.fetch_add(1, Ordering::Relaxed);
            if let Some(query) = self.standings.all.lock().by_number.get_mut(&number) {
                (query.told, query.turning) = (Some(answer.state), None);
            }
        };
        // All at once: the audit takes many looks in one transaction.
        futures_util::future::join_all(changes.into_iter().map(tell)).await;
    }

    /// Tells each end; once that is on disk the query is forgotten.
    async fn tell_ends(&self, watch: &Arc<Watch>, now: Timestamp) -> Result<(), Problem> {
        let mut told = Vec::new();
        for (number, query) in &mut self.standings.all.lock().by_number {
            let Some(why) = query.ended else { continue };
            if std::mem::replace(&mut query.is_end_told, true) {
                told.push(*number);
                continue;
            }
            let organisation = query.standing.organisation().cloned();
            let event = Event { organisation, ..Event::of(EventKind::StandingEnded, now, now) };
            let event = event.with("standing", number.to_string()).with("incident", query.standing.incident());
            let event = Some(event.with("why", why.as_str()));
            watch.note_state(event, EventKind::Standing, number.to_string(), Some(ENDED.to_owned()));
        }
        if told.is_empty() {
            return Ok(());
        }
        let states = states(watch).await?;
        told.retain(|number| states.get(number).is_some_and(|state| state == ENDED));
        let forgotten = told.clone();
        self.stored(move |store| store.forget_standing(&forgotten)).await?;
        for number in told {
            watch.note_state(None, EventKind::Standing, number.to_string(), None);
            self.standings.all.lock().by_number.remove(&number);
        }
        Ok(())
    }

    /// Whether events may follow all units that a question names, by what `organisation` sees; the first that is not seen.
    pub(crate) fn may_follow(
        &self,
        organisation: Option<&OrganisationName>,
        question: &StandingQuestion,
    ) -> Result<(), Problem> {
        let (live, zones, seen) = (self.engine.live(), self.zones.now(), self.organisation_sees(organisation));
        let looker = Looker { live, zones: &zones, seen: &seen, now: live.now() };
        match question {
            StandingQuestion::Near { unit, other, .. } => {
                for name in [unit, other] {
                    if live.unit(name, &seen.scope).is_none() {
                        return Err(Problem::not_found(format!("there is no unit `{name}`")));
                    }
                    if looker.followed(name).is_none() {
                        return Err(Problem::forbidden("standing queries follow no volunteers and no covert units"));
                    }
                }
                Ok(())
            }
            StandingQuestion::Strength { zone, .. } if looker.zone(zone).is_none() => {
                Err(Problem::not_found(format!("there is no zone `{zone}`")))
            }
            StandingQuestion::Strength { .. } | StandingQuestion::Nearest { .. } => Ok(()),
        }
    }
}

/// What was told of each query and is on disk.
async fn states(watch: &Arc<Watch>) -> Result<HashMap<u64, String>, Problem> {
    let watch = Arc::clone(watch);
    let read = tokio::task::spawn_blocking(move || watch.states(EventKind::Standing)).await;
    let states = read.expect("reading states ends without a panic")?;
    Ok(states.into_iter().filter_map(|(name, state)| Some((name.parse().ok()?, state))).collect())
}

/// Looks at them until it is aborted.
pub(crate) async fn follow(service: Arc<Service>) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = service.engine.live().now();
        if let Err(problem) = service.look_at_standing(now, STANDING_BUDGET).await {
            error!(problem = problem.detail(), "Standing queries are not answered.");
        }
    }
}
