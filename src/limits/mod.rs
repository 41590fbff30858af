//! Limits: values that decide how much of a resource a peer may use.
//!
//! Rate limits and their settings live here. Code here takes the current time as an argument: it reads
//! no clock, does no I/O and knows no socket, room or connection.

pub(crate) mod address_budget;
pub mod memory;
pub(crate) mod permits;
pub(crate) mod rate;
pub(crate) mod shared_rate;
