//! Proxied connections: they begin with a PROXY header, before admission, which decides by the address in it.
//!
//! A connection whose header has not come has a part of the files that are kept back for such connections, or else one of
//! the server's free places: after a restart all clients of a proxy may connect at once.

use super::acceptor::Starter;
use super::refusal::RefusalReason;
use crate::config::{ProxyVersions, RESERVED_PROXY_FILES, TrustedProxies};
use crate::limits::permits::{Permit, Permits};
use crate::limits::server_limits::Place;
use crate::net::{PeerAddress, ProxyHeaderError, read_proxy_header};
use std::sync::Arc;
use tokio::net::TcpStream;
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
    Place { _place: Place },
}

impl ProxyGate {
    pub(super) fn new(trusted: TrustedProxies) -> Self {
        Self { trusted: Arc::new(trusted), reserve: Permits::new(RESERVED_PROXY_FILES) }
    }
}

impl Starter {
    /// Starts the connection of a proxy: a task of its own waits for the header, so that the acceptor does not.
    pub(super) fn start_proxied(&self, stream: TcpStream, peer: PeerAddress, versions: ProxyVersions) {
        if !self.proxies.trusted.contains(peer.ip()) {
            return self.refuse(stream, peer, &RefusalReason::ProxyHeader(ProxyHeaderError::Untrusted));
        }
        match self.header_permit() {
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

    fn header_permit(&self) -> Option<HeaderPermit> {
        let reserve = self.proxies.reserve.try_acquire().map(|permit| HeaderPermit::Reserve { _permit: permit });
        reserve.or_else(|| self.admission.hold_place().map(|place| HeaderPermit::Place { _place: place }))
    }

    /// Waits for the header, and admits the client that it names. A proxy that closes instead, as after a health check,
    /// is no peer: the log has it at the level for debugging.
    async fn admit_proxied(self, stream: TcpStream, proxy: PeerAddress, versions: ProxyVersions, permit: HeaderPermit) {
        let shutdown = self.context.shutdown.clone();
        let header = shutdown.run_until_cancelled(read_proxy_header(&stream, proxy, versions)).await;
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
            Some(Err(reason @ ProxyHeaderError::Closed)) => debug!(%proxy, %reason, "closed by a proxy"),
            Some(Err(reason)) => self.refuse(stream, proxy, &RefusalReason::ProxyHeader(reason)),
            None => self.refuse(stream, proxy, &RefusalReason::Shutdown),
        }
    }
}
