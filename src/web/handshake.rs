//! The handshake of WebSocket: which requests may go on with it, and the response (RFC 6455, section 4.2).

use crate::config::AllowedOrigin;
use crate::http::{Request, Status};
use data_encoding::BASE64;
use sha1_smol::Sha1;

/// The text with which a key is hashed (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version of the protocol.
const VERSION: &str = "13";

/// The name of the lines of a chat as a subprotocol.
pub(super) const SUBPROTOCOL: &str = "roomcast.1";

/// Returns the response that begins WebSocket.
///
/// # Errors
/// The status and its explanation if the request is no handshake, or its page may not open a connection.
pub(super) fn upgrade(
    request: &Request,
    is_followed: bool,
    allowed: &[AllowedOrigin],
) -> Result<Vec<u8>, (Status, &'static str)> {
    let fields = &request.fields;
    let is_handshake = !request.is_head
        && !request.is_old
        && fields.has_token("upgrade", "websocket")
        && fields.has_token("connection", "upgrade")
        && fields.get("sec-websocket-version") == Some(VERSION);
    if !is_handshake {
        return Err((Status::UpgradeRequired, "this path speaks WebSocket, version 13"));
    }
    let has_body = fields.has("transfer-encoding") || fields.get("content-length").unwrap_or("0") != "0";
    if is_followed || has_body || (fields.has("content-length") && fields.get("content-length").is_none()) {
        // A proxy may have taken what follows for another request.
        return Err((
            Status::BadRequest,
            "a WebSocket handshake has no body, and nothing follows it before its answer",
        ));
    }
    let key = fields.get("sec-websocket-key").filter(|key| is_key(key));
    let key = key.ok_or((Status::BadRequest, "the handshake has no Sec-WebSocket-Key of 16 bytes"))?;
    if fields.has("origin") && !is_allowed(fields.get("origin"), fields.get("host"), allowed) {
        return Err((Status::Forbidden, "pages of this origin may not connect: see --allow-origin"));
    }
    let subprotocol = if fields.has_token("sec-websocket-protocol", SUBPROTOCOL) {
        format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n")
    } else {
        String::new()
    };
    let response = format!(
        "HTTP/1.1 {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{subprotocol}\r\n",
        Status::SwitchingProtocols.line(),
        accept_of(key)
    );
    Ok(response.into_bytes())
}

fn is_key(key: &str) -> bool {
    BASE64.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

/// Returns the value that proves to the client that the server speaks WebSocket.
fn accept_of(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID.as_bytes());
    BASE64.encode(&sha1.digest().bytes())
}

/// Returns whether the page of an origin may connect: one of the server's own host, or of an allowed origin. A client that
/// is no browser sends no origin, and is not asked here.
fn is_allowed(origin: Option<&str>, host: Option<&str>, allowed: &[AllowedOrigin]) -> bool {
    let Some(origin) = origin else {
        return false;
    };
    let is_own = host.is_some_and(|host| {
        let origin = origin.split_once("://").and_then(|(scheme, authority)| Some((default_port(scheme)?, authority)));
        origin.is_some_and(|(port, authority)| {
            without_port(authority, port).eq_ignore_ascii_case(without_port(host, port)) && !host.is_empty()
        })
    });
    is_own || allowed.iter().any(|allowed| allowed.allows(origin))
}

/// Returns the port that an origin of a scheme leaves out.
fn default_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(":80"),
        _ if scheme.eq_ignore_ascii_case("https") => Some(":443"),
        _ => None,
    }
}

fn without_port<'a>(authority: &'a str, port: &str) -> &'a str {
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_value_is_that_of_the_rfc() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn key_is_16_bytes_in_base64() {
        for (key, is_valid) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZTE=", false),
            ("dGhlIHNhbXBsZSBub25j", false),
            ("!!!!!!!!!!!!!!!!!!!!!!==", false),
        ] {
            assert_eq!(is_key(key), is_valid, "{key}");
        }
    }

    #[test]
    fn page_of_the_same_host_may_connect_and_no_other_page() {
        for (origin, host, is_allowed_) in [
            ("http://chat.example", "chat.example", true),
            ("https://chat.example", "chat.example", true),
            ("https://chat.example", "Chat.Example:443", true),
            ("http://chat.example:80", "chat.example", true),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("https://chat.example", "chat.example:8443", false),
            ("https://chat.example:8443", "chat.example", false),
            ("http://chat.example", "chat.example:443", false),
            ("https://evil.example", "chat.example", false),
            ("https://chat.example.evil", "chat.example", false),
            ("file://chat.example", "chat.example", false),
            ("null", "chat.example", false),
            ("http://", "", false),
        ] {
            assert_eq!(is_allowed(Some(origin), Some(host), &[]), is_allowed_, "{origin} to {host}");
        }
        let allowed = ["https://other.example".parse().unwrap()];
        assert!(is_allowed(Some("https://other.example"), Some("chat.example"), &allowed));
        assert!(!is_allowed(Some("http://other.example"), Some("chat.example"), &allowed));
        assert!(!is_allowed(None, Some("chat.example"), &allowed), "several origins");
        assert!(is_allowed(Some("null"), None, &[AllowedOrigin::Any]));
    }
}
