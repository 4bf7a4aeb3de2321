use std::fmt;
use std::str::FromStr;

/// A kind of load with limits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Columnar batches on a `muster` TCP connection, until the acknowledgement.
    Reports,
    /// The ten nearest over gRPC `NearestStream`.
    Nearest,
    /// The ten nearest over gRPC `Nearest`, a call each.
    NearestUnary,
    /// The ten nearest over `GET /v1/nearest`, on connections that are kept.
    NearestHttp,
    /// All within 300 m (at most 100) over gRPC `Within`.
    Within,
}

impl Class {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Reports, Self::Nearest, Self::NearestUnary, Self::NearestHttp, Self::Within];

    /// The word for it in options and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Nearest => "nearest",
            Self::NearestUnary => "nearest-unary",
            Self::NearestHttp => "nearest-http",
            Self::Within => "within",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A class or a mix that means nothing. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {
    /// No such class.
    #[error("{word:?} is no class; known are: reports, nearest, nearest-unary, nearest-http, within")]
    Class {
        /// The word.
        word: String,
    },
    /// A part that is not `CLASS=WEIGHT`, with a question's class and a whole number.
    #[error("{part:?} is not CLASS=WEIGHT of a question, as in nearest=80,within=20")]
    Part {
        /// The part.
        part: String,
    },
    /// All weights are 0.
    #[error("the mix {text:?} asks nothing: one weight must be above 0")]
    Nothing {
        /// The mix.
        text: String,
    },
}

impl FromStr for Class {
    type Err = MixError;

    fn from_str(word: &str) -> Result<Self, MixError> {
        let found = Self::ALL.into_iter().find(|class| class.as_str() == word);
        found.ok_or_else(|| MixError::Class { word: word.chars().take(64).collect() })
    }
}

/// Which questions are asked how often, as in `nearest=80,within=20`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Class, u32)>);

impl Default for Mix {
    fn default() -> Self {
        Self(vec![(Class::Nearest, 80), (Class::NearestUnary, 5), (Class::NearestHttp, 10), (Class::Within, 5)])
    }
}

impl Mix {
    /// The classes with a weight above 0.
    pub fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        self.0.iter().map(|(class, _)| *class)
    }

    /// The class for an evenly spread number.
    #[must_use]
    pub fn pick(&self, hash: u64) -> Class {
        let total: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut rest = hash % total.max(1);
        for (class, weight) in &self.0 {
            if rest < u64::from(*weight) {
                return *class;
            }
            rest -= u64::from(*weight);
        }
        Class::Nearest
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut weights = Vec::new();
        for part in text.split(',') {
            let wrong = || MixError::Part { part: part.chars().take(64).collect() };
            let (class, weight) = part.split_once('=').ok_or_else(wrong)?;
            let class: Class = class.trim().parse()?;
            let weight: u32 = weight.trim().parse().map_err(|_| wrong())?;
            if class == Class::Reports || weights.iter().any(|(have, _)| *have == class) {
                return Err(wrong());
            }
            if weight > 0 {
                weights.push((class, weight));
            }
        }
        if weights.is_empty() {
            Err(MixError::Nothing { text: text.chars().take(64).collect() })
        } else {
            Ok(Self(weights))
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(class, weight)| format!("{class}={weight}")).collect();
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_prints_as_it_is_read_and_is_picked_by_weight() {
        let mix: Mix = "nearest=3,within=1,nearest-http=0".parse().unwrap();
        assert_eq!(mix.to_string(), "nearest=3,within=1");
        let picked: Vec<Class> = (0..4).map(|hash| mix.pick(hash)).collect();
        assert_eq!(picked, [Class::Nearest, Class::Nearest, Class::Nearest, Class::Within]);
    }

    #[test]
    fn a_wrong_mix_is_told_what_is_wrong() {
        let error = |text: &str| text.parse::<Mix>().unwrap_err().to_string();
        assert!(error("near=1").starts_with("\"near\" is no class"), "{}", error("near=1"));
        for part in ["nearest", "nearest=x", "nearest=-1", "reports=1", "within=1,within=2"] {
            assert!(error(part).contains("is not CLASS=WEIGHT"), "{}", error(part));
        }
        assert!(error("nearest=0").contains("asks nothing"));
    }
}
