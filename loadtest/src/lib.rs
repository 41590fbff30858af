//! A load generator for Roomcast that checks every line's arrival.
//!
//! ```text
//! app ─► scenario ─► plan ─► test_bed ─► coordinator ─► worker_pool ─► worker (a thread: one poll, one buffer, whole rooms)
//!                               │            │                           ├─► connection   one socket
//!                               │            ▼                           └─► room         composes lines, checks deliveries
//!                               │        run record                            └─► room_log   a common order
//!                               ▼
//!               outcome, verdict = test result ─► table, output (JSON, CSV, histograms), html_report
//! ```
//!
//! `repeat` runs a plan several times, in turns on two servers, and `compare` compares the results of both.
//!
//! `worker_pool` starts workers as threads, in child processes, or through TCP links on other machines, whose clocks differ:
//! [`clock_offset`] measures by how much.
//!
//! Several servers may share the rooms: then a room keeps a common order for each server, or one for all, and counts the lines
//! that the servers tell as missing.
//!
//! `zoo` runs plans beside an `attack`, a child process of bad clients, and judges what the good ones notice of it.
//!
//! [`departures`] is the rule by which members leave their rooms during a run and come back: a room locates such a member in
//! its common order by the join notice that other members receive between two lines.
//!
//! [`slow_readers`] names the members that are read at a bounded rate while lines are sent: a room compares the lines that such
//! a member misses with those that the server announces as skipped.
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
pub mod clock_offset;
pub mod compare;
mod connection;
pub mod coordinator;
mod cursor;
pub mod departures;
pub mod format;
pub mod histogram;
pub mod html_report;
pub mod interrupt;
pub mod limit;
pub mod machine;
pub mod markdown;
pub mod markup;
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
mod random;
pub mod repeat;
pub mod return_figures;
mod room;
mod room_log;
pub mod saturation;
pub mod scenario;
pub mod server;
pub mod size_mix;
pub mod slow_closes;
pub mod slow_readers;
pub mod slowest;
pub mod table;
pub mod test_bed;
pub mod test_result;
mod thread_usage;
pub mod timeline;
mod unmeasured;
pub mod verdict;
mod worker;
pub mod worker_hosts;
pub mod worker_pool;
pub mod zoo;
