//! Tests of the peer, the atomic slot and the deferred list.

mod atomic_slot;
mod deferred_list;
