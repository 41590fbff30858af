//! The worker hosts that a plan names, and the token that coordinator and worker host share.
//!
//! A worker host is a `loadtest worker` that generates a part of the load. A program that reaches the port of a worker
//! host can make it open thousands of connections to any server, so a port that other machines reach needs a token.

use std::fmt;
use std::hint::black_box;

/// The worker hosts of a plan. Without any, the coordinator's own machine generates the load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerHosts {
    /// Their addresses, as `--workers` gives them.
    pub addresses: Vec<String>,
    /// The token that they require.
    pub token: Option<Token>,
}

/// A secret that coordinator and worker host share. It crosses the link as plain text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Returns a token; `None` for an empty text, which an unset variable in a script leads to.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Returns the token's text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Compares a text with the token. The time depends on the length of `given` alone, so it does not depend on
    /// the token's bytes.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        let token = self.0.as_bytes();
        let mut difference = u8::from(token.len() != given.len());
        for (given, token) in given.bytes().zip(token.iter().cycle()) {
            // The black box keeps the compiler from leaving the loop at the first difference.
            difference = black_box(difference | (given ^ token));
        }
        difference == 0
    }
}

/// Hides the token, because logs contain debug output.
impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_matches_itself_only() {
        let token = Token::new("secret").unwrap();
        assert!(token.matches("secret"));
        for other in ["", "s", "secre", "secrets", "secretsecret", "Secret", "secreT"] {
            assert!(!token.matches(other), "{other}");
        }
        assert_eq!(Token::new(""), None);
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
