//! What a thread uses of the CPUs over a stretch of time.

use std::fs;

use crate::clock::{Tick, now, thread_cpu};
use crate::message::ThreadUsage;

/// Measures the calling thread from [`UsageMeter::start`] to [`UsageMeter::stop`].
#[derive(Debug, Default)]
pub(crate) struct UsageMeter(Option<(Tick, u64, u64)>);

impl UsageMeter {
    /// Starts measuring.
    pub(crate) fn start() -> Self {
        Self(Some((now(), thread_cpu(), thread_wait())))
    }

    /// Writes down what was used since the start; nothing when it never started or was stopped before.
    pub(crate) fn stop(&mut self, usage: &mut ThreadUsage) {
        if let Some((start, cpu, wait)) = self.0.take() {
            usage.wall = now().saturating_sub(start);
            usage.cpu = thread_cpu().saturating_sub(cpu);
            usage.waited = thread_wait().saturating_sub(wait);
        }
    }
}

/// How long this thread was ready to run without a CPU, in nanoseconds: the second number of its schedstat.
fn thread_wait() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}
