use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simulate::load::{Class, ClassRecord, MixError};

use super::report::us;
use crate::simulate::duration;

/// What a class must keep, as in `nearest=p99:5ms`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    pub(crate) class: Class,
    /// Of all that was planned, 0 to 1.
    pub(crate) share: f64,
    pub(crate) allowed: Duration,
    text: String,
}

/// A limit that means nothing. The caller's fault.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum LimitError {
    #[error("limit {text:?} is not CLASS=pNN:DURATION, as in nearest=p99:5ms")]
    Shape { text: String },
    #[error("limit {text:?}: {error}")]
    Class { text: String, error: MixError },
    #[error("limit {text:?}: percentile {percentile:?} is not p50 to p99.999, or max")]
    Percentile { text: String, percentile: String },
    #[error("limit {text:?}: {problem}")]
    Duration { text: String, problem: String },
}

impl Limit {
    /// The design's objective.
    pub(crate) fn of_the_design() -> Self {
        let allowed = Duration::from_millis(5);
        Self { class: Class::Nearest, share: 0.99, allowed, text: "nearest=p99:5ms".to_owned() }
    }

    pub(crate) fn verdict(&self, records: &[ClassRecord]) -> Verdict {
        let record = records.iter().find(|record| record.class == self.class);
        let found_us = record.and_then(|record| record.within_us(self.share));
        let allowed_us = us(self.allowed);
        Verdict {
            limit: self.text.clone(),
            class: self.class.to_string(),
            share: self.share,
            allowed_us,
            found_us,
            holds: found_us.is_some_and(|found_us| found_us <= allowed_us),
        }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let shown: String = text.chars().take(64).collect();
        let shape = || LimitError::Shape { text: shown.clone() };
        let (class, rest) = text.split_once('=').ok_or_else(shape)?;
        let (percentile, allowed) = rest.split_once(':').ok_or_else(shape)?;
        let class = class.parse().map_err(|error| LimitError::Class { text: shown.clone(), error })?;
        let wrong = || LimitError::Percentile { text: shown.clone(), percentile: percentile.to_owned() };
        let share = match percentile.strip_prefix('p') {
            _ if percentile == "max" => 1.0,
            Some(number) => number.parse::<f64>().map_err(|_| wrong())? / 100.0,
            None => return Err(wrong()),
        };
        if percentile != "max" && !(0.5..=0.99999).contains(&share) {
            return Err(wrong());
        }
        let allowed = duration(allowed).map_err(|problem| LimitError::Duration { text: shown.clone(), problem })?;
        Ok(Self { class, share, allowed, text: shown })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a limit was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) limit: String,
    pub(crate) class: String,
    pub(crate) share: f64,
    pub(crate) allowed_us: u64,
    /// Absent: so many of the planned ones got no right answer that there is no such latency.
    pub(crate) found_us: Option<u64>,
    pub(crate) holds: bool,
}

#[cfg(test)]
mod tests {
    use simulate::load::{Ledger, Outcome};

    use super::*;

    #[test]
    fn limits_are_read_and_print_as_they_were_written() {
        let limit: Limit = "within=p99.9:250us".parse().unwrap();
        assert_eq!((limit.class, limit.allowed), (Class::Within, Duration::from_micros(250)));
        assert!((limit.share - 0.999).abs() < 1e-9);
        assert_eq!(limit.to_string(), "within=p99.9:250us");
        assert_eq!("reports=max:1s".parse::<Limit>().unwrap().share, 1.0);
        assert_eq!("nearest=p99:5ms".parse(), Ok(Limit::of_the_design()));
    }

    #[test]
    fn a_wrong_limit_is_told_which_part_is_wrong() {
        let error = |text: &str| text.parse::<Limit>().unwrap_err().to_string();
        for text in ["nearest", "nearest=p99", "nearest:p99=5ms"] {
            assert!(error(text).contains(&format!("{text:?} is not CLASS=pNN:DURATION")), "{}", error(text));
        }
        assert!(error("near=p99:5ms").contains("\"near\" is no class"), "{}", error("near=p99:5ms"));
        for percentile in ["q99", "p100", "p9", "p", "px", "pNaN", "-p99"] {
            let text = format!("nearest={percentile}:5ms");
            assert!(error(&text).contains(&format!("percentile {percentile:?}")), "{}", error(&text));
        }
        assert!(error("nearest=p99:5 parsec").contains("parsec"), "{}", error("nearest=p99:5 parsec"));
        assert!(error("nearest=p99:0ms").contains("not above 0"), "{}", error("nearest=p99:0ms"));
    }

    /// A hundred questions of 1 to 100 ms: exactly at the limit holds, a step below does not; a lost one misses p99.
    #[test]
    fn a_verdict_counts_what_got_no_answer() {
        let ms = Duration::from_millis;
        let verdict = |limit: &str, lost: u64| {
            let mut ledger = Ledger::new([Class::Nearest], Duration::ZERO, ms(10_000));
            for number in 1..=100 {
                ledger.plan(Class::Nearest, ms(number), ms(number));
                let outcome = if number <= lost { Outcome::Refused } else { Outcome::Answered };
                ledger.end(Class::Nearest, ms(number), ms(2 * number), outcome);
            }
            limit.parse::<Limit>().unwrap().verdict(&ledger.into_records())
        };
        assert!(verdict("nearest=p99:100ms", 0).holds);
        assert!(!verdict("nearest=p99:98ms", 0).holds);
        assert!(verdict("nearest=p99:101ms", 1).holds);
        let missed = verdict("nearest=p99:10s", 2);
        assert_eq!((missed.holds, missed.found_us), (false, None));
        assert!(!verdict("within=p50:10s", 0).holds, "nothing of the class is no proof");
    }
}
