//! The wire: every line that the server says, byte for byte.

use crate::name::UserName;
use std::fmt::Display;

/// What a connection sees first.
pub const WELCOME: &str = "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n";

/// What every room sees when the server ends.
pub const SHUTTING_DOWN: &str = "*** server is shutting down\n";

/// Lays out `user: text` and its line end.
pub fn said(out: &mut Vec<u8>, user: &UserName, text: &str) {
    let parts = [user.as_str(), ": ", text, "\n"];
    out.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Lays out `user has joined`.
pub fn joined(out: &mut Vec<u8>, user: &UserName) {
    out.extend_from_slice(user.as_str().as_bytes());
    out.extend_from_slice(b" has joined\n");
}

/// Lays out `user has left`.
pub fn left(out: &mut Vec<u8>, user: &UserName) {
    out.extend_from_slice(user.as_str().as_bytes());
    out.extend_from_slice(b" has left\n");
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
