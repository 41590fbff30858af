//! Proxied connections: they begin with a PROXY header, before admission, which decides by the address in it.
//!
//! A connection whose header has not come has a part of the files that are kept back for such connections, or else one of
//! the server's free places: after a restart all clients of a proxy may connect at once. The places are charged as for a
//! connection that has not joined: the last tenth stays for addresses without a connection, and the oldest makes way.

use super::acceptor::Starter;
use super::admission::HeldPlace;
use super::refusal::RefusalReason;
use crate::config::{ProxyVersions, RESERVED_PROXY_FILES, TrustedProxies};
use crate::limits::permits::{Permit, Permits};
use crate::net::{PeerAddress, ProxyHeaderError, read_proxy_header};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::debug;

/// The trusted proxies, and the files for connections whose header has not come. All listeners share it.
#[derive(Debug)]
pub(super) struct ProxyGate {
    pub(super) trusted: Arc<TrustedProxies>,
    /// One permit for each of the files that are kept back.
    reserve: Arc<Permits>,
}

/// The right of a connection to wait for its header.
#[derive(Debug)]
enum HeaderPermit {
    /// A file of the reserve.
    Reserve { _permit: Permit },
    /// A place of the server.
    Place(HeldPlace),
}

impl ProxyGate {
    pub(super) fn new(trusted: TrustedProxies) -> Self {
        Self { trusted: Arc::new(trusted), reserve: Permits::new(RESERVED_PROXY_FILES) }
    }
}

impl HeaderPermit {
    /// Completes when the connection has to make way, or when the server shuts down.
    fn ended(&self, shutdown: &CancellationToken) -> WaitForCancellationFutureOwned {
        match self {
            Self::Reserve { .. } => shutdown.clone().cancelled_owned(),
            Self::Place(held) => held.ticket.ended(),
        }
    }

    /// Returns whether the connection has to make way.
    fn makes_way(&self) -> bool {
        matches!(self, Self::Place(held) if held.ticket.makes_way())
    }
}

impl Starter {
    /// Starts the connection of a proxy: a task of its own waits for the header, so that the acceptor does not.
    pub(super) async fn start_proxied(&self, stream: TcpStream, peer: PeerAddress, versions: ProxyVersions) {
        if !self.proxies.trusted.contains(peer.ip()) {
            return self.refuse(stream, peer, &RefusalReason::ProxyHeader(ProxyHeaderError::Untrusted));
        }
        match self.header_permit().await {
            Some(permit) => {
                // A handover waits for the header.
                let inside = self.gate.stay_inside();
                let admitting = self.clone().admit_proxied(stream, peer, versions, permit);
                self.tasks.spawn(async move {
                    admitting.await;
                    drop(inside);
                });
            }
            None => self.refuse(stream, peer, &RefusalReason::Full),
        }
    }

    async fn header_permit(&self) -> Option<HeaderPermit> {
        match self.proxies.reserve.try_acquire() {
            Some(permit) => Some(HeaderPermit::Reserve { _permit: permit }),
            None => self.admission.hold_place().await.map(HeaderPermit::Place),
        }
    }

    /// Waits for the header, and admits the client that it names. A proxy that closes instead, as after a health check,
    /// is no peer: the log has it at the level for debugging.
    async fn admit_proxied(self, stream: TcpStream, proxy: PeerAddress, versions: ProxyVersions, permit: HeaderPermit) {
        let ended = permit.ended(&self.context.shutdown);
        let header = tokio::select! {
            biased;
            () = ended => None,
            header = read_proxy_header(&stream, proxy, versions) => Some(header),
        };
        match header {
            Some(Ok(client)) => {
                debug!(%proxy, address = %client, "PROXY header");
                // From now on the connection is bounded as any other one.
                drop(permit);
                // The header may come after an operator's drain has begun.
                if self.context.draining.is_cancelled() {
                    return self.refuse(stream, client, &RefusalReason::Draining);
                }
                self.admit(stream, client).await;
            }
            Some(Err(reason @ ProxyHeaderError::Closed)) => {
                let connection = self.admission.next_number().0;
                debug!(connection, %proxy, %reason, "closed by a proxy");
            }
            Some(Err(reason)) => self.refuse(stream, proxy, &RefusalReason::ProxyHeader(reason)),
            // The place is free after the refusal, whose descriptor comes out of another reserve.
            None if permit.makes_way() => self.refuse(stream, proxy, &RefusalReason::Full),
            None => self.refuse(stream, proxy, &RefusalReason::Shutdown),
        }
    }
}
