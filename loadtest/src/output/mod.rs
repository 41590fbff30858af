//! The results of a run, as programs read them.
//!
//! ```text
//! app ─► files       checks all destinations before the run, and writes each one whole or not at all
//!  ├───► document    the JSON of `--json`, described by `schema/result.schema.json`
//!  ├───► csv         one row for each second
//!  ├───► histogram_log   the log format of HDR histograms
//!  ├───► condition   `--fail-if`: bounds of figures, which give exit code 4
//!  └───► console     standard output and standard error, as `--quiet` and `--json -` demand
//! ```
//!
//! Tables and HTML pages, which people read, are rendered by modules of their own.

pub mod condition;
pub mod console;
pub mod csv;
pub mod document;
pub mod figure;
pub mod files;
pub mod histogram_log;
