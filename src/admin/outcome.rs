//! Outcomes: the reply to a command, as one JSON object a line.

use super::command::UsageError;
use serde_json::{Map, Value, json};

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The command was run; holds the members of the reply.
    Done(Map<String, Value>),
    /// The server refuses the command; holds why.
    Refused(String),
    /// The line is no command.
    Usage(UsageError),
}

impl Outcome {
    /// Returns the outcome of a command that was run; `members` is an object.
    pub(super) fn done(members: Value) -> Self {
        match members {
            Value::Object(members) => Self::Done(members),
            other => Self::Done(Map::from_iter([("value".to_owned(), other)])),
        }
    }

    /// Returns the outcome of an action, of which operators read `message`.
    pub(super) fn message(message: impl Into<String>) -> Self {
        Self::done(json!({ "message": message.into() }))
    }

    /// Returns why the command is refused.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::Done(_) => None,
            Self::Refused(error) => Some(error.clone()),
            Self::Usage(error) => Some(error.to_string()),
        }
    }

    /// Returns a number of the reply.
    pub(super) fn number(&self, member: &str) -> Option<u64> {
        if let Self::Done(members) = self { members.get(member)?.as_u64() } else { None }
    }

    /// Returns the object as a line. It has `ok`; with `ok` false `error` says what to do, and `usage` tells that the line
    /// was no command.
    pub(super) fn into_line(self) -> String {
        let error = self.error();
        let object = match self {
            Self::Done(mut members) => {
                members.insert("ok".to_owned(), true.into());
                Value::Object(members)
            }
            Self::Refused(_) => json!({ "ok": false, "error": error }),
            Self::Usage(_) => json!({ "ok": false, "error": error, "usage": true }),
        };
        object.to_string() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::check_command;
    use super::*;

    #[test]
    fn numbers_of_a_reply_are_found() {
        let done = Outcome::done(json!({ "closed": 3, "message": "3 connections closed" }));
        assert_eq!((done.number("closed"), done.number("message"), done.number("other")), (Some(3), None, None));
        assert_eq!(Outcome::Refused("no".to_owned()).number("closed"), None);
    }

    #[test]
    fn each_outcome_is_one_object_in_one_line() {
        assert_eq!(Outcome::message("a\nb").into_line(), "{\"message\":\"a\\nb\",\"ok\":true}\n");
        assert_eq!(Outcome::Refused("no".to_owned()).into_line(), "{\"error\":\"no\",\"ok\":false}\n");
        let usage = Outcome::Usage(check_command("stats now").unwrap_err());
        assert_eq!(usage.into_line(), "{\"error\":\"write: stats\",\"ok\":false,\"usage\":true}\n");
    }
}
