//! Metrics: what the server did so far, as numbers.
//!
//! Counters and the deltas that passes and connections add to them live here; nothing that formats or serves them.

pub mod counters;
