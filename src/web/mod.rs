//! Web: what a web listener answers to a request: its page, or the beginning of WebSocket.
//!
//! The page is part of the program: one HTML file, one script, one style sheet (`src/web/page/`). Nothing here knows a
//! socket or a connection: [`answer`] is a function of the request's head.

mod handshake;
mod page;

use crate::config::AllowedOrigin;
use crate::http::{HeadReader, Request, Response, Status};

/// Where a page opens its WebSocket connection.
const SOCKET_PATH: &str = "/ws";

/// The header fields of each answer, beside those of [`Response`]: no part of a page comes from elsewhere, and no other
/// page shows it in a frame.
const SECURITY_FIELDS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
     Referrer-Policy: no-referrer\r\n";

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A response, after which the connection is closed.
    Response(Vec<u8>, Status),
    /// The response after which the connection speaks WebSocket.
    Upgrade(Vec<u8>),
}

/// Returns the answer to a request, which `head` has read. Pages of `allowed` origins may open WebSocket connections beside
/// those of the server's own.
pub(crate) fn answer(request: &Result<Request, Status>, head: &HeadReader, allowed: &[AllowedOrigin]) -> Answer {
    let request = match request {
        Ok(request) => request,
        Err(status) => return refuse(*status, crate::http::explanation(*status), !head.is_of_head_method()),
    };
    if request.path == SOCKET_PATH {
        return match handshake::upgrade(request, head.is_followed(), allowed) {
            Ok(response) => Answer::Upgrade(response),
            Err((status, told)) => refuse(status, told, !request.is_head),
        };
    }
    match page::find(&request.path) {
        Some(page) => {
            let (response, etag) = page.response();
            let response = response.with_fields(SECURITY_FIELDS);
            let is_known = request.fields.items("if-none-match").any(|known| known == "*" || known.ends_with(etag));
            let response = if is_known { response.not_modified() } else { response };
            Answer::Response(response.encode(!request.is_head), response.status())
        }
        None => refuse(Status::NotFound, "no such page: the chat is at /", !request.is_head),
    }
}

/// Returns the answer for a connection that is closed before its request is answered.
pub(crate) fn unavailable(status: Status, told: &str) -> Vec<u8> {
    unanswered(status, told, &HeadReader::default())
}

/// Returns the answer for a connection that is closed when `head` has not got all of its request.
pub(crate) fn unanswered(status: Status, told: &str, head: &HeadReader) -> Vec<u8> {
    Response::plain(status, told).with_fields(SECURITY_FIELDS).encode(!head.is_of_head_method())
}

fn refuse(status: Status, told: &str, with_body: bool) -> Answer {
    let mut response = Response::plain(status, told).with_fields(SECURITY_FIELDS);
    if status == Status::UpgradeRequired {
        response = response.with_fields("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    }
    Answer::Response(response.encode(with_body), status)
}

#[cfg(test)]
mod tests;
