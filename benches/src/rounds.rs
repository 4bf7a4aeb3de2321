use std::collections::BTreeMap;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Figures of interleaved rounds, by what was measured.
#[derive(Debug, Default)]
pub struct Rounds {
    order: Vec<String>,
    figures: BTreeMap<String, Vec<f64>>,
}

impl Rounds {
    /// Adds the figure of one round.
    pub fn note(&mut self, what: &str, figure: f64) {
        if !self.figures.contains_key(what) {
            self.order.push(what.to_owned());
        }
        self.figures.entry(what.to_owned()).or_default().push(figure);
    }

    /// Prints a row for each figure, in the order of their first round: median, least and most.
    pub fn print(&self, title: &str) {
        println!("\n| {title} | median | least - most |\n|---|---|---|");
        for what in &self.order {
            let [least, median, most] = spread(self.figures[what].clone());
            println!("| {what} | {} | {} - {} |", short(median), short(least), short(most));
        }
    }

    /// The least, the median and the greatest ratio of two figures, calculated round by round.
    #[must_use]
    pub fn ratio(&self, above: &str, below: &str) -> Option<[f64; 3]> {
        let (above, below) = (self.figures.get(above)?, self.figures.get(below)?);
        Some(spread(above.iter().zip(below).map(|(above, below)| above / below).collect()))
    }

    /// Prints the ratio of two figures, calculated round by round, beside its goal. Nothing when one was not measured.
    pub fn print_ratio(&self, what: &str, above: &str, below: &str, goal: f64) {
        let Some([least, median, most]) = self.ratio(above, below) else { return };
        let verdict = if median <= goal { "met" } else { "missed" };
        println!("| {what} | {median:.3} | {least:.3} - {most:.3} | {goal:.3} | {verdict} |");
    }
}

/// Least, median and most.
fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 1.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}

/// Nanoseconds a piece that this thread was on a core for, for `pieces` pieces of work. Time in which the system ran something
/// else does not count, so that a busy machine spoils figures by its caches only.
pub fn timed(pieces: usize, work: impl FnOnce()) -> f64 {
    let began = on_core();
    work();
    (on_core() - began).as_nanos() as f64 / pieces as f64
}

/// Time that this thread was on a core for.
///
/// # Panics
/// When the system's clock is broken.
#[must_use]
pub fn on_core() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).expect("less than a second"))
}

/// The value that so large a share of `values` does not exceed; `values` are sorted then.
///
/// # Panics
/// When there are none.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share) as usize).min(values.len() - 1)]
}
