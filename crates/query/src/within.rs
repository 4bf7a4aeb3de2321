use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

use geodesy::{Area, Overlap, Tile, distance_and_bearing};
use index::{LiveIndex, Slot};
use model::{Position, Timestamp, UnitHandle, UnitName};

use crate::filter::Candidates;
use crate::{Deadline, Names, Omitted, OmittedReason, QueryError, Scope, WithinAsk};

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
    let (mut page, mut omitted) = (Page::new(ask, names), Omitted::default());
    inside(index, &ask.area, &ask.scope, deadline, |unit, slot, place| {
        match ask.filter.omits(slot, as_of, Candidates::All) {
            Some(OmittedReason::Covert) if !ask.scope.is_everything() => {}
            Some(reason) => omitted.count(reason),
            None => page.add(unit, slot, place),
        }
    })?;
    let (rows, next) = page.into_rows();
    let found = rows.into_iter().map(|Row { unit, slot, position, .. }| {
        let measured = ask.area.centre().map(|centre| distance_and_bearing(centre, position));
        FoundInside { unit, slot, distance_m: measured.map(|two| two.0), bearing_deg: measured.map(|two| two.1) }
    });
    Ok(Within { found: found.collect(), omitted, next, as_of })
}

/// Shows `visit` every unit in `area` that `scope` shows, with its slot and place, each once, in no order.
///
/// # Errors
/// [`QueryError::DeadlineExceeded`].
pub fn inside(
    index: &LiveIndex,
    area: &Area,
    scope: &Scope,
    deadline: &Deadline<'_>,
    mut visit: impl FnMut(UnitHandle, &Slot, Position),
) -> Result<(), QueryError> {
    let examined = Cell::new(0);
    let look = || {
        examined.set(examined.get() + 1);
        deadline.check(examined.get())
    };
    deadline.check(0)?;
    let overlap = |tile: &Tile| look().map(|()| area.overlap(tile));
    index.inside(&area.tiles(), overlap, |unit, position, overlap| {
        look()?;
        // Outside: not worth a look at the slot.
        if overlap == Overlap::Some && position.is_some_and(|position| !area.contains(position)) {
            return Ok(());
        }
        let Some(slot) = index.slot(unit) else { return Ok(()) };
        let is_inside = |at: Position| (overlap == Overlap::All && Some(at) == position) || area.contains(at);
        if let Some(fix) = slot.fix.filter(|fix| is_inside(fix.position))
            && scope.sees(unit, &slot)
        {
            visit(unit, &slot, fix.position);
        }
        Ok(())
    })
}

/// As [`inside`], for all of the earth.
///
/// # Errors
/// [`QueryError::DeadlineExceeded`].
pub fn everywhere(
    index: &LiveIndex,
    scope: &Scope,
    deadline: &Deadline<'_>,
    mut visit: impl FnMut(UnitHandle, &Slot, Position),
) -> Result<(), QueryError> {
    let mut examined = 0;
    deadline.check(0)?;
    index.inside(
        &[Tile::EARTH],
        |_| Ok(Overlap::All),
        |unit, _, _| {
            examined += 1;
            deadline.check(examined)?;
            let Some(slot) = index.slot(unit) else { return Ok(()) };
            if let Some(fix) = slot.fix
                && scope.sees(unit, &slot)
            {
                visit(unit, &slot, fix.position);
            }
            Ok(())
        },
    )
}

/// The first names of an answer, in a heap, so that a page of a large answer costs the memory of a page.
struct Page<'a> {
    ask: &'a WithinAsk,
    names: &'a dyn Names,
    /// One more than the page: whether there is another. The last name on top.
    rows: BinaryHeap<Row>,
}

/// Ordered by name.
struct Row {
    name: UnitName,
    unit: UnitHandle,
    slot: Slot,
    position: Position,
}

impl<'a> Page<'a> {
    fn new(ask: &'a WithinAsk, names: &'a dyn Names) -> Self {
        Self { ask, names, rows: BinaryHeap::new() }
    }

    /// Most units of a large area are on no page that was asked for, and cost no name of their own.
    fn add(&mut self, unit: UnitHandle, slot: &Slot, position: Position) {
        let is_before = self.ask.after.as_ref().is_some_and(|after| !self.names.is_after(unit, after));
        let is_full = self.rows.len() > self.ask.limit;
        if is_before || (is_full && self.rows.peek().is_some_and(|last| self.names.is_after(unit, &last.name))) {
            return;
        }
        if is_full {
            self.rows.pop();
        }
        self.rows.push(Row { name: self.names.name(unit), unit, slot: *slot, position });
    }

    /// The page by name, and the name after which the next one begins.
    fn into_rows(mut self) -> (Vec<Row>, Option<UnitName>) {
        let has_more = self.rows.len() > self.ask.limit;
        if has_more {
            self.rows.pop();
        }
        let rows = self.rows.into_sorted_vec();
        let next = rows.last().filter(|_| has_more).map(|last| last.name.clone());
        (rows, next)
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Row {}
