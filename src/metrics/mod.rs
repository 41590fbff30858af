//! Metrics: the work that the server has done so far, as numbers, and the form in which Prometheus reads them.
//!
//! This folder holds the counters and histograms that passes and connections add to, the figures of the process, and the
//! writer of the text format. Nothing here knows a connection or serves a request.

pub mod counters;
pub(crate) mod histogram;
pub(crate) mod listener_counts;
pub(crate) mod pass_histograms;
pub(crate) mod process;
pub(crate) mod reasons;
mod shards;
pub(crate) mod text_format;
