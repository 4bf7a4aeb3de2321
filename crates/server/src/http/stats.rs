use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use journal::{Log, Status};
use model::limits;
use parking_lot::Mutex;
use query::{Class, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use super::ages_of;
use crate::figures::LaneStats;
use crate::run::Service;

/// A younger sample is not measured again.
const SAMPLE_AGE_MAX: Duration = Duration::from_millis(900);

/// The state of the whole, for people at a screen. Made at most once a second.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Stats {
    as_of: String,
    /// Units on the map.
    pub(crate) units: usize,
    /// Units with a place.
    pub(crate) located: usize,
    /// Positions applied since the start.
    pub(crate) reports_total: u64,
    /// Positions a second, over the last seconds.
    pub(crate) reports_per_s: f64,
    /// Emergencies that nobody cleared.
    pub(crate) emergencies: usize,
    /// Trouble of the server itself: `engine_stopped`, `journal_low`, `journal_full`, `journal_failed`, `clock_set_back`, `events_failed`,
    /// `certificate`, `certificate_expiring`, `token_keys`, and here only `webhook_failing`; empty when all is well.
    #[schema(value_type = Vec<String>)]
    alarms: Vec<&'static str>,
    journal: JournalStats,
    /// Shards of live state, each with a writer of its own.
    shards: usize,
    /// Queries since the start, by class and lane.
    queries: Vec<ClassStats>,
    /// Units by kind.
    #[schema(value_type = BTreeMap<String, usize>)]
    by_kind: BTreeMap<&'static str, usize>,
    /// Seconds; null without a place.
    pub(crate) fix_age_s: Option<AgeQuantiles>,
}

/// One class of queries, and how its contract is kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ClassStats {
    /// nearest, within or list.
    #[schema(value_type = String)]
    class: &'static str,
    /// 99 of 100 answers ought to take no longer.
    objective_ms: u64,
    /// No answer is given after it, unless the caller sets another.
    deadline_ms: u64,
    /// Those that were used.
    lanes: Vec<LaneStats>,
}

/// How the journal is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JournalStats {
    /// open, low: the next segment cannot be reserved, full: it refuses, failed, or off: nothing is stored.
    #[schema(value_type = String)]
    status: &'static str,
    /// What the system says; null when it is open or off.
    reason: Option<String>,
    /// The last entry on stable storage; null when it is off.
    synced: Option<u64>,
}

/// How old the shown places are.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct AgeQuantiles {
    /// Half are younger.
    pub(crate) p50: f64,
    /// 99 of 100 are younger.
    pub(crate) p99: f64,
}

/// Remembers what `Stats` needs from one time to the next.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: Mutex<Option<Sampled>>,
    /// Held while the roster is walked.
    measuring: Mutex<()>,
}

/// The last answer and when it was made.
#[derive(Debug)]
struct Sampled {
    at: Instant,
    stats: Stats,
}

impl Rates {
    /// The state of the whole, at most a second old, or the last one while the next is measured. Cost when it is measured: walks
    /// the whole roster, so not for a thread that serves sockets. Waits only for the very first measurement.
    pub(crate) fn stats(&self, service: &Service) -> Stats {
        if let Some(stats) = self.at_hand() {
            return stats;
        }
        let _measuring = self.measuring.lock();
        // Who held it before has measured for this one too.
        if let Some(stats) = self.recent() {
            return stats;
        }
        let mut stats = measure(service);
        let now = Instant::now();
        let mut last = self.last.lock();
        if let Some(before) = last.as_ref() {
            let reports = stats.reports_total.saturating_sub(before.stats.reports_total);
            let rate = reports as f64 / now.duration_since(before.at).as_secs_f64();
            stats.reports_per_s = (rate * 10.0).round() / 10.0;
        }
        *last = Some(Sampled { at: now, stats: stats.clone() });
        stats
    }

    /// What can be said without a walk: a sample that is young, or the last one while another thread makes the next.
    fn at_hand(&self) -> Option<Stats> {
        self.recent().or_else(|| {
            let is_measured = self.measuring.is_locked();
            self.last.lock().as_ref().filter(|_| is_measured).map(|sampled| sampled.stats.clone())
        })
    }

    fn recent(&self) -> Option<Stats> {
        let last = self.last.lock();
        last.as_ref().filter(|sampled| sampled.at.elapsed() < SAMPLE_AGE_MAX).map(|sampled| sampled.stats.clone())
    }
}

fn measure(service: &Service) -> Stats {
    let live = service.engine.live();
    let as_of = live.now();
    let (mut by_kind, mut ages, mut after) = (BTreeMap::new(), Vec::new(), None);
    loop {
        let page = live.page(after.as_ref(), limits::PAGE_FEATURES_MAX, &Scope::everything());
        let Some(last) = page.next else { break };
        after = Some(last);
        for view in &page.views {
            *by_kind.entry(view.unit.kind.as_str()).or_insert(0) += 1;
            ages.extend(ages_of(&view.slot, as_of).fix_s);
        }
    }
    ages.sort_by(f64::total_cmp);
    let quantile = |share: f64| ages.get(((ages.len() as f64 * share) as usize).min(ages.len().saturating_sub(1)));
    Stats {
        as_of: as_of.to_string(),
        units: live.roster().len(),
        located: live.located(),
        reports_total: live.counters().reports_total(),
        reports_per_s: 0.0,
        emergencies: live.emergencies().count(),
        alarms: service.alarms(),
        journal: journal(service),
        shards: service.engine.shards().count(),
        queries: Class::ALL.map(|class| contract(service, class)).to_vec(),
        by_kind,
        fix_age_s: quantile(0.5).zip(quantile(0.99)).map(|(p50, p99)| AgeQuantiles { p50: *p50, p99: *p99 }),
    }
}

fn contract(service: &Service, class: Class) -> ClassStats {
    let contract = service.seats.contract(class);
    ClassStats {
        class: class.as_str(),
        objective_ms: contract.objective().as_millis() as u64,
        deadline_ms: contract.deadline().as_millis() as u64,
        lanes: service.figures.lanes(class),
    }
}

fn journal(service: &Service) -> JournalStats {
    let synced = service.engine.log().map(|log| log.synced().0);
    let (status, reason) = match service.engine.journal_status() {
        None => ("off", None),
        Some(Status::Open) => ("open", None),
        Some(Status::Low { reason, .. }) => ("low", Some(reason)),
        Some(Status::Full { reason }) => ("full", Some(reason)),
        Some(Status::Failed { reason }) => ("failed", Some(reason)),
    };
    JournalStats { status, reason, synced }
}

/// Units, reports a second, ages, the journal.
#[utoipa::path(get, path = "/v1/stats", responses((status = 200, body = Stats)))]
pub(crate) async fn read(State(service): State<Arc<Service>>) -> Json<Stats> {
    let mut stats = match service.rates.at_hand() {
        Some(stats) => stats,
        None => {
            let measurer = Arc::clone(&service);
            let measured = tokio::task::spawn_blocking(move || measurer.rates.stats(&measurer)).await;
            measured.expect("measuring ends without a panic")
        }
    };
    // Told here only, where nobody of an organisation may ask: it is one organisation's, and no other's to know.
    if service.webhooks.are_failing() {
        stats.alarms.push("webhook_failing");
    }
    Json(stats)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::Server;
    use crate::config::{Config, Data};

    /// A walk of the roster under a lock on the threads of sockets once stopped all of them.
    #[tokio::test]
    async fn while_one_caller_measures_the_others_get_the_last_sample_at_once() {
        let config = Config { http: "127.0.0.1:0".parse().unwrap(), grpc: None, data: Data::Off, ..Config::default() };
        let server = Server::start(&config).await.unwrap();
        let service = server.service();
        let Json(first) = read(State(Arc::clone(service))).await;
        service.rates.last.lock().as_mut().unwrap().at -= 2 * SAMPLE_AGE_MAX;
        let measuring = service.rates.measuring.lock();
        let mut second = std::pin::pin!(read(State(Arc::clone(service))));
        let Poll::Ready(Json(at_hand)) = second.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for who measures");
        };
        assert_eq!(at_hand.as_of, first.as_of);
        drop(measuring);
        assert!(service.rates.recent().is_none());
        let _ = read(State(Arc::clone(service))).await;
        assert!(service.rates.recent().is_some(), "nobody measures now: it is measured anew");
        server.stop().await;
    }
}
