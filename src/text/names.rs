//! Names: what a room, a user and a peer are called, and which names may be.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest room or user name, in bytes.
pub const MAX_NAME_LENGTH: usize = 20;

/// A room's name: 1 to [`MAX_NAME_LENGTH`] printable ASCII bytes (0x21-0x7E), case kept and compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(NameBytes);

/// A user's name in a room: 1 to [`MAX_NAME_LENGTH`] printable ASCII bytes (0x21-0x7E), but for names
/// that make one line pass for another.
///
/// Shown as it was typed; equal without regard to ASCII case, so that `Alice` can't pass for `alice`.
/// Two kinds of names are refused, since lines begin with the name of who sent them:
/// - *stars only*: `***` begins the server's answers, and `*` what somebody does;
///   `*** has joined` would look like the first, `* has joined` like the second.
/// - *a colon at the end*: `bob: has joined` would look like something that `bob` said.
#[derive(Clone, Copy)]
pub struct UserName(NameBytes);

/// Why a word can't be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than [`MAX_NAME_LENGTH`]; holds its length.
    #[error("has {0} characters, a name has 1 to 20")]
    Length(usize),
    /// Holds something that is no printable ASCII character; shown escaped.
    #[error("holds {0:?}, a name has printable ASCII characters only")]
    Character(char),
    /// A user's name of nothing but stars.
    #[error("has stars only, and those begin the server's own lines")]
    StarsOnly,
    /// A user's name with a colon at its end.
    #[error("ends in a colon, and that ends the name of who speaks")]
    TrailingColon,
}

/// The bytes of a name, inline: a roster of them is copied without an allocation each. Ordered as
/// text is, for the zeros behind it are less than any byte of a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct NameBytes {
    /// The name, zeros behind it.
    bytes: [u8; MAX_NAME_LENGTH],
    /// How many of the bytes are the name, 1 to [`MAX_NAME_LENGTH`].
    len: u8,
}

impl NameBytes {
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
        // `parse` let nothing but ASCII in, so the default is never taken.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl RoomName {
    /// Takes `word` as a room's name.
    ///
    /// # Errors
    /// When it is empty, too long, or holds anything but printable ASCII.
    pub fn parse(word: &str) -> Result<Self, NameError> {
        NameBytes::parse(word).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl UserName {
    /// Takes `word` as a user's name.
    ///
    /// # Errors
    /// When it is empty, too long, holds anything but printable ASCII, or is one of the two kinds
    /// that forge lines.
    pub fn parse(word: &str) -> Result<Self, NameError> {
        let name = NameBytes::parse(word)?;
        match name.as_bytes() {
            stars if stars.iter().all(|byte| *byte == b'*') => Err(NameError::StarsOnly),
            [.., b':'] => Err(NameError::TrailingColon),
            _ => Ok(Self(name)),
        }
    }

    /// The name as text, in the case it was typed in.
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
        // Zeros behind the name stay zeros when folded: one fixed-size write.
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
        for bad in ["a b", "a\u{7f}", "a\u{1b}", "\u{e9}"] {
            assert!(matches!(RoomName::parse(bad), Err(NameError::Character(_))), "{bad:?}");
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
        for fine in ["***x", "x*", "*_*", ":)", "a:b", "::a"] {
            assert_eq!(UserName::parse(fine).unwrap().as_str(), fine);
        }
        assert!(RoomName::parse("***").is_ok() && RoomName::parse("bob:").is_ok(), "no line begins with a room");
        assert_eq!(UserName::parse(&"*".repeat(21)).unwrap_err(), NameError::Length(21));
    }

    #[test]
    fn user_names_compare_without_case_and_room_names_with_case() {
        let state = std::hash::RandomState::new();
        let (small, large) = (UserName::parse("alice").unwrap(), UserName::parse("ALICE").unwrap());
        assert_eq!(small, large);
        assert_eq!(state.hash_one(small), state.hash_one(large));
        assert_ne!(small, UserName::parse("alice2").unwrap());
        assert_ne!(RoomName::parse("a").unwrap(), RoomName::parse("A").unwrap());
    }
}
