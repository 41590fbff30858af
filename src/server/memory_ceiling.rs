//! The memory ceiling: what `--memory` says, or a quarter of what the process may use.

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

/// The part of the usable memory that the server's queues may fill by default.
const DEFAULT_PART: u64 = 4;

/// The memory that is assumed where the system tells none, in bytes: 1 GiB.
const ASSUMED_MEMORY: u64 = 1 << 30;

/// Returns the memory ceiling in bytes: `setting`, or a quarter of the memory of the machine or of the process's cgroup,
/// whichever is smaller.
pub(super) fn memory_ceiling(setting: Option<NonZeroU64>) -> u64 {
    setting.map_or_else(|| usable_memory(read_file) / DEFAULT_PART, u64::from)
}

/// Returns the text of a file, if it can be read.
fn read_file(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Returns the memory that the process may use, in bytes; `read` returns the text of a file.
fn usable_memory(read: impl Fn(&Path) -> Option<String>) -> u64 {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total_memory(&text));
    machine.into_iter().chain(cgroup_memory(&read)).min().unwrap_or(ASSUMED_MEMORY)
}

/// Returns the memory of the machine from the text of `/proc/meminfo`.
fn total_memory(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the smallest limit of the process's cgroup and of the groups around it; `None` without a limit. A group without
/// a limit of its own has that of the group around it. In a container the path of the group may name folders outside of
/// it: those are missing, and the root's file has the limit.
fn cgroup_memory(read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let limits = groups.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let folders = Path::new(group.trim_start_matches('/')).ancestors();
        // Without a limit the file has `max`, or for cgroup v1 a number that no machine's memory reaches.
        folders.filter_map(|folder| read(&Path::new(root).join(folder).join(file))?.trim().parse().ok()).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:        4000000 kB\nMemFree: 17 kB\n");
    const MACHINE: u64 = 4_000_000 * 1024;

    fn usable(files: &[(&str, &str)]) -> u64 {
        let find = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path);
        usable_memory(|path| find(path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn machine_without_cgroup_limit_gives_its_memory() {
        assert_eq!(usable(&[MEMINFO]), MACHINE);
        let unlimited = [MEMINFO, ("/proc/self/cgroup", "0::/a\n"), ("/sys/fs/cgroup/a/memory.max", "max\n")];
        assert_eq!(usable(&unlimited), MACHINE);
        let v1 = ("/proc/self/cgroup", "4:cpu,cpuacct:/\n3:memory:/\n1:name=systemd:/\n");
        let huge = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(usable(&[MEMINFO, v1, huge]), MACHINE);
        assert_eq!(usable(&[]), ASSUMED_MEMORY);
    }

    #[test]
    fn smallest_limit_of_the_cgroup_and_the_groups_around_it_applies() {
        let files = [
            MEMINFO,
            ("/proc/self/cgroup", "0::/user.slice/chat.service\n"),
            ("/sys/fs/cgroup/user.slice/chat.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/user.slice/memory.max", "536870912\n"),
        ];
        assert_eq!(usable(&files), 512 << 20);
        let v1 = [
            MEMINFO,
            ("/proc/self/cgroup", "7:cpuset:/x\n3:hugetlb,memory:/docker/c0ffee\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ];
        assert_eq!(usable(&v1), 256 << 20, "the folder of the container's group is not visible in it");
    }

    #[test]
    fn setting_replaces_the_default() {
        assert_eq!(memory_ceiling(NonZeroU64::new(7)), 7);
        assert!(memory_ceiling(None) > 0);
    }
}
