use geodesy::{Overlap, Tile, distance_and_bearing};
use index::{LiveIndex, Side, Slot};
use model::{Position, Timestamp, UnitHandle, UnitName};

use crate::filter::Candidates;
use crate::{Deadline, Names, Omitted, QueryError, WithinAsk};

/// One unit in an area.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundInside {
    /// Which unit.
    pub unit: UnitHandle,
    /// All that is known of it.
    pub slot: Slot,
    /// Geodesic metres from the centre of a circle.
    pub distance_m: Option<f64>,
    /// Degrees clockwise from north, from the centre of a circle.
    pub bearing_deg: Option<f64>,
}

/// The answer to a [`WithinAsk`].
#[derive(Debug, Clone, PartialEq)]
pub struct Within {
    /// By name.
    pub found: Vec<FoundInside>,
    /// Who is in the area and left out, on all pages.
    pub omitted: Omitted,
    /// Ask on after this name; `None` on the last page.
    pub next: Option<UnitName>,
    /// The instant of all ages.
    pub as_of: Timestamp,
}

/// Answers `ask`. Cost: the exact test for every unit in the area's box, whatever the page.
///
/// # Errors
/// [`QueryError::DeadlineExceeded`]: never a shorter answer.
pub fn within(
    index: &LiveIndex,
    ask: &WithinAsk,
    names: &dyn Names,
    as_of: Timestamp,
    deadline: &Deadline<'_>,
) -> Result<Within, QueryError> {
    let (mut inside, mut omitted, mut examined) = (Vec::new(), Omitted::default(), 0);
    deadline.check(examined)?;
    let side = |tile: &Tile| match ask.area.overlap(tile) {
        Overlap::None => Side::Outside,
        Overlap::Some => Side::Border,
        Overlap::All => Side::Inside,
    };
    index.inside(&ask.area.tiles(), side, |unit, position, side| {
        examined += 1;
        deadline.check(examined)?;
        // Outside: not worth a look at the slot.
        if side == Side::Border && position.is_some_and(|position| !ask.area.contains(position)) {
            return Ok(());
        }
        let Some(slot) = index.slot(unit) else { return Ok(()) };
        let is_inside = |at: Position| (side == Side::Inside && Some(at) == position) || ask.area.contains(at);
        let Some(fix) = slot.fix.filter(|fix| is_inside(fix.position)) else { return Ok(()) };
        match ask.filter.omits(&slot, as_of, Candidates::All) {
            Some(reason) => omitted.count(reason),
            None => inside.push((names.name(unit), unit, slot, fix.position)),
        }
        Ok(())
    })?;
    inside.retain(|(name, ..)| ask.after.as_ref().is_none_or(|after| name > after));
    inside.sort_by(|a, b| a.0.cmp(&b.0));
    let has_more = inside.len() > ask.limit;
    inside.truncate(ask.limit);
    let next = inside.last().map(|(name, ..)| name.clone()).filter(|_| has_more);
    let found = inside.into_iter().map(|(_, unit, slot, position)| {
        let measured = ask.area.centre().map(|centre| distance_and_bearing(centre, position));
        FoundInside { unit, slot, distance_m: measured.map(|two| two.0), bearing_deg: measured.map(|two| two.1) }
    });
    Ok(Within { found: found.collect(), omitted, next, as_of })
}
