//! A load generator for Roomcast that checks every line's arrival.
//!
//! ```text
//! app ─► scenario ─► plan ─► stand ─► conductor ─► crew ─► worker (a thread: one poll, one buffer, whole rooms)
//!                              │            │                    ├─► connection   a socket
//!                              │            ▼                    └─► room         who sends next; every delivery checked
//!                              │           run                         └─► log    the room's common order
//!                              ▼
//!                           outcome ─► table, JSON, report, verdict
//! ```
//!
//! A scenario is a [`plan::Plan`], a value; one engine runs every plan. A line is taken apart and checked when the
//! first member of its room receives it; all others are compared with that member's bytes, which proves the same
//! order at a memory comparison's cost. Latency counts from the planned time of sending, for every delivery.
#![forbid(unsafe_code)]
// Figures are for people: 52 bits of a count are enough for them.
#![allow(clippy::cast_precision_loss)]

pub mod app;
pub mod args;
pub mod clock;
pub mod compare;
mod connection;
pub mod coordinator;
mod cursor;
pub mod format;
pub mod histogram;
pub mod html_report;
pub mod interrupt;
pub mod limit;
pub mod machine;
pub mod markdown;
pub mod message;
pub mod metrics;
pub mod open_files;
pub mod outcome;
pub mod payload;
pub mod plan;
pub mod plot;
pub mod probe;
pub mod process;
pub mod progress;
pub mod protocol;
pub mod ramp;
mod room;
mod room_log;
pub mod saturation;
pub mod scenario;
pub mod server;
pub mod table;
pub mod test_bed;
pub mod test_result;
mod thread_usage;
pub mod verdict;
mod worker;
pub mod worker_pool;
