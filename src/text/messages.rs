//! Messages: the lines that all members of a room see, the welcome and the error lines.
//!
//! A line of a room begins with `name: `, `* name ` or `name has` or `name is`, and a user name never
//! [begins with a star](crate::text::names::NameError::LeadingStar). Therefore a line that begins with
//! `*** ` is always the server's: every [reply](crate::text::replies) does, and no user can forge one.
//!
//! Each `push_…` function appends one line with its LF to a buffer. `text` arguments are
//! [sanitized](crate::text::sanitize::sanitize), so they hold no line end.

use crate::text::names::{NodeName, UserName};
use crate::text::replies::format_count;
use std::fmt::Display;

/// The first lines that a connection receives.
pub(crate) const WELCOME: &str = "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n";

/// The last line of every room when the server shuts down.
pub(crate) const SHUTTING_DOWN: &str = "*** server is shutting down\n";

/// The last line of a peer inside TLS when another process takes the server over, which can't go on with its encryption.
pub(crate) const UPGRADED: &str = "*** server is upgraded: connect again\n";

/// The last line of a member that has sent nothing for the idle timeout.
pub(crate) const IDLE: &str = "*** idle for too long\n";

/// The reason that a connection beyond the bound on connections gets.
pub(crate) const SERVER_FULL: &str = "server is full: try again later";

/// The reason that a peer gets whose connection an operator closes; the operator's own reason may follow.
pub(crate) const KICKED: &str = "an operator closed your connection";

/// The reason that a client without TLS gets on a TLS listener.
pub(crate) const NOT_TLS: &str =
    "this port speaks TLS alone: connect with openssl s_client -quiet -connect HOST:PORT, or ncat --ssl HOST PORT";

/// Appends `user: text`, a chat line.
pub(crate) fn push_chat(out: &mut Vec<u8>, user: &UserName, text: &str) {
    push_line(out, &[user.as_str(), ": ", text]);
}

/// Appends `* user text`, the line of `/me`.
pub(crate) fn push_action(out: &mut Vec<u8>, user: &UserName, text: &str) {
    push_line(out, &["* ", user.as_str(), " ", text]);
}

/// Appends `user has joined`.
pub(crate) fn push_joined(out: &mut Vec<u8>, user: &UserName) {
    push_line(out, &[user.as_str(), " has joined"]);
}

/// Appends `user has left`.
pub(crate) fn push_left(out: &mut Vec<u8>, user: &UserName) {
    push_line(out, &[user.as_str(), " has left"]);
}

/// Appends `user is now known as new_name`.
pub(crate) fn push_renamed(out: &mut Vec<u8>, user: &UserName, new_name: &UserName) {
    push_line(out, &[user.as_str(), " is now known as ", new_name.as_str()]);
}

/// Appends `#7 `, the number of a line, as passes put it before each line of talk.
pub(crate) fn push_line_number(out: &mut Vec<u8>, mut number: u64) {
    // The longest number has 20 digits.
    let (mut digits, mut start) = ([b'0'; 20], 20);
    while start == 20 || number > 0 {
        start -= 1;
        digits[start] += (number % 10) as u8;
        number /= 10;
    }
    out.push(b'#');
    out.extend_from_slice(&digits[start..]);
    out.push(b' ');
}

/// Appends the concatenated `parts` and an LF.
pub(super) fn push_line(out: &mut Vec<u8>, parts: &[&str]) {
    out.reserve(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'\n');
}

/// Returns the two lines that a connection receives before the server closes it for `reason`.
///
/// The first line is exactly `ERROR`, since programs compare it. The second line is `reason`, which says
/// what was wrong and what the user can do.
#[must_use]
pub(crate) fn error_lines(reason: &impl Display) -> String {
    format!("ERROR\n{reason}\n")
}

/// Returns why a room is not opened, beyond the bound of `max` rooms, and the way out.
#[must_use]
pub(crate) fn too_many_rooms(max: usize) -> String {
    let rooms = format_count(u64::try_from(max).unwrap_or(u64::MAX), "room");
    format!("the server has {rooms}, and no more may be open: join one that is open, or try again later")
}

/// Returns the line that takes the place of `lines` lines that a slow reader has missed.
#[must_use]
pub(crate) fn skipped_notice(lines: u64) -> String {
    format!("*** {} skipped\n", format_count(lines, "line"))
}

/// Returns the line that takes the place of `lines` lines that another server has said and this one has not got.
#[must_use]
pub(crate) fn missing_notice(lines: u64, node: &NodeName) -> String {
    let verb = if lines == 1 { "is" } else { "are" };
    format!("*** {} from node {node} {verb} missing\n", format_count(lines, "line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_line_has_its_exact_bytes() {
        let (alice, al) = (UserName::parse("alice").unwrap(), UserName::parse("al").unwrap());
        let mut out = Vec::new();
        push_chat(&mut out, &alice, "hi");
        push_chat(&mut out, &alice, "");
        push_action(&mut out, &alice, "waves");
        push_joined(&mut out, &alice);
        push_left(&mut out, &alice);
        push_renamed(&mut out, &alice, &al);
        let lines = "alice: hi\nalice: \n* alice waves\nalice has joined\nalice has left\nalice is now known as al\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }
}
