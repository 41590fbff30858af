//! Origins: the web pages that may open WebSocket connections.

use std::fmt;
use std::str::FromStr;

/// A web page's origin that is allowed beside that of the server's own page, as `--allow-origin` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Pages of every origin: the text `any`.
    Any,
    /// `SCHEME://HOST` or `SCHEME://HOST:PORT`, in lower case.
    Origin(String),
}

/// A text that is no origin. Shown, it says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no origin of a web page; write https://chat.example, https://chat.example:8443, or any for all pages")]
pub struct OriginError;

impl FromStr for AllowedOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let authority = ["http://", "https://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
        let is_authority = |authority: &str| {
            !authority.is_empty()
                && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        };
        // A browser writes no path after an origin (RFC 6454, section 7).
        if authority.is_some_and(is_authority) { Ok(Self::Origin(text.to_ascii_lowercase())) } else { Err(OriginError) }
    }
}

impl AllowedOrigin {
    /// Returns whether a page with the header field `Origin: origin` is meant.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Origin(allowed) => allowed.eq_ignore_ascii_case(origin),
        }
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Origin(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_a_scheme_and_a_host_with_or_without_a_port() {
        for text in ["https://chat.example", "http://localhost:3000", "https://[::1]:8443", "any"] {
            assert_eq!(text.parse::<AllowedOrigin>().unwrap().to_string(), text);
        }
        for text in ["", "*", "null", "chat.example", "https://", "https://chat.example/", "ftp://a", "https://a b"] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(OriginError), "{text}");
        }
    }

    #[test]
    fn origin_allows_itself_in_any_case_and_no_other() {
        let allowed: AllowedOrigin = "https://Chat.Example".parse().unwrap();
        for (origin, allows) in [
            ("https://chat.example", true),
            ("HTTPS://CHAT.EXAMPLE", true),
            ("http://chat.example", false),
            ("https://chat.example:8443", false),
            ("https://chat.example.evil", false),
            ("null", false),
        ] {
            assert_eq!(allowed.allows(origin), allows, "{origin}");
        }
        assert!(AllowedOrigin::Any.allows("null"));
    }
}
