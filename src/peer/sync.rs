//! The atomic primitives of the code that loom runs: the write lock, the atomic slot, the deferred list, the event
//! mailbox and the pass counter of a room.
//!
//! The files of the hand-made protocols import every primitive from here, and nothing but primitives stands here.
//! `tests/loom.rs` includes the files unchanged and gives them `tests/loom/sync.rs` in place of this file, which has the
//! same names with loom's primitives below them.
//!
//! A switch by `cfg(loom)` in this file would select nothing: tokio leaves out `tokio::net` under `--cfg loom`,
//! so this crate, and with it every test that links to it, does not compile with that flag.

pub(crate) use arc_swap::ArcSwapOption;
pub(crate) use atomic_waker::AtomicWaker;
pub(crate) use crossbeam_utils::atomic::AtomicCell;
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
