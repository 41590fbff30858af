//! The mistakes in a command, and the text of each for its sender.

use super::table::CommandSpec;
use crate::text::names::NameError;
use std::fmt;
use thiserror::Error;

/// How many characters of a typed word an error shows.
pub(super) const MAX_SHOWN_WORD: usize = 20;

/// Why a command cannot be run.
///
/// The text is the reply to the sender, without `*** `: one line that says what is wrong and how to do it
/// right. No other member may see any part of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum CommandError<'a> {
    /// No command has this word.
    #[error("unknown command /{word}: {} //{word} says it", Advice(*.suggestion), word = Truncated(.word))]
    Unknown {
        /// The word that was typed after the slash.
        word: &'a str,
        /// A command's word that is one edit away from it.
        suggestion: Option<&'static str>,
    },
    /// The arguments do not fit the command.
    #[error("/{}: {error}; write: /{} {}, for example: {}", .spec.word, .spec.word, .spec.arguments, .spec.example)]
    InvalidArguments {
        /// The command.
        spec: &'static CommandSpec,
        /// The mistake in the arguments.
        error: ArgumentError<'a>,
    },
    /// The command with this word takes no arguments, and the line has some.
    #[error("/{0} takes no arguments; write: /{0}")]
    TakesNoArguments(&'static str),
}

/// A mistake in the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ArgumentError<'a> {
    /// The required argument of this name is missing.
    #[error("the {0} is missing")]
    Missing(&'static str),
    /// The line has more arguments than the command takes; holds the first of them.
    #[error("too many arguments, from {:?} on", Truncated(.0))]
    Excess(&'a str),
    /// An argument is not a room name.
    #[error("the room name {0}")]
    InvalidRoomName(NameError),
    /// An argument is not a user name.
    #[error("the name {0}")]
    InvalidUserName(NameError),
    /// An argument is not a number of lines.
    #[error("{:?} is no number from 1 to 65535", Truncated(.0))]
    InvalidCount(&'a str),
    /// An argument is neither `on` nor `off`.
    #[error("{:?} is neither on nor off", Truncated(.0))]
    InvalidSwitch(&'a str),
    /// An argument is neither `on` nor `off` nor an offset from UTC.
    #[error("{:?} is neither on nor off nor an offset from UTC between -12 and +14 hours", Truncated(.0))]
    InvalidTime(&'a str),
    /// No switch, and no numbering with a line's number; holds the first wrong word.
    #[error("{:?} is neither on nor off nor a numbering and the number of a line", Truncated(.0))]
    InvalidIds(&'a str),
    /// No command has the word whose help was asked for.
    #[error("no command is called {:?}", Truncated(.0))]
    UnknownTopic(&'a str),
}

/// Displays the way out of an unknown command.
struct Advice(Option<&'static str>);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(word) => write!(f, "did you mean /{word}?"),
            None => f.write_str("/help lists them;"),
        }
    }
}

/// Displays at most [`MAX_SHOWN_WORD`] characters of a word; with `{:?}`, between quotes.
struct Truncated<'a>(&'a str);

impl fmt::Display for Truncated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_WORD) {
            Some((end, _)) => write!(f, "{}...", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

impl fmt::Debug for Truncated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
