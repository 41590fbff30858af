//! Roomcast: a lock-free sharded multi-room chat server.

mod batch;
pub mod close;
pub mod config;
mod connection;
pub mod counters;
mod deadlines;
mod inbox;
mod late;
pub mod lines;
pub mod name;
pub mod outbox;
pub mod peer;
pub mod rate;
pub mod registry;
pub mod room;
pub mod roster;
mod server;
pub mod session;
pub mod signals;
mod socket;
mod sync;
pub mod text;
mod turn;
pub mod wire;

pub use config::{Config, RESERVED_FILES};
pub use counters::Tally;
pub use outbox::SlowReader;
pub use server::{Server, Watch};
pub use socket::ListenError;
