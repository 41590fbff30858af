//! Roomcast: a lock-free sharded multi-room chat server.

pub mod lines;
pub mod name;
pub mod session;
pub mod text;
pub mod wire;
