//! Responses: a status, a body of text, and how both are written.

use std::borrow::Cow;
use std::fmt::Write;

/// The content type of plain answers.
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The statuses of responses (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The connection goes on with WebSocket.
    SwitchingProtocols,
    /// The request is answered.
    Ok,
    /// The client has the answer already.
    NotModified,
    /// The head is no HTTP/1 request.
    BadRequest,
    /// The page that asks is of another origin.
    Forbidden,
    /// No such path.
    NotFound,
    /// A method other than GET and HEAD.
    MethodNotAllowed,
    /// The head did not come in time.
    RequestTimeout,
    /// The path wants a WebSocket handshake of version 13.
    UpgradeRequired,
    /// The head is too large, or has too many fields.
    HeadTooLarge,
    /// The handler panicked.
    InternalError,
    /// The server is not ready, or has too many connections.
    Unavailable,
}

/// An answer to one request, after which the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    status: Status,
    content_type: &'static str,
    body: Cow<'static, str>,
    /// Whether and how the client may keep the answer.
    cache: &'static str,
    /// Further header fields, each with its CR LF.
    fields: Cow<'static, str>,
}

impl Status {
    /// Returns the code and the phrase of the status line.
    pub(crate) fn line(self) -> &'static str {
        match self {
            Self::SwitchingProtocols => "101 Switching Protocols",
            Self::Ok => "200 OK",
            Self::NotModified => "304 Not Modified",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::UpgradeRequired => "426 Upgrade Required",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::InternalError => "500 Internal Server Error",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

impl Response {
    /// Returns an answer of one line of plain text.
    pub(crate) fn plain(status: Status, line: &str) -> Self {
        Self { status, ..Self::ok(PLAIN_TEXT, format!("{line}\n")) }
    }

    /// Returns an answer with a body of a type of its own.
    pub(crate) fn ok(content_type: &'static str, body: String) -> Self {
        Self { status: Status::Ok, content_type, body: body.into(), cache: "no-store", fields: Cow::Borrowed("") }
    }

    /// Returns an answer whose body is part of the program, which the client may keep and has to ask for again.
    pub(crate) fn page(content_type: &'static str, body: &'static str) -> Self {
        Self { body: body.into(), cache: "no-cache", ..Self::ok(content_type, String::new()) }
    }

    /// Adds header fields, each with its CR LF.
    pub(crate) fn with_fields(mut self, fields: &str) -> Self {
        self.fields.to_mut().push_str(fields);
        self
    }

    /// Returns the status.
    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Returns the answer to a client that has the body already.
    pub(crate) fn not_modified(self) -> Self {
        Self { status: Status::NotModified, body: "".into(), ..self }
    }

    /// Returns the bytes of the response. Without its body it still has the length of the body, as the answer to HEAD
    /// does (RFC 9110, section 9.3.2).
    pub(crate) fn encode(&self, with_body: bool) -> Vec<u8> {
        let Self { status, content_type, body, cache, fields } = self;
        let mut text = format!("HTTP/1.1 {}\r\n", status.line());
        if *status == Status::MethodNotAllowed {
            text.push_str("Allow: GET, HEAD\r\n");
        }
        // A String takes any text. An answer that the client has already has no body, and the length of none.
        if *status != Status::NotModified {
            let _ = write!(text, "Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        }
        // A sender of Upgrade names it in Connection, too (RFC 9110, section 7.8).
        let connection = if *status == Status::UpgradeRequired { "Upgrade, close" } else { "close" };
        let _ = write!(
            text,
            "X-Content-Type-Options: nosniff\r\nCache-Control: {cache}\r\n{fields}Connection: {connection}\r\n\r\n"
        );
        if with_body {
            text.push_str(body);
        }
        text.into_bytes()
    }
}

/// Returns the body of a response that no handler gives.
pub(crate) fn explanation(status: Status) -> &'static str {
    match status {
        Status::MethodNotAllowed => "only GET and HEAD are allowed",
        Status::RequestTimeout => "the request did not come in time",
        Status::HeadTooLarge => "the head of the request is too large",
        Status::InternalError => "the answer failed",
        Status::Unavailable => "too many connections: try again",
        _ => "this is no request of HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_has_its_length_and_closes_the_connection() {
        let text = String::from_utf8(Response::plain(Status::Ok, "é").encode(true)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Length: 3\r\n") && head.ends_with("\r\nConnection: close"), "{head}");
        assert_eq!(body, "é\n");
    }

    #[test]
    fn head_response_is_that_of_get_without_the_body() {
        let response = Response::ok("text/html", "page".to_owned());
        let (with, without) = (response.encode(true), response.encode(false));
        assert_eq!(with.strip_suffix(b"page"), Some(&*without));
    }

    #[test]
    fn method_that_is_not_allowed_is_answered_with_those_that_are() {
        let allows =
            |status| String::from_utf8(Response::plain(status, "").encode(true)).unwrap().contains("\r\nAllow: ");
        assert!(allows(Status::MethodNotAllowed) && !allows(Status::NotFound));
    }
}
