//! One webhook: a page of events at a time, in order, until its receiver has taken it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use engine::{EventPage, Noted, Watch};
use futures_util::future::BoxFuture;
use model::limits::WEBHOOK_EVENTS_MAX;
use model::{Clock, Principal, PrincipalName, Role, Timestamp, UnitName};
use serde_json::{Value, json};
use store::audit::Look;
use store::events::{Dead, Events};
use store::{By, StoreError, StoredWebhook, WEBHOOK_PREFIX};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::destination::{Target, TargetError};
use super::post::{PostError, signature};
use super::progress::Progress;
use super::retry::{Next, Retry};
use crate::access::NotAudited;
use crate::http::event_body;
use crate::listeners::{Presence, Sight, Wanted};
use crate::run::Service;

/// After so many events that were not for it, its place is noted although nothing was sent.
const SKIPPED_MAX: u64 = 10_000;
/// The wait after a failure of our own, which does not count for giving up.
const OWN_WAIT: Duration = Duration::from_secs(1);

/// Where the time of deliveries comes from; a test has hours of it at once.
pub(crate) trait Pace: Send + Sync {
    fn clock(&self) -> &dyn Clock;
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The time that there is.
pub(crate) struct RealPace(pub(crate) Arc<dyn Clock>);

impl Pace for RealPace {
    fn clock(&self) -> &dyn Clock {
        &*self.0
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// One webhook at work.
pub(super) struct Delivery {
    service: Arc<Service>,
    watch: Arc<Watch>,
    pace: Arc<dyn Pace>,
    stored: StoredWebhook,
    target: Target,
    principal: Arc<Principal>,
    wanted: Wanted,
    progress: Arc<Progress>,
    /// Its place as it is noted on disk.
    noted: u64,
    stopped: watch::Receiver<bool>,
}

/// What goes into one POST, however often that is tried.
struct Parcel {
    /// Numbers of the first and the last event in it.
    first: u64,
    last: u64,
    /// Up to here all is done with once it is delivered.
    until: u64,
    /// Empty: the numbers are those of events that are gone.
    events: Vec<Arc<Noted>>,
}

const UNREACHABLE: &str = "unreachable";
const REFUSED: &str = "refused_by_receiver";
const NOT_ALLOWED: &str = "not_allowed";

/// Why a POST did not deliver.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("the receiver answered {0}")]
    Status(StatusCode),
    /// It asks to be left alone.
    #[error("the receiver answered 410 Gone")]
    Gone,
    /// Ours.
    #[error(transparent)]
    NotAudited(#[from] NotAudited),
}

impl Failure {
    /// What went wrong, after one of the words that every owner may be told.
    fn why(&self) -> String {
        let word = match self {
            Self::Post(PostError::NotAllowed { .. } | PostError::Target(_)) => NOT_ALLOWED,
            Self::Status(_) | Self::Gone => REFUSED,
            Self::Post(_) | Self::NotAudited(_) => UNREACHABLE,
        };
        format!("{word}: {self}")
    }
}

/// What is told of a failure to those of one organisation: more would tell them what is in the network of the server.
pub(crate) fn word_of(why: &str) -> &'static str {
    let said = why.split(':').next().unwrap_or_default();
    [NOT_ALLOWED, REFUSED].into_iter().find(|word| *word == said).unwrap_or(UNREACHABLE)
}

/// Who a webhook is in the audit, and whose units it sees.
pub(super) fn principal(stored: &StoredWebhook) -> Principal {
    let name = format!("{WEBHOOK_PREFIX}{}", stored.webhook.name);
    let name = PrincipalName::new(&name).expect("the store takes no other name of a webhook");
    Principal { name, role: Role::Viewer, organisation: stored.webhook.organisation.clone() }
}

/// What `work` comes to; `None` once `stopped` says so, and then it is dropped.
async fn unless<T>(mut stopped: watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => None,
        done = work => Some(done),
    }
}

/// Calls the file of events, which may wait for the disk.
pub(super) async fn on_events<T: Send + 'static>(
    service: &Service,
    work: impl FnOnce(&Events) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let events = Arc::clone(&service.events);
    let done = tokio::task::spawn_blocking(move || work(&events)).await;
    done.expect("a call of the events ends without a panic")
}

impl Delivery {
    /// A webhook that goes on where it was.
    ///
    /// # Errors
    /// Its place cannot be read or noted.
    pub(super) async fn begin(
        service: &Arc<Service>,
        watch: &Arc<Watch>,
        pace: Arc<dyn Pace>,
        (stored, target): (StoredWebhook, Target),
        progress: Arc<Progress>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, StoreError> {
        let (name, made, begin) = (stored.webhook.name.clone(), stored.made, stored.begin);
        let newest = *watch.last().borrow();
        // A number that was never given is one of another file of events: all that there is is new.
        let known = move |after: u64| if after > newest { 0 } else { after };
        let (after, lost) = on_events(service, move |events| match events.delivered(&name, made)? {
            Some(found) => Ok((known(found.after), found.lost)),
            None => {
                events.deliver(&name, made, known(begin), 0)?;
                Ok((known(begin), 0))
            }
        })
        .await?;
        progress.set_after(after);
        progress.heard.lost.store(lost, Ordering::Relaxed);
        let webhook = &stored.webhook;
        let wanted =
            Wanted { kinds: webhook.kinds.clone(), units: webhook.units.clone(), zones: webhook.zones.clone() };
        Ok(Self {
            service: Arc::clone(service),
            watch: Arc::clone(watch),
            principal: Arc::new(principal(&stored)),
            noted: after,
            pace,
            stored,
            target,
            wanted,
            progress,
            stopped,
        })
    }

    /// Delivers until it is stopped, or its receiver says that it is gone.
    pub(super) async fn run(mut self) {
        let _present = Presence::webhook(&self.service, &self.progress.heard);
        let mut last = self.watch.last();
        while let Some(parcel) = unless(self.stopped.clone(), self.next(&mut last)).await {
            if !self.deliver(&parcel).await {
                break;
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.pace.clock().now()
    }

    /// What is to be sent next; waits for it.
    async fn next(&mut self, last: &mut watch::Receiver<u64>) -> Parcel {
        loop {
            let after = self.progress.after();
            let page = match self.page(after).await {
                Ok(page) => page,
                Err(error) => {
                    self.progress.failed(self.now(), format!("events cannot be read: {error}"));
                    self.pace.wait(OWN_WAIT).await;
                    continue;
                }
            };
            if let Some((first, last)) = page.gap {
                return Parcel { first, last, until: last, events: Vec::new() };
            }
            if page.events.is_empty() {
                if last.changed().await.is_err() {
                    // Nobody watches any more: the server ends.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let (events, until) = self.chosen(page, after);
            match (events.first(), events.last()) {
                (Some(first), Some(last)) => {
                    return Parcel { first: first.event.number, last: last.event.number, until, events };
                }
                _ => self.skip(until).await,
            }
        }
    }

    /// What of a page is for it, and up to which event that is all.
    fn chosen(&self, page: EventPage, after: u64) -> (Vec<Arc<Noted>>, u64) {
        let asker = self.service.asker_of_webhook(&self.principal);
        let sight = Sight::of(&self.service, &asker);
        let (mut events, mut until) = (Vec::new(), after);
        for noted in page.events {
            if events.len() == WEBHOOK_EVENTS_MAX {
                break;
            }
            until = noted.event.number;
            if self.wanted.has(&noted.event) && sight.sees(&noted.event) {
                events.push(noted);
            }
        }
        (events, until)
    }

    /// Only what is no longer at hand is read from the disk.
    async fn page(&self, after: u64) -> Result<EventPage, StoreError> {
        if let Some(page) = self.watch.at_hand(after) {
            return Ok(page);
        }
        let watch = Arc::clone(&self.watch);
        let read = tokio::task::spawn_blocking(move || watch.after(after)).await;
        read.expect("reading events ends without a panic")
    }

    async fn skip(&mut self, until: u64) {
        self.progress.set_after(until);
        if until.saturating_sub(self.noted) >= SKIPPED_MAX {
            self.note(until, 0).await;
        }
    }

    /// Sends until it is taken or given up. `false`: nothing more is to be sent.
    async fn deliver(&mut self, parcel: &Parcel) -> bool {
        let mut retry = Retry::new(self.service.webhooks.give_up());
        let (mut seen, begun) = (BTreeSet::new(), self.now());
        loop {
            let Some(tried) = unless(self.stopped.clone(), self.attempt(parcel, &mut seen)).await else { return false };
            let failure = match tried {
                Ok(events) => {
                    self.settle(parcel, events).await;
                    return true;
                }
                Err(failure) => failure,
            };
            self.progress.failed(self.now(), failure.why());
            if matches!(failure, Failure::Gone) && self.disable().await {
                return false;
            }
            let next = match failure {
                Failure::NotAudited(_) | Failure::Gone => Next::Wait(OWN_WAIT),
                _ => retry.failed(self.pace.clock().monotonic()),
            };
            match next {
                Next::GiveUp => {
                    self.bury(parcel, begun, retry.tries, failure.why()).await;
                    return true;
                }
                Next::Wait(time) => {
                    if unless(self.stopped.clone(), self.pace.wait(time)).await.is_none() {
                        return false;
                    }
                }
            }
        }
    }

    /// One POST with what of the parcel its organisation still sees: how many events its receiver has taken. `seen`: units of which
    /// the audit says that they are in it.
    async fn attempt(&self, parcel: &Parcel, seen: &mut BTreeSet<UnitName>) -> Result<usize, Failure> {
        let asker = self.service.asker_of_webhook(&self.principal);
        let sight = Sight::of(&self.service, &asker);
        let events: Vec<_> = parcel.events.iter().filter(|noted| sight.sees(&noted.event)).collect();
        let body: Value = if parcel.is_gap() {
            json!([{ "kind": "gap", "from": parcel.first, "until": parcel.last }])
        } else if events.is_empty() {
            return Ok(0);
        } else {
            events.iter().map(|noted| event_body(&noted.event)).collect()
        };
        let units = events.iter().flat_map(|noted| noted.event.units());
        let unseen: BTreeSet<UnitName> = units.filter(|unit| !seen.contains(unit)).collect();
        if !unseen.is_empty() {
            let resource = format!("events {} to {}", parcel.first, parcel.last);
            let (time, units) = (self.now(), unseen.iter().cloned().collect());
            let principal = Arc::clone(&self.principal);
            let look = Look { time, principal, action: "look.webhook", resource, units };
            self.service.auditor.looked(look).await?;
            seen.extend(unseen);
        }
        let count = events.len();
        let body = Bytes::from(body.to_string());
        let headers = self.headers(parcel, &body);
        match self.service.webhooks.poster.post(&self.target, headers, body).await? {
            status if status.is_success() => Ok(count),
            StatusCode::GONE => Err(Failure::Gone),
            status => Err(Failure::Status(status)),
        }
    }

    fn headers(&self, parcel: &Parcel, body: &[u8]) -> HeaderMap {
        let timestamp = self.now().unix_ms().div_euclid(1_000).to_string();
        let pairs = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")).to_owned()),
            (HeaderName::from_static("muster-webhook"), self.stored.webhook.name.to_string()),
            (HeaderName::from_static("muster-event-from"), parcel.first.to_string()),
            (HeaderName::from_static("muster-event-to"), parcel.last.to_string()),
            (HeaderName::from_static("muster-signature"), signature(&self.stored.secret, &timestamp, body)),
            (HeaderName::from_static("muster-timestamp"), timestamp),
        ];
        let value = |text: String| HeaderValue::from_bytes(text.as_bytes()).expect("names have no control characters");
        pairs.into_iter().map(|(name, text)| (name, value(text))).collect()
    }

    async fn settle(&mut self, parcel: &Parcel, events: usize) {
        let lost = if parcel.is_gap() { parcel.last - parcel.first + 1 } else { 0 };
        self.progress.heard.lost.fetch_add(lost, Ordering::Relaxed);
        self.progress.set_after(parcel.until);
        self.progress.succeeded(events);
        self.note(parcel.until, lost).await;
    }

    /// Notes its place. When that fails it goes on: after a restart it sends again what came since the last that was noted.
    async fn note(&mut self, after: u64, lost: u64) {
        let (name, made) = (self.stored.webhook.name.clone(), self.stored.made);
        match on_events(&self.service, move |events| events.deliver(&name, made, after, lost)).await {
            Ok(()) => self.noted = after,
            Err(error) => warn!(webhook = %self.stored.webhook.name, %error, "The place of a webhook is not noted."),
        }
    }

    async fn bury(&mut self, parcel: &Parcel, since: Timestamp, tries: u32, why: String) {
        let &Parcel { first, last, .. } = parcel;
        let events = if parcel.is_gap() { last - first + 1 } else { parcel.events.len() as u64 };
        let dead = Dead { first, last, events, since, given_up: self.now(), tries, why };
        error!(webhook = %self.stored.webhook.name, first, last, why = dead.why, "Events are given up: replay them.");
        let (name, made) = (self.stored.webhook.name.clone(), self.stored.made);
        match on_events(&self.service, move |events| events.bury(&name, made, &dead)).await {
            Ok(()) => {
                self.progress.given_up.fetch_add(events, Ordering::Relaxed);
                self.progress.set_after(last);
                self.noted = last;
            }
            // Its place is as it was: it begins anew with the same events.
            Err(error) => error!(%error, "The dead-letter list cannot be written."),
        }
    }

    /// Ends the webhook, because its receiver is gone. Whether that is done.
    async fn disable(&self) -> bool {
        let (name, version) = (self.stored.webhook.name.clone(), self.stored.version);
        let (principal, now) = (Arc::clone(&self.principal), self.now());
        let disabled = self.service.stored(move |store| {
            let by = By { principal: &principal, now, reason: Some("its receiver answered 410 Gone") };
            store.disable_webhook(&by, &name, version)
        });
        match disabled.await {
            Ok(_) => {
                info!(webhook = %self.stored.webhook.name, "A webhook is disabled: its receiver is gone.");
                true
            }
            Err(problem) => {
                warn!(webhook = %self.stored.webhook.name, why = problem.detail(), "It cannot be disabled.");
                false
            }
        }
    }
}

impl Parcel {
    /// Whether it tells that events are gone.
    const fn is_gap(&self) -> bool {
        self.events.is_empty()
    }
}

/// What a stored URL says. It was checked when it was written; another Muster may have been less strict.
pub(super) fn target(stored: &StoredWebhook) -> Result<Target, TargetError> {
    Target::of(&stored.webhook.url)
}
