//! Limits: how much of anything a peer may use, as plain values that are told the time.
//!
//! Rates, budgets and permits live here. Nothing here knows a socket, a room or a clock of its own.

pub mod permits;
pub mod rate;
