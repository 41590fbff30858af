//! Line style: the time and the colors that a terminal shows with each line.

use memchr::memchr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The colors of names, from the 256-color palette of terminals. Each has a contrast of at least 3.5 to
/// black and to white, so it is readable on both.
const COLORS: [u8; 12] = [28, 30, 32, 63, 64, 100, 130, 135, 160, 162, 164, 166];

/// SGR for the server's own lines: dim.
const DIM_STYLE: &[u8] = b"\x1b[2m";

/// SGR reset.
const RESET_STYLE: &[u8] = b"\x1b[0m";

/// The additions to each line; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineStyle {
    /// Whether the time of day comes first, as `12:34 `. It is UTC, so all members see the same time.
    pub(crate) time: bool,
    /// Whether each name has its own fixed color and the server's lines are dim.
    pub(crate) color: bool,
}

impl LineStyle {
    /// Appends `lines`, each with its LF, in this style with CR LF line ends. `now` is the time to show.
    pub(crate) fn format_lines(self, out: &mut Vec<u8>, lines: &[u8], now: SystemTime) {
        let time = if self.time { format_time(now) } else { String::new() };
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            out.extend_from_slice(time.as_bytes());
            let push_line = if self.color { push_colored_line } else { Vec::extend_from_slice };
            push_line(out, line);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends a line with the color of the name at its start, or dim if it is the server's.
fn push_colored_line(out: &mut Vec<u8>, line: &[u8]) {
    if line.starts_with(b"*** ") {
        return push_styled(out, DIM_STYLE, line);
    }
    let prefix = if line.starts_with(b"* ") { 2 } else { 0 };
    let end = memchr(b' ', &line[prefix..]).map_or(line.len(), |blank| prefix + blank);
    let (word, rest) = line.split_at(end);
    let name = &word[prefix..];
    let name = if prefix == 0 { name.strip_suffix(b":").unwrap_or(name) } else { name };
    push_styled(out, format!("\x1b[38;5;{}m", color_of_name(name)).as_bytes(), word);
    out.extend_from_slice(rest);
}

/// Appends `text` between the SGR sequence `color` and a reset.
fn push_styled(out: &mut Vec<u8>, color: &[u8], text: &[u8]) {
    for part in [color, text, RESET_STYLE] {
        out.extend_from_slice(part);
    }
}

/// Returns the color of a name, by the FNV-1a hash of its lower case: the same in every process.
fn color_of_name(name: &[u8]) -> u8 {
    let hash = name
        .iter()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193));
    COLORS[hash as usize % COLORS.len()]
}

/// Returns the time of day in UTC and a blank: `12:34 `.
fn format_time(now: SystemTime) -> String {
    let minutes = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60);
    format!("{:02}:{:02} ", minutes / 60 % 24, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIME: LineStyle = LineStyle { time: true, color: false };
    const COLOR: LineStyle = LineStyle { time: false, color: true };

    fn formatted(style: LineStyle, lines: &str, seconds: u64) -> String {
        let mut out = Vec::new();
        style.format_lines(&mut out, lines.as_bytes(), UNIX_EPOCH + Duration::from_secs(seconds));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn default_style_changes_only_the_line_ends() {
        assert_eq!(formatted(LineStyle::default(), "a: 1\n\nb: 2\n", 0), "a: 1\r\n\r\nb: 2\r\n");
        assert_eq!(formatted(LineStyle::default(), "", 0), "");
    }

    #[test]
    fn time_is_written_before_each_line() {
        assert_eq!(formatted(TIME, "a: 1\nb: 2\n", 0), "00:00 a: 1\r\n00:00 b: 2\r\n");
        assert_eq!(formatted(TIME, "a: 1\n", 86_400 * 20_000 + 12 * 3600 + 34 * 60 + 59), "12:34 a: 1\r\n");
        assert_eq!(formatted(TIME, "a: 1\n", 86_399), "23:59 a: 1\r\n");
    }

    #[test]
    fn name_has_the_same_color_in_every_kind_of_line() {
        let paint = format!("\x1b[38;5;{}m", color_of_name(b"alice"));
        for (line, name, rest) in [
            ("alice: hi bob", "alice:", " hi bob"),
            ("alice: ", "alice:", " "),
            ("alice has joined", "alice", " has joined"),
            ("alice is now known as al", "alice", " is now known as al"),
            ("* alice waves: so", "* alice", " waves: so"),
            ("ALICE: hi", "ALICE:", " hi"),
        ] {
            assert_eq!(formatted(COLOR, &format!("{line}\n"), 0), format!("{paint}{name}\x1b[0m{rest}\r\n"));
        }
        assert_eq!(formatted(COLOR, "*** 1 here: al\n", 0), "\x1b[2m*** 1 here: al\x1b[0m\r\n");
        let both = LineStyle { time: true, color: true };
        assert_eq!(formatted(both, "*** x\n", 0), "00:00 \x1b[2m*** x\x1b[0m\r\n");
    }

    #[test]
    fn colors_are_stable_and_all_used() {
        assert_eq!(["alice", "bob", "carol"].map(|name| color_of_name(name.as_bytes())), [166, 160, 32]);
        let used = |color| (0..200).any(|id| color_of_name(format!("u{id}").as_bytes()) == color);
        assert!(COLORS.into_iter().all(used));
    }

    #[test]
    fn colors_contrast_with_black_and_with_white() {
        // The levels of the 6 x 6 x 6 color cube, and the contrast ratio of WCAG 2.2.
        let light = |level: u8| match level {
            0 => 0.0,
            level => ((f64::from(level) * 40.0 + 55.0) / 255.0 + 0.055).powf(2.4) / 1.055_f64.powf(2.4),
        };
        for color in COLORS {
            let level = |unit: u8| light((color - 16) / unit % 6);
            let luminance = 0.2126 * level(36) + 0.7152 * level(6) + 0.0722 * level(1);
            let (on_black, on_white) = ((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05));
            assert!(on_black > 3.5 && on_white > 3.5, "{color}: {on_black} {on_white}");
        }
    }
}
