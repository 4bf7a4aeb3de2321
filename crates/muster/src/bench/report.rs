//! What a bench found, as it is written to `bench.json`; `docs/bench.md` describes each field.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use simulate::load::{ClassRecord, GeneratorThread};

use super::baseline::Comparison;
use super::floors::Floors;
use super::limits::Verdict;
use super::machine::Machine;
use super::ramp::Ramp;

/// The version of the file's shape; a change that old readers would misread gets a new number.
pub(crate) const SCHEMA: &str = "muster-bench/1";
/// Lag from which the generator, not the server, may be what a latency shows.
const LAG_US_MAX: u64 = 1_000;
const CPU_SHARE_MAX: f64 = 0.9;
/// Percentiles of a latency curve, as shares.
const CURVE: [f64; 14] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999, 1.0];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: String,
    pub(crate) made_at: String,
    pub(crate) program: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) server: ServerSide,
    pub(crate) plan: PlanSide,
    pub(crate) classes: Vec<ClassFigures>,
    pub(crate) limits: Vec<Verdict>,
    pub(crate) floors: Floors,
    pub(crate) generator: Generator,
    pub(crate) ramp: Option<Ramp>,
    pub(crate) baseline: Option<Comparison>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerSide {
    /// Whether this bench started it: only then is its processor time known.
    pub(crate) own: bool,
    pub(crate) http: Option<String>,
    pub(crate) grpc: Option<String>,
    pub(crate) reports_to: Option<String>,
    pub(crate) data: Option<String>,
    /// Share of one core in the measured window.
    pub(crate) cpu_share: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanSide {
    pub(crate) units: usize,
    pub(crate) report_rate: f64,
    pub(crate) query_rate: f64,
    pub(crate) batch: usize,
    pub(crate) mix: String,
    pub(crate) seed: u64,
    pub(crate) warm_up_s: f64,
    pub(crate) measured_s: f64,
}

/// One class. Counts are batches for `reports`, else questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassFigures {
    pub(crate) class: String,
    pub(crate) planned: u64,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) out_of_time: u64,
    pub(crate) failed: u64,
    pub(crate) wrong: u64,
    pub(crate) not_sent: u64,
    pub(crate) unanswered: u64,
    pub(crate) refused_reports: u64,
    pub(crate) planned_per_s: f64,
    pub(crate) answered_per_s: f64,
    /// Reports in each of what is counted: the batch for `reports`, else 1.
    pub(crate) weight: usize,
    pub(crate) latency: Latency,
    /// Share and microseconds of the answered ones.
    pub(crate) curve: Vec<(f64, u64)>,
    pub(crate) seconds: Vec<SecondFigures>,
}

/// Microseconds from the planned time. A percentile is of all that was planned: absent where so many got no right answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: Option<u64>,
    pub(crate) p90_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) p99_9_us: Option<u64>,
    /// The longest of the answered ones; 0 where there is none.
    pub(crate) max_us: u64,
}

/// One second of the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SecondFigures {
    pub(crate) planned: u64,
    pub(crate) answered: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    pub(crate) threads: Vec<ThreadFigures>,
    /// Reasons to suspect that the generator or the machine was the limit, not the server; empty when there are none.
    pub(crate) suspicions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThreadFigures {
    pub(crate) name: String,
    pub(crate) lag_p50_us: u64,
    pub(crate) lag_p99_us: u64,
    pub(crate) lag_max_us: u64,
    pub(crate) cpu_share: f64,
    pub(crate) connections_lost: u64,
}

impl ClassFigures {
    pub(crate) fn of(record: &ClassRecord, measured: Duration, weight: usize) -> Self {
        let per_s = |count: u64| thousandths(count as f64 / measured.as_secs_f64());
        let at = |histogram: &Histogram<u64>, share| histogram.value_at_quantile(share).min(histogram.max());
        let curve = if record.latency_us.is_empty() { &[][..] } else { &CURVE[..] };
        let seconds = record.seconds.iter().map(|second| SecondFigures {
            planned: second.planned,
            answered: second.answered,
            p50_us: second.latency_us.value_at_quantile(0.5),
            p99_us: second.latency_us.value_at_quantile(0.99),
            max_us: second.latency_us.max(),
        });
        Self {
            class: record.class.to_string(),
            planned: record.planned,
            answered: record.answered,
            refused: record.refused,
            out_of_time: record.out_of_time,
            failed: record.failed,
            wrong: record.wrong,
            not_sent: record.not_sent,
            unanswered: record.unanswered(),
            refused_reports: record.refused_reports,
            planned_per_s: per_s(record.planned),
            answered_per_s: per_s(record.answered),
            weight,
            latency: Latency {
                p50_us: record.within_us(0.5),
                p90_us: record.within_us(0.9),
                p99_us: record.within_us(0.99),
                p99_9_us: record.within_us(0.999),
                max_us: record.latency_us.max(),
            },
            curve: curve.iter().map(|share| (*share, at(&record.latency_us, *share))).collect(),
            seconds: seconds.collect(),
        }
    }
}

impl ThreadFigures {
    fn of(thread: &GeneratorThread) -> Self {
        Self {
            name: thread.name.to_owned(),
            lag_p50_us: thread.lag_us.value_at_quantile(0.5),
            lag_p99_us: thread.lag_us.value_at_quantile(0.99),
            lag_max_us: thread.lag_us.max(),
            cpu_share: thousandths(thread.cpu_share),
            connections_lost: thread.connections_lost,
        }
    }
}

impl Generator {
    /// Figures, and what they suggest on a machine of `cpus` cores whose server used `server_cpu_share` of one.
    pub(crate) fn of(threads: &[GeneratorThread], cpus: usize, server_cpu_share: Option<f64>) -> Self {
        let threads: Vec<ThreadFigures> = threads.iter().map(ThreadFigures::of).collect();
        let mut suspicions = Vec::new();
        for one in &threads {
            if one.lag_p99_us > LAG_US_MAX {
                let lag = millis(one.lag_p99_us);
                suspicions.push(format!(
                    "the {} thread was late: p99 of its lag is {lag}, which is part of each latency",
                    one.name
                ));
            }
            if one.cpu_share > CPU_SHARE_MAX {
                suspicions.push(format!(
                    "the {} thread used {:.0} % of a core: it cannot send much more",
                    one.name,
                    one.cpu_share * 100.0
                ));
            }
            if one.connections_lost > 0 {
                suspicions.push(format!("the {} thread lost {} connections", one.name, one.connections_lost));
            }
        }
        let used = threads.iter().map(|one| one.cpu_share).sum::<f64>() + server_cpu_share.unwrap_or(0.0);
        if used > CPU_SHARE_MAX * cpus as f64 {
            suspicions
                .push(format!("server and generator together used {used:.1} of {cpus} cores: the machine is full"));
        }
        Self { threads, suspicions }
    }
}

/// Whole microseconds.
pub(crate) fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Three decimals, which JSON gives back exactly.
pub(crate) fn thousandths(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Microseconds for a person.
pub(crate) fn millis(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..100_000 => format!("{:.2} ms", us as f64 / 1_000.0),
        100_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.2} s", us as f64 / 1_000_000.0),
    }
}

/// A count or rate for a person: thousands apart.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
