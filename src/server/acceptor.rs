//! The acceptor: one task a listener, which no error ends and none makes spin.

use crate::config::ProxyVersions;
use crate::connection::close_reason::CloseReason;
use crate::connection::readiness::RunningLoop;
use crate::connection::{Connection, ServerContext};
use crate::metrics::listener_counts::ListenerNumber;
use crate::net::codec::Codec;
use crate::net::{ACCEPT_QUEUE, BoundAddress, Listener, ListenerProtocol, PeerAddress, Socket, TlsAcceptor};
use crate::peer::PeerId;
use crate::server::admission::{Admission, Admitted, Entrant, WaitingEntrant};
use crate::server::handover::{AcceptGate, Inside};
use crate::server::proxied::ProxyGate;
use crate::server::refusal::{RefusalReason, refuse};
use crate::text::panics::panic_message;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
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

/// The pause after a panic of an accept loop: a panic that each connection causes must not fill the log.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Connections that are accepted before the other tasks of the worker get their turn: about 150 µs of work.
const ACCEPTS_PER_TURN: u32 = 4;

/// Accepts the connections of one listener.
pub(super) struct Acceptor {
    /// Shared with a handover alone, which keeps it for a moment.
    pub(super) listener: Arc<Listener>,
    pub(super) starter: Starter,
    /// The state of the accept loop, as readiness and the watchdog see it.
    pub(super) running: RunningLoop,
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
    /// Accepts until the server drains or begins to end, and then closes the listener. Refuses the connections that are
    /// queued before that, unless the service manager keeps the socket and its queue.
    pub(super) async fn run(self) {
        let Self { listener, starter, running } = self;
        restart_after_panics(&starter.context, listener.address(), &running, || accept(&listener, &starter, &running))
            .await;
        // The queue of an activated socket stays with the service manager: the next process serves it.
        if !listener.is_activated() {
            refuse_queued(&listener, &starter).await;
        }
    }
}

/// Runs an accept loop until the server drains or begins to end. Starts it again after a panic: the loop only reads its listener,
/// and the connection that it was starting is closed and out of the queue.
async fn restart_after_panics<F: Future<Output = ()>>(
    context: &ServerContext,
    address: &BoundAddress,
    running: &RunningLoop,
    mut accept: impl FnMut() -> F,
) {
    while !context.draining.is_cancelled() {
        let mut accepting = pin!(accept());
        let outcome = poll_fn(|task| match catch_unwind(AssertUnwindSafe(|| accepting.as_mut().poll(task))) {
            Ok(progress) => progress.map(Ok),
            Err(cause) => Poll::Ready(Err(cause)),
        });
        let Err(cause) = outcome.await else { return };
        running.fail();
        let cause = panic_message(&*cause);
        error!(listener = %address, cause, pause = ?RESTART_PAUSE, "an accept loop panicked: it starts again after a pause");
        context.draining.run_until_cancelled(sleep(RESTART_PAUSE)).await;
        running.resume();
    }
}

/// Accepts until the server drains or begins to end.
async fn accept(listener: &Listener, starter: &Starter, running: &RunningLoop) {
    let draining = &starter.context.draining;
    let (mut pause, mut accepted_in_turn) = (FIRST_PAUSE, 0);
    let dead_timeout = || starter.context.live.get().dead_timeout;
    let mut inside = starter.gate.enter().await;
    loop {
        let accepted = tokio::select! {
            accepted = draining.run_until_cancelled(listener.accept(dead_timeout)) => accepted,
            () = starter.gate.paused() => {
                drop(inside);
                inside = starter.gate.enter().await;
                continue;
            }
        };
        let Some(accepted) = accepted else { return };
        match accepted {
            Ok((stream, address)) => {
                pause = FIRST_PAUSE;
                running.start_connection(starter.start(stream, address)).await;
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
            Some(versions) => self.start_proxied(stream, address, versions).await,
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
    use crate::net::ActivatedSockets;
    use crate::server::{NotReady, Server};
    use futures::FutureExt;
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    /// Returns the starter of a server's first listener.
    fn starter(server: &Server) -> Starter {
        let (context, admission, tasks) =
            (Arc::clone(&server.context), Arc::clone(&server.admission), server.tasks.clone());
        let listener = ListenerNumber::from_index(0);
        let (protocol, proxies) = (ListenerProtocol::Raw, Arc::clone(&server.proxies));
        let gate = Arc::clone(&server.gate);
        Starter { context, admission, tasks, protocol, listener, tls: None, proxy: None, proxies, gate }
    }

    /// A client connects while the server drains, before the service manager starts the next one.
    #[tokio::test]
    async fn queue_of_an_activated_socket_is_left_to_the_next_process() {
        for is_activated in [true, false] {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let (kept, address) = (socket.try_clone().unwrap(), socket.local_addr().unwrap());
            let mut settings = Settings::default();
            let mut server = if is_activated {
                settings.network.listen = vec!["fd:tcp".parse().unwrap()];
                let activated = ActivatedSockets::from_tcp(vec![("tcp", socket)]);
                Server::bind_with(&settings, 10, activated).unwrap()
            } else {
                drop(socket);
                settings.network.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
                Server::bind(&settings, 10).unwrap()
            };
            let BoundAddress::Tcp(bound) = server.addresses().remove(0) else { panic!("no TCP") };
            assert_eq!(bound == address, is_activated);
            let mut client = std::net::TcpStream::connect(bound).unwrap();
            let (listener, starter) = (server.listeners.remove(0), starter(&server));
            let running = RunningLoop::new(Arc::clone(&server.context), starter.listener);
            server.context.draining.cancel();
            Acceptor { listener, starter, running }.run().await;
            if is_activated {
                kept.set_nonblocking(true).unwrap();
                let (_served_next, peer) = kept.accept().unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
                client.set_nonblocking(true).unwrap();
                let error = client.read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the client has been told nothing");
            } else {
                let mut told = [0; 6];
                client.read_exact(&mut told).unwrap();
                assert_eq!(told, *b"ERROR\n");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn accept_loop_that_panics_is_seen_and_starts_again() {
        let mut settings = Settings::default();
        settings.network.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        let server = Server::bind(&settings, 10).unwrap();
        let (context, stats) = (Arc::clone(&server.context), server.stats());
        let running = RunningLoop::new(Arc::clone(&context), ListenerNumber::from_index(0));
        context.accept_loops.set_accepting();
        let (runs, draining) = (AtomicUsize::new(0), context.draining.clone());
        let address = server.addresses().remove(0);
        let mut accepting = Box::pin(restart_after_panics(&context, &address, &running, || async {
            assert!(runs.fetch_add(1, Ordering::Relaxed) > 0, "the first run fails");
            draining.cancelled().await;
        }));
        assert!((&mut accepting).now_or_never().is_none());
        assert_eq!((stats.readiness(), context.accept_loops.failures()), (Err(NotReady::Listeners(1)), 1));
        assert!(timeout(RESTART_PAUSE * 2, &mut accepting).await.is_err());
        assert_eq!((stats.readiness(), runs.load(Ordering::Relaxed)), (Ok(()), 2));
        draining.cancel();
        accepting.await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    /// The operator's search for connections from the network finds none: the connection is not in the directory yet.
    #[tokio::test]
    async fn connection_that_was_admitted_before_the_ban_of_its_address_is_closed() {
        let socket = std::env::temp_dir().join(format!("roomcast-{}-acceptor", std::process::id()));
        let mut settings = Settings::default();
        settings.network.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        settings.moderation.admin_socket = Some(socket);
        let server = Server::bind(&settings, 10).unwrap();
        let starter = starter(&server);
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
