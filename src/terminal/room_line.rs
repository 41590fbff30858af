//! Room line: the kind of a line that arrives from the room, found by its form.
//!
//! The forms are those of [`crate::text::messages`] and [`crate::text::replies`]. No user can forge the form of
//! another kind, since a user's text always stands after `name: ` or `* name `. A member that has asked for numbers gets
//! what is said with `#7 ` before it, in recalled lines after `*** `.

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
    /// A line of the history that `name` said: `*** name: text` or `*** * name text`, each perhaps with a number.
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
        if let Some(said) = Self::parse_said(line).or_else(|| Self::parse_numbered(line)) {
            return said;
        }
        let (word, rest) = split_word(line);
        match rest {
            " has joined" => Self::Joined { name: word },
            " has left" => Self::Left { name: word },
            _ => match rest.strip_prefix(" is now known as ") {
                Some(to) => Self::Renamed { from: word, to },
                None => Self::Other,
            },
        }
    }

    /// Returns the kind of a line that a member said, without a number before it.
    fn parse_said(line: &'a str) -> Option<Self> {
        if let Some((name, text)) = line.strip_prefix("* ").map(split_word) {
            return Some(Self::Action { name, text });
        }
        let (word, text) = split_word(line);
        word.strip_suffix(':').map(|name| Self::Chat { name, text })
    }

    /// Returns the kind of a line that a member said, with its number before it. `#7` may be a name, too, but of the lines
    /// that begin with it only `#7: text` is said, and a number has no colon.
    fn parse_numbered(line: &'a str) -> Option<Self> {
        let (number, rest) = split_word(line);
        let digits = number.strip_prefix('#').filter(|digits| !digits.is_empty())?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        rest.strip_prefix(' ').filter(|_| is_number).and_then(Self::parse_said)
    }

    /// Returns the kind of a line that begins with `*** `; `reply` is the text after that. A whisper of a member called
    /// `#7` has the form of a recalled line of a member called `whispers`, and is taken for a whisper.
    fn parse_reply(reply: &'a str) -> Self {
        let recalled = |said: Self| said.said_by().map(|name| Self::Recalled { name });
        if let Some(recalled) = Self::parse_said(reply).and_then(recalled) {
            return recalled;
        }
        let (word, rest) = split_word(reply);
        if rest.starts_with(" whispers: ") {
            return Self::Whisper { name: word };
        }
        if word == "you" && rest.starts_with(" whisper to ") {
            return Self::WhisperSent;
        }
        Self::parse_numbered(reply).and_then(recalled).unwrap_or(Self::Server)
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

    /// Returns how many bytes at the start of `line`, of which this is the kind, hold its number, the name of a member and
    /// its marks.
    pub(super) fn head_length(self, line: &str) -> usize {
        match self {
            Self::Chat { text, .. } | Self::Action { text, .. } => line.len() - text.len(),
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
            ("#7 bob: hi there", RoomLine::Chat { name: "bob", text: " hi there" }),
            ("#18446744073709551615 bob: ", RoomLine::Chat { name: "bob", text: " " }),
            ("#8 * bob waves: so", RoomLine::Action { name: "bob", text: " waves: so" }),
            ("*** #7 bob: hi", RoomLine::Recalled { name: "bob" }),
            ("*** #8 * bob waves", RoomLine::Recalled { name: "bob" }),
            ("*** #7 whispers: hi", RoomLine::Whisper { name: "#7" }),
            ("*** 2 lines before #9 are gone", RoomLine::Server),
            ("#7: bob: hi", RoomLine::Chat { name: "#7", text: " bob: hi" }),
            ("* #7 bob: hi", RoomLine::Action { name: "#7", text: " bob: hi" }),
            ("#7 has joined", RoomLine::Joined { name: "#7" }),
            ("#7 has left", RoomLine::Left { name: "#7" }),
            ("#7 is now known as al", RoomLine::Renamed { from: "#7", to: "al" }),
            ("# bob: hi", RoomLine::Other),
            ("#x bob: hi", RoomLine::Other),
            ("#7  bob: hi", RoomLine::Other),
            ("ERROR", RoomLine::Other),
            ("", RoomLine::Other),
        ] {
            assert_eq!(RoomLine::parse(line), kind, "{line:?}");
        }
    }

    #[test]
    fn own_name_is_mentioned_as_a_whole_word_by_others() {
        for line in
            ["bob: al?", "bob: hi AL", "bob: @al: hi", "* bob hugs al", "bob: total, al!", "bob: al's", "#7 bob: al?"]
        {
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
