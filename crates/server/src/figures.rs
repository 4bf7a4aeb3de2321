//! What became of queries, and how long they took, by class and lane.
//!
//! Counts are atomics. Times go into HDR histograms, one set for each of a few stripes; a thread keeps to its stripe, so that a
//! lock is hardly ever waited for, and readers add the stripes up.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use query::{Class, Lane};
use serde::Serialize;
use utoipa::ToSchema;

const STRIPES: usize = 8;
/// Finest step of a histogram, in nanoseconds.
const FINEST_NS: u64 = 1_000;
/// Longer times are counted as this, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;
/// Two digits: an error of at most one in a hundred.
const DIGITS: u8 = 2;
const CLASSES: usize = Class::ALL.len();
const LANES: usize = Lane::ALL.len();

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered in time.
    Kept,
    /// Overload: refused before work.
    Refused,
    /// Its deadline passed, in the queue or in the search.
    OutOfTime,
    /// Answered from what was at hand.
    Degraded,
    /// A question that cannot be answered: the caller's fault.
    Bad,
    /// Its caller went while it waited.
    Gone,
}

impl Outcome {
    pub(crate) const ALL: [Self; 6] =
        [Self::Kept, Self::Refused, Self::OutOfTime, Self::Degraded, Self::Bad, Self::Gone];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Refused => "refused",
            Self::OutOfTime => "out_of_time",
            Self::Degraded => "degraded",
            Self::Bad => "bad",
            Self::Gone => "gone",
        }
    }
}

/// A part of the time of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// From request read to search done: what objective and deadline speak of.
    Whole,
    /// Waiting for a seat.
    Queue,
    /// The search.
    Search,
    /// From search done until the answer is made (gRPC) or its connection has taken it (HTTP); of degraded answers too.
    Send,
}

impl Stage {
    pub(crate) const ALL: [Self; 4] = [Self::Whole, Self::Queue, Self::Search, Self::Send];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Queue => "queue",
            Self::Search => "search",
            Self::Send => "send",
        }
    }
}

/// Made when the first query of its class and lane has been measured.
type Stages = Option<Box<[Histogram<u32>; Stage::ALL.len()]>>;

/// All figures of queries.
#[derive(Default)]
pub(crate) struct QueryFigures {
    counts: [[[AtomicU64; Outcome::ALL.len()]; LANES]; CLASSES],
    missed: [[AtomicU64; LANES]; CLASSES],
    stripes: [Mutex<[[Stages; LANES]; CLASSES]>; STRIPES],
}

impl QueryFigures {
    pub(crate) fn ended(&self, class: Class, lane: Lane, outcome: Outcome) {
        self.counts[class as usize][lane as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A query was answered in time and later than its objective.
    pub(crate) fn missed_objective(&self, class: Class, lane: Lane) {
        self.missed[class as usize][lane as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, class: Class, lane: Lane, stages: &[(Stage, Duration)]) {
        let mut stripe = self.stripes[stripe_of_this_thread()].lock();
        let histograms = stripe[class as usize][lane as usize].get_or_insert_with(empty);
        for (stage, spent) in stages {
            let ns = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
            histograms[*stage as usize].saturating_record(ns);
        }
    }

    pub(crate) fn count(&self, class: Class, lane: Lane, outcome: Outcome) -> u64 {
        self.counts[class as usize][lane as usize][outcome as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn missed(&self, class: Class, lane: Lane) -> u64 {
        self.missed[class as usize][lane as usize].load(Ordering::Relaxed)
    }

    /// The stripes added up, in nanoseconds. Cost: some microseconds a stripe.
    pub(crate) fn histogram(&self, class: Class, lane: Lane, stage: Stage) -> Histogram<u32> {
        let mut sum = histogram();
        for stripe in &self.stripes {
            if let Some(histograms) = &stripe.lock()[class as usize][lane as usize] {
                sum.add(&histograms[stage as usize]).expect("all histograms have the same bounds");
            }
        }
        sum
    }
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(FINEST_NS, LONGEST_NS, DIGITS).expect("the bounds are constants that it takes")
}

fn empty() -> Box<[Histogram<u32>; Stage::ALL.len()]> {
    Box::new(Stage::ALL.map(|_| histogram()))
}

fn stripe_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}

/// How long, in milliseconds; at most one in a hundred wrong.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

/// Queries of one class and lane since the start.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LaneStats {
    /// emergency, dispatch, map or bulk.
    #[schema(value_type = String)]
    lane: &'static str,
    /// Answered in time.
    kept: u64,
    /// Refused before work because of overload.
    refused: u64,
    /// Out of time, in the queue or in the search.
    out_of_time: u64,
    /// Answered from what was at hand.
    degraded: u64,
    /// Questions that cannot be answered.
    bad: u64,
    /// Whose caller went while they waited.
    gone: u64,
    /// Of those kept, later than the objective.
    over_objective: u64,
    /// From request read to search done; this, `queue_ms` and `search_ms` of kept queries.
    whole_ms: Quantiles,
    /// Waiting for a seat.
    queue_ms: Quantiles,
    /// The search.
    search_ms: Quantiles,
    /// From search done until the answer is made (gRPC) or its connection has taken it (HTTP); of degraded answers too.
    send_ms: Quantiles,
}

impl QueryFigures {
    /// The lanes of `class` that were used.
    pub(crate) fn lanes(&self, class: Class) -> Vec<LaneStats> {
        let is_used = |lane: &Lane| Outcome::ALL.into_iter().any(|outcome| self.count(class, *lane, outcome) > 0);
        Lane::ALL.into_iter().filter(is_used).map(|lane| self.lane(class, lane)).collect()
    }

    fn lane(&self, class: Class, lane: Lane) -> LaneStats {
        let count = |outcome| self.count(class, lane, outcome);
        let quantiles = |stage| quantiles(&self.histogram(class, lane, stage));
        LaneStats {
            lane: lane.as_str(),
            kept: count(Outcome::Kept),
            refused: count(Outcome::Refused),
            out_of_time: count(Outcome::OutOfTime),
            degraded: count(Outcome::Degraded),
            bad: count(Outcome::Bad),
            gone: count(Outcome::Gone),
            over_objective: self.missed(class, lane),
            whole_ms: quantiles(Stage::Whole),
            queue_ms: quantiles(Stage::Queue),
            search_ms: quantiles(Stage::Search),
            send_ms: quantiles(Stage::Send),
        }
    }
}

fn quantiles(histogram: &Histogram<u32>) -> Quantiles {
    let ms = |ns: u64| (ns as f64 / 1_000.0).round() / 1_000.0;
    let at = |quantile| ms(histogram.value_at_quantile(quantile));
    Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: ms(histogram.max()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_threads_add_up() {
        let figures = QueryFigures::default();
        std::thread::scope(|scope| {
            for ms in 1..=100u64 {
                let took = [(Stage::Search, Duration::from_millis(ms))];
                let figures = &figures;
                scope.spawn(move || figures.took(Class::Nearest, Lane::Dispatch, &took));
            }
        });
        let histogram = figures.histogram(Class::Nearest, Lane::Dispatch, Stage::Search);
        let found = quantiles(&histogram);
        assert_eq!(histogram.len(), 100);
        assert!((found.p50 - 50.0).abs() <= 0.5 && (found.p99 - 99.0).abs() <= 1.0, "{found:?}");
        assert!((found.max - 100.0).abs() <= 1.0, "{found:?}");
        assert_eq!(figures.histogram(Class::Nearest, Lane::Map, Stage::Search).len(), 0);
    }
}
