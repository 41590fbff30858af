//! Listeners: TCP or Unix sockets that accept connections.

use crate::config::{ListenAddress, NetworkSettings, ProxyVersions};
use crate::net::activation::{ActivatedListener, ActivatedSocket};
use crate::net::handed::HandedListener;
use crate::net::socket::from_unix;
use crate::net::socket_file::{SocketFile, remove_stale_socket};
use crate::net::socket_options::{set_buffer_sizes, set_tcp_options};
use crate::net::{ActivatedSockets, BoundAddress, BoundListener, PeerAddress};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tracing::debug;

/// Connections that the kernel may queue until they are accepted; it cuts this to `somaxconn`.
pub(crate) const ACCEPT_QUEUE: u16 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Removes the socket's file at the end, and while the socket still listens: a server that starts meanwhile finds
    /// the path in use, or free.
    pub(super) file: Option<SocketFile>,
    pub(super) io: Listening,
    pub(super) address: BoundAddress,
    /// The versions of the PROXY header with which each connection begins; `None` for a listener without a proxy.
    pub(super) proxy: Option<ProxyVersions>,
    /// Whether the service manager has opened the socket, and keeps it open after this process.
    pub(super) is_activated: bool,
}

/// The protocol in which a listener's connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ListenerProtocol {
    /// Lines. The server sends no telnet command before the peer has sent one (`tcp://`, `unix:`).
    Raw,
    /// Telnet: the server negotiates at once (`telnet://`).
    Telnet,
    /// TLS, and lines in it as for [`ListenerProtocol::Raw`] (`tls://`).
    Tls,
    /// HTTP: a page, or WebSocket with lines (`ws://`).
    Web,
    /// TLS, and HTTP in it as for [`ListenerProtocol::Web`] (`wss://`).
    WebTls,
}

impl ListenerProtocol {
    /// Returns whether the connections begin with TLS.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebTls)
    }

    /// Returns whether the connections speak HTTP and WebSocket.
    pub(crate) fn is_web(self) -> bool {
        matches!(self, Self::Web | Self::WebTls)
    }
}

/// A listening socket that the runtime watches.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An address that can't be listened on. Shown, it says what to do about that.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {}", hint(address, error))]
pub struct ListenError {
    /// The address.
    pub address: BoundAddress,
    /// The system's error; the message holds it already, so it is no source.
    pub error: io::Error,
}

impl Listener {
    /// Listens on all addresses of `settings`, one listener each, and with the activated sockets that they name; returns the
    /// listeners, each with its URL. Listeners that another process has passed for the same URL go on. Needs a runtime.
    ///
    /// # Errors
    /// [`ListenError`] for the first address that can't be listened on; the others are closed again.
    pub(crate) fn bind_all(
        settings: &NetworkSettings,
        mut activated: ActivatedSockets,
        mut handed: Vec<(String, HandedListener)>,
    ) -> Result<Vec<(String, Self)>, ListenError> {
        let mut listeners = Vec::new();
        for url in &settings.listen {
            let text = url.to_string();
            let passed: Vec<_> = handed.extract_if(.., |(handed_url, _)| *handed_url == text).collect();
            let sockets = url.address.activated_name().map(|name| activated.take(name)).unwrap_or_default();
            let opened = if !passed.is_empty() {
                passed.into_iter().map(|(_, listener)| Self::take_over(listener)).collect::<Result<Vec<_>, _>>()?
            } else if sockets.is_empty() {
                vec![Self::bind(&url.address, settings.socket_mode)?]
            } else {
                sockets.into_iter().map(Self::activate).collect::<Result<_, _>>()?
            };
            listeners.extend(opened.into_iter().map(|opened| (text.clone(), Self { proxy: url.proxy, ..opened })));
        }
        Ok(listeners)
    }

    /// Serves a listener that another process has passed.
    fn take_over(handed: HandedListener) -> Result<Self, ListenError> {
        let address = handed.address.clone();
        handed.watch().map_err(|error| ListenError { address, error })
    }

    /// Serves an activated socket, which listens already. Its accept queue and its file are the service manager's.
    fn activate(ActivatedSocket { listener, address, .. }: ActivatedSocket) -> Result<Self, ListenError> {
        match watch(listener) {
            Ok(io) => Ok(Self { file: None, io, address, proxy: None, is_activated: true }),
            Err(error) => Err(ListenError { address, error }),
        }
    }

    fn bind(address: &ListenAddress, socket_mode: Option<u32>) -> Result<Self, ListenError> {
        match address {
            ListenAddress::Tcp { ip, port } => listen_on_port(*ip, *port, BoundAddress::Tcp),
            ListenAddress::Telnet { ip, port } => listen_on_port(*ip, *port, BoundAddress::Telnet),
            ListenAddress::Tls { ip, port } => listen_on_port(*ip, *port, BoundAddress::Tls),
            ListenAddress::Web { ip, port } => listen_on_port(*ip, *port, BoundAddress::Web),
            ListenAddress::WebTls { ip, port } => listen_on_port(*ip, *port, BoundAddress::WebTls),
            ListenAddress::Unix(path) => listen_on_unix(path, socket_mode)
                .map_err(|error| ListenError { address: BoundAddress::Unix(path.clone()), error }),
            ListenAddress::Activated(name) => {
                let error = io::Error::new(io::ErrorKind::NotFound, "no socket of this name was passed");
                Err(ListenError { address: BoundAddress::Activated(name.clone()), error })
            }
        }
    }

    /// Makes the socket's file this process's own, if another process has passed it.
    pub(crate) fn own_file(&self) {
        if let Some(file) = &self.file {
            file.own();
        }
    }

    /// Returns where the listener is bound.
    pub(crate) fn address(&self) -> &BoundAddress {
        &self.address
    }

    /// Returns where the listener is bound and what stands before it.
    pub(crate) fn bound(&self) -> BoundListener {
        BoundListener { address: self.address.clone(), proxy: self.proxy }
    }

    /// Returns the versions of the PROXY header with which the listener's connections begin, if a proxy stands before it.
    pub(crate) fn proxy(&self) -> Option<ProxyVersions> {
        self.proxy
    }

    /// Returns whether the service manager has opened the socket. It keeps the socket, and the connections in the accept
    /// queue, for the next process.
    pub(crate) fn is_activated(&self) -> bool {
        self.is_activated
    }

    /// Returns the protocol in which the listener's connections begin.
    pub(crate) fn protocol(&self) -> ListenerProtocol {
        match self.address {
            BoundAddress::Tcp(_) | BoundAddress::Unix(_) | BoundAddress::Activated(_) | BoundAddress::Metrics(_) => {
                ListenerProtocol::Raw
            }
            BoundAddress::Telnet(_) => ListenerProtocol::Telnet,
            BoundAddress::Tls(_) => ListenerProtocol::Tls,
            BoundAddress::Web(_) => ListenerProtocol::Web,
            BoundAddress::WebTls(_) => ListenerProtocol::WebTls,
        }
    }

    /// Waits for a connection; returns its stream, with the options that each connection gets, and where it comes
    /// from.
    ///
    /// # Errors
    /// The system's error, as when no descriptor is left; the connection may still be in the queue then.
    pub(crate) async fn accept(&self, dead_timeout: impl Fn() -> Duration) -> io::Result<(TcpStream, PeerAddress)> {
        match &self.io {
            Listening::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                let address = PeerAddress::from_tcp(address);
                let socket = SockRef::from(&stream);
                if self.is_activated {
                    // A connection that was queued before this process set the listener's buffers has the system's. A
                    // socket that takes no size keeps them, as one that takes no other option.
                    if let Err(error) = set_buffer_sizes(&socket) {
                        debug!(%address, %error, "can't set the buffers of a socket");
                    }
                }
                set_tcp_options(&socket, address, dead_timeout());
                Ok((stream, address))
            }
            Listening::Unix(listener) => accept_unix(listener.accept().await?.0),
        }
    }

    /// Accepts a connection that the system has queued, whether or not the runtime knows of one.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty, or the system's error.
    pub(crate) fn accept_queued(&self) -> io::Result<(TcpStream, PeerAddress)> {
        let listener = match &self.io {
            Listening::Tcp(listener) => SockRef::from(listener),
            Listening::Unix(listener) => SockRef::from(listener),
        };
        let (socket, address) = listener.accept()?;
        socket.set_nonblocking(true)?;
        match address.as_socket() {
            Some(address) => Ok((TcpStream::from_std(socket.into())?, PeerAddress::from_tcp(address))),
            None => accept_unix(UnixStream::from_std(socket.into())?),
        }
    }
}

/// Returns the stream of an accepted Unix socket, with its buffers set, and the process that has opened it.
fn accept_unix(stream: UnixStream) -> io::Result<(TcpStream, PeerAddress)> {
    // An accepted Unix socket does not have the buffers of its listener.
    set_buffer_sizes(&SockRef::from(&stream))?;
    let address = PeerAddress::from_unix(&stream);
    Ok((from_unix(stream)?, address))
}

/// Registers an activated socket with the runtime. Connections that clients open from now on have the buffers of a
/// listener that the server has opened, and their window scale.
fn watch(listener: ActivatedListener) -> io::Result<Listening> {
    match listener {
        ActivatedListener::Tcp(listener) => {
            set_buffer_sizes(&SockRef::from(&listener))?;
            listener.set_nonblocking(true)?;
            Ok(Listening::Tcp(TcpListener::from_std(listener)?))
        }
        ActivatedListener::Unix(listener) => {
            listener.set_nonblocking(true)?;
            Ok(Listening::Unix(UnixListener::from_std(listener)?))
        }
    }
}

/// Listens for metrics and health checks; returns the listener and the address, whose port is not 0. Needs a runtime.
///
/// # Errors
/// [`ListenError`] if the address can't be listened on.
pub(crate) fn listen_for_metrics(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    listen_on_tcp(address, true).map_err(|error| ListenError { address: BoundAddress::Metrics(address), error })
}

fn hint(address: &BoundAddress, error: &io::Error) -> String {
    match (address, error.kind()) {
        (
            BoundAddress::Tcp(_)
            | BoundAddress::Telnet(_)
            | BoundAddress::Tls(_)
            | BoundAddress::Web(_)
            | BoundAddress::WebTls(_),
            io::ErrorKind::AddrInUse,
        ) => "the port is in use, choose another one: roomcast <PORT>, or another URL for --listen".to_owned(),
        (BoundAddress::Tcp(_), io::ErrorKind::PermissionDenied) => {
            "not allowed, ports below 1024 need a privilege: choose another one: roomcast <PORT>".to_owned()
        }
        (BoundAddress::Telnet(_), io::ErrorKind::PermissionDenied) => {
            "not allowed, ports below 1024 need a privilege: choose another one: --listen telnet://:2323".to_owned()
        }
        (BoundAddress::Metrics(_), io::ErrorKind::AddrInUse) => {
            "the port is in use, choose another one: --metrics ADDR:PORT".to_owned()
        }
        (BoundAddress::Metrics(_), io::ErrorKind::PermissionDenied) => {
            "not allowed, ports below 1024 need a privilege: choose another one: --metrics ADDR:PORT".to_owned()
        }
        (BoundAddress::Metrics(_), io::ErrorKind::AddrNotAvailable) => {
            "this machine has no such address: see --metrics".to_owned()
        }
        (BoundAddress::Tls(_), io::ErrorKind::PermissionDenied) => {
            "not allowed, ports below 1024 need a privilege: choose another one: --listen tls://:6697".to_owned()
        }
        (BoundAddress::Web(_) | BoundAddress::WebTls(_), io::ErrorKind::PermissionDenied) => {
            "not allowed, ports below 1024 need a privilege: choose another one: --listen ws://:8080".to_owned()
        }
        (
            BoundAddress::Tcp(_)
            | BoundAddress::Telnet(_)
            | BoundAddress::Tls(_)
            | BoundAddress::Web(_)
            | BoundAddress::WebTls(_),
            io::ErrorKind::AddrNotAvailable,
        ) => "this machine has no such address: see --bind and --listen".to_owned(),
        (BoundAddress::Unix(_), io::ErrorKind::AddrInUse) => {
            "a server listens there already: choose another path".to_owned()
        }
        (BoundAddress::Unix(_), io::ErrorKind::AlreadyExists) => {
            "a file that is no socket is there: remove it or choose another path".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Listens with one socket for IPv4 and IPv6; for IPv4 alone where the system has no IPv6.
fn on_every_interface<T>(
    port: u16,
    listen_on: impl Fn(SocketAddr, bool) -> Result<T, ListenError>,
) -> Result<T, ListenError> {
    match listen_on(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), false) {
        Err(ListenError { error, .. }) if is_without_ipv6(&error) => {
            listen_on(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), true)
        }
        listener => listener,
    }
}

/// Returns whether a system without IPv6 reports this: no such address family, or no such address.
fn is_without_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT)
        || matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
}

/// Listens on a TCP port of one interface, or of every one; `bound` makes the listener's address.
fn listen_on_port(
    ip: Option<IpAddr>,
    port: u16,
    bound: fn(SocketAddr) -> BoundAddress,
) -> Result<Listener, ListenError> {
    let listen_on = |address, v6_only| {
        let (io, address) =
            listen_on_tcp(address, v6_only).map_err(|error| ListenError { address: bound(address), error })?;
        Ok(Listener { file: None, io: Listening::Tcp(io), address: bound(address), proxy: None, is_activated: false })
    };
    match ip {
        Some(ip) => listen_on(SocketAddr::new(ip, port), true),
        None => on_every_interface(port, listen_on),
    }
}

/// Listens on a TCP address; returns the listener and the address, whose port is not 0.
fn listen_on_tcp(address: SocketAddr, v6_only: bool) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // A server that is started again must not wait for the old one's connections to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    start_listening(&socket)?;
    Ok((TcpListener::from_std(socket.into())?, bound))
}

/// Listens on a path, as [`bind_unix`] does.
fn listen_on_unix(path: &Path, mode: Option<u32>) -> io::Result<Listener> {
    let (socket, file) = bind_unix(path, mode)?;
    let io = Listening::Unix(UnixListener::from_std(socket.into())?);
    Ok(Listener {
        io,
        address: BoundAddress::Unix(path.to_owned()),
        file: Some(file),
        proxy: None,
        is_activated: false,
    })
}

/// Returns a socket that listens on a path, and its file. A file that a dead server left there is replaced; one that a
/// server listens on, or that is no socket, is an error. The mode is set before the first connection is possible.
pub(super) fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path)?;
    remove_stale_socket(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    let file = SocketFile::new(path);
    if let Some(mode) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    start_listening(&socket)?;
    Ok((socket, file))
}

fn start_listening(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    set_buffer_sizes(&SockRef::from(socket))?;
    socket.listen(ACCEPT_QUEUE.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::memory::{KERNEL_RECEIVE_BUFFER, KERNEL_SEND_BUFFER};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    /// A path of its own in the directory for temporary files.
    fn socket_path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("roomcast-{}-{name}", std::process::id()))
    }

    #[test]
    fn system_without_ipv6_gets_an_ipv4_listener() {
        let without_ipv6 = |address: SocketAddr, _| {
            let error = io::Error::from_raw_os_error(97);
            let address_shown = BoundAddress::Tcp(address);
            if address.is_ipv6() { Err(ListenError { address: address_shown, error }) } else { Ok(address) }
        };
        assert_eq!(on_every_interface(4000, without_ipv6).unwrap(), "0.0.0.0:4000".parse().unwrap());
        // A port in use is in use: the IPv4 half alone would hide that.
        let in_use = |address, _| {
            Err::<(), _>(ListenError { address: BoundAddress::Tcp(address), error: io::ErrorKind::AddrInUse.into() })
        };
        let error = on_every_interface(4000, in_use).unwrap_err();
        assert_eq!(error.address, BoundAddress::Tcp("[::]:4000".parse().unwrap()));
    }

    #[tokio::test]
    async fn listener_knows_its_protocol_and_is_bound_to_a_port() {
        for (url, protocol) in [
            ("tcp://127.0.0.1:0", ListenerProtocol::Raw),
            ("telnet://127.0.0.1:0", ListenerProtocol::Telnet),
            ("telnet://:0", ListenerProtocol::Telnet),
            ("tls://127.0.0.1:0", ListenerProtocol::Tls),
        ] {
            let listener = Listener::bind(&url.parse().unwrap(), None).unwrap();
            assert_eq!(listener.protocol(), protocol, "{url}");
            let shown = listener.address().to_string();
            assert!(shown.starts_with(url.split_once(':').unwrap().0) && !shown.ends_with(":0"), "{url}: {shown}");
        }
    }

    /// The connection is complete before the server has the socket, as during a restart.
    #[tokio::test]
    async fn connection_that_was_queued_on_an_activated_socket_gets_the_fixed_buffers() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bound = socket.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(bound).unwrap();
        let activated = ActivatedSockets::from_tcp(vec![("tcp", socket)]);
        let listen = vec![ListenAddress::Activated("tcp".to_owned()).into()];
        let settings = NetworkSettings { listen, ..NetworkSettings::default() };
        let (_, listener) = Listener::bind_all(&settings, activated, Vec::new()).unwrap().remove(0);
        assert!(listener.is_activated());
        let (stream, _) = listener.accept(|| Duration::from_secs(60)).await.unwrap();
        let socket = SockRef::from(&stream);
        let sizes = (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap());
        assert_eq!(sizes, (KERNEL_SEND_BUFFER, KERNEL_RECEIVE_BUFFER));
    }

    #[tokio::test]
    async fn telnet_listener_that_cannot_be_bound_names_its_url() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("telnet://{}", taken.local_addr().unwrap());
        let told = Listener::bind(&url.parse().unwrap(), None).unwrap_err().to_string();
        assert!(told.starts_with(&format!("can't listen on {url}: the port is in use")), "{told}");
    }

    #[tokio::test]
    async fn a_stale_socket_file_is_replaced_and_removed_at_the_end() {
        let path = socket_path("stale");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file");
        let listener = Listener::bind(&ListenAddress::Unix(path.clone()), Some(0o600)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let _client = UnixStream::connect(&path).unwrap();
        let (_, peer) = listener.accept(|| Duration::from_secs(60)).await.unwrap();
        assert!(peer.to_string().starts_with(&format!("unix:pid={},", std::process::id())), "{peer}");
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_that_is_in_use_or_no_socket_is_left_alone() {
        let used = socket_path("used");
        let _server = UnixListener::bind(&used).unwrap();
        let told = Listener::bind(&ListenAddress::Unix(used.clone()), None).unwrap_err().to_string();
        assert!(told.ends_with("a server listens there already: choose another path"), "{told}");
        let file = socket_path("file");
        fs::write(&file, "kept").unwrap();
        let told = Listener::bind(&ListenAddress::Unix(file.clone()), None).unwrap_err().to_string();
        assert!(told.contains("a file that is no socket is there"), "{told}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        fs::remove_file(file).unwrap();
        fs::remove_file(used).unwrap();
    }

    #[tokio::test]
    async fn the_file_of_another_server_is_not_removed() {
        let path = socket_path("other");
        let listener = Listener::bind(&ListenAddress::Unix(path.clone()), None).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_an_error() {
        let path = socket_path(&"x".repeat(200));
        assert!(Listener::bind(&ListenAddress::Unix(path), None).is_err());
    }
}
