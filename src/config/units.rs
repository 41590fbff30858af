//! Units: durations and sizes as people write them (`30s`, `1MiB`), read and shown.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// The largest size that is accepted, in bytes: 1 GiB.
const MAX_SIZE: u64 = 1 << 30;

/// The highest rate of bytes that is accepted, 100 MiB a second: limiters count in nanoseconds a byte.
const MAX_BYTE_RATE: u32 = 100 << 20;

/// The longest duration that is accepted: ten years. Clocks can't add much more than that.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The longest time that the kernel can wait for a peer's answer: `TCP_KEEPIDLE` is at most 32,767 s.
const MAX_DEAD_TIMEOUT: Duration = Duration::from_secs(9 * 3600);

/// Reads `20000`, `64KiB` or `1MiB`, from 1 byte to 1 GiB.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let bytes = text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
    let size = bytes.filter(|bytes| (1..=MAX_SIZE).contains(bytes)).and_then(|bytes| usize::try_from(bytes).ok());
    size.ok_or_else(|| "a size from 1 to 1GiB is wanted, as 20000, 64KiB or 1MiB".to_owned())
}

/// Reads a size as [`parse_size`] does, or 0 for no limit, which becomes `usize::MAX`.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_size_limit(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(usize::MAX) } else { parse_size(text).map_err(|wanted| wanted + ", or 0 for no limit") }
}

/// Reads a size a second, as `128KiB` or `128KiB/s`, or 0 for no limit.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_byte_rate(text: &str) -> Result<u32, String> {
    let wanted = || "a size a second up to 100MiB is wanted, as 128KiB/s, or 0 for no limit".to_owned();
    if text == "0" {
        return Ok(0);
    }
    let size = parse_size(text.strip_suffix("/s").unwrap_or(text)).ok();
    size.and_then(|size| u32::try_from(size).ok()).filter(|size| *size <= MAX_BYTE_RATE).ok_or_else(wanted)
}

/// Reads a number of bytes that may be sent at once, from 1 byte to 1 GiB.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_byte_burst(text: &str) -> Result<NonZeroU32, String> {
    let size = u32::try_from(parse_size(text)?).ok().and_then(NonZeroU32::new);
    size.ok_or_else(|| "a size from 1 to 1GiB is wanted, as 1MiB".to_owned())
}

/// Reads a number of bytes of memory of any size, or 0 for no limit, which becomes `u64::MAX`.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_memory(text: &str) -> Result<NonZeroU64, String> {
    if text == "0" {
        return Ok(NonZeroU64::MAX);
    }
    let bytes = text.parse::<bytesize::ByteSize>().ok().and_then(|size| NonZeroU64::new(size.as_u64()));
    bytes.ok_or_else(|| "a size is wanted, as 512MiB or 4GiB, or 0 for no limit".to_owned())
}

/// Reads `500ms`, `30s` or `1min 30s`, or 0 for no limit; at most ten years.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    parse_duration(text).map_err(|_| "a time is wanted, as 500ms, 30s or 1h, or 0 for no limit".to_owned())
}

/// Reads a duration that the kernel can wait for a peer's answer: at most 9 h, or 0 for no limit.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_dead_timeout(text: &str) -> Result<Duration, String> {
    let duration = parse_timeout(text).ok().filter(|duration| *duration <= MAX_DEAD_TIMEOUT);
    duration.ok_or_else(|| "a time up to 9h is wanted, as 30s, or 0 for no limit".to_owned())
}

/// Reads a duration, at most ten years; zero means "at once".
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| *duration <= MAX_DURATION);
    duration.ok_or_else(|| "a time is wanted, as 0s, 500ms, 30s or 1h".to_owned())
}

/// Shows a duration as [`parse_duration`] reads it: `1m30s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// Shows a size in the largest unit that divides it: `64KiB`, `20000B`; the largest number is no limit.
#[must_use]
pub fn show_size(bytes: usize) -> String {
    if bytes == usize::MAX {
        return "unlimited".to_owned();
    }
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// Shows a number of bytes of memory, rounded: `1.9GiB`; the largest number is no limit.
#[must_use]
pub fn show_memory(bytes: u64) -> String {
    if bytes == u64::MAX {
        return "unlimited".to_owned();
    }
    bytesize::ByteSize::b(bytes).display().iec().to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units_and_bounded() {
        assert_eq!(parse_size("20000"), Ok(20_000));
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        assert!(parse_size("0").is_err() && parse_size("2GiB").is_err() && parse_size("many").is_err());
    }

    #[test]
    fn zero_lifts_a_bound() {
        assert_eq!(parse_size_limit("0"), Ok(usize::MAX));
        assert_eq!(parse_size_limit("64KiB"), Ok(64 << 10));
        assert_eq!((parse_byte_rate("0"), parse_byte_rate("128KiB/s")), (Ok(0), Ok(128 << 10)));
        assert_eq!(parse_byte_rate("1000"), Ok(1000));
        assert_eq!((parse_timeout("0"), parse_timeout("0s")), (Ok(Duration::ZERO), Ok(Duration::ZERO)));
        assert_eq!(parse_dead_timeout("0"), Ok(Duration::ZERO));
        assert_eq!(parse_memory("0").map(u64::from), Ok(u64::MAX));
        assert_eq!((show_size(usize::MAX), show_memory(u64::MAX)), ("unlimited".to_owned(), "unlimited".to_owned()));
    }

    #[test]
    fn memory_is_read_and_shown_beyond_a_gigabyte() {
        assert_eq!(parse_memory("4GiB").map(u64::from), Ok(4 << 30));
        assert_eq!(show_memory(4 << 30), "4.0GiB");
        assert_eq!(show_memory(1_006_632_960), "960.0MiB");
        for wrong in ["much", "", "-1", "4 GiX"] {
            assert!(parse_memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn burst_of_bytes_has_at_least_one() {
        assert_eq!(parse_byte_burst("1MiB").map(u32::from), Ok(1 << 20));
        assert!(parse_byte_burst("0").is_err() && parse_byte_burst("2GiB").is_err());
    }

    #[test]
    fn durations_are_read_with_their_units_and_bounded() {
        assert_eq!(parse_timeout("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["30", "500000000000years", ""] {
            assert!(parse_timeout(wrong).is_err() && parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert!(parse_dead_timeout("9h").is_ok() && parse_dead_timeout("10h").is_err());
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for bytes in [1, 20_000, 64 << 10, 1 << 20, 3 << 20] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        for seconds in [1, 60, 90, 86_400] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
    }
}
