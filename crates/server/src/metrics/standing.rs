use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::standing::StandingFigures;

/// Reads the figures of standing queries when somebody asks.
#[derive(Debug)]
pub(super) struct StandingCollector(pub(super) Arc<StandingFigures>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Question {
    question: &'static str,
}

impl Collector for StandingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (looks, micros) = (Family::<Question, Counter>::default(), Family::<Question, Counter>::default());
        for (question, count, spent) in self.0.looks() {
            looks.get_or_create(&Question { question }).inc_by(count);
            micros.get_or_create(&Question { question }).inc_by(u64::try_from(spent.as_micros()).unwrap_or(u64::MAX));
        }
        let families = [
            ("standing_looks", "Looks at standing queries, by what they ask", looks),
            ("standing_look_microseconds", "Time of one core that they took", micros),
        ];
        for (name, help, family) in families {
            family.encode(encoder.encode_descriptor(name, help, None, family.metric_type())?)?;
        }
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counters = [
            (
                "standing_looks_postponed",
                "Looks that waited because the time of a second was used up",
                read(&self.0.postponed),
            ),
            ("standing_looks_late", "Looks without an answer because one took too long", read(&self.0.late)),
            ("standing_answers", "Other answers, told as events", read(&self.0.told)),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let open = ConstGauge::new(read(&self.0.open) as i64);
        open.encode(encoder.encode_descriptor(
            "standing_queries",
            "Standing queries that are open",
            None,
            open.metric_type(),
        )?)
    }
}
