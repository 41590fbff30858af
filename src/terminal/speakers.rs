//! Speakers: the names of a room in the order of their last activity.

use super::room_line::RoomLine;
use crate::text::names::UserName;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most names that the list keeps.
const MAX_SPEAKERS: usize = 64;

/// The names that said something or joined last, latest first. The list needs about 1.4 KiB.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Speakers {
    names: VecDeque<UserName>,
}

impl Speakers {
    /// Moves the name that said `line`, joined or took a new name to the front, and forgets a name that left.
    /// `own_name` is never listed.
    pub(super) fn note(&mut self, line: RoomLine<'_>, own_name: Option<&UserName>) {
        let active = match line {
            RoomLine::Chat { name, .. }
            | RoomLine::Action { name, .. }
            | RoomLine::Whisper { name }
            | RoomLine::Joined { name } => name,
            RoomLine::Renamed { from, to } => {
                self.forget(from);
                to
            }
            RoomLine::Left { name } => return self.forget(name),
            _ => return,
        };
        if self.names.front().is_some_and(|name| name.as_str() == active) {
            return;
        }
        if let Ok(name) = UserName::parse(active)
            && own_name != Some(&name)
        {
            self.forget(active);
            self.names.truncate(MAX_SPEAKERS - 1);
            self.names.push_front(name);
        }
    }

    /// Forgets all names.
    pub(super) fn clear(&mut self) {
        self.names.clear();
    }

    /// Returns the names, latest first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(UserName::as_str)
    }

    fn forget(&mut self, name: &str) {
        self.names.retain(|known| !known.as_str().eq_ignore_ascii_case(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speakers(lines: &[&str]) -> Speakers {
        let own_name = UserName::parse("me").unwrap();
        let mut speakers = Speakers::default();
        for line in lines {
            speakers.note(RoomLine::parse(line), Some(&own_name));
        }
        speakers
    }

    #[track_caller]
    fn assert_order(lines: &[&str], expected: &[&str]) {
        assert_eq!(speakers(lines).names().collect::<Vec<_>>(), expected, "{lines:?}");
    }

    #[test]
    fn latest_speaker_comes_first() {
        assert_order(&["a: 1", "b: 1", "* c waves", "*** d whispers: 1", "a: 2"], &["a", "d", "c", "b"]);
        assert_order(&["a: 1", "b has joined", "A: 2"], &["A", "b"]);
        assert_order(&["me: 1", "ME has joined", "* me waves"], &[]);
        assert_order(&["*** a: recalled", "*** 2 in lobby: a, b", "ERROR"], &[]);
    }

    #[test]
    fn names_that_left_or_changed_are_forgotten() {
        assert_order(&["a: 1", "b: 1", "B has left"], &["a"]);
        assert_order(&["a: 1", "b: 1", "a is now known as c"], &["c", "b"]);
        assert_order(&["a: 1", "me is now known as c"], &["c", "a"]);
    }

    #[test]
    fn list_is_bounded() {
        let lines: Vec<String> = (0..1_000).map(|id| format!("u{id}: hi")).collect();
        let speakers = speakers(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((speakers.names().count(), speakers.names().next()), (MAX_SPEAKERS, Some("u999")));
    }
}
