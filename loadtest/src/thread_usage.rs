//! The CPU use of a thread over a period.

use std::path::Path;

use crate::clock::{Tick, now, thread_cpu};
use crate::message::ThreadUsage;
use crate::process::thread_times;

/// Measures the calling thread from [`UsageMeter::start`] to [`UsageMeter::stop`].
#[derive(Debug, Default)]
pub(crate) struct UsageMeter(Option<(Tick, u64, u64)>);

impl UsageMeter {
    /// Starts the measurement.
    pub(crate) fn start() -> Self {
        Self(Some((now(), thread_cpu(), thread_wait())))
    }

    /// Returns whether a measurement is running.
    pub(crate) fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Stores the CPU use since the start. Does nothing where no measurement is running.
    pub(crate) fn stop(&mut self, usage: &mut ThreadUsage) {
        if let Some((start, cpu, wait)) = self.0.take() {
            usage.wall = now().saturating_sub(start);
            usage.cpu = thread_cpu().saturating_sub(cpu);
            usage.waited = thread_wait().saturating_sub(wait);
        }
    }
}

/// Returns the time in nanoseconds in which the calling thread was ready without a CPU.
fn thread_wait() -> u64 {
    thread_times(Path::new("/proc/thread-self")).1
}
