//! How a reader misses no unit that is moving between buckets, and sees none twice, without waiting and without holding up
//! the writer.
//!
//! The writer numbers every move of a unit from one row to another and notes it before the first store of it ([`Moves::begin`]);
//! when the last store is done it says so ([`Moves::settle`]). A reader takes a [`Mark`] before it looks at the directory: what
//! was settled then, it sees in its new place. While it searches, and once more at the end, it asks for what has moved since
//! ([`Moves::follow`]): only these units can it miss, or meet twice. It looks those up in the slot table, which always
//! knows where they are.
//!
//! Why none is missed: a unit that did not move since the mark stands in one row all the time, and that row's bucket is in
//! every directory published since. One that moved is in the answer of `follow`, because a reader that saw any store of the
//! move also sees its note: the note is stored before a release fence that comes before the move's stores, and `follow`
//! begins with an acquire fence after the reader's loads. A move of which the reader saw no store does not matter.
//!
//! The notes are a ring. A reader that was so slow that the ring went round is told so, and looks at all units instead.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Notes that are kept: more than half a second of the fastest ingestion.
pub(crate) const NOTES: usize = if cfg!(loom) { 4 } else { 1 << 16 };

/// The moves of one index. One writer.
#[derive(Debug)]
pub(crate) struct Moves {
    begun: AtomicU64,
    settled: AtomicU64,
    notes: Box<[AtomicU32]>,
}

/// Up to where a search knows what moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(u64);

/// More has moved than there are notes of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Default for Moves {
    fn default() -> Self {
        let notes = (0..NOTES).map(|_| AtomicU32::new(0)).collect();
        Self { begun: AtomicU64::new(0), settled: AtomicU64::new(0), notes }
    }
}

impl Moves {
    /// Notes that `unit` is about to change its row. Comes before every store of the move.
    pub(crate) fn begin(&self, unit: u32) {
        let at = self.begun.load(Ordering::Relaxed);
        self.notes[(at % NOTES as u64) as usize].store(unit, Ordering::Relaxed);
        self.begun.store(at + 1, Ordering::Release);
        fence(Ordering::Release);
    }

    /// Everything begun is stored, the directory included.
    pub(crate) fn settle(&self) {
        self.settled.store(self.begun.load(Ordering::Relaxed), Ordering::Release);
    }

    /// Before a search.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.settled.load(Ordering::Acquire))
    }

    /// Adds to `units` everything that this thread can have seen moving since `mark`, and moves the mark on. A few nanoseconds
    /// when nothing moved.
    ///
    /// # Errors
    /// [`TooMany`]: what moved is not known; the mark is moved on all the same.
    #[inline]
    pub(crate) fn follow(&self, mark: &mut Mark, units: &mut impl Extend<u32>) -> Result<(), TooMany> {
        fence(Ordering::Acquire);
        let begun = self.begun.load(Ordering::Acquire);
        if begun == mark.0 { Ok(()) } else { self.read_notes(mark, begun, units) }
    }

    #[cold]
    fn read_notes(&self, mark: &mut Mark, begun: u64, units: &mut impl Extend<u32>) -> Result<(), TooMany> {
        let from = std::mem::replace(&mut mark.0, begun);
        if begun - from >= NOTES as u64 {
            return Err(TooMany);
        }
        units.extend((from..begun).map(|at| self.notes[(at % NOTES as u64) as usize].load(Ordering::Relaxed)));
        // A note that was written over while it was read is not one of ours.
        fence(Ordering::Acquire);
        if self.begun.load(Ordering::Relaxed) - from < NOTES as u64 { Ok(()) } else { Err(TooMany) }
    }
}
