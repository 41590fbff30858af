//! Names of rooms and users, and the rules for them.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest room or user name, in bytes.
pub(crate) const MAX_NAME_LENGTH: usize = 20;

/// A room's name: 1 to 20 printable ASCII bytes (0x21-0x7E), compared with case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(NameBytes);

/// A user's name in a room: 1 to 20 printable ASCII bytes (0x21-0x7E), of no form that forges a line.
///
/// A user name keeps its case when shown, and is compared without ASCII case: `Alice` cannot pass for
/// `alice`. Lines begin with the name of their sender, so two forms are refused:
/// - *Stars only.* `***` begins the server's replies and `*` begins an action, so `*** has joined` would
///   look like a reply and `* has joined` like an action.
/// - *A colon at the end.* `bob: has joined` would look like a chat line of `bob`.
#[derive(Clone, Copy)]
pub struct UserName(NameBytes);

/// Why a word cannot be a name. The text follows a subject: `the room name {error}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The word is empty or longer than 20 bytes; holds its length in bytes.
    #[error("has {0} characters, a name has 1 to 20")]
    Length(usize),
    /// The word holds this character, which is not printable ASCII; the text shows it escaped.
    #[error("holds {0:?}, a name has printable ASCII characters only")]
    Character(char),
    /// A user name consists of stars only.
    #[error("has stars only, and stars begin the server's own lines")]
    StarsOnly,
    /// A user name ends in a colon.
    #[error("ends in a colon, and a colon separates a name from its text")]
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
    /// Checks the rules that rooms and users share.
    fn parse(word: &str) -> Result<Self, NameError> {
        if let Some(character) = word.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(NameError::Character(character));
        }
        let raw = word.as_bytes();
        let len = match u8::try_from(raw.len()) {
            Ok(len) if (1..=MAX_NAME_LENGTH).contains(&raw.len()) => len,
            _ => return Err(NameError::Length(raw.len())),
        };
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

impl RoomName {
    /// Parses `word` as a room's name.
    ///
    /// # Errors
    /// [`NameError::Length`] or [`NameError::Character`].
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
            stars if stars.iter().all(|byte| *byte == b'*') => Err(NameError::StarsOnly),
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

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

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
    fn user_name_of_stars_or_with_trailing_colon_is_refused() {
        for stars in ["*", "**", "***", &"*".repeat(20)] {
            assert_eq!(UserName::parse(stars).unwrap_err(), NameError::StarsOnly, "{stars}");
        }
        for colon in [":", "bob:", "***:"] {
            assert_eq!(UserName::parse(colon).unwrap_err(), NameError::TrailingColon, "{colon}");
        }
        for valid in ["***x", "x*", "*_*", ":)", "a:b", "::a"] {
            assert_eq!(UserName::parse(valid).unwrap().as_str(), valid);
        }
        assert!(RoomName::parse("***").is_ok() && RoomName::parse("bob:").is_ok(), "no line begins with a room name");
        assert_eq!(UserName::parse(&"*".repeat(21)).unwrap_err(), NameError::Length(21));
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
