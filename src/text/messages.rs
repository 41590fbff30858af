//! The wire: every line that the server says, byte for byte.
//!
//! What everybody sees begins with `name: `, `* name ` or `name has`, `name is`, and a name is never
//! [stars alone](crate::text::names::NameError::Stars). So only the server's own lines begin with `*** `:
//! every answer to one peer does, and no line that a user sends can.

use crate::text::names::UserName;
use std::fmt::Display;

/// What a connection sees first.
pub const WELCOME: &str = "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n";

/// What every room sees when the server ends.
pub const SHUTTING_DOWN: &str = "*** server is shutting down\n";

/// Lays out `user: text`.
pub fn said(out: &mut Vec<u8>, user: &UserName, text: &str) {
    line(out, &[user.as_str(), ": ", text]);
}

/// Lays out `* user text`: what somebody does.
pub fn acted(out: &mut Vec<u8>, user: &UserName, text: &str) {
    line(out, &["* ", user.as_str(), " ", text]);
}

/// Lays out `user has joined`.
pub fn joined(out: &mut Vec<u8>, user: &UserName) {
    line(out, &[user.as_str(), " has joined"]);
}

/// Lays out `user has left`.
pub fn left(out: &mut Vec<u8>, user: &UserName) {
    line(out, &[user.as_str(), " has left"]);
}

/// Lays out `user is now known as name`.
pub fn renamed(out: &mut Vec<u8>, user: &UserName, name: &UserName) {
    line(out, &[user.as_str(), " is now known as ", name.as_str()]);
}

/// Appends a line of these parts, and its end.
pub(super) fn line(out: &mut Vec<u8>, parts: &[&str]) {
    out.reserve(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'\n');
}

/// `ERROR`, which programs compare, then one line for people: what was wrong and the way out.
#[must_use]
pub fn error(reason: &impl Display) -> String {
    format!("ERROR\n{reason}\n")
}

/// Says how many lines a slow reader has lost in this place.
#[must_use]
pub fn skipped(lines: u64) -> String {
    let noun = if lines == 1 { "line" } else { "lines" };
    format!("*** {lines} {noun} skipped\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_sees() {
        let (alice, al) = (UserName::parse("alice").unwrap(), UserName::parse("al").unwrap());
        let mut out = Vec::new();
        said(&mut out, &alice, "hi");
        said(&mut out, &alice, "");
        acted(&mut out, &alice, "waves");
        joined(&mut out, &alice);
        left(&mut out, &alice);
        renamed(&mut out, &alice, &al);
        let lines = "alice: hi\nalice: \n* alice waves\nalice has joined\nalice has left\nalice is now known as al\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }
}
