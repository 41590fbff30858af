//! PROXY headers: the first bytes of a proxied connection, in which a proxy names the client.
//!
//! A header has one of two forms, the text of version 1 or the bytes of version 2
//! ([the protocol](https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt)). It is looked at in the kernel's buffer, and
//! taken out of it when it is complete: what follows it stays there, so a proxied connection goes on as any other one.

use super::PeerAddress;
use crate::config::ProxyVersions;
use memchr::memchr;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use rustix::net::{RecvFlags, recv};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a proxy may take for its whole header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server waits for the close of a connection on which the proxy names no client, before it sends the
/// welcome: a health check closes right after its header.
const HEALTH_CHECK_CLOSE: Duration = Duration::from_millis(250);

/// The longest header of version 1 in bytes, its line end included (section 2.1 of the protocol).
const MAX_V1: usize = 107;

/// The longest header of version 2 in bytes: the 16 of its fixed part, 216 for two Unix addresses, and 304 for other fields.
const MAX_V2: usize = 536;

/// The length of the fixed part of version 2, which ends in the length of the rest.
const V2_FIXED: usize = 16;

/// The bytes with which a header of version 1 begins.
const V1_START: &[u8] = b"PROXY ";

/// The bytes with which a header of version 2 begins.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The client that a PROXY header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamedClient {
    /// A client on TCP.
    Tcp(SocketAddr),
    /// None: the proxy connects for itself, or its client has no IP address.
    None,
}

/// Why a connection to a listener with a proxy is not served. Shown, it is the line that follows `ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyHeaderError {
    /// The peer is no trusted proxy.
    #[error("this port takes connections from its proxy alone: connect to the proxy, or to another port")]
    Untrusted,
    /// The first bytes begin no header.
    #[error("the connection did not begin with a PROXY header: connect to the proxy of this port")]
    Missing,
    /// The header is of a version that the listener does not take; holds what it takes.
    #[error("the PROXY header is of a version that this port does not take: send {}", .0.as_str())]
    Version(ProxyVersions),
    /// The header is longer than any that is needed.
    #[error("the PROXY header is too long: send at most {MAX_V1} bytes of version 1, or {MAX_V2} of version 2")]
    TooLong,
    /// The header breaks the rules of its version.
    #[error("the PROXY header is broken: send one of version 1 or 2")]
    Invalid,
    /// The header did not come in time.
    #[error("no PROXY header came within {} s: send it first", HEADER_TIMEOUT.as_secs())]
    Timeout,
    /// The connection ended before its header, within it, or right after it.
    #[error("the connection ended with its PROXY header: send lines after it")]
    Closed,
}

/// Reads the PROXY header of an accepted connection, and nothing beyond it; returns the client that it names, or `peer`,
/// from where the connection comes, if it names none or `peer` itself.
///
/// # Errors
/// [`ProxyHeaderError`], but for [`ProxyHeaderError::Untrusted`], which is the caller's to find.
pub(crate) async fn read_proxy_header(
    stream: &TcpStream,
    peer: PeerAddress,
    versions: ProxyVersions,
) -> Result<PeerAddress, ProxyHeaderError> {
    let header = timeout(HEADER_TIMEOUT, read_header(stream, versions));
    match header.await.unwrap_or(Err(ProxyHeaderError::Timeout))? {
        // A health check of HAProxy with version 1 names its own end of the connection.
        NamedClient::Tcp(client) if PeerAddress::from_tcp(client) != peer => {
            if is_closed(stream) {
                return Err(ProxyHeaderError::Closed);
            }
            Ok(PeerAddress::from_tcp(client))
        }
        NamedClient::Tcp(_) | NamedClient::None => {
            // Without a close in this time the peer is served: it may wait for the welcome.
            let mut next_byte = [0];
            let input = timeout(HEALTH_CHECK_CLOSE, peek_beyond(stream, &mut next_byte, 0));
            input.await.unwrap_or(Ok(0)).map(|_| peer.of_proxy())
        }
    }
}

async fn read_header(stream: &TcpStream, versions: ProxyVersions) -> Result<NamedClient, ProxyHeaderError> {
    let (mut buffer, mut seen) = ([0; MAX_V2], 0);
    loop {
        seen = peek_beyond(stream, &mut buffer, seen).await?;
        if let Some((client, length)) = parse(&buffer[..seen], versions)? {
            let taken = recv(stream, &mut buffer[..length], RecvFlags::empty());
            return taken.map(|_| client).map_err(|_| ProxyHeaderError::Closed);
        }
    }
}

/// Waits until more than `seen` bytes are received, and copies them without taking them; returns their number, up to
/// the length of `buffer`.
async fn peek_beyond(stream: &TcpStream, buffer: &mut [u8], seen: usize) -> Result<usize, ProxyHeaderError> {
    loop {
        let ready = stream.ready(Interest::READABLE).await.map_err(|_| ProxyHeaderError::Closed)?;
        let peeked = stream.try_io(Interest::READABLE, || {
            let (_, received) = recv(stream, &mut *buffer, RecvFlags::PEEK)?;
            // Bytes that are only looked at stay readable. This error makes the runtime wait for the next ones.
            let nothing_new = received == seen && !ready.is_read_closed();
            if nothing_new && received > 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(received) }
        });
        match peeked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The end of the input after some bytes shows in the socket's readiness alone.
            Ok(received) if received > seen => return Ok(received),
            _ => return Err(ProxyHeaderError::Closed),
        }
    }
}

/// Returns whether the peer has closed a connection of which nothing is left to read.
fn is_closed(stream: &TcpStream) -> bool {
    match recv(stream, &mut [0; 1], RecvFlags::PEEK) {
        Ok((_, received)) => received == 0,
        Err(error) => io::Error::from(error).kind() != io::ErrorKind::WouldBlock,
    }
}

/// Parses the first bytes of a connection; returns the client and the header's length, or `None` while the header is not
/// complete.
fn parse(received: &[u8], versions: ProxyVersions) -> Result<Option<(NamedClient, usize)>, ProxyHeaderError> {
    let (start, is_allowed) = if begins_as(received, V1_START) {
        (V1_START, versions.allows_v1())
    } else if begins_as(received, V2_START) {
        (V2_START, versions.allows_v2())
    } else {
        return Err(ProxyHeaderError::Missing);
    };
    if received.len() < start.len() {
        return Ok(None);
    }
    if !is_allowed {
        return Err(ProxyHeaderError::Version(versions));
    }
    let length = if start == V1_START { v1_length(received)? } else { v2_length(received)? };
    match length.and_then(|length| received.get(..length)) {
        Some(header) => Ok(Some((parse_complete(header)?, header.len()))),
        None => Ok(None),
    }
}

/// Returns whether `received` begins with `start`, as far as it is received.
fn begins_as(received: &[u8], start: &[u8]) -> bool {
    let common = received.len().min(start.len());
    received[..common] == start[..common]
}

/// Returns the length of a header of version 1 if its line end is received.
fn v1_length(received: &[u8]) -> Result<Option<usize>, ProxyHeaderError> {
    match memchr(b'\n', &received[..received.len().min(MAX_V1)]) {
        Some(end) => Ok(Some(end + 1)),
        None if received.len() >= MAX_V1 => Err(ProxyHeaderError::TooLong),
        None => Ok(None),
    }
}

/// Returns the length of a header of version 2 if its fixed part is received.
fn v2_length(received: &[u8]) -> Result<Option<usize>, ProxyHeaderError> {
    let Some(&[high, low]) = received.get(V2_FIXED - 2..V2_FIXED) else {
        return Ok(None);
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_V2 { Err(ProxyHeaderError::TooLong) } else { Ok(Some(length)) }
}

/// Parses a complete header. One that its parser takes for the start of a longer one is broken.
fn parse_complete(header: &[u8]) -> Result<NamedClient, ProxyHeaderError> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(header, config) {
        Ok((parsed, length)) if length == header.len() => match parsed.proxied_address() {
            Some(address) if address.protocol == Protocol::Stream => Ok(NamedClient::Tcp(address.source)),
            Some(_) => Err(ProxyHeaderError::Invalid),
            None => Ok(NamedClient::None),
        },
        _ => Err(ProxyHeaderError::Invalid),
    }
}

#[cfg(test)]
mod tests;
