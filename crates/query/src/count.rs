use std::cell::Cell;

use geodesy::{Area, Overlap, Tile};
use index::{LiveIndex, Slot};
use model::{Minimum, Position, Timestamp};

use crate::{Deadline, QueryError, Scope};

/// Why a count ends before all of the area was looked at.
enum Stop {
    Enough,
    Late(QueryError),
}

/// How many units that `scope` shows and `minimum` counts are in `area`, up to [`Minimum::at_least`] of them: it does not look
/// farther. Covert units and those out of contact do not count. Cost: the exact test for each unit in the area's box until
/// there are enough; the hours of `minimum` are the caller's to hold.
///
/// # Errors
/// [`QueryError::DeadlineExceeded`]: never a smaller count.
pub fn count_within(
    index: &LiveIndex,
    area: &Area,
    minimum: &Minimum,
    scope: &Scope,
    as_of: Timestamp,
    deadline: &Deadline<'_>,
) -> Result<u32, QueryError> {
    let (examined, mut count) = (Cell::new(0), 0);
    let look = || {
        examined.set(examined.get() + 1);
        deadline.check(examined.get()).map_err(Stop::Late)
    };
    deadline.check(0)?;
    let counts = |slot: &Slot| {
        let traits = &slot.traits;
        !traits.covert && minimum.counts(traits.kind, traits.status) && !slot.is_out_of_contact(as_of)
    };
    let overlap = |tile: &Tile| look().map(|()| area.overlap(tile));
    let looked = index.inside(&area.tiles(), overlap, |unit, position, overlap| {
        look()?;
        if overlap == Overlap::Some && position.is_some_and(|position| !area.contains(position)) {
            return Ok(());
        }
        let Some(slot) = index.slot(unit).filter(counts) else { return Ok(()) };
        let is_inside = |at: Position| (overlap == Overlap::All && Some(at) == position) || area.contains(at);
        if slot.fix.is_some_and(|fix| is_inside(fix.position)) && scope.sees(unit, &slot) {
            count += 1;
            if count >= minimum.at_least {
                return Err(Stop::Enough);
            }
        }
        Ok(())
    });
    match looked {
        Ok(()) | Err(Stop::Enough) => Ok(count),
        Err(Stop::Late(late)) => Err(late),
    }
}
