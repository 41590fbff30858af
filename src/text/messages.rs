//! The wire: every line that the server says, byte for byte.
//!
//! What everybody sees begins with `name: `, `* name ` or `name has`, `name is`, and a name is never
//! [stars alone](crate::text::names::NameError::StarsOnly). So only the server's own lines begin with `*** `:
//! every answer to one peer does, and no line that a user sends can.

use crate::text::names::UserName;
use std::fmt::Display;

/// What a connection sees first.
pub const WELCOME: &str = "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n";

/// What every room sees when the server ends.
pub const SHUTTING_DOWN: &str = "*** server is shutting down\n";

/// Lays out `user: text`.
pub fn push_chat(out: &mut Vec<u8>, user: &UserName, text: &str) {
    push_line(out, &[user.as_str(), ": ", text]);
}

/// Lays out `* user text`: what somebody does.
pub fn push_action(out: &mut Vec<u8>, user: &UserName, text: &str) {
    push_line(out, &["* ", user.as_str(), " ", text]);
}

/// Lays out `user has joined`.
pub fn push_joined(out: &mut Vec<u8>, user: &UserName) {
    push_line(out, &[user.as_str(), " has joined"]);
}

/// Lays out `user has left`.
pub fn push_left(out: &mut Vec<u8>, user: &UserName) {
    push_line(out, &[user.as_str(), " has left"]);
}

/// Lays out `user is now known as name`.
pub fn push_renamed(out: &mut Vec<u8>, user: &UserName, name: &UserName) {
    push_line(out, &[user.as_str(), " is now known as ", name.as_str()]);
}

/// Appends a line of these parts, and its end.
pub(super) fn push_line(out: &mut Vec<u8>, parts: &[&str]) {
    out.reserve(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'\n');
}

/// `ERROR`, which programs compare, then one line for people: what was wrong and the way out.
#[must_use]
pub fn error_lines(reason: &impl Display) -> String {
    format!("ERROR\n{reason}\n")
}

/// Says how many lines a slow reader has lost in this place.
#[must_use]
pub fn skipped_notice(lines: u64) -> String {
    let noun = if lines == 1 { "line" } else { "lines" };
    format!("*** {lines} {noun} skipped\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_lines_have_the_contracts_bytes() {
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
