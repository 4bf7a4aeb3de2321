//! Where every unit is now: a table of slots, and an R-tree over buckets of units, not over units.

mod bucket;
mod live;
mod slot;

pub use live::{Change, LiveIndex};
pub use slot::{Fix, OUT_OF_CONTACT_MS_MIN, STALE_MS_MIN, Slot, UNKNOWN_INTERVAL_MS, UnitTraits};
