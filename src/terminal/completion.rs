//! Completion: the names that a word may become, and which of them the line shows.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The most names that one word is completed to, one after the other.
const MAX_MATCHES: usize = 50;

/// The names that begin with the completed word, while TAB follows TAB.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Completion {
    /// The byte index in the line at which the word starts.
    start: usize,
    /// The names, best match first; at least one.
    matches: Vec<String>,
    /// The index of the name that the line shows.
    shown: usize,
}

impl Completion {
    /// Finds the names that begin with `word`, without ASCII case: `recent` ones first and in their order, then
    /// `others` in alphabetical order, at most 50 in all. Returns `None` if there is no such name.
    ///
    /// The search visits each name once, and copies no more than 50 of them.
    pub(super) fn find<'a, 'b>(
        start: usize,
        word: &str,
        recent: impl Iterator<Item = &'a str>,
        others: &mut dyn Iterator<Item = &'b str>,
    ) -> Option<Self> {
        let is_match = |name: &&str| {
            name.as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
        };
        let mut matches: Vec<String> = recent.filter(is_match).take(MAX_MATCHES).map(str::to_owned).collect();
        // The heap's top is the last name in alphabetical order, which gives way to an earlier one.
        let mut first = BinaryHeap::with_capacity(MAX_MATCHES);
        for name in others.filter(is_match).map(AlphabeticalName) {
            let is_known = matches.iter().any(|known| known.eq_ignore_ascii_case(name.0));
            if is_known {
                continue;
            }
            if first.len() < MAX_MATCHES {
                first.push(name);
            } else if let Some(mut last) = first.peek_mut()
                && name < *last
            {
                *last = name;
            }
        }
        let left = MAX_MATCHES - matches.len();
        matches.extend(first.into_sorted_vec().into_iter().take(left).map(|name| name.0.to_owned()));
        (!matches.is_empty()).then_some(Self { start, matches, shown: 0 })
    }

    /// Returns the byte index in the line at which the completed word starts.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Returns the name that the line shows, with the text that follows it: `: ` at the start of the line, otherwise a
    /// blank. A blank that stands in `rest`, the text after the cursor, already is not repeated.
    pub(super) fn text(&self, rest: &str) -> String {
        let suffix = if self.start == 0 { ": " } else { " " };
        let suffix = if rest.starts_with(' ') { suffix.trim_end() } else { suffix };
        format!("{}{suffix}", self.matches[self.shown])
    }

    /// Goes on to the next name, and from the last to the first; returns whether there is more than one.
    pub(super) fn advance(&mut self) -> bool {
        self.shown = (self.shown + 1) % self.matches.len();
        self.matches.len() > 1
    }
}

/// A name in the alphabetical order, in which ASCII case decides last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AlphabeticalName<'a>(&'a str);

impl Ord for AlphabeticalName<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let lowercase = |name: &Self| name.0.bytes().map(|byte| byte.to_ascii_lowercase());
        lowercase(self).cmp(lowercase(other)).then_with(|| self.0.cmp(other.0))
    }
}

impl PartialOrd for AlphabeticalName<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(word: &str, recent: &[&str], others: &[&str]) -> Vec<String> {
        let found = Completion::find(0, word, recent.iter().copied(), &mut others.iter().copied());
        found.map(|completion| completion.matches).unwrap_or_default()
    }

    #[test]
    fn recent_names_come_first_and_others_in_alphabetical_order() {
        assert_eq!(matches("b", &["bo", "al", "bea"], &["Bob", "BO", "ba", "carl"]), ["bo", "bea", "ba", "Bob"]);
        assert_eq!(matches("BO", &[], &["bob", "Bo", "al"]), ["Bo", "bob"]);
        assert_eq!(matches("", &["b"], &["c", "a"]), ["b", "a", "c"]);
        assert!(matches("bobby", &["bob"], &["bo"]).is_empty());
        assert!(matches("ж", &["bob"], &["bo"]).is_empty());
    }

    #[test]
    fn matches_are_bounded_to_the_first_in_order() {
        let others: Vec<String> = (0..1_000).rev().map(|id| format!("u{id:03}")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let found = matches("u", &["u500"], &others);
        assert_eq!((found.len(), &*found[0], &*found[1], &*found[49]), (MAX_MATCHES, "u500", "u000", "u048"));
    }

    #[test]
    fn suffix_depends_on_the_place_in_the_line() {
        let text = |start, rest| {
            let completion = Completion::find(start, "b", ["bob"].into_iter(), &mut std::iter::empty());
            completion.unwrap().text(rest)
        };
        assert_eq!(
            (text(0, ""), text(5, ""), text(0, " x"), text(5, " x")),
            ("bob: ".into(), "bob ".into(), "bob:".into(), "bob".into())
        );
    }
}
