use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::report::{ClassFigures, Report, SCHEMA, SecondFigures, thousandths};

/// Differences below this are never told apart from noise.
const NOISE_LEAST: f64 = 0.10;
/// The same for percentiles beyond 99, of which a window holds few.
const NOISE_LEAST_OF_TAILS: f64 = 0.25;
/// Shares of what was planned differ by this much when a few answers come late.
const NOISE_OF_SHARES: f64 = 0.05;
/// A difference counts from so many times the spread between the seconds of a run on.
const SPREADS: f64 = 2.0;
/// From a median absolute deviation to a standard deviation, for bell-shaped noise.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// How noise is judged, for the reader.
pub(crate) const NOISE_RULE: &str = "noise = twice the larger spread (median absolute deviation x 1.48, over the median) between \
     the seconds of either run, at least 10 % (25 % beyond p99); answered shares 5 %";

/// This run against an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) file: String,
    pub(crate) made_at: String,
    /// What differs between the runs besides the program, and makes ratios doubtful.
    pub(crate) differences: Vec<String>,
    pub(crate) figures: Vec<Figure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) before: f64,
    pub(crate) now: f64,
    /// Now over before.
    pub(crate) ratio: f64,
    /// A ratio off 1 by no more than this (as a share) says nothing.
    pub(crate) noise: f64,
    pub(crate) change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Better,
    Same,
    Worse,
}

/// Reads an earlier `bench.json`.
///
/// # Errors
/// Not readable, no JSON of this shape, or of another version.
pub(crate) fn read(path: &Path) -> anyhow::Result<Report> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: String,
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read --baseline {}", path.display()))?;
    let shape = || format!("--baseline {} is no bench.json", path.display());
    let Versioned { schema } = serde_json::from_str(&text).with_context(shape)?;
    if schema != SCHEMA {
        bail!("--baseline {} has the schema {schema:?}; this program reads {SCHEMA:?}", path.display());
    }
    serde_json::from_str(&text).with_context(shape)
}

/// Compares each figure that both runs have.
pub(crate) fn compare(now: &Report, before: &Report, file: &Path) -> Comparison {
    let mut figures = Vec::new();
    for class in &now.classes {
        if let Some(earlier) = before.classes.iter().find(|earlier| earlier.class == class.class) {
            compare_class(class, earlier, &mut figures);
        }
    }
    let mut differences = Vec::new();
    let mut differ = |what: &str, now: String, before: String| {
        if now != before {
            differences.push(format!("{what}: {before} before, {now} now"));
        }
    };
    differ("processor", now.machine.processor.clone(), before.machine.processor.clone());
    differ("cores", now.machine.cpus.to_string(), before.machine.cpus.to_string());
    differ("units", now.plan.units.to_string(), before.plan.units.to_string());
    differ("planned reports a second", now.plan.report_rate.to_string(), before.plan.report_rate.to_string());
    differ("planned questions a second", now.plan.query_rate.to_string(), before.plan.query_rate.to_string());
    differ("mix", now.plan.mix.clone(), before.plan.mix.clone());
    differ("batch", now.plan.batch.to_string(), before.plan.batch.to_string());
    Comparison { file: file.display().to_string(), made_at: before.made_at.clone(), differences, figures }
}

/// Takes one figure of a second.
type Read = fn(&SecondFigures) -> u64;

fn compare_class(now: &ClassFigures, before: &ClassFigures, figures: &mut Vec<Figure>) {
    let noise_of = |figure: Read, least: f64| {
        (SPREADS * spread(&now.seconds, figure).max(spread(&before.seconds, figure))).max(least)
    };
    let (middle, tail): (Read, Read) = (|one| one.p50_us, |one| one.p99_us);
    let latencies = [
        ("p50", now.latency.p50_us, before.latency.p50_us, noise_of(middle, NOISE_LEAST)),
        ("p90", now.latency.p90_us, before.latency.p90_us, noise_of(tail, NOISE_LEAST)),
        ("p99", now.latency.p99_us, before.latency.p99_us, noise_of(tail, NOISE_LEAST)),
        ("p99.9", now.latency.p99_9_us, before.latency.p99_9_us, noise_of(tail, NOISE_LEAST_OF_TAILS)),
    ];
    for (name, now_us, before_us, noise) in latencies {
        let name = format!("{} {name}, µs", now.class);
        match (now_us, before_us) {
            (Some(now), Some(before)) => figures.push(figure(name, before as f64, now as f64, noise, Wanted::Less)),
            // No answer now where there was one is worse than any number.
            (None, Some(before)) => figures.push(Figure {
                name: format!("{name} (now without an answer)"),
                before: before as f64,
                now: 0.0,
                ratio: 0.0,
                noise: thousandths(noise),
                change: Change::Worse,
            }),
            (_, None) => {}
        }
    }
    // Of what was planned, so that runs at different rates compare.
    let share = |one: &ClassFigures| (one.answered as f64 / one.planned.max(1) as f64 * 1_000.0).round();
    let name = format!("{} answered of 1,000 planned", now.class);
    figures.push(figure(name, share(before), share(now), NOISE_OF_SHARES, Wanted::More));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Less,
    More,
}

fn figure(name: String, before: f64, now: f64, noise: f64, wanted: Wanted) -> Figure {
    let ratio = if before > 0.0 { now / before } else { 1.0 };
    let change = match (ratio > 1.0 + noise, ratio < 1.0 / (1.0 + noise), wanted) {
        (true, _, Wanted::Less) | (_, true, Wanted::More) => Change::Worse,
        (true, _, Wanted::More) | (_, true, Wanted::Less) => Change::Better,
        _ => Change::Same,
    };
    Figure { name, before, now, ratio: thousandths(ratio), noise: thousandths(noise), change }
}

/// How far the seconds of a run lie apart, as a share of their median; 0 with fewer than three.
fn spread(seconds: &[SecondFigures], figure: Read) -> f64 {
    let values: Vec<f64> = seconds.iter().filter(|one| one.planned > 0).map(|one| figure(one) as f64).collect();
    if values.len() < 3 {
        return 0.0;
    }
    let middle = median(values.clone());
    let deviation = median(values.into_iter().map(|value| (value - middle).abs()).collect());
    if middle > 0.0 { MAD_TO_DEVIATION * deviation / middle } else { 0.0 }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    fn changes(now: &Report, before: &Report) -> Vec<(String, Change)> {
        let figures = compare(now, before, Path::new("old.json")).figures;
        figures.into_iter().map(|figure| (figure.name, figure.change)).collect()
    }

    #[test]
    fn a_run_is_the_same_as_itself() {
        let run = report(&[1_000, 1_010, 990]);
        assert!(changes(&run, &run).iter().all(|(_, change)| *change == Change::Same));
        assert_eq!(changes(&run, &run).len(), 5);
        assert!(compare(&run, &run, Path::new("old.json")).differences.is_empty());
    }

    #[test]
    fn a_difference_over_the_noise_is_marked_and_one_under_it_is_not() {
        let change = |now: &[u64], before: &[u64]| changes(&report(now), &report(before))[0].1;
        let (calm, slower) = ([1_000, 1_010, 990, 1_005, 995], [1_200, 1_210, 1_190, 1_205, 1_195]);
        assert_eq!(change(&slower, &calm), Change::Worse);
        assert_eq!(change(&calm, &slower), Change::Better);
        // The same step between runs whose own seconds differ by more says nothing.
        let (noisy, noisy_and_slower) = ([600, 800, 1_000, 1_300, 1_700], [700, 950, 1_200, 1_550, 2_000]);
        assert_eq!(change(&noisy_and_slower, &noisy), Change::Same);
    }

    #[test]
    fn what_differs_besides_the_program_is_named() {
        let (mut now, before) = (report(&[1_000]), report(&[1_000]));
        now.plan.units = 7;
        assert_eq!(compare(&now, &before, Path::new("old.json")).differences, ["units: 10 before, 7 now"]);
    }

    #[test]
    fn another_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.json");
        std::fs::write(&path, r#"{"schema":"muster-bench/0"}"#).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("muster-bench/0") && error.contains("other.json"), "{error}");
        std::fs::write(&path, "[]").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("is no bench.json"));
        assert!(format!("{:#}", read(Path::new("nowhere.json")).unwrap_err()).contains("nowhere.json"));
    }
}
