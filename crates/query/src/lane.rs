use std::str::FromStr;
use std::time::Duration;

use model::limits;

/// Who goes first when not all can be answered; the order of the variants is the order of the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// An emergency rings: never refused.
    Emergency,
    /// A dispatcher waits for the answer to send someone.
    Dispatch,
    /// A map is drawn.
    Map,
    /// Reports and exports, which can come back later: refused first.
    Bulk,
}

impl Lane {
    /// All of them, the first to be served first.
    pub const ALL: [Self; 4] = [Self::Emergency, Self::Dispatch, Self::Map, Self::Bulk];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::Dispatch => "dispatch",
            Self::Map => "map",
            Self::Bulk => "bulk",
        }
    }
}

/// A word that names no lane. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no lane; known are: emergency, dispatch, map, bulk")]
pub struct UnknownLane {
    word: String,
}

impl FromStr for Lane {
    type Err = UnknownLane;

    fn from_str(word: &str) -> Result<Self, UnknownLane> {
        let named = Self::ALL.into_iter().find(|lane| lane.as_str() == word);
        named.ok_or_else(|| UnknownLane { word: word.to_owned() })
    }
}

/// Queries that cost alike and share an objective and a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The k nearest.
    Nearest,
    /// Those in an area or a zone.
    Within,
    /// Lists of units by name: walks of the roster, whose time says nothing about searches.
    List,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::Within, Self::List];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Within => "within",
            Self::List => "list",
        }
    }

    /// The lane of a query that names none.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Nearest => Lane::Dispatch,
            Self::Within | Self::List => Lane::Map,
        }
    }
}

/// The two numbers of a class: how fast 99 of 100 answers ought to be, and when an answer is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    objective: Duration,
    deadline: Duration,
}

impl Contract {
    /// `None` unless 0 < `objective` <= `deadline` <= [`limits::DEADLINE_MAX`].
    #[must_use]
    pub fn new(objective: Duration, deadline: Duration) -> Option<Self> {
        let is_ordered = !objective.is_zero() && objective <= deadline && deadline <= limits::DEADLINE_MAX;
        is_ordered.then_some(Self { objective, deadline })
    }

    /// What holds when nothing is configured.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        match class {
            Class::Nearest => Self { objective: limits::NEAREST_OBJECTIVE, deadline: limits::NEAREST_DEADLINE },
            Class::Within | Class::List => {
                Self { objective: limits::WITHIN_OBJECTIVE, deadline: limits::WITHIN_DEADLINE }
            }
        }
    }

    /// 99 of 100 answers ought to take no longer, from request read to search done. A target; missing it is counted.
    #[must_use]
    pub const fn objective(self) -> Duration {
        self.objective
    }

    /// No answer is given after it, from request read to search done.
    #[must_use]
    pub const fn deadline(self) -> Duration {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_read_as_they_print_and_anything_else_is_named() {
        for lane in Lane::ALL {
            assert_eq!(lane.as_str().parse(), Ok(lane));
        }
        assert_eq!(
            "Emergency".parse::<Lane>().unwrap_err().to_string(),
            "\"Emergency\" is no lane; known are: emergency, dispatch, map, bulk"
        );
        assert!(Lane::Emergency < Lane::Dispatch && Lane::Map < Lane::Bulk);
    }

    #[test]
    fn a_contract_has_its_objective_before_its_deadline() {
        let ms = Duration::from_millis;
        assert!(Contract::new(ms(5), ms(100)).is_some());
        assert_eq!(Contract::new(ms(0), ms(100)), None);
        assert_eq!(Contract::new(ms(101), ms(100)), None);
        assert_eq!(Contract::new(ms(5), ms(10_001)), None);
        for class in Class::ALL {
            let contract = Contract::of(class);
            assert_eq!(Contract::new(contract.objective(), contract.deadline()), Some(contract));
        }
    }
}
