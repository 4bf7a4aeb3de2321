//! Figures by what was measured and of whom, and the goals they are held against.

use std::collections::BTreeMap;

/// Whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) better: Better,
}

/// So many times better Muster ought to be.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) measure: String,
    /// Start of whom it is held against.
    pub(crate) peer: &'static str,
    pub(crate) times: f64,
}

#[derive(Debug)]
struct Row {
    who: String,
    figures: Vec<f64>,
}

/// Figures of interleaved rounds, in the order of the first round.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    order: Vec<Measure>,
    rows: BTreeMap<String, Vec<Row>>,
}

impl Figures {
    /// Adds the figure of one round.
    pub(crate) fn note(&mut self, name: &str, better: Better, who: &str, figure: f64) {
        if !self.rows.contains_key(name) {
            self.order.push(Measure { name: name.to_owned(), better });
        }
        let rows = self.rows.entry(name.to_owned()).or_default();
        match rows.iter_mut().find(|row| row.who == who) {
            Some(row) => row.figures.push(figure),
            None => rows.push(Row { who: who.to_owned(), figures: vec![figure] }),
        }
    }

    /// Prints a table for each measure: median, spread, and how many times better Muster is, round by round.
    pub(crate) fn print(&self) {
        for measure in &self.order {
            if self.rows[&measure.name].iter().all(|row| row.figures.iter().all(|figure| *figure == 0.0)) {
                println!("\n{}: 0, all", measure.name);
                continue;
            }
            println!("\n| {} | median (least - most) | Muster is better by |\n|---|---|---|", measure.name);
            for row in &self.rows[&measure.name] {
                let [least, median, most] = spread(row.figures.clone());
                let times = self.times_better(measure, &row.who).filter(|_| !is_muster(&row.who));
                let times = times.map_or(String::new(), |[least, median, most]| {
                    format!("{} ({} - {})", short(median), short(least), short(most))
                });
                println!("| {} | {} ({} - {}) | {times} |", row.who, short(median), short(least), short(most));
            }
        }
    }

    /// Prints each goal with what was reached.
    pub(crate) fn print_goals(&self, goals: &[Goal]) {
        println!("\n| goal | times better | least - most | at least | |\n|---|---|---|---|---|");
        for goal in goals {
            let what = format!("{}, {}", goal.measure, goal.peer);
            let measure = self.order.iter().find(|measure| measure.name == goal.measure);
            let rows = self.rows.get(&goal.measure).into_iter().flatten();
            let mut is_measured = false;
            for row in rows.filter(|row| row.who.starts_with(goal.peer)) {
                let Some([least, median, most]) = measure.and_then(|measure| self.times_better(measure, &row.who))
                else {
                    continue;
                };
                is_measured = true;
                let verdict = if median >= goal.times { "reached" } else { "missed" };
                let (what, times) = (format!("{}, {}", goal.measure, row.who), goal.times);
                println!("| {what} | {} | {} - {} | {times} | {verdict} |", short(median), short(least), short(most));
            }
            if !is_measured {
                println!("| {what} | | | {} | not measured |", goal.times);
            }
        }
    }

    fn times_better(&self, measure: &Measure, who: &str) -> Option<[f64; 3]> {
        let rows = &self.rows[&measure.name];
        let ours = rows.iter().find(|row| is_muster(&row.who))?;
        let theirs = rows.iter().find(|row| row.who == who)?;
        let ratio = |(ours, theirs): (&f64, &f64)| match measure.better {
            Better::More => ours / theirs,
            Better::Less => theirs / ours,
        };
        let ratios: Vec<f64> = ours.figures.iter().zip(&theirs.figures).map(ratio).collect();
        Some(spread(ratios)).filter(|spread| spread[1].is_finite())
    }
}

fn is_muster(who: &str) -> bool {
    who.starts_with("muster")
}

/// Least, median and most. Of two middle ones the median is the mean: either would flatter someone.
fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let median = (figures[middle] + figures[figures.len() - 1 - middle]) / 2.0;
    [figures[0], median, figures[figures.len() - 1]]
}

fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 1.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}
