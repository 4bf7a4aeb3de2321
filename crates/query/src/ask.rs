use std::str::FromStr;

use geodesy::Area;
use model::limits::{NEAREST_K_MAX, PAGE_FEATURES_MAX};
use model::{Position, UnitName};

use crate::{Filter, Scope};

/// Units that a nearest query asks for when it does not say.
const K_DEFAULT: usize = 10;

/// A limit that an ask does not keep. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}: {limit}")]
pub struct AskError {
    field: &'static str,
    value: String,
    limit: String,
}

impl AskError {
    pub(crate) fn new(field: &'static str, value: impl ToString, limit: impl ToString) -> Self {
        Self { field, value: value.to_string(), limit: limit.to_string() }
    }

    /// Which field.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// Its value as given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Whether an answer names those left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explain {
    /// Only counts them.
    Count,
    /// Names the first of them.
    Name,
}

/// What units of a nearest answer are ranked by. Stale ones come after fresh ones either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rank {
    /// How far their places are.
    #[default]
    Distance,
    /// How far they can be at most by now: the distance, the accuracy, and what their kind can go at its greatest speed in the age of the fix.
    Possible,
}

/// A word that ranks nothing. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rank; known are: distance, possible")]
pub struct UnknownRank(String);

impl FromStr for Rank {
    type Err = UnknownRank;

    fn from_str(text: &str) -> Result<Self, UnknownRank> {
        match text {
            "distance" => Ok(Self::Distance),
            "possible" => Ok(Self::Possible),
            _ => Err(UnknownRank(text.chars().take(32).collect())),
        }
    }
}

/// Which units are nearest to a place?
#[derive(Debug, Clone, PartialEq)]
pub struct NearestAsk {
    pub(crate) centre: Position,
    pub(crate) scope: Scope,
    pub(crate) k: usize,
    pub(crate) filter: Filter,
    pub(crate) distance_m_max: f64,
    pub(crate) explain: Explain,
    pub(crate) rank: Rank,
}

impl NearestAsk {
    /// The ten nearest to `centre` that `scope` shows, wherever they are.
    #[must_use]
    pub fn new(centre: Position, scope: Scope) -> Self {
        let filter = Filter::new();
        let (explain, rank) = (Explain::Count, Rank::Distance);
        Self { centre, scope, k: K_DEFAULT, filter, distance_m_max: f64::INFINITY, explain, rank }
    }

    /// How many.
    ///
    /// # Errors
    /// [`AskError`] outside 1 to [`NEAREST_K_MAX`].
    pub fn k(self, k: usize) -> Result<Self, AskError> {
        if (1..=NEAREST_K_MAX).contains(&k) {
            return Ok(Self { k, ..self });
        }
        Err(AskError::new("k", k, format!("must be 1 to {NEAREST_K_MAX}")))
    }

    /// Who counts.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Leaves out what is farther, in metres.
    ///
    /// # Errors
    /// [`AskError`] when it is not above 0 and finite.
    pub fn max_distance_m(self, metres: f64) -> Result<Self, AskError> {
        if metres > 0.0 && metres.is_finite() {
            return Ok(Self { distance_m_max: metres, ..self });
        }
        Err(AskError::new("max_distance_m", metres, "must be above 0 and finite"))
    }

    /// What units are ranked by. [`Rank::Possible`] asks the slot of each unit that the search comes upon: it costs some times as much.
    #[must_use]
    pub fn rank(self, rank: Rank) -> Self {
        Self { rank, ..self }
    }

    /// Whether the answer names those left out.
    #[must_use]
    pub fn explain(self, explain: Explain) -> Self {
        Self { explain, ..self }
    }
}

/// Which units are in an area?
#[derive(Debug, Clone, PartialEq)]
pub struct WithinAsk {
    pub(crate) area: Area,
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
    pub(crate) limit: usize,
    pub(crate) after: Option<UnitName>,
}

impl WithinAsk {
    /// Everyone in `area` that `scope` shows, one page.
    #[must_use]
    pub fn new(area: Area, scope: Scope) -> Self {
        Self { area, scope, filter: Filter::new(), limit: PAGE_FEATURES_MAX, after: None }
    }

    /// Who counts.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// How many on a page.
    ///
    /// # Errors
    /// [`AskError`] outside 1 to [`PAGE_FEATURES_MAX`].
    pub fn limit(self, limit: usize) -> Result<Self, AskError> {
        if (1..=PAGE_FEATURES_MAX).contains(&limit) {
            return Ok(Self { limit, ..self });
        }
        Err(AskError::new("limit", limit, format!("must be 1 to {PAGE_FEATURES_MAX}")))
    }

    /// Only names after this one.
    #[must_use]
    pub fn after(self, after: UnitName) -> Self {
        Self { after: Some(after), ..self }
    }
}
