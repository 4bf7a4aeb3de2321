use serde::{Deserialize, Serialize};

/// Rates that are tried at most.
const STEPS_MAX: usize = 12;
/// The search ends when the lowest rate that failed is at most so much above the highest that held.
const CLOSE_ENOUGH: f64 = 1.1;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ramp {
    /// `reports` or `questions`: what was raised.
    pub(crate) of: String,
    pub(crate) steps: Vec<Step>,
    /// The highest rate at which all limits held; absent when there is none.
    pub(crate) highest_per_s: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) rate_per_s: f64,
    pub(crate) answered_per_s: f64,
    pub(crate) holds: bool,
    /// Why not, or what is suspicious.
    pub(crate) remarks: Vec<String>,
}

/// Finds the highest rate that holds: doubles (or halves) until it is between two rates, then halves the gap.
#[derive(Debug)]
pub(crate) struct Search {
    next: f64,
    held: Option<f64>,
    failed: Option<f64>,
    steps: usize,
}

impl Search {
    pub(crate) const fn from(rate: f64) -> Self {
        Self { next: rate, held: None, failed: None, steps: 0 }
    }

    /// The rate to try; `None` at the end.
    pub(crate) fn next(&self) -> Option<f64> {
        let is_close = matches!((self.held, self.failed), (Some(held), Some(failed)) if failed / held <= CLOSE_ENOUGH);
        (self.steps < STEPS_MAX && self.next >= 1.0 && !is_close).then_some(self.next)
    }

    /// Says how the rate that was tried went.
    pub(crate) fn tell(&mut self, has_held: Held) {
        match has_held {
            Held::Yes => self.held = Some(self.next),
            Held::No => self.failed = Some(self.next),
        }
        self.steps += 1;
        self.next = match (self.held, self.failed) {
            (Some(held), Some(failed)) => (held * failed).sqrt().round(),
            (None, _) => (self.next / 2.0).floor(),
            (Some(_), None) => self.next * 2.0,
        };
    }

    pub(crate) const fn highest(&self) -> Option<f64> {
        self.held
    }
}

/// Whether a rate held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(start: f64, ceiling: f64) -> (Option<f64>, usize) {
        let mut search = Search::from(start);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            search.tell(if rate <= ceiling { Held::Yes } else { Held::No });
            steps += 1;
        }
        (search.highest(), steps)
    }

    #[test]
    fn the_ceiling_is_found_within_a_tenth_from_either_side() {
        for (start, ceiling) in [(1_000.0, 37_000.0), (1_000.0, 1_100.0), (80_000.0, 9_000.0), (500.0, 500.0)] {
            let (found, steps) = search(start, ceiling);
            let found = found.unwrap();
            assert!(found <= ceiling && ceiling / found < CLOSE_ENOUGH, "{start} to {ceiling}: {found}");
            assert!(steps <= STEPS_MAX, "{steps}");
        }
    }

    #[test]
    fn a_search_ends_without_a_ceiling_and_without_a_floor() {
        assert_eq!(search(1_000.0, f64::INFINITY), (Some(2_048_000.0), STEPS_MAX));
        assert_eq!(search(1_000.0, 0.0).0, None);
    }
}
