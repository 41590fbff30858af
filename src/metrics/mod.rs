//! Metrics: the work that the server has done so far, as numbers.
//!
//! This folder holds the counters and the deltas that passes and connections add to them. It formats and
//! serves nothing.

pub mod counters;
