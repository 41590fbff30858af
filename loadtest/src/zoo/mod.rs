//! The scenario `zoo`: good clients talk while bad ones attack, and a verdict tells what the good ones notice.
//!
//! ```text
//! run ─► server_pair (two servers) ─► phase (a plan of good clients beside an attack) ─► observation
//!  │                                    └─► monitor (memory, descriptors)                     │
//!  └─► soak (one long phase)            └─► aftermath (idle again, nothing left)              ▼
//!                                                                    judge ─► result ─► render, plots, JSON
//! ```
//!
//! Each kind attacks the server of the good clients and then the control server, in two phases of equal length. The good
//! clients always use the first server, so the control shows the cost of the attack on this machine alone.

mod aftermath;
mod ceiling;
mod judge;
mod monitor;
mod phase;
mod plots;
mod render;
mod result;
mod run;
mod server_pair;
mod soak;

pub use judge::{Limits, judge};
pub use plots::{latency_plot, soak_plot};
pub use render::{render_kinds, render_markdown, render_table};
pub use result::{Ceiling, KindResult, MemoryPeak, Observation, PhaseFigures, SoakResult, SoakSample, ZooResult};
pub use run::{TOGETHER, run};
pub use soak::judge_soak;
