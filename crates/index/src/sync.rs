//! The atomics that readers and the writer share: the standard library's, or loom's when the model of the move is checked
//! (`cargo xtask loom`).

#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence},
    thread::yield_now,
};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::thread::yield_now;
