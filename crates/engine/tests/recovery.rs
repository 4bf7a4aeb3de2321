//! One state: whatever is replayed, in whatever way, after whatever the disk did, it is the state that the entries of the log give.
//!
//! `MUSTER_SEEDS` says how many seeds each test takes, `MUSTER_SEED` repeats one, `MUSTER_ENTRIES` sets the length of the log
//! that two processes replay.

#[path = "recovery/clocks.rs"]
mod clocks;
#[path = "recovery/conservation.rs"]
mod conservation;
#[path = "recovery/history.rs"]
mod history;
#[path = "recovery/late.rs"]
mod late;
#[path = "recovery/live.rs"]
mod live;
#[path = "recovery/one_state.rs"]
mod one_state;
#[path = "../../journal/tests/common/seeds.rs"]
mod seeds;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
