//! Roomcast: a lock-free sharded multi-room chat server.

pub mod counters;
mod late;
pub mod lines;
pub mod name;
pub mod outbox;
pub mod peer;
pub mod session;
pub mod signals;
mod sync;
pub mod text;
mod turn;
pub mod wire;
