//! Roomcast: a lock-free sharded multi-room chat server.

mod batch;
pub mod counters;
mod inbox;
mod late;
pub mod lines;
pub mod name;
pub mod outbox;
pub mod peer;
pub mod registry;
pub mod room;
pub mod roster;
pub mod session;
pub mod signals;
mod sync;
pub mod text;
mod turn;
pub mod wire;
