//! Webhooks: each is a task of its own that goes by its own place among the events, so that one receiver that is slow, or gone for
//! an hour, holds up nobody else and loses nothing.

mod config;
mod delivery;
mod destination;
mod post;
mod progress;
mod retry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Principal, WebhookName};
use parking_lot::Mutex;
use store::events::Events;
use store::{By, StoreError, StoredWebhook};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, warn};

pub use config::WebhookConfig;
use delivery::{Delivery, RealPace, on_events, target};
pub(crate) use delivery::{Pace, word_of};
pub(crate) use destination::Target;
use destination::{Networks, TargetError};
use post::Poster;
pub(crate) use progress::Progress;

use crate::http::Problem;
use crate::run::Service;
use crate::tls::{TlsError, roots};

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// All webhooks of this server.
pub(crate) struct Webhooks {
    poster: Poster,
    give_up: Duration,
    pace: Arc<dyn Pace>,
    reached: tokio::sync::Mutex<Reached>,
    progress: Mutex<BTreeMap<WebhookName, Arc<Progress>>>,
}

/// How far they have followed the store.
#[derive(Default)]
struct Reached {
    version: Option<u64>,
    tasks: BTreeMap<WebhookName, Task>,
    has_ended: bool,
}

struct Task {
    version: u64,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Task {
    /// Returns once nothing more of it happens.
    async fn end(self) {
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            error!(%error, "A webhook ended by a fault of ours.");
        }
    }
}

impl Webhooks {
    /// None yet; they follow the store.
    ///
    /// # Errors
    /// [`TlsError`] names the file of certificates that cannot be used.
    pub(crate) fn of(config: &WebhookConfig, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        let ca = config.ca.as_ref().map(|path| roots("webhook_ca", path)).transpose()?;
        Ok(Self::with(config, ca, Arc::new(RealPace(Arc::clone(clock)))))
    }

    fn with(config: &WebhookConfig, ca: Option<rustls::RootCertStore>, pace: Arc<dyn Pace>) -> Self {
        Self {
            poster: Poster::new(Networks(config.networks.clone()), ca),
            give_up: config.give_up,
            pace,
            reached: tokio::sync::Mutex::default(),
            progress: Mutex::default(),
        }
    }

    /// Refuses a URL that no delivery could go to.
    pub(crate) fn check(&self, url: &str) -> Result<(), TargetError> {
        self.poster.check(&Target::of(url)?)
    }

    pub(crate) const fn give_up(&self) -> Duration {
        self.give_up
    }

    /// How the webhook of a name fares, if it was ever at work here.
    pub(crate) fn progress(&self, stored: &StoredWebhook) -> Option<Arc<Progress>> {
        self.progress.lock().get(&stored.webhook.name).filter(|one| one.made == stored.made).cloned()
    }

    /// How all fare, by name.
    pub(crate) fn all(&self) -> Vec<(WebhookName, Arc<Progress>)> {
        self.progress.lock().iter().map(|(name, one)| (name.clone(), Arc::clone(one))).collect()
    }

    /// Whether a receiver does not take what it is sent.
    pub(crate) fn are_failing(&self) -> bool {
        self.progress.lock().values().any(|one| one.is_failing())
    }

    /// Ends all; what is on its way is sent again after a start.
    pub(crate) async fn end(&self) {
        let mut reached = self.reached.lock().await;
        reached.has_ended = true;
        for task in std::mem::take(&mut reached.tasks).into_values() {
            task.end().await;
        }
    }

    /// The progress of a webhook, begun anew for another one of its name.
    fn progress_of(&self, stored: &StoredWebhook) -> Arc<Progress> {
        let mut all = self.progress.lock();
        if let Some(known) = all.get(&stored.webhook.name).filter(|one| one.made == stored.made) {
            known.forget_trouble();
            return Arc::clone(known);
        }
        let principal = delivery::principal(stored).name.to_string();
        let new = Arc::new(Progress::new(stored.made, principal, self.pace.clock().now()));
        all.insert(stored.webhook.name.clone(), Arc::clone(&new));
        new
    }
}

impl Service {
    /// Takes what changed of webhooks in the store.
    ///
    /// # Errors
    /// The store or the events cannot be read.
    pub(crate) async fn level_webhooks(self: &Arc<Self>) -> Result<(), Problem> {
        let mut reached = self.webhooks.reached.lock().await;
        let version = self.stored(store::Store::webhooks_version).await?;
        if reached.has_ended || reached.version == Some(version) {
            return Ok(());
        }
        let all = self.stored(store::Store::webhooks).await?;
        let is_at_work = |name: &WebhookName, task: &Task| {
            all.iter().any(|one| one.webhook.name == *name && one.webhook.is_enabled && one.version == task.version)
        };
        let ended: Vec<_> = reached.tasks.extract_if(.., |name, task| !is_at_work(name, task)).collect();
        for (_, task) in ended {
            task.end().await;
        }
        let gone = self.webhooks.all().into_iter().map(|(name, _)| name);
        for name in gone.filter(|name| all.iter().all(|one| one.webhook.name != *name)) {
            self.webhooks.progress.lock().remove(&name);
            on_events(self, move |events| events.forget_webhook(&name)).await?;
        }
        for stored in all {
            if !stored.webhook.is_enabled {
                // Who sends nothing does not fail.
                if let Some(progress) = self.webhooks.progress(&stored) {
                    progress.forget_trouble();
                }
            } else if !reached.tasks.contains_key(&stored.webhook.name) {
                self.start_webhook(&mut reached, stored).await?;
            }
        }
        reached.version = Some(version);
        Ok(())
    }

    /// Calls the file of events, which may wait for the disk.
    pub(crate) async fn on_events<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Events) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        Ok(on_events(self, work).await?)
    }

    async fn start_webhook(self: &Arc<Self>, reached: &mut Reached, stored: StoredWebhook) -> Result<(), Problem> {
        let Some(watch) = self.engine.watch() else { return Ok(()) };
        let (name, version) = (stored.webhook.name.clone(), stored.version);
        let target = match target(&stored) {
            Ok(target) => target,
            Err(error) => {
                warn!(webhook = %name, %error, "A webhook of the store has a URL that is none.");
                return Ok(());
            }
        };
        let (stop, stopped) = watch::channel(false);
        let (progress, pace) = (self.webhooks.progress_of(&stored), Arc::clone(&self.webhooks.pace));
        let delivery = Delivery::begin(self, watch, pace, (stored, target), progress, stopped).await?;
        let task = tokio::spawn(delivery.run());
        reached.tasks.insert(name, Task { version, stop, task });
        Ok(())
    }

    /// Lets a webhook send again what came after event `after`.
    ///
    /// # Errors
    /// There is none of that name; the store or the events cannot be written.
    pub(crate) async fn replay_webhook(
        self: &Arc<Self>,
        principal: Arc<Principal>,
        name: WebhookName,
        after: u64,
    ) -> Result<(), Problem> {
        let mut reached = self.webhooks.reached.lock().await;
        let (now, wanted) = (self.engine.live().now(), name.clone());
        let noted = self
            .stored(move |store| store.note_replay(&By { principal: &principal, now, reason: None }, &wanted, after));
        let made = noted.await?.made;
        if let Some(task) = reached.tasks.remove(&name) {
            task.end().await;
        }
        // It begins again, wherever it is now.
        reached.version = None;
        on_events(self, move |events| events.rewind(&name, made, after)).await?;
        drop(reached);
        self.level_webhooks().await
    }
}

/// Follows the store as long as the server runs.
pub(crate) async fn follow(service: Arc<Service>) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        if let Err(problem) = service.level_webhooks().await {
            error!(why = problem.detail(), "Webhooks do not follow the store.");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
