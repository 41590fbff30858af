//! The machine that a run was made on, and the numbers of a human's scale.

use std::fs;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// What a figure depends on besides the programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// CPUs that this program may use.
    pub cores: usize,
    /// The CPU's model.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Machine {
    /// This machine; what the system doesn't tell stays empty.
    #[must_use]
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kilobytes: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Self {
            cores: available_parallelism().map_or(1, usize::from),
            cpu: value(&read("/proc/cpuinfo"), "model name"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: kilobytes * 1024,
        }
    }
}

/// A share of something; 0 of nothing.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A count with thousands set apart: `1,234,567`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number to three significant digits with a metric prefix: `1.23 M`.
#[must_use]
pub fn short(number: f64) -> String {
    let (value, prefix) = match number.abs() {
        size if size >= 1e9 => (number / 1e9, " G"),
        size if size >= 1e6 => (number / 1e6, " M"),
        size if size >= 1e4 => (number / 1e3, " k"),
        _ => (number, ""),
    };
    if prefix.is_empty() && value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}{prefix}"),
        size if size >= 10.0 => format!("{value:.1}{prefix}"),
        _ => format!("{value:.2}{prefix}"),
    }
}

/// Bytes in binary units: `1.5 KiB`.
#[must_use]
pub fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (count, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.2} {}", units[unit]) }
}

/// Microseconds as a person says them: `980 µs`, `12.3 ms`, `1.50 s`.
#[must_use]
pub fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{} ms", short(us as f64 / 1e3)),
        _ => format!("{} s", short(us as f64 / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
        assert_eq!(short(7_312_000.0), "7.31 M");
        assert_eq!(short(999.0), "999");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(micros(980), "980 µs");
        assert_eq!(micros(12_300), "12.3 ms");
        assert!((ratio(1, 0)).abs() < f64::EPSILON);
    }

    #[test]
    fn this_machine_has_a_core() {
        assert!(Machine::here().cores >= 1);
    }
}
