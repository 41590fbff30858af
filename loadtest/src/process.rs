//! The resources that a server's process uses, as `/proc` reports them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::{Tick, now};

/// A running process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The process's directory in `/proc`.
    proc: PathBuf,
    /// The process's resident memory before the first connection of this program.
    initial_rss: u64,
}

/// The resources that a process has used up to a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The tick of the sample.
    pub at: Tick,
    /// CPU time of all its threads in nanoseconds.
    pub cpu: u64,
    /// Time that its threads were ready without a CPU, in nanoseconds.
    #[serde(default)]
    pub waited: u64,
    /// Resident memory in bytes.
    pub rss: u64,
    /// How often a thread went to sleep.
    pub voluntary_switches: u64,
    /// How often the scheduler preempted a thread.
    pub involuntary_switches: u64,
}

impl Process {
    /// Returns the process with an id, and samples its memory.
    ///
    /// # Errors
    /// Fails when the process does not exist or cannot be read.
    pub fn new(pid: u32) -> io::Result<Self> {
        let mut process = Self { proc: PathBuf::from(format!("/proc/{pid}")), initial_rss: 0 };
        process.initial_rss = process.sample()?.rss;
        Ok(process)
    }

    /// Returns the process's resident memory at the first sample.
    #[must_use]
    pub fn initial_rss(&self) -> u64 {
        self.initial_rss
    }

    /// Returns the resources that the process has used until now.
    ///
    /// # Errors
    /// Fails when the process has ended.
    pub fn sample(&self) -> io::Result<Sample> {
        let status = fs::read_to_string(self.proc.join("status"))?;
        let mut sample = Sample { at: now(), rss: status_field(&status, "VmRSS:") * 1024, ..Sample::default() };
        if sample.rss == 0 {
            // A process without memory has ended, but its parent has not read its exit status yet.
            return Err(io::ErrorKind::NotFound.into());
        }
        for task in fs::read_dir(self.proc.join("task"))? {
            let task = task?.path();
            // A thread may end between the listing and the read.
            let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
            sample.voluntary_switches += status_field(&status, "voluntary_ctxt_switches:");
            sample.involuntary_switches += status_field(&status, "nonvoluntary_ctxt_switches:");
            let (cpu, waited) = thread_times(&task);
            sample.cpu += cpu;
            sample.waited += waited;
        }
        Ok(sample)
    }
}

/// Returns the time that a thread ran, and the time that it was ready without a CPU, in nanoseconds. `thread` is its
/// directory in `/proc`. Both times are 0 for a thread that has ended.
pub(crate) fn thread_times(thread: &Path) -> (u64, u64) {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    (first_number(&text), text.split_once(' ').map_or(0, |(_, rest)| first_number(rest)))
}

/// Returns the number after a key at the start of a line, or 0.
fn status_field(status: &str, key: &str) -> u64 {
    status.lines().find_map(|line| line.strip_prefix(key)).map_or(0, first_number)
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Returns how many TCP segments with data this machine has sent. On the loopback device each write of up to 64 KiB is
/// one segment. No other count of a server's writes is available to other processes; it includes all programs.
#[must_use]
pub fn segments_sent() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (keys, values) = (lines.next()?, lines.next()?);
    let at = keys.split(' ').position(|key| key == "TCPOrigDataSent")?;
    values.split(' ').nth(at)?.parse().ok()
}

/// Returns whether the number of segments can be the number of a server's writes. Fewer segments than half of the reads
/// show that the kernel counts differently. More segments than delivered lines show that other programs sent some of
/// them.
#[must_use]
pub fn plausible_writes(segments: u64, reads: u64, delivered: u64) -> bool {
    let most = delivered + delivered / 50;
    segments > 0 && segments >= reads / 2 && (delivered == 0 || segments <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_counts_the_cpu_time_and_memory_of_a_process() {
        let process = Process::new(std::process::id()).unwrap();
        let before = process.sample().unwrap();
        let mut sum = 0_u64;
        while process.sample().unwrap().cpu < before.cpu + 1_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(before.rss > 100_000, "{before:?}");
        assert!(segments_sent().is_some());
    }

    #[test]
    fn writes_are_plausible_between_reads_and_deliveries() {
        assert!(plausible_writes(1000, 1000, 32_000) && plausible_writes(1010, 1000, 1000));
        assert!(!plausible_writes(1200, 1000, 1000) && !plausible_writes(400, 1000, 32_000));
    }

    #[test]
    fn missing_process_is_an_error() {
        assert!(Process::new(u32::MAX).is_err());
    }
}
