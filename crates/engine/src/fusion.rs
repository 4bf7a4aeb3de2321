//! Which of a unit's devices says where the unit is.

use index::Fix;
use model::{Timestamp, UnitKind};

/// Accuracy of a fix that states none, in metres.
const ACCURACY_M_DEFAULT: f64 = 30.0;
/// The other source takes over when the circle in which the unit can be by the current one is larger
/// by this factor ...
const CLEARLY_LARGER: f64 = 3.0;
/// ... and by this many metres.
const CLEARLY_LARGER_M: f64 = 500.0;

/// Whether `fix` replaces `current` as the unit's place.
///
/// The same source always does. Another one does only when the current fix is stale, or when the
/// circle in which the unit can be by now (accuracy + speed x age) is clearly the larger one.
pub(crate) fn takes_over(current: &Fix, is_stale: bool, fix: &Fix, now: Timestamp, kind: UnitKind) -> bool {
    if current.source == fix.source {
        return true;
    }
    if fix.time <= current.time {
        return false;
    }
    let possible_m = |of: &Fix| {
        let age_s = now.ms_since(of.time).max(0) as f64 / 1_000.0;
        of.accuracy_m.map_or(ACCURACY_M_DEFAULT, f64::from) + kind.speed_mps_max() * age_s
    };
    let (old, new) = (possible_m(current), possible_m(fix));
    is_stale || (old > CLEARLY_LARGER * new && old > new + CLEARLY_LARGER_M)
}
