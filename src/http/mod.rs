//! HTTP: heads of requests and responses, and a small responder for metrics and health checks.
//!
//! It answers GET and HEAD of HTTP/1.1 (RFC 9112), one request a connection, within fixed bounds: a few connections at a
//! time, a head of at most 8 KiB within 5 seconds. A [`Handler`] gives the answers; nothing here knows what they say. The
//! connections of web listeners read their heads with it, too.

mod head;
mod responder;
mod response;

pub(crate) use head::{HeadReader, Request};
pub(crate) use responder::{Handler, Responder};
pub(crate) use response::{Response, Status, explanation};
