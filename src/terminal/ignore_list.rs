//! Ignore list: the names whose lines one member does not want to see.

use super::room_line::RoomLine;
use crate::text::names::UserName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most names that a list holds.
const MAX_NAMES: usize = 32;

/// A list of ignored names, in the order in which the member added them, compared without ASCII case.
///
/// A list hides what an ignored name says, as chat, action, whisper or recalled line. The list hides no join, leave or
/// rename, so that a member always knows which names are in the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IgnoreList {
    names: Vec<UserName>,
}

/// The list holds 32 names already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("32 names are ignored already; drop one with: /unignore NAME")]
pub(crate) struct IgnoreListFull;

impl IgnoreList {
    /// Adds `name`; returns whether the list did not have it.
    ///
    /// # Errors
    /// [`IgnoreListFull`] if the list holds 32 other names.
    pub(crate) fn ignore(&mut self, name: UserName) -> Result<bool, IgnoreListFull> {
        if self.names.contains(&name) {
            return Ok(false);
        }
        if self.names.len() >= MAX_NAMES {
            return Err(IgnoreListFull);
        }
        self.names.push(name);
        Ok(true)
    }

    /// Removes `name`; returns whether the list had it.
    pub(crate) fn unignore(&mut self, name: &UserName) -> bool {
        let count = self.names.len();
        self.names.retain(|ignored| ignored != name);
        self.names.len() < count
    }

    /// Returns the names in the order in which they were added.
    pub(crate) fn names(&self) -> &[UserName] {
        &self.names
    }

    /// Returns whether the list hides `line`. A rename of an ignored name moves its entry to the new name.
    pub(super) fn hides(&mut self, line: RoomLine<'_>) -> bool {
        if self.names.is_empty() {
            return false;
        }
        if let RoomLine::Renamed { from, to } = line {
            self.rename(from, to);
        }
        line.said_by().is_some_and(|name| self.position(name).is_some())
    }

    /// Moves the entry of `from`, if there is one, to `to`.
    fn rename(&mut self, from: &str, to: &str) {
        if let (Some(position), Ok(new_name)) = (self.position(from), UserName::parse(to)) {
            self.names.remove(position);
            if !self.names.contains(&new_name) {
                self.names.insert(position, new_name);
            }
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|ignored| ignored.as_str().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn list(names: &[&str]) -> IgnoreList {
        let mut list = IgnoreList::default();
        for name in names {
            assert_eq!(list.ignore(user(name)), Ok(true));
        }
        list
    }

    fn names(list: &IgnoreList) -> Vec<&str> {
        list.names().iter().map(UserName::as_str).collect()
    }

    #[test]
    fn names_are_compared_without_case_and_bounded() {
        let mut list = list(&["bob"]);
        assert_eq!(list.ignore(user("BOB")), Ok(false));
        assert!(list.unignore(&user("Bob")) && !list.unignore(&user("bob")));
        for id in 0..MAX_NAMES {
            assert_eq!(list.ignore(user(&format!("u{id}"))), Ok(true));
        }
        assert_eq!(list.ignore(user("one-more")), Err(IgnoreListFull));
        assert_eq!(list.ignore(user("u3")), Ok(false), "a listed name needs no capacity");
        assert_eq!(list.names().len(), MAX_NAMES);
    }

    #[test]
    fn list_hides_all_that_an_ignored_name_says_and_nothing_else() {
        let mut list = list(&["bob"]);
        let said = ["bob: hi", "BOB: hi", "* bob waves", "*** bob whispers: hi", "*** bob: hi", "*** * bob waves"];
        let numbered = ["#7 bob: hi", "#8 * bob waves", "*** #7 bob: hi", "*** #8 * bob waves"];
        for line in said.into_iter().chain(numbered) {
            assert!(list.hides(RoomLine::parse(line)), "{line:?}");
        }
        for line in [
            "bobby: hi",
            "al: bob: hi",
            "#7 al: bob: hi",
            "* al bob",
            "bob has joined",
            "bob has left",
            "*** you whisper to bob: hi",
            "*** bob has joined",
            "*** 1 in lobby: bob",
        ] {
            assert!(!list.hides(RoomLine::parse(line)), "{line:?}");
        }
    }

    #[test]
    fn rename_moves_the_entry_to_the_new_name() {
        let mut list = list(&["bob", "eve"]);
        assert!(!list.hides(RoomLine::parse("bob is now known as rob")));
        assert_eq!(names(&list), ["rob", "eve"]);
        assert!(list.hides(RoomLine::parse("rob: hi")) && !list.hides(RoomLine::parse("bob: hi")));
        list.hides(RoomLine::parse("rob is now known as Eve"));
        assert_eq!(names(&list), ["eve"], "two entries of one name become one");
        list.hides(RoomLine::parse("al is now known as bob"));
        assert_eq!(names(&list), ["eve"]);
    }
}
