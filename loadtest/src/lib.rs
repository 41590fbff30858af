//! A load generator for Roomcast that checks every line's arrival.
//!
//! ```text
//! app ─► scenario ─► plan ─► test_bed ─► coordinator ─► worker_pool ─► worker (a thread: one poll, one buffer, whole rooms)
//!                               │            │                           ├─► connection   one socket
//!                               │            ▼                           └─► room         composes lines, checks deliveries
//!                               │        run record                            └─► room_log   the room's common order
//!                               ▼
//!               outcome, verdict = test result ─► table, output (JSON, CSV, histograms), html_report
//! ```
//!
//! `zoo` runs plans beside an `attack`, a child process of bad clients, and judges what the good ones notice of it.
//!
//! A scenario describes a [`plan::Plan`]; the same coordinator and workers run every plan. A line is decoded and checked
//! when the first member of its room receives it. The bytes of all other members are compared with that member's bytes,
//! which proves the same order at the cost of a memory comparison. Latency counts from the planned time of each line.
#![forbid(unsafe_code)]
// Figures are shown to people: the 52 bits of a float suffice for them.
#![allow(clippy::cast_precision_loss)]

pub mod app;
pub mod args;
pub mod attack;
pub mod clock;
pub mod compare;
mod connection;
pub mod coordinator;
mod cursor;
pub mod dot_plot;
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
pub mod output;
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
mod unmeasured;
pub mod verdict;
mod worker;
pub mod worker_pool;
pub mod zoo;
