//! Queries by class and lane, read when somebody asks. Lanes that nobody used have no lines.

use std::fmt::Error;
use std::sync::Arc;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use query::{Class, Lane};

use crate::figures::{Outcome, QueryFigures, Stage};
use crate::seats::Seats;

/// Upper ends of the buckets: 51.2 us to 1.7 s, doubling, so that each is the end of a step of the histogram too and no time is
/// counted on both sides.
const BUCKETS: u32 = 16;
const FIRST_BUCKET_NS: u64 = 51_200;

pub(super) struct QueryCollector {
    pub(super) figures: Arc<QueryFigures>,
    pub(super) seats: Arc<Seats>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBoth {
    class: &'static str,
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    class: &'static str,
    lane: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Took {
    class: &'static str,
    lane: &'static str,
    stage: &'static str,
}

impl std::fmt::Debug for QueryCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QueryCollector")
    }
}

impl Collector for QueryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.contracts(&mut encoder)?;
        self.seats(&mut encoder)?;
        self.counts(&mut encoder)?;
        self.times(&mut encoder)
    }
}

impl QueryCollector {
    fn used(&self) -> impl Iterator<Item = (Class, Lane)> {
        let all = Class::ALL.into_iter().flat_map(|class| Lane::ALL.map(|lane| (class, lane)));
        all.filter(|(class, lane)| Outcome::ALL.into_iter().any(|one| self.figures.count(*class, *lane, one) > 0))
    }

    fn contracts(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, help) in [
            ("query_objective_seconds", "99 of 100 answers ought to take no longer"),
            ("query_deadline_seconds", "No answer is given after it, unless the caller sets another"),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for class in Class::ALL {
                let contract = self.seats.contract(class);
                let of = if name == "query_objective_seconds" { contract.objective() } else { contract.deadline() };
                let labels = OfClass { class: class.as_str() };
                ConstGauge::new(of.as_secs_f64()).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn seats(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let (searching, waiting) = self.seats.taken();
        let gauge = ConstGauge::new(searching as i64);
        gauge.encode(encoder.encode_descriptor("queries_searching", "Seats taken", None, gauge.metric_type())?)?;
        let help = "Queries that wait for a seat";
        let mut family = encoder.encode_descriptor("queries_waiting", help, None, MetricType::Gauge)?;
        for (lane, waiting) in Lane::ALL.into_iter().zip(waiting) {
            let labels = OfLane { lane: lane.as_str() };
            ConstGauge::new(waiting as i64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counts(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Queries by class, lane and outcome: kept, refused, out_of_time, degraded, bad, gone";
        let mut family = encoder.encode_descriptor("queries", help, None, MetricType::Counter)?;
        for (class, lane) in self.used() {
            for outcome in Outcome::ALL {
                let labels = Ended { class: class.as_str(), lane: lane.as_str(), outcome: outcome.as_str() };
                let count = ConstCounter::new(self.figures.count(class, lane, outcome));
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Queries that were kept, and later than their objective";
        let mut family = encoder.encode_descriptor("queries_over_objective", help, None, MetricType::Counter)?;
        for (class, lane) in self.used() {
            let labels = OfBoth { class: class.as_str(), lane: lane.as_str() };
            ConstCounter::new(self.figures.missed(class, lane)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn times(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Time of queries. whole: request read to search done, of it queue and search, all three of kept ones; \
                    send: search done until the answer is made (gRPC) or its connection has taken it (HTTP), kept and degraded";
        let mut family = encoder.encode_descriptor("query_seconds", help, None, MetricType::Histogram)?;
        for (class, lane) in self.used() {
            for stage in Stage::ALL {
                let histogram = self.figures.histogram(class, lane, stage);
                let buckets = buckets(&histogram);
                let total = histogram.len();
                let labels = Took { class: class.as_str(), lane: lane.as_str(), stage: stage.as_str() };
                let sum = histogram.mean() * histogram.len() as f64 / 1e9;
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)?;
            }
        }
        Ok(())
    }
}

/// Upper end in seconds, and how many; the last one has no end.
fn buckets(histogram: &Histogram<u32>) -> Vec<(f64, u64)> {
    let (mut buckets, mut from_ns) = (Vec::new(), 0);
    for bucket in 0..BUCKETS {
        let to_ns = FIRST_BUCKET_NS << bucket;
        buckets.push((to_ns as f64 / 1e9, histogram.count_between(from_ns, to_ns - 1)));
        from_ns = to_ns;
    }
    let counted: u64 = buckets.iter().map(|(_, count)| count).sum();
    buckets.push((f64::MAX, histogram.len() - counted));
    buckets
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_time_is_counted_in_the_one_bucket_that_has_it() {
        let ends: Vec<u64> = (0..BUCKETS).map(|bucket| FIRST_BUCKET_NS << bucket).collect();
        for (at, end_ns) in ends.iter().enumerate() {
            let figures = QueryFigures::default();
            for ns in [end_ns - 1, *end_ns] {
                figures.took(Class::Nearest, Lane::Map, &[(Stage::Search, Duration::from_nanos(ns))]);
            }
            let counts = buckets(&figures.histogram(Class::Nearest, Lane::Map, Stage::Search));
            let counted: Vec<usize> =
                counts.iter().enumerate().filter(|(_, one)| one.1 == 1).map(|one| one.0).collect();
            assert_eq!(counted, [at, at + 1], "{end_ns} ns: {counts:?}");
        }
    }
}
