//! What the server itself counted of nearest questions, between two looks at `/metrics`.

use std::collections::BTreeMap;

use muster_benches::served::Served;

const OF: &str = "class=\"nearest\",lane=\"dispatch\"";

/// Counts so far.
#[derive(Debug)]
pub(crate) struct View {
    /// Answers at most so slow, by microseconds: the upper ends of the buckets.
    upto: BTreeMap<u64, f64>,
    refused: f64,
    out_of_time: f64,
}

impl View {
    pub(crate) fn of(served: &Served) -> Self {
        let metrics = served.metrics();
        let labels = format!("{OF},stage=\"whole\"");
        let mut upto = BTreeMap::new();
        for line in
            metrics.lines().filter(|line| line.starts_with("muster_query_seconds_bucket{") && line.contains(&labels))
        {
            let end = line.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(end, _)| end);
            let end_us = end.parse().map_or(u64::MAX, |end: f64| (end * 1e6) as u64);
            upto.insert(end_us, last(line));
        }
        let ended = |outcome: &str| {
            let start = format!("muster_queries_total{{{OF},outcome=\"{outcome}\"}}");
            metrics.lines().find(|line| line.starts_with(&start)).map_or(0.0, last)
        };
        Self { upto, refused: ended("refused"), out_of_time: ended("out_of_time") }
    }

    /// The quantile of what was answered since `before`, in microseconds: it lies in a bucket twice as wide as the one before it,
    /// and is taken to lie in proportion.
    pub(crate) fn quantile_us(&self, before: &Self, share: f64) -> f64 {
        let since = |(end, count): (&u64, &f64)| (*end as f64, count - before.upto.get(end).unwrap_or(&0.0));
        let upto: Vec<(f64, f64)> = self.upto.iter().map(since).collect();
        let wanted = share * upto.last().map_or(0.0, |(_, all)| *all);
        let (mut from, mut below) = (0.0, 0.0);
        for (end, count) in upto {
            if count >= wanted && count > below {
                return from + (end - from) * (wanted - below) / (count - below);
            }
            (from, below) = (end, count);
        }
        f64::NAN
    }

    /// How many were refused, and how many out of time, since `before`.
    pub(crate) fn unanswered(&self, before: &Self) -> [f64; 2] {
        [self.refused - before.refused, self.out_of_time - before.out_of_time]
    }
}

fn last(line: &str) -> f64 {
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(f64::NAN)
}
