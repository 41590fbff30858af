//! The limit of open files: raised as far as the system allows, and checked before a run.

use anyhow::{Result, bail};
use rlimit::Resource;

use crate::plan::{Plan, Share};

/// Files other than connections: polls, timers, pipes, standard streams, result files.
const RESERVE: usize = 64;

/// Raises the soft limit to the hard limit. Returns how many connections one process may open.
///
/// # Errors
/// Fails when the limit cannot be read or set.
pub fn raise_limit() -> Result<usize> {
    let (_, hard) = Resource::NOFILE.get()?;
    Resource::NOFILE.set(hard, hard)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(RESERVE))
}

/// Checks that each process of this machine may open the connections of its shares. Worker hosts have limits of their
/// own.
///
/// # Errors
/// Names the option, the number of files that are allowed, and the remedy.
pub fn check_plan(plan: &Plan, possible: usize) -> Result<()> {
    if !plan.hosts.addresses.is_empty() {
        return Ok(());
    }
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

/// Checks that a worker host may open the connections of its shares.
///
/// # Errors
/// Names the host, the number of files that are allowed, and the remedy.
pub fn check_host(address: &str, connections: usize, possible: usize) -> Result<()> {
    if connections > possible {
        bail!(
            "worker host {address} may open {possible} files, but its rooms have {connections} connections: name more \
             --workers, or raise the limit there (ulimit -n)"
        );
    }
    Ok(())
}

/// Checks that each of `processes` processes may open its part of the connections.
///
/// # Errors
/// Names the option, the number of files that are allowed, and the remedy.
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
    fn plan_with_more_members_in_a_room_than_open_files_is_refused() {
        let mut plan = crate::plan::tests::plan(crate::plan::Pacing::Quiet);
        (plan.connections, plan.rooms, plan.processes) = (300, 1, 3);
        let error = check_plan(&plan, 100).unwrap_err().to_string();
        assert!(error.contains("--rooms 1 makes one of --processes 3 open 300 files"), "{error}");
        plan.rooms = 3;
        assert!(check_plan(&plan, 100).is_ok());
    }

    #[test]
    fn refusal_names_the_host_whose_limit_is_too_low() {
        assert!(check_host("a:1", 100, 100).is_ok());
        let error = check_host("a:1", 101, 100).unwrap_err().to_string();
        assert!(error.contains("worker host a:1 may open 100 files"), "{error}");
    }

    #[test]
    fn refusal_names_the_number_of_processes_needed() {
        assert!(check(100, 1, 100).is_ok());
        assert!(check(200, 2, 100).is_ok());
        let error = check(250, 2, 100).unwrap_err().to_string();
        assert!(error.contains("--processes 3"), "{error}");
    }
}
