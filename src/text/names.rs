//! Names of rooms and users, and the rules for them.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The longest room or user name, in bytes.
pub(crate) const MAX_NAME_LENGTH: usize = 20;

/// A room's name: 1 to 20 printable ASCII bytes (0x21-0x7E), not enclosed in `<>`, compared with case.
///
/// The welcome shows `JOIN <ROOMNAME> <USERNAME>`, so a user that types the brackets, too, would be alone in
/// the room `<lobby>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(NameBytes);

/// A user's name in a room: 1 to 20 printable ASCII bytes (0x21-0x7E), of no form that forges a line.
///
/// A user name keeps its case when shown, and is compared without ASCII case: `Alice` cannot pass for
/// `alice`. Besides names enclosed in `<>`, as for rooms, forms are refused that look like another line:
/// - *A star at the start.* `*** ` begins the server's replies and `* ` begins an action, so `*** has joined`
///   would look like a reply and `* has joined` like an action.
/// - *A slash at the start.* `/last` shows a room's lines after `*** `, so a chat line of `/nick` would look
///   like the reply `*** /nick: an argument is missing`.
/// - *A colon at the end.* `bob: has joined` would look like a chat line of `bob`.
#[derive(Clone, Copy)]
pub struct UserName(NameBytes);

/// The name of a server among those that share their rooms, and of such a group: 1 to 20 ASCII letters, digits, `_` and
/// `-`, so that it is one token of a subject.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(NameBytes);

/// Why a word cannot be a name. The text follows a subject, `the room name {error}`, and says which names
/// are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The word is empty or longer than 20 bytes; holds its length in bytes.
    #[error("has {0} character{plural}, a name has 1 to 20", plural = if *.0 == 1 { "" } else { "s" })]
    Length(usize),
    /// The word holds this character, which is not printable ASCII; the text shows it escaped.
    #[error("holds {0:?}, a name has printable ASCII characters only")]
    Character(char),
    /// The word is enclosed in `<>`.
    #[error("is enclosed in < and >: write it without the brackets")]
    Brackets,
    /// A user name begins with a slash.
    #[error("begins with /, as commands do: leave the slash out")]
    LeadingSlash,
    /// A user name begins with a star.
    #[error("begins with *, as lines of the server do: leave the star out")]
    LeadingStar,
    /// A node's name holds this character, which is no letter, digit, `_` or `-`.
    #[error("holds {0:?}, and has letters, digits, _ and - only")]
    NoToken(char),
    /// A user name ends in a colon.
    #[error("ends in a colon, which separates a name from its text: leave the colon out")]
    TrailingColon,
}

/// The bytes of a name, inline, so that copying a roster allocates nothing per name.
///
/// The derived order is that of the text, since the padding zeros are less than any byte of a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct NameBytes {
    /// The name, padded with zeros.
    bytes: [u8; MAX_NAME_LENGTH],
    /// The length of the name in bytes, 1 to [`MAX_NAME_LENGTH`].
    len: u8,
}

impl NameBytes {
    /// Parses `word` by the rules that rooms and users share.
    fn parse(word: &str) -> Result<Self, NameError> {
        if let Some(character) = word.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(NameError::Character(character));
        }
        let raw = word.as_bytes();
        let len = match u8::try_from(raw.len()) {
            Ok(len) if (1..=MAX_NAME_LENGTH).contains(&raw.len()) => len,
            _ => return Err(NameError::Length(raw.len())),
        };
        if without_brackets(word).is_some() {
            return Err(NameError::Brackets);
        }
        let mut bytes = [0; MAX_NAME_LENGTH];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { bytes, len })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn as_str(&self) -> &str {
        // `parse` accepts ASCII only, so the default is never used.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Returns the part of `word` between its brackets if it is enclosed in `<>`.
pub(crate) fn without_brackets(word: &str) -> Option<&str> {
    word.strip_prefix('<')?.strip_suffix('>')
}

impl RoomName {
    /// Parses `word` as a room's name.
    ///
    /// # Errors
    /// [`NameError::Length`], [`NameError::Character`] or [`NameError::Brackets`].
    pub fn parse(word: &str) -> Result<Self, NameError> {
        NameBytes::parse(word).map(Self)
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl UserName {
    /// Parses `word` as a user's name.
    ///
    /// # Errors
    /// Any [`NameError`].
    pub fn parse(word: &str) -> Result<Self, NameError> {
        let name = NameBytes::parse(word)?;
        match name.as_bytes() {
            [b'/', ..] => Err(NameError::LeadingSlash),
            [b'*', ..] => Err(NameError::LeadingStar),
            [.., b':'] => Err(NameError::TrailingColon),
            _ => Ok(Self(name)),
        }
    }

    /// Returns the name as text, in the case in which its user typed it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl NodeName {
    /// Parses `word` as a node's or a cluster's name.
    ///
    /// # Errors
    /// [`NameError::Length`], [`NameError::Character`], [`NameError::Brackets`] or [`NameError::NoToken`].
    pub fn parse(word: &str) -> Result<Self, NameError> {
        let name = NameBytes::parse(word)?;
        let is_token = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        match word.chars().find(|character| !is_token(*character)) {
            Some(character) => Err(NameError::NoToken(character)),
            None => Ok(Self(name)),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Returns the names `bob~2` to `bob~999` for `bob` and for `bob~7`, cut to the length of a name.
pub(crate) fn numbered_names(name: UserName) -> impl Iterator<Item = UserName> {
    let text = name.as_str().to_owned();
    (2..1_000).filter_map(move |number: u32| {
        let suffix = format!("~{number}");
        let base = match text.rsplit_once('~') {
            Some((base, old)) if !base.is_empty() && old.bytes().all(|byte| byte.is_ascii_digit()) => base,
            _ => &text,
        };
        let base = &base[..base.len().min(MAX_NAME_LENGTH - suffix.len())];
        UserName::parse(&format!("{base}{suffix}")).ok()
    })
}

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(word: &str) -> Result<Self, NameError> {
        Self::parse(word)
    }
}

impl PartialEq for UserName {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(other.0.as_bytes())
    }
}

impl Eq for UserName {}

impl Hash for UserName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Folding the case leaves the padding zeros alone, so one write of fixed size hashes the name.
        state.write(&self.0.bytes.map(|byte| byte.to_ascii_lowercase()));
    }
}

/// Serializes and shows names as their text, and parses it by the rules of each when it is read.
macro_rules! name_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    )*};
}

name_as_text!(RoomName, UserName, NodeName);

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn name_has_one_to_twenty_printable_ascii_bytes() {
        assert_eq!(RoomName::parse(""), Err(NameError::Length(0)));
        assert_eq!(RoomName::parse("!").unwrap().as_str(), "!");
        let twenty = "~".repeat(20);
        assert_eq!(RoomName::parse(&twenty).unwrap().as_str(), twenty);
        assert_eq!(RoomName::parse(&"a".repeat(21)), Err(NameError::Length(21)));
        assert_eq!(RoomName::parse(&"a".repeat(300)), Err(NameError::Length(300)));
        for invalid in ["a b", "a\u{7f}", "a\u{1b}", "\u{e9}"] {
            assert!(matches!(RoomName::parse(invalid), Err(NameError::Character(_))), "{invalid:?}");
        }
    }

    #[test]
    fn user_name_that_looks_like_another_line_or_a_command_is_refused() {
        for (word, error) in [
            ("*", NameError::LeadingStar),
            ("***", NameError::LeadingStar),
            ("*x", NameError::LeadingStar),
            ("***:", NameError::LeadingStar),
            (&"*".repeat(20), NameError::LeadingStar),
            ("/", NameError::LeadingSlash),
            ("/nick", NameError::LeadingSlash),
            ("//", NameError::LeadingSlash),
            (":", NameError::TrailingColon),
            ("bob:", NameError::TrailingColon),
            (&"*".repeat(21), NameError::Length(21)),
        ] {
            assert_eq!(UserName::parse(word).unwrap_err(), error, "{word}");
        }
        for valid in ["x*", "x/", "_*_", ":)", "a:b", "::a", "a/b", "-*", "<3", "->", "><", "<", ">"] {
            assert_eq!(UserName::parse(valid).unwrap().as_str(), valid);
        }
        for valid in ["***", "bob:", "/tmp", "<3", "><", "<", ">"] {
            assert_eq!(RoomName::parse(valid).unwrap().as_str(), valid, "no line begins with a room name");
        }
    }

    #[test]
    fn name_enclosed_in_brackets_is_refused() {
        for word in ["<lobby>", "<>", "<<x>>", "<***>"] {
            assert_eq!(RoomName::parse(word), Err(NameError::Brackets), "{word}");
            assert_eq!(UserName::parse(word).unwrap_err(), NameError::Brackets, "{word}");
        }
        assert_eq!(without_brackets("<lobby>"), Some("lobby"));
        assert_eq!(without_brackets("<"), None, "one character is not both brackets");
    }

    #[test]
    fn each_name_error_is_one_line_that_says_which_names_are_accepted() {
        for (error, text) in [
            (NameError::Length(0), "has 0 characters, a name has 1 to 20"),
            (NameError::Length(1), "has 1 character, a name has 1 to 20"),
            (NameError::Length(21), "has 21 characters, a name has 1 to 20"),
            (NameError::Character('\n'), "holds '\\n', a name has printable ASCII characters only"),
            (NameError::Brackets, "is enclosed in < and >: write it without the brackets"),
            (NameError::LeadingSlash, "begins with /, as commands do: leave the slash out"),
            (NameError::LeadingStar, "begins with *, as lines of the server do: leave the star out"),
            (NameError::TrailingColon, "ends in a colon, which separates a name from its text: leave the colon out"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn user_names_compare_without_case_and_room_names_with_case() {
        let state = std::hash::RandomState::new();
        let (lower, upper) = (UserName::parse("alice").unwrap(), UserName::parse("ALICE").unwrap());
        assert_eq!(lower, upper);
        assert_eq!(state.hash_one(lower), state.hash_one(upper));
        assert_ne!(lower, UserName::parse("alice2").unwrap());
        assert_ne!(RoomName::parse("a").unwrap(), RoomName::parse("A").unwrap());
    }
}
