//! Samples of a server's memory and descriptors while a phase runs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::result::{MemoryPeak, SoakSample};
use crate::clock::{SECOND, now};

/// Interval of the samples from which the peak is taken.
const PEAK_INTERVAL: Duration = Duration::from_millis(20);
/// Interval of the samples of a soak.
const SOAK_INTERVAL: Duration = Duration::from_secs(1);

/// A thread that samples a server until it is stopped.
pub(super) struct Monitor {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<SoakSample>>,
}

impl Monitor {
    /// Starts to sample the highest memory of a process.
    pub(super) fn watch_peak(pid: u32) -> Self {
        Self::start(move |stop, baseline| {
            let mut peak = SoakSample::default();
            while !stop.load(Ordering::Relaxed) {
                let (rss, kernel) = (resident_bytes(pid), kernel_tcp_bytes().saturating_sub(baseline));
                if rss + kernel > peak.rss + peak.kernel {
                    peak = SoakSample { rss, kernel, ..peak };
                }
                thread::sleep(PEAK_INTERVAL);
            }
            vec![peak]
        })
    }

    /// Starts to sample memory and descriptors of a process each second.
    pub(super) fn watch_each_second(pid: u32) -> Self {
        Self::start(move |stop, baseline| {
            let (start, mut samples) = (now(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                samples.push(SoakSample {
                    at: now().saturating_sub(start) as f64 / SECOND as f64,
                    rss: resident_bytes(pid),
                    kernel: kernel_tcp_bytes().saturating_sub(baseline),
                    descriptors: descriptors(pid),
                });
                thread::park_timeout(SOAK_INTERVAL);
            }
            samples
        })
    }

    /// Starts a thread with a flag that ends it and the machine's TCP memory at the start. The flag is relaxed: no other
    /// data is published with it.
    fn start(sample: impl FnOnce(&AtomicBool, u64) -> Vec<SoakSample> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, baseline) = (Arc::clone(&stop), kernel_tcp_bytes());
        Self { stop, thread: thread::spawn(move || sample(&flag, baseline)) }
    }

    /// Stops the thread, and returns its samples.
    pub(super) fn stop(self) -> Vec<SoakSample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }

    /// Stops the thread, and returns the peak.
    pub(super) fn stop_peak(self) -> MemoryPeak {
        let peak = self.stop().last().copied().unwrap_or_default();
        MemoryPeak { rss: peak.rss, kernel: peak.kernel }
    }
}

/// Returns the resident memory of a process in bytes; 0 when it has ended.
fn resident_bytes(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * page_bytes()
}

/// Returns the number of open descriptors of a process; 0 when it has ended.
pub(super) fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64)
}

/// Returns the memory of all TCP buffers of this machine in bytes. The kernel does not count it per process.
fn kernel_tcp_bytes() -> u64 {
    tcp_pages(&fs::read_to_string("/proc/net/sockstat").unwrap_or_default()) * page_bytes()
}

/// Returns the pages of TCP memory in the text of `/proc/net/sockstat`, which counts IPv4 and IPv6 together.
fn tcp_pages(sockstat: &str) -> u64 {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    words.nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_tcp_memory_are_read() {
        let text = "sockets: used 283\nTCP: inuse 8 orphan 0 tw 2 alloc 12 mem 345\nUDP: inuse 2 mem 1\n";
        assert_eq!(tcp_pages(text), 345);
        assert_eq!(tcp_pages(""), 0);
    }

    #[test]
    fn monitor_returns_the_memory_and_the_descriptors_of_a_process() {
        let monitor = Monitor::watch_each_second(std::process::id());
        while descriptors(std::process::id()) == 0 {}
        thread::sleep(Duration::from_millis(50));
        let samples = monitor.stop();
        assert!(samples[0].rss > 100_000 && samples[0].descriptors > 2, "{samples:?}");
        let monitor = Monitor::watch_peak(std::process::id());
        thread::sleep(Duration::from_millis(50));
        assert!(monitor.stop_peak().rss > 100_000);
    }
}
