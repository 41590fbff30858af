//! The synchronisation that [`crate::turn`] is built from, in one place so that `tests/loom.rs`
//! can put loom's in its stead.

pub(crate) use std::sync::atomic::{Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard, TryLockError};
