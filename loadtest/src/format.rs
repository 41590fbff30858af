//! Numbers as text for people: counts, SI prefixes, bytes and durations; and foreign text, made safe to show.

use std::fmt::Write as _;

use std::time::Duration;

/// The most characters that are shown of a text from outside: a refusal names its cause after a host's name.
const SHOWN_CHARACTERS: usize = 200;

/// Returns `part / whole`, and 0 where `whole` is 0.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Returns a count with separated thousands: `1,234,567`.
#[must_use]
pub fn thousands(count: u64) -> String {
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

/// Returns a number with three significant digits and an SI prefix: `1.23 M`.
#[must_use]
pub fn si(number: f64) -> String {
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

/// Returns a number of bytes in binary units: `1.50 KiB`.
#[must_use]
pub fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let (mut value, mut unit) = (count, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.2} {}", units[unit]) }
}

/// Returns a number of microseconds in the unit that fits: `980 µs`, `12.3 ms`, `1.50 s`.
#[must_use]
pub fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{} ms", si(us as f64 / 1e3)),
        _ => format!("{} s", si(us as f64 / 1e6)),
    }
}

/// Returns a fractional number of microseconds in the unit that fits, for the labels of an axis.
#[must_use]
pub fn micros_label(us: f64) -> String {
    let time = Duration::try_from_secs_f64(us / 1e6).unwrap_or_default();
    micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Returns a text with its control characters escaped: `\x1b` for ASCII, otherwise `\u{202e}`. Text from outside could
/// otherwise move a terminal's cursor, change its colors, or reverse the order of the characters that follow.
#[must_use]
pub fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|letter| push_escaped(letter, &mut escaped));
    escaped
}

/// Appends a character to a text, escaped where it is a control character or one that changes how others are shown.
pub(crate) fn push_escaped(letter: char, text: &mut String) {
    match letter {
        // Writing to a string cannot fail.
        '\0'..='\x1f' | '\x7f' => _ = write!(text, "\\x{:02x}", u32::from(letter)),
        _ if letter.is_control() || is_format_character(letter) => text.extend(letter.escape_unicode()),
        _ => text.push(letter),
    }
}

/// Returns the first characters of a foreign text, at most 200, with its control characters escaped.
#[must_use]
pub fn escape_start(text: &str) -> String {
    escape_controls(&text.chars().take(SHOWN_CHARACTERS).collect::<String>())
}

/// Returns the start of the first line of foreign bytes, at most 200 characters, with its control characters escaped.
#[must_use]
pub fn escape_first_line(bytes: &[u8]) -> String {
    escape_start(String::from_utf8_lossy(bytes).lines().next().unwrap_or_default())
}

/// Returns whether a character is invisible or changes the direction or the lines of the text around it.
fn is_format_character(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(12), "12");
        assert_eq!(si(7_312_000.0), "7.31 M");
        assert_eq!(si(999.0), "999");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(micros(980), "980 µs");
        assert_eq!(micros(12_300), "12.3 ms");
        assert_eq!((micros_label(2000.0), micros_label(f64::NAN)), ("2 ms".into(), "0 µs".into()));
        assert!((ratio(1, 0)).abs() < f64::EPSILON);
    }

    #[test]
    fn control_and_format_characters_are_escaped() {
        assert_eq!(escape_controls("\x1b[2J\x07"), "\\x1b[2J\\x07");
        assert_eq!(escape_controls("a\nb\tc\r\x7f\0"), "a\\x0ab\\x09c\\x0d\\x7f\\x00");
        assert_eq!(escape_controls("\u{9b}31m\u{85}"), "\\u{9b}31m\\u{85}");
        assert_eq!(escape_controls("\u{202e}evil\u{2066}\u{200f}"), "\\u{202e}evil\\u{2066}\\u{200f}");
        assert_eq!(escape_controls("\u{2028}\u{feff}"), "\\u{2028}\\u{feff}");
    }

    #[test]
    fn printable_text_is_not_escaped() {
        for text in ["ERROR: the name is taken", "größer 日本語 🦀", "c:\\x1b", ""] {
            assert_eq!(escape_controls(text), text);
        }
    }
}
