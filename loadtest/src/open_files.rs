//! Open files: as many as the system allows, and a clear word when they are too few.

use anyhow::{Result, bail};
use rlimit::Resource;

use crate::plan::{Plan, Share};

/// Files that are not connections: polls, timers, pipes, standard streams, a report.
const RESERVE: usize = 64;

/// Raises the soft limit to the hard one; returns how many connections a process may open.
///
/// # Errors
/// When the limit cannot be read.
pub fn raise_limit() -> Result<usize> {
    let (_, hard) = Resource::NOFILE.get()?;
    Resource::NOFILE.set(hard, hard)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(RESERVE))
}

/// Checks that each process may open its share of a plan's connections.
///
/// # Errors
/// With the number that is possible, and the way out.
pub fn check_plan(plan: &Plan, possible: usize) -> Result<()> {
    let shares: Vec<usize> = plan.shares(0).iter().map(Share::connections).collect();
    let size = shares.len().div_ceil(plan.processes).max(1);
    let largest = shares.chunks(size).map(|shares| shares.iter().sum()).max().unwrap_or(0);
    if largest > possible && plan.connections.div_ceil(plan.processes) <= possible {
        bail!(
            "--rooms {} makes one of --processes {} open {largest} files, more than the {possible} allowed, as a room \
             stays in one process: raise --rooms, or the limit (ulimit -n)",
            plan.rooms,
            plan.processes
        );
    }
    check(plan.connections, plan.processes, possible)
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
    fn a_room_stays_in_one_process() {
        let mut plan = crate::plan::tests::plan(crate::plan::Pacing::Quiet);
        (plan.connections, plan.rooms, plan.processes) = (300, 1, 3);
        let error = check_plan(&plan, 100).unwrap_err().to_string();
        assert!(error.contains("--rooms 1 makes one of --processes 3 open 300 files"), "{error}");
        plan.rooms = 3;
        assert!(check_plan(&plan, 100).is_ok());
    }

    #[test]
    fn says_how_many_processes_are_needed() {
        assert!(check(100, 1, 100).is_ok());
        assert!(check(200, 2, 100).is_ok());
        let error = check(250, 2, 100).unwrap_err().to_string();
        assert!(error.contains("--processes 3"), "{error}");
    }
}
