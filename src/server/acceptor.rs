//! The acceptor: one task a listener, which no error ends and none makes spin.

use crate::config::ProxyVersions;
use crate::connection::close_reason::CloseReason;
use crate::connection::{Connection, ServerContext};
use crate::metrics::listener_counts::ListenerNumber;
use crate::net::codec::Codec;
use crate::net::{ACCEPT_QUEUE, Listener, ListenerProtocol, PeerAddress, Socket, TlsAcceptor};
use crate::peer::PeerId;
use crate::server::admission::{Admission, Admitted, Entrant, WaitingEntrant};
use crate::server::handover::{AcceptGate, Inside};
use crate::server::proxied::ProxyGate;
use crate::server::refusal::{RefusalReason, refuse};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

/// The pause after a failed accept; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause after a failed accept.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections that are accepted before the other tasks of the worker get their turn: about 150 µs of work.
const ACCEPTS_PER_TURN: u32 = 4;

/// Accepts the connections of one listener.
pub(super) struct Acceptor {
    /// Shared with a handover alone, which keeps it for a moment.
    pub(super) listener: Arc<Listener>,
    pub(super) starter: Starter,
}

/// Starts the connections of one listener.
#[derive(Clone)]
pub(super) struct Starter {
    pub(super) context: Arc<ServerContext>,
    pub(super) admission: Arc<Admission>,
    /// Where connections are spawned.
    pub(super) tasks: TaskTracker,
    /// The protocol in which the listener's connections begin.
    pub(super) protocol: ListenerProtocol,
    /// The listener that counts the connections.
    pub(super) listener: ListenerNumber,
    /// The certificate of a TLS listener.
    pub(super) tls: Option<TlsAcceptor>,
    /// The versions of the PROXY header with which the listener's connections begin; `None` without a proxy.
    pub(super) proxy: Option<ProxyVersions>,
    /// Which proxies are trusted.
    pub(super) proxies: Arc<ProxyGate>,
    /// Where acceptors pause during a handover.
    pub(super) gate: Arc<AcceptGate>,
}

impl Acceptor {
    /// Accepts until the server drains or begins to end, and then refuses the connections that are queued and closes the
    /// listener.
    pub(super) async fn run(self) {
        let Self { listener, starter } = self;
        let draining = starter.context.draining.clone();
        let (mut pause, mut accepted_in_turn) = (FIRST_PAUSE, 0);
        let dead_timeout = || starter.context.live.get().dead_timeout;
        let gate = Arc::clone(&starter.gate);
        let mut inside = gate.enter().await;
        loop {
            let accepted = tokio::select! {
                accepted = draining.run_until_cancelled(listener.accept(dead_timeout)) => accepted,
                () = gate.paused() => {
                    drop(inside);
                    inside = gate.enter().await;
                    continue;
                }
            };
            let Some(accepted) = accepted else { break };
            match accepted {
                Ok((stream, address)) => {
                    pause = FIRST_PAUSE;
                    starter.start(stream, address).await;
                    accepted_in_turn += 1;
                    if accepted_in_turn == ACCEPTS_PER_TURN {
                        accepted_in_turn = 0;
                        yield_now().await;
                    }
                }
                // The client was faster: it is gone, and out of the queue.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Most likely no descriptor is left. The connection stays in the kernel's queue, and would be
                    // reported at once again.
                    warn!(%error, ?pause, "can't accept");
                    draining.run_until_cancelled(sleep(pause)).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
        refuse_queued(&listener, &starter).await;
    }
}

/// Refuses the connections that wait in the kernel's queue: their clients have a connection, and a listener that is closed
/// would reset it without a word. Refuses at most as many as the queue holds, because others may connect meanwhile.
async fn refuse_queued(listener: &Listener, starter: &Starter) {
    let is_shutdown = starter.context.shutdown.is_cancelled();
    let reason = if is_shutdown { RefusalReason::Shutdown } else { RefusalReason::Draining };
    for _ in 0..ACCEPT_QUEUE {
        match listener.accept_queued() {
            Ok((stream, address)) => starter.refuse(stream, address, &reason),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // The client was faster, or a signal came.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                warn!(%error, "can't accept: clients in the queue are closed without a reason");
                break;
            }
        }
        yield_now().await;
    }
}

impl Starter {
    /// Starts an accepted connection, after the PROXY header on a listener that takes one.
    async fn start(&self, stream: TcpStream, address: PeerAddress) {
        match self.proxy {
            Some(versions) => self.start_proxied(stream, address, versions),
            None => self.admit(stream, address).await,
        }
    }

    /// Serves or refuses a connection from `address`, or makes it wait for a place.
    pub(super) async fn admit(&self, stream: TcpStream, address: PeerAddress) {
        match self.admission.admit(address.ip(), Instant::now()).await {
            Admitted::Serve(entrant) => self.serve(stream, address, entrant),
            Admitted::Wait(waiting) => {
                let inside = self.gate.stay_inside();
                self.tasks.spawn(self.clone().serve_when_place_is_free(stream, address, waiting, inside));
            }
            Admitted::Refuse(reason) => self.refuse(stream, address, &reason),
        }
    }

    fn serve(&self, stream: TcpStream, address: PeerAddress, Entrant { id, permit, ticket }: Entrant) {
        if address.is_proxy() {
            debug!(connection = id.0, %address, "opened by a proxy");
        } else {
            info!(connection = id.0, %address, "opened");
        }
        let Ok(codec) = self.tls.as_ref().map(TlsAcceptor::begin).transpose() else {
            error!(connection = id.0, %address, "TLS can't begin: this is a bug");
            return;
        };
        let codec = codec.map(|codec| Box::new(codec) as Box<dyn Codec>);
        let socket = Socket::new(stream, permit);
        let origin = (address, self.protocol);
        let connection = Connection::new(Arc::clone(&self.context), socket, codec, origin, id, ticket);
        self.close_if_banned(address, id);
        self.tasks.spawn(connection.count_for(self.listener).serve());
    }

    /// Closes a connection of an address that was banned after its admission. An operator's ban is in force before it
    /// closes the connections in the directory, and this one was entered before this look at the bans: one of the two finds
    /// the other.
    fn close_if_banned(&self, address: PeerAddress, id: PeerId) {
        if let Some(directory) = &self.context.directory
            && let Some(ban) = self.admission.find_ban(address.ip())
        {
            directory.request_close(id, CloseReason::Banned, ban.to_string());
        }
    }

    /// A handover waits for the connection, as `inside` counts it.
    async fn serve_when_place_is_free(
        self,
        stream: TcpStream,
        address: PeerAddress,
        waiting: WaitingEntrant,
        _inside: Inside,
    ) {
        match self.admission.wait(waiting).await {
            Ok(entrant) => self.serve(stream, address, entrant),
            Err(reason) => self.refuse(stream, address, &reason),
        }
    }

    /// Tells the peer why it is not served, and closes the connection.
    pub(super) fn refuse(&self, stream: TcpStream, address: PeerAddress, reason: &RefusalReason) {
        let connection = self.admission.next_number().0;
        info!(connection, %address, %reason, "refused");
        self.context.registry.counters().count_refusal(reason.kind());
        let permit = self.admission.refusal_permit();
        if let Some(closing) = refuse(stream, reason, permit, self.protocol, self.context.abort.clone()) {
            self.tasks.spawn(closing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::limits::bans::{Ban, parse_network};
    use crate::server::Server;
    use std::io::Read;
    use std::time::SystemTime;
    use tokio::net::TcpListener;

    /// The operator's search for connections from the network finds none: the connection is not in the directory yet.
    #[tokio::test]
    async fn connection_that_was_admitted_before_the_ban_of_its_address_is_closed() {
        let socket = std::env::temp_dir().join(format!("roomcast-{}-acceptor", std::process::id()));
        let mut settings = Settings::default();
        settings.network.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        settings.moderation.admin_socket = Some(socket);
        let server = Server::bind(&settings, 10).unwrap();
        let (context, admission, tasks) =
            (Arc::clone(&server.context), Arc::clone(&server.admission), server.tasks.clone());
        let listener = ListenerNumber::from_index(0);
        let (protocol, proxies) = (ListenerProtocol::Raw, Arc::clone(&server.proxies));
        let gate = Arc::default();
        let starter = Starter { context, admission, tasks, protocol, listener, tls: None, proxy: None, proxies, gate };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let Admitted::Serve(entrant) = starter.admission.admit(Some(address.ip()), Instant::now()).await else {
            panic!("the connection is not admitted")
        };
        let network = parse_network("127.0.0.1").unwrap();
        let ban = Ban { network, expires: None, reason: "flooding".to_owned(), by: "uid 0".to_owned() };
        server.bans.add(ban, SystemTime::now()).await.unwrap();
        starter.serve(stream, PeerAddress::Tcp(address), entrant);
        let told = tokio::task::spawn_blocking(move || {
            let mut told = String::new();
            client.read_to_string(&mut told).map(|_| told)
        });
        let told = told.await.unwrap().unwrap();
        assert!(told.ends_with("ERROR\nyour address is banned: flooding\n"), "{told}");
    }
}
