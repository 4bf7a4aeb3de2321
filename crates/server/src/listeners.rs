//! Who listens to events: over SSE, gRPC and webhooks, each from a number on, each only to what it may see. What a listener was told of a
//! unit's place is in the audit before it leaves.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::{EventPage, Noted, Watch};
use model::limits::{EMERGENCY_SIGHT_M, LISTENERS_MAX};
use model::{Event, EventKind, OrganisationName, Position, Timestamp, UnitName, ZoneName};
use parking_lot::Mutex;
use query::Scope;
use tokio::sync::watch;

use crate::access::{Asker, Denied, NotAudited};
use crate::http::Problem;
use crate::run::Service;

/// A listener that hears nothing is told so after this, and its rights are looked at.
const IDLE: Duration = Duration::from_secs(10);
/// Events of a unit that is lent are told while they are no older.
const LENT_EVENT_AGE: Duration = Duration::from_secs(60);

/// What a listener wants to hear; empty lists do not restrict.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) kinds: Vec<EventKind>,
    pub(crate) units: Vec<UnitName>,
    pub(crate) zones: Vec<ZoneName>,
}

/// All listeners, so that what each lacks is seen.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    last: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Heard>>>,
    /// Whether the server stops: it does not wait for those who only listen.
    is_stopping: watch::Sender<bool>,
}

/// How far a listener is.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) principal: String,
    /// `sse`, `grpc`, `webhook`.
    pub(crate) over: &'static str,
    pub(crate) since: Timestamp,
    /// The last event that it was told, or that was not for it.
    pub(crate) after: AtomicU64,
    /// Events that were removed before it could be told.
    pub(crate) lost: AtomicU64,
}

/// One listener.
pub(crate) struct Listener {
    service: Arc<Service>,
    watch: Arc<Watch>,
    asker: Asker,
    wanted: Wanted,
    _present: Presence,
    heard: Arc<Heard>,
    last: watch::Receiver<u64>,
    is_stopping: watch::Receiver<bool>,
}

/// That somebody is among the listeners, until it is dropped.
pub(crate) struct Presence {
    service: Arc<Service>,
    number: u64,
}

/// What a listener is told.
pub(crate) enum Told {
    Events(Vec<Arc<Noted>>),
    /// These are gone: the first and the last number.
    Gap(u64, u64),
    /// Nothing: it is still there.
    Idle,
}

/// Why a listener is told nothing any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    NotAudited(#[from] NotAudited),
    #[error("events cannot be read: {0}")]
    Unreadable(#[from] store::StoreError),
    #[error("the server stops")]
    Stopping,
}

impl Listeners {
    /// Ends all streams, and those that begin later.
    pub(crate) fn end(&self) {
        self.is_stopping.send_replace(true);
    }

    /// All of them with their numbers.
    pub(crate) fn all(&self) -> Vec<(u64, Arc<Heard>)> {
        self.all.lock().iter().map(|(number, heard)| (*number, Arc::clone(heard))).collect()
    }
}

impl Wanted {
    pub(crate) fn has(&self, event: &Event) -> bool {
        fn is_among<T: PartialEq>(wanted: &[T], one: Option<&T>) -> bool {
            wanted.is_empty() || one.is_some_and(|one| wanted.contains(one))
        }
        // That something is missing concerns everybody.
        event.kind == EventKind::Gap
            || (is_among(&self.kinds, Some(&event.kind))
                && is_among(&self.units, event.unit.as_ref())
                && is_among(&self.zones, event.zone.as_ref()))
    }
}

impl Listener {
    /// Listens from the event after number `after` on, or from now on.
    ///
    /// # Errors
    /// [`Problem`] when too many listen.
    pub(crate) fn new(
        service: &Arc<Service>,
        asker: Asker,
        wanted: Wanted,
        after: Option<u64>,
        over: &'static str,
    ) -> Result<Self, Problem> {
        let watch = service.engine.watch().map(Arc::clone).ok_or_else(|| Problem::not_found("nobody watches here"))?;
        let mut last = watch.last();
        let newest = *last.borrow_and_update();
        // A number that was never given is one of another server: all that there is is new.
        let after = after.map_or(newest, |after| if after > newest { 0 } else { after });
        let (principal, since) = (asker.principal.name.to_string(), service.engine.live().now());
        let heard = Heard { principal, over, since, after: AtomicU64::new(after), lost: AtomicU64::new(0) };
        let heard = Arc::new(heard);
        let present = Presence::among(service, &heard, LISTENERS_MAX);
        let too_many = || Problem::too_many(format!("{LISTENERS_MAX} listen to events already"));
        let _present = present.ok_or_else(too_many)?;
        let is_stopping = service.listeners.is_stopping.subscribe();
        Ok(Self { service: Arc::clone(service), watch, asker, wanted, _present, heard, last, is_stopping })
    }

    /// The next that it may hear. Rights are looked at each time: they end with their token.
    ///
    /// # Errors
    /// [`Ended`]: the stream is to be closed.
    pub(crate) async fn next(&mut self) -> Result<Told, Ended> {
        loop {
            self.asker = self.service.still(&self.asker)?;
            let after = self.heard.after.load(Ordering::Relaxed);
            let page = self.page(after).await?;
            if let Some((first, last)) = page.gap {
                self.heard.after.store(last, Ordering::Relaxed);
                self.heard.lost.fetch_add(last - first + 1, Ordering::Relaxed);
                return Ok(Told::Gap(first, last));
            }
            let Some(newest) = page.events.last().map(|noted| noted.event.number) else {
                let news = tokio::select! {
                    news = tokio::time::timeout(IDLE, self.last.changed()) => news,
                    _ = self.is_stopping.wait_for(|is_stopping| *is_stopping) => return Err(Ended::Stopping),
                };
                match news {
                    Ok(Ok(())) => continue,
                    _ => return Ok(Told::Idle),
                }
            };
            let sight = Sight::of(&self.service, &self.asker);
            let is_for_it = |noted: &Arc<Noted>| self.wanted.has(&noted.event) && sight.sees(&noted.event);
            let events: Vec<_> = page.events.into_iter().filter(is_for_it).collect();
            if !events.is_empty() {
                // A unit is named once, however much it did.
                let units: BTreeSet<_> = events.iter().flat_map(|noted| noted.event.units()).collect();
                if !units.is_empty() {
                    let units = units.iter().map(UnitName::as_str);
                    self.service.looked(&self.asker, "look.events", units).await?;
                }
            }
            self.heard.after.store(newest, Ordering::Relaxed);
            if !events.is_empty() {
                return Ok(Told::Events(events));
            }
        }
    }

    /// The next page; only one that is no longer at hand is read from the disk.
    async fn page(&self, after: u64) -> Result<EventPage, Ended> {
        if let Some(page) = self.watch.at_hand(after) {
            return Ok(page);
        }
        let watch = Arc::clone(&self.watch);
        let read = tokio::task::spawn_blocking(move || watch.after(after)).await;
        Ok(read.expect("reading events ends without a panic")?)
    }
}

impl Presence {
    /// Joins them, if they are fewer than `most`.
    fn among(service: &Arc<Service>, heard: &Arc<Heard>, most: usize) -> Option<Self> {
        let listeners = &service.listeners;
        let mut all = listeners.all.lock();
        if all.len() >= most {
            return None;
        }
        let number = listeners.last.fetch_add(1, Ordering::Relaxed) + 1;
        all.insert(number, Arc::clone(heard));
        drop(all);
        Some(Self { service: Arc::clone(service), number })
    }

    /// Joins them, however many they are: webhooks have a limit of their own.
    pub(crate) fn webhook(service: &Arc<Service>, heard: &Arc<Heard>) -> Self {
        Self::among(service, heard, usize::MAX).expect("there are fewer than all numbers")
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.service.listeners.all.lock().remove(&self.number);
    }
}

/// Which events an asker may see: those of units that it saw where it happened, in zones that it sees.
pub(crate) struct Sight<'a> {
    service: &'a Service,
    asker: &'a Asker,
}

impl<'a> Sight<'a> {
    pub(crate) const fn of(service: &'a Service, asker: &'a Asker) -> Self {
        Self { service, asker }
    }

    pub(crate) fn sees(&self, event: &Event) -> bool {
        if self.asker.sees_all() || event.kind == EventKind::Gap {
            return true;
        }
        if event.is_of_standing() {
            return self.sees_standing(event.organisation.as_ref(), event.units());
        }
        let roster = self.service.engine.live().roster();
        let handle = |name: &model::OrganisationName| roster.organisation(name.as_str());
        let is_zone_seen = event.zone_organisation.as_ref().is_none_or(|one| self.service.commands(self.asker, one));
        let organisation = event.organisation.as_ref().and_then(handle);
        let is_unit_seen = |unit: &UnitName| {
            // An emergency is told to all whom its ringing shows the unit, to its end, and shows nothing else of the unit.
            if is_of_emergency(event.kind) {
                let is_near = |place: Position| self.asker.scope.reaches(place, EMERGENCY_SIGHT_M);
                return organisation.is_some_and(|one| self.asker.scope.holds(one)) || event.place.is_some_and(is_near);
            }
            let live = self.service.engine.live();
            let is_covert = live.unit(unit, &Scope::everything()).is_some_and(|view| view.slot.traits.covert);
            // What is lent now may not have been then.
            let is_of_now = live.now().ms_since(event.time) <= LENT_EVENT_AGE.as_millis() as i64;
            let lent = roster.find(unit).filter(|_| is_of_now);
            self.asker.scope.saw(lent, organisation, event.place.filter(|_| !is_covert))
        };
        match (&event.unit, &event.zone) {
            (Some(unit), _) => is_zone_seen && is_unit_seen(unit),
            // A zone of nobody counts everybody: its number is for those who see them.
            (None, Some(_)) => event.zone_organisation.is_some() && is_zone_seen,
            // A button of nobody's device rings for all; what concerns the whole server is for those who see it whole.
            (None, None) => is_of_emergency(event.kind),
        }
    }
}

impl Sight<'_> {
    /// Whether it may know of a standing query of `organisation` that names `units`. It was answered with what that organisation
    /// sees: whoever commands it and sees other ground must see each unit itself.
    pub(crate) fn sees_standing(
        &self,
        organisation: Option<&OrganisationName>,
        mut units: impl Iterator<Item = UnitName>,
    ) -> bool {
        if self.asker.sees_all() {
            return true;
        }
        let Some(organisation) = organisation else { return false };
        if self.asker.principal.organisation.as_ref() == Some(organisation) {
            return true;
        }
        let live = self.service.engine.live();
        self.service.commands(self.asker, organisation)
            && units.all(|unit| live.unit(&unit, &self.asker.scope).is_some())
    }
}

const fn is_of_emergency(kind: EventKind) -> bool {
    matches!(kind, EventKind::EmergencyRaised | EventKind::EmergencySeen | EventKind::EmergencyCleared)
}

/// The kinds that are asked for, for whoever asks in an unfamiliar form.
pub(crate) fn kinds(words: &[String]) -> Result<Vec<EventKind>, model::UnknownWord> {
    let kinds: Result<HashSet<EventKind>, _> = words.iter().map(|word| word.parse()).collect();
    Ok(kinds?.into_iter().collect())
}
