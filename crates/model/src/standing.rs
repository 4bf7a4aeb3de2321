use std::sync::Arc;

use crate::limits::{
    DETAIL_NAME_BYTES_MAX, FILTER_WORDS_MAX, NAME_BYTES_MAX, STANDING_COUNT_MAX, STANDING_K_MAX, STANDING_LIFE_MAX,
    STANDING_NEAR_M_MAX,
};
use crate::words::words;
use crate::{OrganisationName, Position, Principal, Status, Timestamp, UnitKind, UnitName, ZoneName};

/// A standing query: a question that is asked again each second, for an incident and until it ends, and that tells when its
/// answer is another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    owner: Arc<Principal>,
    incident: String,
    created: Timestamp,
    until: Timestamp,
    question: StandingQuestion,
}

/// What a standing query asks.
#[derive(Debug, Clone, PartialEq)]
pub enum StandingQuestion {
    /// Who are the `k` nearest to a place, in which order?
    Nearest {
        /// The place, WGS-84.
        place: Position,
        /// How many, 1 to [`STANDING_K_MAX`].
        k: u32,
        /// Which units count.
        only: StandingFilter,
    },
    /// Has a zone fewer units than that?
    Strength {
        /// Which zone.
        zone: ZoneName,
        /// Which kinds count; empty: all police kinds.
        kinds: Vec<UnitKind>,
        /// So many are enough, 1 to [`STANDING_COUNT_MAX`].
        fewer_than: u32,
    },
    /// Is a unit within so many metres of another?
    Near {
        /// Which unit.
        unit: UnitName,
        /// Of which other one.
        other: UnitName,
        /// Geodesic metres, above 0 and at most [`STANDING_NEAR_M_MAX`].
        metres: f64,
    },
}

/// Which units count among the nearest. Empty lists do not restrict, but for those who are no default candidates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingFilter {
    /// Only these kinds. Naming one includes it.
    pub kinds: Vec<UnitKind>,
    /// Only these statuses. Naming one includes it.
    pub statuses: Vec<Status>,
    /// Must have all of these.
    pub capabilities: Vec<String>,
    /// Only of these organisations.
    pub organisations: Vec<OrganisationName>,
}

words! {
    /// Why a standing query ended.
    StandingEnd, "end of a standing query",
    /// Its time is over.
    Until = "until",
    /// Somebody removed it.
    Deleted = "deleted",
    /// A unit that it names is not on the map any more, or is not seen any more.
    UnitGone = "unit_gone",
    /// The same of its zone.
    ZoneGone = "zone_gone",
}

/// Why a standing query cannot be asked. The caller's fault.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StandingError {
    /// It names no incident, or one with a name that cannot be kept.
    #[error("the incident has {bytes} bytes: 1 to {DETAIL_NAME_BYTES_MAX} without control characters are taken")]
    Incident {
        /// How long it is.
        bytes: usize,
    },
    /// It would have ended, or end too late.
    #[error(
        "it ends at {until}: that must be after {created}, by at most {} h",
        STANDING_LIFE_MAX.as_secs() / 3_600
    )]
    Until {
        /// When it would begin.
        created: Timestamp,
        /// When it would end.
        until: Timestamp,
    },
    /// A number outside its limits.
    #[error("{value} is not in 1 to {max}")]
    Number {
        /// Which.
        field: &'static str,
        /// Its value.
        value: u32,
        /// The greatest that is taken.
        max: u32,
    },
    /// A distance that is none, or too long.
    #[error("{metres} m are not above 0 and at most {STANDING_NEAR_M_MAX}")]
    Metres {
        /// The distance.
        metres: f64,
    },
    /// More words than a filter may have.
    #[error("{count} words are more than the {FILTER_WORDS_MAX} allowed")]
    Words {
        /// Of which list.
        field: &'static str,
        /// How many.
        count: usize,
    },
    /// A word too long to be one.
    #[error("a word of {bytes} bytes is longer than the {NAME_BYTES_MAX} allowed")]
    Word {
        /// Of which list.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// A unit is always near itself.
    #[error("`{unit}` is always near itself")]
    Itself {
        /// Which.
        unit: UnitName,
    },
    /// Nobody follows where volunteers go.
    #[error("no standing query follows volunteers")]
    Volunteers,
}

impl StandingError {
    /// Which field it is about.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Incident { .. } => "incident",
            Self::Until { .. } => "until",
            Self::Number { field, .. } | Self::Words { field, .. } | Self::Word { field, .. } => field,
            Self::Metres { .. } => "metres",
            Self::Itself { .. } => "other",
            Self::Volunteers => "kind",
        }
    }
}

impl Standing {
    /// A query of `owner` for `incident`, from `created` until `until`.
    ///
    /// # Errors
    /// [`StandingError`] names what cannot be taken.
    pub fn new(
        owner: Arc<Principal>,
        incident: &str,
        created: Timestamp,
        until: Timestamp,
        question: StandingQuestion,
    ) -> Result<Self, StandingError> {
        let bytes = incident.len();
        if !(1..=DETAIL_NAME_BYTES_MAX).contains(&bytes) || incident.chars().any(char::is_control) {
            return Err(StandingError::Incident { bytes });
        }
        if until <= created || until > created.after(STANDING_LIFE_MAX) {
            return Err(StandingError::Until { created, until });
        }
        question.check()?;
        Ok(Self { owner, incident: incident.to_owned(), created, until, question })
    }

    /// Who asked. It is answered with what the owner's organisation sees.
    #[must_use]
    pub const fn owner(&self) -> &Arc<Principal> {
        &self.owner
    }

    /// Whose query it is; `None`: it is asked of the whole.
    #[must_use]
    pub fn organisation(&self) -> Option<&OrganisationName> {
        self.owner.organisation.as_ref()
    }

    /// What it is asked for.
    #[must_use]
    pub fn incident(&self) -> &str {
        &self.incident
    }

    /// When it was first asked.
    #[must_use]
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// When it ends.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// What it asks.
    #[must_use]
    pub const fn question(&self) -> &StandingQuestion {
        &self.question
    }
}

impl StandingQuestion {
    /// The word for what it asks: `nearest`, `strength`, `near`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Nearest { .. } => "nearest",
            Self::Strength { .. } => "strength",
            Self::Near { .. } => "near",
        }
    }

    fn check(&self) -> Result<(), StandingError> {
        match self {
            Self::Nearest { k, only, .. } => {
                number("k", *k, STANDING_K_MAX)?;
                words("kind", only.kinds.len())?;
                words("status", only.statuses.len())?;
                words("capability", only.capabilities.len())?;
                words("org", only.organisations.len())?;
                if let Some(long) = only.capabilities.iter().find(|word| word.len() > NAME_BYTES_MAX) {
                    return Err(StandingError::Word { field: "capability", bytes: long.len() });
                }
                if only.kinds.contains(&UnitKind::Community) { Err(StandingError::Volunteers) } else { Ok(()) }
            }
            Self::Strength { kinds, fewer_than, .. } => {
                number("fewer_than", *fewer_than, STANDING_COUNT_MAX)?;
                words("kind", kinds.len())
            }
            Self::Near { unit, other, .. } if unit == other => Err(StandingError::Itself { unit: unit.clone() }),
            Self::Near { metres, .. } if *metres > 0.0 && *metres <= STANDING_NEAR_M_MAX => Ok(()),
            Self::Near { metres, .. } => Err(StandingError::Metres { metres: *metres }),
        }
    }
}

const fn number(field: &'static str, value: u32, max: u32) -> Result<(), StandingError> {
    if value >= 1 && value <= max { Ok(()) } else { Err(StandingError::Number { field, value, max }) }
}

const fn words(field: &'static str, count: usize) -> Result<(), StandingError> {
    if count <= FILTER_WORDS_MAX { Ok(()) } else { Err(StandingError::Words { field, count }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(incident: &str, until_ms: i64, question: StandingQuestion) -> Result<Standing, StandingError> {
        let at = |ms| Timestamp::from_unix_ms(1_800_000_000_000 + ms).unwrap();
        Standing::new(Arc::new(Principal::local()), incident, at(0), at(until_ms), question)
    }

    fn near(other: &str, metres: f64) -> StandingQuestion {
        let unit = |name| UnitName::new(name).unwrap();
        StandingQuestion::Near { unit: unit("car-1"), other: unit(other), metres }
    }

    fn nearest(k: u32, only: StandingFilter) -> StandingQuestion {
        StandingQuestion::Nearest { place: Position::from_e7(0, 0).unwrap(), k, only }
    }

    fn strength(fewer_than: u32) -> StandingQuestion {
        StandingQuestion::Strength { zone: ZoneName::new("beat-1").unwrap(), kinds: Vec::new(), fewer_than }
    }

    #[test]
    fn a_query_within_its_limits_is_taken() {
        let day = STANDING_LIFE_MAX.as_millis() as i64;
        for question in
            [near("car-2", STANDING_NEAR_M_MAX), nearest(STANDING_K_MAX, StandingFilter::default()), strength(1)]
        {
            assert!(asked("robbery 12", day, question).is_ok());
        }
    }

    #[test]
    fn what_is_outside_its_limits_is_refused_by_the_name_of_the_field() {
        let hour = 3_600_000;
        let volunteers = StandingFilter { kinds: vec![UnitKind::Community], ..StandingFilter::default() };
        let many = StandingFilter { kinds: vec![UnitKind::Car; FILTER_WORDS_MAX + 1], ..StandingFilter::default() };
        let long = vec!["x".repeat(NAME_BYTES_MAX + 1)];
        let long = StandingFilter { capabilities: long, ..StandingFilter::default() };
        let table = [
            ("", hour, strength(1), "incident"),
            ("a\nb", hour, strength(1), "incident"),
            ("i", 0, strength(1), "until"),
            ("i", STANDING_LIFE_MAX.as_millis() as i64 + 1, strength(1), "until"),
            ("i", hour, strength(0), "fewer_than"),
            ("i", hour, nearest(0, StandingFilter::default()), "k"),
            ("i", hour, nearest(STANDING_K_MAX + 1, StandingFilter::default()), "k"),
            ("i", hour, nearest(1, volunteers), "kind"),
            ("i", hour, nearest(1, many), "kind"),
            ("i", hour, nearest(1, long), "capability"),
            ("i", hour, near("car-1", 10.0), "other"),
            ("i", hour, near("car-2", 0.0), "metres"),
            ("i", hour, near("car-2", f64::NAN), "metres"),
            ("i", hour, near("car-2", f64::INFINITY), "metres"),
        ];
        for (incident, until_ms, question, field) in table {
            let refused = asked(incident, until_ms, question.clone()).unwrap_err();
            assert_eq!(refused.field(), field, "{question:?}: {refused}");
        }
    }
}
