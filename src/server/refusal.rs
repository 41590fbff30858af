//! Refusal: the answer to a connection that is not served.

use crate::config::AllowedOrigin;
use crate::http::{HeadReader, Status};
use crate::limits::address_budget::AddressBudget;
use crate::limits::bans::Ban;
use crate::limits::permits::Permit;
use crate::metrics::reasons::RefusalKind;
use crate::net::codec::REFUSAL;
use crate::net::codec::websocket::{CloseCode, close_frame};
use crate::net::{ListenerProtocol, ProxyHeaderError, linger_close_stream};
use crate::peer::line_frames::extend_with_frames;
use crate::text::messages;
use crate::web::{self, Answer};
use socket2::SockRef;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a browser that is refused may take for the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection is not served. Shown, it is the line that follows `ERROR`: the bound and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RefusalReason {
    /// No place is free, and no connection makes way.
    #[error("{}", messages::SERVER_FULL)]
    Full,
    /// The last places are for addresses that have no connection.
    #[error(
        "server is full: its last places are for addresses without a connection, and yours has one: close it, or try \
         again later"
    )]
    Reserved,
    /// 90 % of the memory ceiling are in use.
    #[error("server is full: its memory is in use: try again later")]
    Memory,
    /// The address has the most connections that it may have; holds their number.
    #[error("your address has as many connections as it may have ({0}): close one and connect again")]
    TooManyOfAddress(usize),
    /// The address opens connections too fast; holds how many a second it may open.
    #[error("your address opens connections faster than {0} a second: wait a few seconds and connect again")]
    TooFast(u32),
    /// The address is banned; holds the ban.
    #[error("{0}")]
    Banned(Arc<Ban>),
    /// An operator lets no new connection in.
    #[error("the server takes no new connections: try again later")]
    Draining,
    /// The connection began with no PROXY header of a trusted proxy.
    #[error("{0}")]
    ProxyHeader(ProxyHeaderError),
    /// The server is shutting down.
    #[error("the server is shutting down: come back later")]
    Shutdown,
}

impl RefusalReason {
    /// Returns the kind of the reason, by which refused connections are counted.
    pub(super) fn kind(&self) -> RefusalKind {
        match self {
            Self::Full => RefusalKind::Full,
            Self::Reserved => RefusalKind::Reserved,
            Self::Memory => RefusalKind::Memory,
            Self::TooManyOfAddress(_) => RefusalKind::TooManyOfAddress,
            Self::TooFast(_) => RefusalKind::TooFast,
            Self::ProxyHeader(_) => RefusalKind::ProxyHeader,
            Self::Banned(_) => RefusalKind::Banned,
            Self::Draining => RefusalKind::Draining,
            Self::Shutdown => RefusalKind::Shutdown,
        }
    }
}

/// The right to close one refused connection lingeringly.
#[derive(Debug)]
pub(super) struct RefusalPermit {
    /// The place among the refused connections, held until the descriptor is free.
    pub(super) permit: Permit,
    /// The budget of the bytes that are discarded from all refused connections.
    pub(super) budget: Arc<AddressBudget>,
}

/// Tells the peer why it is not served, in the one write that a new socket always takes. With a permit it returns the
/// lingering close, which `abort` cuts; without one it closes at once. Lines end in CR LF for telnet (RFC 854). A TLS client
/// gets an alert: the reason can't be sent before its handshake. A browser gets its answer after its request, with a permit:
/// a page can read the reason only after a handshake of WebSocket.
pub(super) fn refuse(
    stream: TcpStream,
    reason: &RefusalReason,
    permit: Option<RefusalPermit>,
    protocol: ListenerProtocol,
    abort: CancellationToken,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    let lines = messages::error_lines(reason);
    let code = reason_code(reason);
    let to_browser =
        (protocol == ListenerProtocol::Web && permit.is_some()).then(|| (lines.clone(), reason.to_string()));
    let answer = match protocol {
        ListenerProtocol::Raw => lines.into_bytes(),
        ListenerProtocol::Web if to_browser.is_some() => Vec::new(),
        ListenerProtocol::Web => web::unavailable(Status::Unavailable, &reason.to_string()),
        ListenerProtocol::Telnet => lines.replace('\n', "\r\n").into_bytes(),
        ListenerProtocol::Tls | ListenerProtocol::WebTls => REFUSAL.to_vec(),
    };
    // Straight to the system: the runtime does not know yet that the new socket takes bytes. A peer that is gone
    // already needs no answer.
    if to_browser.is_none() {
        SockRef::from(&stream).send(&answer).ok()?;
    }
    let Some(RefusalPermit { permit, budget }) = permit else {
        // Unread input would make the close a reset, which may overtake the reason.
        let _ = (&*SockRef::from(&stream)).read(&mut [0; 1 << 10]);
        return None;
    };
    Some(async move {
        if let Some((lines, told)) = to_browser {
            let answering = timeout(HEAD_TIMEOUT, answer_browser(&stream, &lines, &told, code));
            // A browser that sends no request gets no answer.
            let _ = abort.run_until_cancelled(answering).await;
        }
        abort.run_until_cancelled(linger_close_stream(&stream, &budget, true)).await;
        // The permit is free only when the descriptor is.
        drop(stream);
        drop(permit);
    })
}

fn reason_code(reason: &RefusalReason) -> CloseCode {
    match reason {
        RefusalReason::Shutdown => CloseCode::GoingAway,
        RefusalReason::Full
        | RefusalReason::Reserved
        | RefusalReason::Memory
        | RefusalReason::TooManyOfAddress(_)
        | RefusalReason::TooFast(_)
        | RefusalReason::Draining => CloseCode::TryAgainLater,
        RefusalReason::Banned(_) | RefusalReason::ProxyHeader(_) => CloseCode::Policy,
    }
}

/// Reads the request of a browser, and answers it with the reason: a page gets it in a frame, every other request as text.
async fn answer_browser(stream: &TcpStream, lines: &str, told: &str, code: CloseCode) -> io::Result<()> {
    let (mut head, mut buffer) = (HeadReader::default(), [0; 1 << 10]);
    let request = loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                if let Some(request) = head.push(&buffer[..count]) {
                    break request;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    };
    let answer = match web::answer(&request, &head, &[AllowedOrigin::Any]) {
        Answer::Upgrade(mut answer) => {
            extend_with_frames(&mut answer, lines.as_bytes());
            answer.extend(close_frame(code));
            answer
        }
        Answer::Response(..) => web::unanswered(Status::Unavailable, told, &head),
    };
    SockRef::from(stream).send(&answer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProxyVersions;
    use crate::limits::bans::parse_network;

    #[test]
    fn each_refusal_is_one_line_that_names_the_bound() {
        let network = parse_network("192.0.2.7").unwrap();
        let ban = Ban { network, expires: None, reason: "flooding".to_owned(), by: "uid 0".to_owned() };
        for (reason, part) in [
            (RefusalReason::Full, "server is full: try again later"),
            (RefusalReason::Reserved, "server is full: its last places"),
            (RefusalReason::Memory, "server is full: its memory"),
            (RefusalReason::TooManyOfAddress(50), "as it may have (50): close one"),
            (RefusalReason::TooFast(20), "faster than 20 a second: wait"),
            (RefusalReason::Banned(Arc::new(ban)), "your address is banned: flooding"),
            (RefusalReason::Draining, "takes no new connections"),
            (RefusalReason::ProxyHeader(ProxyHeaderError::Untrusted), "from its proxy alone: connect to the proxy"),
            (RefusalReason::ProxyHeader(ProxyHeaderError::Missing), "did not begin with a PROXY header: connect"),
            (RefusalReason::ProxyHeader(ProxyHeaderError::Version(ProxyVersions::V2)), "not take: send v2"),
            (RefusalReason::ProxyHeader(ProxyHeaderError::TooLong), "too long: send at most 107 bytes"),
            (RefusalReason::ProxyHeader(ProxyHeaderError::Invalid), "broken: send one"),
            (RefusalReason::ProxyHeader(ProxyHeaderError::Timeout), "within 5 s: send it first"),
            (RefusalReason::Shutdown, "shutting down"),
        ] {
            let line = reason.to_string();
            assert!(line.contains(part) && line.contains(": ") && !line.contains('\n'), "{line}");
        }
    }
}
