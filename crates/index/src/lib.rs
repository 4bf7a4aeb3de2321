//! Where every unit is now: a table of slots, and an R-tree over buckets of units, not over units.
//!
//! A unit is in three places: its *slot* (the truth), its *row* in a bucket (what searches scan), and through the bucket in
//! the *directory* (what finds buckets). One writer a shard changes them; readers take no lock.

mod bucket;
mod cell;
mod digest;
mod directory;
mod live;
mod moves;
mod pages;
mod regions;
mod search;
mod shards;
mod slot;
mod sources;
mod sync;
#[cfg(test)]
mod tests;
mod units;
mod writer;
mod zones;

pub use digest::Digest;
pub use live::{Change, Shard};
pub use search::Sight;
pub use shards::LiveIndex;
pub use slot::{Fix, OUT_OF_CONTACT_MS_MIN, STALE_MS_MIN, Slot, UNKNOWN_INTERVAL_MS, UnitTraits};
pub use sources::{ACCURACY_M_DEFAULT, Became, Source, possible_radius_m};
pub use zones::{Beyond, ZoneEntry, ZoneIndex, margin_for};
