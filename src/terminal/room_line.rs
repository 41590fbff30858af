//! Room line: the kind of a line that arrives from the room, found by its form.
//!
//! The forms are those of [`crate::text::messages`] and [`crate::text::replies`]. No user can forge the form of
//! another kind, since a user's text always stands after `name: ` or `* name `.

/// A line without its line end, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoomLine<'a> {
    /// `name: text`.
    Chat { name: &'a str, text: &'a str },
    /// `* name text`.
    Action { name: &'a str, text: &'a str },
    /// `*** name whispers: text`.
    Whisper { name: &'a str },
    /// `*** you whisper to name: text`.
    WhisperSent,
    /// `name has joined`.
    Joined { name: &'a str },
    /// `name has left`.
    Left { name: &'a str },
    /// `from is now known as to`.
    Renamed { from: &'a str, to: &'a str },
    /// A line of the history that `name` said: `*** name: text` or `*** * name text`.
    Recalled { name: &'a str },
    /// Any other line of the server: `*** text`.
    Server,
    /// A line of another form, such as `ERROR`.
    Other,
}

impl<'a> RoomLine<'a> {
    /// Returns the kind of `line`, which is given without its line end.
    pub(super) fn parse(line: &'a str) -> Self {
        if let Some(reply) = line.strip_prefix("*** ") {
            return Self::parse_reply(reply);
        }
        if let Some((name, text)) = line.strip_prefix("* ").map(split_word) {
            return Self::Action { name, text };
        }
        let (word, rest) = split_word(line);
        if let Some(name) = word.strip_suffix(':') {
            return Self::Chat { name, text: rest };
        }
        match rest {
            " has joined" => Self::Joined { name: word },
            " has left" => Self::Left { name: word },
            _ => match rest.strip_prefix(" is now known as ") {
                Some(to) => Self::Renamed { from: word, to },
                None => Self::Other,
            },
        }
    }

    /// Returns the kind of a line that begins with `*** `; `reply` is the text after that.
    fn parse_reply(reply: &'a str) -> Self {
        if let Some((name, _)) = reply.strip_prefix("* ").map(split_word) {
            return Self::Recalled { name };
        }
        let (word, rest) = split_word(reply);
        if rest.starts_with(" whispers: ") && !word.ends_with(':') {
            return Self::Whisper { name: word };
        }
        if word == "you" && rest.starts_with(" whisper to ") {
            return Self::WhisperSent;
        }
        word.strip_suffix(':').map_or(Self::Server, |name| Self::Recalled { name })
    }

    /// Returns the name of the member that said the line, now or earlier.
    pub(super) fn said_by(self) -> Option<&'a str> {
        match self {
            Self::Chat { name, .. } | Self::Action { name, .. } | Self::Whisper { name } | Self::Recalled { name } => {
                Some(name)
            }
            _ => None,
        }
    }

    /// Returns how many bytes at the start of the line hold the name of a member and its marks.
    pub(super) fn head_length(self) -> usize {
        match self {
            Self::Chat { name, .. } => name.len() + 1,
            Self::Action { name, .. } => name.len() + 2,
            Self::Joined { name } | Self::Left { name } | Self::Renamed { from: name, .. } => name.len(),
            _ => 0,
        }
    }

    /// Returns whether another member said `own_name` as a word, in any ASCII case.
    pub(super) fn mentions(self, own_name: &str) -> bool {
        match self {
            Self::Chat { name, text } | Self::Action { name, text } => {
                !name.eq_ignore_ascii_case(own_name) && contains_word(text, own_name)
            }
            _ => false,
        }
    }
}

/// Splits `text` before its first blank.
fn split_word(text: &str) -> (&str, &str) {
    text.split_at(memchr::memchr(b' ', text.as_bytes()).unwrap_or(text.len()))
}

/// Returns whether `text` holds the ASCII `word`, in any case, not as a part of a longer word.
fn contains_word(text: &str, word: &str) -> bool {
    let Some(first) = word.bytes().next() else {
        return false;
    };
    let starts = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text.as_bytes());
    starts.into_iter().any(|start| {
        let is_same = |found: &str| found.eq_ignore_ascii_case(word);
        text.get(start..start + word.len()).is_some_and(is_same)
            && !text[..start].ends_with(is_word_character)
            && !text[start + word.len()..].starts_with(is_word_character)
    })
}

/// Returns whether a character continues a word: names often hold these marks.
fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_line_has_its_kind() {
        for (line, kind) in [
            ("bob: hi there", RoomLine::Chat { name: "bob", text: " hi there" }),
            ("bob: ", RoomLine::Chat { name: "bob", text: " " }),
            ("bob: x has joined", RoomLine::Chat { name: "bob", text: " x has joined" }),
            ("a:b: x", RoomLine::Chat { name: "a:b", text: " x" }),
            ("* bob waves: so", RoomLine::Action { name: "bob", text: " waves: so" }),
            ("bob has joined", RoomLine::Joined { name: "bob" }),
            ("bob has left", RoomLine::Left { name: "bob" }),
            ("bob is now known as al", RoomLine::Renamed { from: "bob", to: "al" }),
            ("*** bob whispers: hi", RoomLine::Whisper { name: "bob" }),
            ("*** you whisper to bob: hi", RoomLine::WhisperSent),
            ("*** you whispers: hi", RoomLine::Whisper { name: "you" }),
            ("*** bob: x whispers: hi", RoomLine::Recalled { name: "bob" }),
            ("*** bob: whispers: hi", RoomLine::Recalled { name: "bob" }),
            ("*** * bob waves", RoomLine::Recalled { name: "bob" }),
            ("*** bob has joined", RoomLine::Server),
            ("*** 2 in lobby: alice, bob", RoomLine::Server),
            ("ERROR", RoomLine::Other),
            ("", RoomLine::Other),
        ] {
            assert_eq!(RoomLine::parse(line), kind, "{line:?}");
        }
    }

    #[test]
    fn own_name_is_mentioned_as_a_whole_word_by_others() {
        for line in ["bob: al?", "bob: hi AL", "bob: @al: hi", "* bob hugs al", "bob: total, al!", "bob: al's"] {
            assert!(RoomLine::parse(line).mentions("al"), "{line:?}");
        }
        for line in [
            "al: al",
            "Al: i, al",
            "bob: also",
            "bob: pal",
            "bob: äal",
            "bob: al_",
            "bob: al-x",
            "bob: x|al",
            "al has joined",
            "bob: ",
        ] {
            assert!(!RoomLine::parse(line).mentions("al"), "{line:?}");
        }
        assert!(!RoomLine::parse("*** al: bob, al").mentions("al"), "a recalled line is old");
        assert!(RoomLine::parse("bob: :) hi").mentions(":)"));
        assert!(!RoomLine::parse("bob: hi").mentions(""));
    }
}
