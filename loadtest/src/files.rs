//! Open files: as many as the system allows, and a clear word when they are too few.

use anyhow::{Result, bail};
use rlimit::Resource;

/// Files that are not connections: polls, timers, pipes, standard streams, a report.
const RESERVE: usize = 64;

/// Raises the soft limit to the hard one; returns how many connections a process may open.
///
/// # Errors
/// When the limit cannot be read.
pub fn raise() -> Result<usize> {
    let (_, hard) = Resource::NOFILE.get()?;
    Resource::NOFILE.set(hard, hard)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(RESERVE))
}

/// Checks that each of `processes` processes may open its share of connections.
///
/// # Errors
/// With the number that is possible, and the way out.
pub fn check(connections: usize, processes: usize, possible: usize) -> Result<()> {
    if connections.div_ceil(processes) > possible {
        let needed = connections.div_ceil(possible.max(1));
        bail!(
            "--connections {connections} is more than the {possible} files that a process may open allow: \
             add --processes {needed}, or raise the limit (ulimit -n)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_many_processes_are_needed() {
        assert!(check(100, 1, 100).is_ok());
        assert!(check(200, 2, 100).is_ok());
        let error = check(250, 2, 100).unwrap_err().to_string();
        assert!(error.contains("--processes 3"), "{error}");
    }
}
