//! What a thread uses of the CPUs over a stretch of time.

use std::fs;

use crate::clock::{Tick, now, thread_cpu};
use crate::message::ThreadUsage;

/// Measures the calling thread from [`Meter::start`] to [`Meter::stop`].
#[derive(Debug, Default)]
pub(crate) struct Meter(Option<(Tick, u64, u64)>);

impl Meter {
    /// Starts measuring.
    pub(crate) fn start() -> Self {
        Self(Some((now(), thread_cpu(), waited())))
    }

    /// Writes down what was used since the start; nothing when it never started or was stopped before.
    pub(crate) fn stop(&mut self, usage: &mut ThreadUsage) {
        if let Some((start, cpu, wait)) = self.0.take() {
            usage.wall = now().saturating_sub(start);
            usage.cpu = thread_cpu().saturating_sub(cpu);
            usage.waited = waited().saturating_sub(wait);
        }
    }
}

/// How long this thread was ready to run without a CPU, in nanoseconds: the second number of its schedstat.
fn waited() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}
