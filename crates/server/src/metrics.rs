use std::sync::Arc;

use engine::Engine;
use journal::{Log, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::figures::QueryFigures;
use crate::seats::Seats;
use crate::standing::StandingFigures;
use crate::webhooks::Webhooks;

mod queries;
mod standing;
mod webhooks;

use queries::QueryCollector;
use standing::StandingCollector;
use webhooks::WebhookCollector;

/// Everything that the server measures, as text for Prometheus.
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        ingest: &ingest::Counters,
        figures: &Arc<QueryFigures>,
        seats: &Arc<Seats>,
        standing: &Arc<StandingFigures>,
        webhooks: &Arc<Webhooks>,
    ) -> Self {
        let mut registry = Registry::with_prefix("muster");
        ingest.register(&mut registry);
        registry.register_collector(Box::new(EngineCollector(Arc::clone(engine))));
        let (figures, seats) = (Arc::clone(figures), Arc::clone(seats));
        registry.register_collector(Box::new(QueryCollector { figures, seats }));
        registry.register_collector(Box::new(StandingCollector(Arc::clone(standing))));
        let (engine, webhooks) = (Arc::clone(engine), Arc::clone(webhooks));
        registry.register_collector(Box::new(WebhookCollector { engine, webhooks }));
        Self { registry }
    }

    /// Shows a counter that somebody else counts.
    pub(crate) fn showing(mut self, name: &str, help: &str, counter: &Counter) -> Self {
        self.registry.register(name, help, counter.clone());
        self
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }
}

/// Reads the engine's counters when somebody asks.
struct EngineCollector(Arc<Engine>);

impl std::fmt::Debug for EngineCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineCollector")
    }
}

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let live = self.0.live();
        let applied = Family::<Applied, Counter>::default();
        for (outcome, count) in live.counters().reports() {
            applied.get_or_create(&Applied { outcome }).inc_by(count);
        }
        let help = "Admitted positions by what became of them";
        applied.encode(encoder.encode_descriptor("reports_applied", help, None, applied.metric_type())?)?;
        let counters = [
            ("contacts", "Things heard without a place", live.counters().contacts()),
            (
                "batches_applied",
                "Batches applied by the engine; each part of one that is for several shards",
                live.counters().batches(),
            ),
            ("emergencies_overflowed", "Emergencies not kept because too many rang", live.emergencies().overflowed()),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        lay(
            &mut encoder,
            &[
                ("units", "Units on the map", count(live.roster().len())),
                ("units_located", "Units with a place", count(live.located())),
                ("shards", "Shards of live state, each with a writer of its own", count(self.0.shards().count())),
                ("emergencies_active", "Emergencies that nobody cleared", count(live.emergencies().count())),
            ],
        )?;
        if let Some(watch) = self.0.watch() {
            lay_watch(&mut encoder, watch)?;
        }
        let Some(log) = self.0.log() else { return Ok(()) };
        let status = log.status();
        let (is_full, has_failed) = (matches!(status, Status::Full { .. }), matches!(status, Status::Failed { .. }));
        lay(
            &mut encoder,
            &[
                ("journal_synced_sequence", "The last journal entry on stable storage", log.synced().0 as i64),
                (
                    "journal_is_low",
                    "1: the next segment cannot be reserved",
                    i64::from(matches!(status, Status::Low { .. })),
                ),
                ("journal_is_full", "1: it has no room and refuses", i64::from(is_full)),
                ("journal_has_failed", "1: nothing is acknowledged", i64::from(has_failed)),
            ],
        )
    }
}

fn lay_watch(encoder: &mut DescriptorEncoder<'_>, watch: &engine::Watch) -> Result<(), std::fmt::Error> {
    let figures = watch.figures();
    let last = i64::try_from(*watch.last().borrow()).unwrap_or(i64::MAX);
    lay(
        encoder,
        &[
            ("events_last_number", "The number of the last event", last),
            ("watch_waiting", "Places of units that wait for the watcher of zones", figures.waiting as i64),
            ("events_have_failed", "1: no event can be written, and none leaves", i64::from(figures.has_failed)),
        ],
    )
}

/// Gauges with their names and what they say.
fn lay(encoder: &mut DescriptorEncoder<'_>, gauges: &[(&str, &str, i64)]) -> Result<(), std::fmt::Error> {
    for (name, help, value) in gauges {
        let gauge = ConstGauge::new(*value);
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Applied {
    outcome: &'static str,
}
