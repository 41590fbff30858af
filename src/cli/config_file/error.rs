//! Mistakes of a configuration file, each one line with its place.

use std::fmt;

/// The longest line of a mistake, in characters: it may quote the file.
const MAX_LINE: usize = 400;

/// The most characters of a key or a value that a mistake quotes.
const MAX_QUOTE: usize = 60;

/// A place in the text of a file. Line and column are counted from 1, and columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

/// One mistake. Shown, it is one line: `roomcast.toml:3:1: unknown key 'rat'; did you mean 'rate'?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct FileError(String);

/// A mistake in a file whose name is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The place; `None` for the file as a whole.
    pub(super) position: Option<Position>,
    pub(super) message: String,
}

impl Position {
    /// Returns the position of the byte at `offset`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }

    /// Returns the mistake of a key that stands at this position, too.
    pub(super) fn already(self, key: &str) -> String {
        format!("the key '{}' stands in line {} already", quote(key), self.line)
    }
}

impl Mistake {
    pub(super) fn of_file(self, name: &str) -> FileError {
        FileError(printable(&format!("{}: {}", place(name, self.position), self.message), MAX_LINE))
    }
}

impl FileError {
    /// Returns the mistake at a position of the file `name`.
    pub(super) fn at(name: &str, position: Position, message: &str) -> Self {
        Mistake { position: Some(position), message: message.to_owned() }.of_file(name)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns how a place is shown.
pub(super) fn place(name: &str, position: Option<Position>) -> String {
    let name = printable(name, MAX_LINE);
    match position {
        Some(Position { line, column }) => format!("{name}:{line}:{column}"),
        None => name,
    }
}

/// Returns a key or a value for a message: cut, and on one line.
pub(super) fn quote(text: &str) -> String {
    printable(text, MAX_QUOTE)
}

/// Returns the text with control characters escaped, and cut after so many characters.
fn printable(text: &str, characters: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == characters {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
