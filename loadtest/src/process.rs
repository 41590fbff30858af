//! What a server's process uses, as the kernel tells it in `/proc`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::{Tick, now};

/// A running process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its directory in `/proc`.
    proc: PathBuf,
    /// Its resident memory when it was first looked at: before the first connection of ours.
    initial_rss: u64,
}

/// What a process has used up to some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The moment.
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
    /// How often a thread had to make room for another.
    pub involuntary_switches: u64,
}

impl Process {
    /// The process with this id.
    ///
    /// # Errors
    /// When there is none, or it is not ours to look at.
    pub fn new(pid: u32) -> io::Result<Self> {
        let mut process = Self { proc: PathBuf::from(format!("/proc/{pid}")), initial_rss: 0 };
        process.initial_rss = process.sample()?.rss;
        Ok(process)
    }

    /// Its resident memory when it was first looked at.
    #[must_use]
    pub fn initial_rss(&self) -> u64 {
        self.initial_rss
    }

    /// What it has used by now.
    ///
    /// # Errors
    /// When it is gone.
    pub fn sample(&self) -> io::Result<Sample> {
        let status = fs::read_to_string(self.proc.join("status"))?;
        let mut sample = Sample { at: now(), rss: status_field(&status, "VmRSS:") * 1024, ..Sample::default() };
        if sample.rss == 0 {
            // It has ended, though nobody has asked yet how.
            return Err(io::ErrorKind::NotFound.into());
        }
        for task in fs::read_dir(self.proc.join("task"))? {
            let task = task?.path();
            // A thread may end between being listed and being read.
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

/// The number after a key at a line's start.
fn status_field(status: &str, key: &str) -> u64 {
    status.lines().find_map(|line| line.strip_prefix(key)).map_or(0, first_number)
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// How many TCP segments with data this machine has sent so far: on the loopback device one for each write of up
/// to 64 KiB. The only count of a server's writes that can be had from outside; it counts all programs.
#[must_use]
pub fn segments_sent() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (keys, values) = (lines.next()?, lines.next()?);
    let at = keys.split(' ').position(|key| key == "TCPOrigDataSent")?;
    values.split(' ').nth(at)?.parse().ok()
}

/// Whether so many segments can be a server's writes. Fewer than reads can't be: then the kernel's count means something
/// else here. Nor more than lines delivered, but for a few: then another program's are among them.
#[must_use]
pub fn plausible_writes(segments: u64, reads: u64, delivered: u64) -> bool {
    let most = delivered + delivered / 50;
    segments > 0 && segments >= reads / 2 && (delivered == 0 || segments <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_its_own_process_work() {
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
    fn a_write_carries_a_line_at_least() {
        assert!(plausible_writes(1000, 1000, 32_000) && plausible_writes(1010, 1000, 1000));
        assert!(!plausible_writes(1200, 1000, 1000) && !plausible_writes(400, 1000, 32_000));
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert!(Process::new(u32::MAX).is_err());
    }
}
