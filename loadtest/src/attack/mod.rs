//! Attacks on a server: a catalog of kinds of bad clients, and a child process that carries some of them out.
//!
//! ```text
//! catalog ─► kind ─► script (bytes) ─► bad_client (a socket) ─► event_loop ─► child (a process of its own)
//! ```
//!
//! A child process keeps the CPU time of bad clients out of the process of the good ones, and has a lower priority. Its sockets are not blocking,
//! each connection holds at most one batch of unwritten bytes, and its end is a tick that it knows from the start.

mod bad_client;
mod catalog;
mod child;
mod event_loop;
pub mod kind;
mod script;

pub use catalog::kinds;
pub use child::{Attack, AttackOrder, SUBCOMMAND, run_child_process};
pub use event_loop::AttackReport;
