//! Units: durations and sizes as people write them (`30s`, `1MiB`), read and shown.

use std::time::Duration;

/// The largest size that is accepted, in bytes: 1 GiB.
const MAX_SIZE: u64 = 1 << 30;

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

/// Reads `500ms`, `30s` or `1min 30s`; zero would mean "at once", which no user of it wants.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration_or_zero(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "a time is wanted, as 500ms, 30s or 1h".to_owned())
}

/// Reads a duration that the kernel can wait for a peer's answer: at most 9 h.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_dead_timeout(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).ok().filter(|duration| *duration <= MAX_DEAD_TIMEOUT);
    duration.ok_or_else(|| "a time up to 9h is wanted, as 30s".to_owned())
}

/// Reads a duration that may be zero, at most ten years.
///
/// # Errors
/// Says what is wanted, for a message that names the flag and the value.
pub fn parse_duration_or_zero(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| *duration <= MAX_DURATION);
    duration.ok_or_else(|| "a time is wanted, as 0s, 500ms, 30s or 1h".to_owned())
}

/// Shows a duration as [`parse_duration`] reads it: `1m30s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// Shows a size in the largest unit that divides it: `64KiB`, `20000B`.
#[must_use]
pub fn show_size(bytes: usize) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
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
    fn durations_are_read_with_their_units_and_bounded() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["0s", "30", "500000000000years", ""] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_duration_or_zero("0s"), Ok(Duration::ZERO));
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
