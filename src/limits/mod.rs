//! Limits: values that decide how much of a resource a peer may use.
//!
//! Rate limits and their settings, permits and budgets live here. Code here takes the current time as an argument: it reads
//! no clock, does no I/O but for the file of bans, and knows no socket, room or connection.

pub(crate) mod address_budget;
pub(crate) mod addresses;
mod backlog_registry;
pub mod bans;
pub(crate) mod connection_permit;
pub(crate) mod handshake_budget;
pub(crate) mod login_queue;
pub mod memory;
pub(crate) mod permits;
pub(crate) mod rate;
pub(crate) mod server_limits;
pub(crate) mod shared_rate;
pub(crate) mod slice_budget;
