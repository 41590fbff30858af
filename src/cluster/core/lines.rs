//! The check of lines that other servers send: what a member of this server could not say, another server's can't either.

use crate::text::names::UserName;
use crate::text::sanitize::sanitize;
use bytes::Bytes;
use memchr::memchr_iter;

/// The lines of a frame that stand the check.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CheckedLines {
    pub(super) bytes: Bytes,
    pub(super) lines: u32,
    /// Lines that do not.
    pub(super) rejected: u32,
}

/// Returns the lines that begin as a line of a member does, and that hold nothing which controls a terminal. Lines are
/// not longer than `max_line` and a name.
pub(super) fn check_lines(raw: &Bytes, max_line: usize, is_member: impl Fn(&UserName) -> bool) -> CheckedLines {
    let (mut start, mut lines, mut rejected) = (0, 0, 0);
    let mut kept: Vec<u8> = Vec::new();
    let mut last_name: Option<Vec<u8>> = None;
    for end in memchr_iter(b'\n', raw) {
        let line = &raw[start..end];
        let is_good = line.len() <= max_line && is_clean(line) && says_member(line, &mut last_name, &is_member);
        if is_good {
            if rejected > 0 {
                kept.extend_from_slice(&raw[start..=end]);
            }
            lines += 1;
        } else {
            if rejected == 0 {
                kept.extend_from_slice(&raw[..start]);
            }
            rejected += 1;
        }
        start = end + 1;
    }
    if start < raw.len() && rejected == 0 {
        // The rest has no LF.
        kept.extend_from_slice(&raw[..start]);
    }
    rejected += u32::from(start < raw.len());
    let bytes = if rejected == 0 { raw.clone() } else { Bytes::from(kept) };
    CheckedLines { bytes, lines, rejected }
}

/// Returns whether a line is one that a room's history may hold: a line that some member said, or a line of the
/// room.
pub(super) fn is_history_line(line: &[u8], is_notice: bool, max_line: usize) -> bool {
    line.len() <= max_line && is_clean(line) && (is_notice || says_member(line, &mut None, &|_| true))
}

/// Returns whether sanitizing would leave the line as it is.
fn is_clean(line: &[u8]) -> bool {
    sanitize(line).as_bytes() == line
}

/// Returns whether the line is `name: text` or `* name text` of a member. `last` is the prefix of the line before, which
/// is likely the same.
fn says_member(line: &[u8], last: &mut Option<Vec<u8>>, is_member: &impl Fn(&UserName) -> bool) -> bool {
    if last.as_ref().is_some_and(|prefix| line.starts_with(prefix)) {
        return true;
    }
    let (prefix, name) = if let Some(action) = line.strip_prefix(b"* ") {
        let Some(end) = action.iter().position(|byte| *byte == b' ') else { return false };
        (&line[..end + 3], &action[..end])
    } else {
        let Some(end) = line.windows(2).take(32).position(|pair| pair == b": ") else { return false };
        (&line[..end + 2], &line[..end])
    };
    let name = str::from_utf8(name).ok().and_then(|name| UserName::parse(name).ok());
    let is_said = name.is_some_and(|name| is_member(&name));
    if is_said {
        *last = Some(prefix.to_vec());
    }
    is_said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &'static str) -> (String, u32, u32) {
        let alice = UserName::parse("alice").unwrap();
        let CheckedLines { bytes, lines, rejected } =
            check_lines(&Bytes::from_static(raw.as_bytes()), 40, |name| *name == alice);
        (String::from_utf8(bytes.to_vec()).unwrap(), lines, rejected)
    }

    #[test]
    fn lines_of_members_pass_as_they_are() {
        let good = "alice: hi\nalice: \n* alice waves\nAlice: Grüße: *** \n";
        assert_eq!(check(good), (good.to_owned(), 4, 0));
    }

    #[test]
    fn lines_that_no_member_can_say_are_dropped() {
        for bad in [
            "*** server is shutting down\n",
            "bob: hi\n",
            "* bob waves\n",
            "alice has joined\n",
            "\n",
            "alice:no blank\n",
            "alice: \x1b[2J\n",
            "alice: a\u{202e}b\n",
            "alice: a\rb\n",
            "alice: a line that is longer than the bound of forty bytes\n",
            "alice: without an end",
        ] {
            assert_eq!(check(bad), (String::new(), 0, 1), "{bad:?}");
        }
        let mixed = "alice: 1\nbob: 2\nalice: 3\nalice: 4";
        assert_eq!(check(mixed), ("alice: 1\nalice: 3\n".to_owned(), 2, 2));
    }
}
