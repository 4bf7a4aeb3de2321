use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use journal::{Log, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Everything that the server measures, as text for Prometheus.
pub(crate) struct Metrics {
    registry: Registry,
    query_seconds: Family<Class, Histogram>,
    queries: Family<Outcome, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    class: &'static str,
    outcome: &'static str,
}

impl Metrics {
    pub(crate) fn new(engine: &Arc<Engine>, ingest: &ingest::Counters) -> Self {
        let mut registry = Registry::with_prefix("muster");
        ingest.register(&mut registry);
        registry.register_collector(Box::new(EngineCollector(Arc::clone(engine))));
        // 50 us to 1.6 s, doubling.
        let histogram = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        let query_seconds = Family::<Class, Histogram>::new_with_constructor(histogram as fn() -> Histogram);
        let queries = Family::<Outcome, Counter>::default();
        let help = "From request read to search done, seconds, of answered queries";
        registry.register("query_seconds", help, query_seconds.clone());
        registry.register("queries", "Queries by class and outcome", queries.clone());
        Self { registry, query_seconds, queries }
    }

    /// A query ended.
    pub(crate) fn query(&self, class: &'static str, outcome: &'static str, spent: Duration) {
        self.queries.get_or_create(&Outcome { class, outcome }).inc();
        if outcome == "answered" {
            self.query_seconds.get_or_create(&Class { class }).observe(spent.as_secs_f64());
        }
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
            ("batches_applied", "Batches applied by the engine", live.counters().batches()),
            ("emergencies_overflowed", "Emergencies not kept because too many rang", live.emergencies().overflowed()),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let gauges = [
            ("units", "Units on the roster", live.roster().len()),
            ("units_located", "Units with a place", live.located()),
            ("emergencies_active", "Emergencies that nobody cleared", live.emergencies().count()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let Some(log) = self.0.log() else { return Ok(()) };
        let status = log.status();
        let gauges = [
            ("journal_synced_sequence", "The last journal entry on stable storage", log.synced().0 as i64),
            (
                "journal_is_low",
                "1: the next segment cannot be reserved",
                i64::from(matches!(status, Status::Low { .. })),
            ),
            ("journal_is_full", "1: it has no room and refuses", i64::from(matches!(status, Status::Full { .. }))),
            ("journal_has_failed", "1: nothing is acknowledged", i64::from(matches!(status, Status::Failed { .. }))),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Applied {
    outcome: &'static str,
}
