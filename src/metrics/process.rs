//! The process: processor time, memory and open files as the kernel reports them, under Prometheus's usual names.

use rlimit::Resource;
use std::fs;
use std::path::Path;

/// Clock ticks a second in `/proc` (proc(5)): fixed at 100 on each architecture that Rust has a standard library for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures that never change while the process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessStart {
    /// Seconds since 1970 at which the process started; `None` where the system does not tell.
    pub(crate) seconds: Option<f64>,
}

/// The figures of the process now. Each is `None` where the system does not tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessFigures {
    /// Seconds of processor time, of user and system together.
    pub(crate) cpu_seconds: Option<f64>,
    /// Bytes of memory that are resident.
    pub(crate) resident_bytes: Option<u64>,
    /// Bytes of address space.
    pub(crate) virtual_bytes: Option<u64>,
    /// Files that are open.
    pub(crate) open_files: Option<u64>,
    /// The most files that may be open.
    pub(crate) max_files: Option<u64>,
}

impl ProcessStart {
    /// Reads the start of the process.
    pub(crate) fn read() -> Self {
        let ticks = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| stat_field(&stat, 22));
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot_seconds(&stat));
        Self { seconds: boot.zip(ticks).map(|(boot, ticks)| boot + ticks / TICKS_PER_SECOND) }
    }
}

impl ProcessFigures {
    /// Reads the figures. Takes about 50 µs, and on Linux before 6.2 longer with thousands of open files.
    pub(crate) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ticks = stat_field(&stat, 14).zip(stat_field(&stat, 15));
        Self {
            cpu_seconds: ticks.map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            resident_bytes: status_bytes(&status, "VmRSS:"),
            virtual_bytes: status_bytes(&status, "VmSize:"),
            open_files: open_files(Path::new("/proc/self/fd")),
            max_files: Resource::NOFILE.get_soft().ok(),
        }
    }
}

/// Returns a field of `/proc/self/stat`, by its number in proc(5). The second field is the program's name in parentheses,
/// which may hold blanks and parentheses.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Returns the seconds since 1970 at which the system started, from `/proc/stat`.
fn boot_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Returns a size of `/proc/self/status`, in bytes.
fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let size = status.lines().find_map(|line| line.strip_prefix(field))?;
    size.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the number of open files: the size of their folder since Linux 6.2, and before the number of its entries
/// without the one that reads them.
fn open_files(folder: &Path) -> Option<u64> {
    let size = fs::metadata(folder).ok()?.len();
    if size > 0 { Some(size) } else { Some((fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    const STAT: &str = "17 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 12345 1000 20 21";

    #[test]
    fn fields_are_found_after_a_name_with_parentheses() {
        assert_eq!(
            (stat_field(STAT, 14), stat_field(STAT, 15), stat_field(STAT, 22)),
            (Some(250.0), Some(50.0), Some(12_345.0))
        );
        assert_eq!((stat_field(STAT, 99), stat_field("", 14), stat_field("17 roomcast", 14)), (None, None, None));
    }

    #[test]
    fn sizes_and_the_start_of_the_system_are_read_in_their_units() {
        let status = "Name:\troomcast\nVmSize:\t  2048 kB\nVmRSS:\t     12 kB\n";
        assert_eq!((status_bytes(status, "VmRSS:"), status_bytes(status, "VmSize:")), (Some(12 << 10), Some(2 << 20)));
        assert_eq!((status_bytes(status, "VmSwap:"), status_bytes("VmRSS: many kB", "VmRSS:")), (None, None));
        assert_eq!((boot_seconds("cpu  1 2\nbtime 1700000000\n"), boot_seconds("cpu 1\n")), (Some(1.7e9), None));
    }

    #[test]
    fn open_files_are_counted_with_and_without_the_size_of_their_folder() {
        assert!(fs::metadata("/proc/self/task").unwrap().len() == 0, "a folder of /proc without a size");
        assert!(open_files(Path::new("/proc/self/task")).is_some_and(|threads| threads >= 1));
        assert!(open_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).is_some_and(|size| size > 0));
        assert_eq!(open_files(Path::new("/no/such/folder")), None);
    }

    #[test]
    fn this_process_has_figures_that_agree_with_each_other() {
        let (figures, start) = (ProcessFigures::read(), ProcessStart::read());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(start.seconds.is_some_and(|started| started > 0.0 && started <= now + 1.0), "{start:?}");
        assert!(
            figures.resident_bytes > Some(1 << 20) && figures.virtual_bytes >= figures.resident_bytes,
            "{figures:?}"
        );
        assert!(figures.open_files > Some(2) && figures.max_files >= figures.open_files, "{figures:?}");
        assert!(figures.cpu_seconds.is_some(), "{figures:?}");
    }
}
