use index::LiveIndex;
use model::{Timestamp, limits};

use crate::{Deadline, Names, Nearest, NearestAsk, QueryError, nearest};

/// Circles that are tried, in metres, the widest first.
const RADII_M: [f64; 4] = [16_000.0, 4_000.0, 1_000.0, 250.0];

/// An answer that was cheap to give: complete, but only as far as it says.
#[derive(Debug, Clone, PartialEq)]
pub struct DegradedNearest {
    /// What [`nearest`] answers when nothing farther than `searched_m` is asked for. With `k` fresh units in it, it is the whole answer.
    pub nearest: Nearest,
    /// Metres; nothing farther was looked for.
    pub searched_m: f64,
}

/// Answers `ask` within the widest circle that has few enough units. Cost: at most [`limits::DEGRADED_UNITS_MAX`] looks for each
/// of four circles.
///
/// A narrower question that is answered exactly, instead of the same question answered half: what is in the circle
/// is never missing from the answer.
///
/// # Errors
/// [`QueryError::DeadlineExceeded`], or [`QueryError::TooManyUnits`] when the smallest circle has too many.
pub fn nearest_degraded(
    index: &LiveIndex,
    ask: &NearestAsk,
    names: &dyn Names,
    as_of: Timestamp,
    deadline: &Deadline<'_>,
) -> Result<DegradedNearest, QueryError> {
    let deadline = deadline.with_units_max(limits::DEGRADED_UNITS_MAX);
    let mut too_many = QueryError::TooManyUnits { examined: 0 };
    for radius_m in RADII_M {
        let searched_m = radius_m.min(ask.distance_m_max);
        let narrower = NearestAsk { distance_m_max: searched_m, ..ask.clone() };
        match nearest(index, &narrower, names, as_of, &deadline) {
            Ok(nearest) => return Ok(DegradedNearest { nearest, searched_m }),
            Err(error @ QueryError::TooManyUnits { .. }) => too_many = error,
            Err(error) => return Err(error),
        }
    }
    Err(too_many)
}
