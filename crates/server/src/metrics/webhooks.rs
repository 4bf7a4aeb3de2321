use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::Engine;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::webhooks::Webhooks;

/// Reads how webhooks fare when somebody asks.
pub(super) struct WebhookCollector {
    pub(super) engine: Arc<Engine>,
    pub(super) webhooks: Arc<Webhooks>,
}

impl std::fmt::Debug for WebhookCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookCollector")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    webhook: String,
}

impl Collector for WebhookCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let all = self.webhooks.all();
        if all.is_empty() {
            return Ok(());
        }
        let last = self.engine.watch().map_or(0, |watch| *watch.last().borrow());
        let (lag, failing) = (Family::<Of, Gauge>::default(), Family::<Of, Gauge>::default());
        let [delivered, failures, dead] = [(); 3].map(|()| Family::<Of, Counter>::default());
        for (name, progress) in all {
            let of = Of { webhook: name.to_string() };
            for (family, count) in
                [(&delivered, &progress.delivered), (&failures, &progress.failures), (&dead, &progress.given_up)]
            {
                family.get_or_create(&of).inc_by(count.load(Ordering::Relaxed));
            }
            let behind = last.saturating_sub(progress.after());
            lag.get_or_create(&of).set(i64::try_from(behind).unwrap_or(i64::MAX));
            failing.get_or_create(&of).set(i64::from(progress.trouble().is_some()));
        }
        for (name, help, family) in [
            ("webhook_events_delivered", "Events that the receiver of a webhook took", delivered),
            ("webhook_failures", "Tries of a webhook that failed", failures),
            ("webhook_events_dead", "Events that a webhook gave up", dead),
        ] {
            family.encode(encoder.encode_descriptor(name, help, None, family.metric_type())?)?;
        }
        for (name, help, family) in [
            ("webhook_lag", "Events since the last that is done with, those that are not for it among them", lag),
            ("webhook_is_failing", "1: its last try failed", failing),
        ] {
            family.encode(encoder.encode_descriptor(name, help, None, family.metric_type())?)?;
        }
        Ok(())
    }
}
