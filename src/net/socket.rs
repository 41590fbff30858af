//! Sockets: how the server listens, and what it sets on each connection.

use crate::config::Config;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::debug;

/// Connections that the kernel may hold ready to be accepted; it cuts this to `somaxconn`.
const ACCEPT_QUEUE: i32 = 4096;

/// How long a closed peer's input is still read, and thrown away.
///
/// A socket that is closed with input unread sends a reset, and the reset can overtake the
/// `ERROR` line (RFC 2525, section 2.17).
const LINGER: Duration = Duration::from_secs(1);

/// The most input that is thrown away, in bytes.
const LINGER_BYTES: usize = 16 << 20;

thread_local! {
    /// Where it goes. It belongs to the worker thread: thousands may be closed at a time.
    static DISCARDED: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {}", hint(.error))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said; a part of the message already, and so no source.
    pub error: io::Error,
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use, choose another one: roomcast <PORT>".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not allowed, ports below 1024 need a privilege: choose another one: roomcast <PORT>".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: see --bind".to_owned(),
        _ => error.to_string(),
    }
}

/// Listens on all addresses of `config`: one socket each, or one for every interface.
///
/// # Errors
/// When an address can't be listened on; the others are closed again.
pub(crate) fn listen(config: &Config) -> Result<Vec<TcpListener>, ListenError> {
    if config.bind.is_empty() {
        return everywhere(config.port, listen_on).map(|listener| vec![listener]);
    }
    config.bind.iter().map(|ip| listen_on(SocketAddr::new(*ip, config.port), true)).collect()
}

/// One socket for IPv4 and IPv6; for IPv4 alone where the system has no IPv6.
fn everywhere<T>(port: u16, listen_on: impl Fn(SocketAddr, bool) -> Result<T, ListenError>) -> Result<T, ListenError> {
    match listen_on(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), false) {
        Err(ListenError { error, .. }) if is_without_ipv6(&error) => {
            listen_on(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), true)
        }
        listener => listener,
    }
}

/// What a system without IPv6 says: no such address family, or no such address.
fn is_without_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT)
        || matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
}

fn listen_on(address: SocketAddr, v6_only: bool) -> Result<TcpListener, ListenError> {
    try_listen(address, v6_only).map_err(|error| ListenError { address, error })
}

fn try_listen(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // A server that is started again must not wait for the old one's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE)?;
    TcpListener::from_std(socket.into())
}

/// Sets what every connection needs. What the system refuses is left as it is: a connection
/// without keepalive is better than none, and one that is gone already is found by its first read.
pub(crate) fn set_options(stream: &TcpStream, config: &Config) {
    let dead = config.dead_timeout;
    let socket = SockRef::from(stream);
    // A machine that is gone is noticed while nothing is sent …
    let probe = (dead / 6).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time((dead / 2).max(probe)).with_interval(probe).with_retries(3);
    let options = [
        // Without it, Nagle's algorithm and delayed acknowledgements hold a line back for 40 ms.
        stream.set_nodelay(true),
        socket.set_tcp_keepalive(&keepalive),
        // Or the urgent byte of a telnet Synch would be taken out of the stream (RFC 854, page 8).
        socket.set_out_of_band_inline(true),
        // … and while something is: the kernel ends a peer that acknowledges nothing, or reads
        // nothing, for so long. That is why `Config::reconcile` has no longer stall timeout.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(dead)),
    ];
    if let Some(error) = options.into_iter().find_map(Result::err) {
        debug!(%error, "can't set an option of a socket");
    }
}

/// Ends our side of `socket`, then throws away what still comes if the peer may be sending.
pub(crate) async fn linger_close(socket: &TcpStream, sending: bool) {
    // It fails when the peer is gone already.
    if SockRef::from(socket).shutdown(Shutdown::Write).is_ok() && sending {
        // Time is up, or the peer has gone: either ends it.
        let _ = timeout(LINGER, discard_input(socket)).await;
    }
}

async fn discard_input(socket: &TcpStream) {
    let mut left = LINGER_BYTES;
    while left > 0 {
        if poll_fn(|context| socket.poll_read_ready(context)).await.is_err() {
            return;
        }
        match DISCARDED.with_borrow_mut(|discarded| socket.try_read(discarded)) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is set can be read back, at the defaults and with the longest time that the flags take.
    #[tokio::test]
    async fn a_connection_gets_its_options() {
        for (dead, idle, user) in [(60, 30, 60), (9 * 3600, 16_200, 9 * 3600), (1, 1, 1)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            set_options(&stream, &Config { dead_timeout: Duration::from_secs(dead), ..Config::default() });
            let socket = SockRef::from(&stream);
            assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap() && socket.out_of_band_inline().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(idle));
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(user)));
        }
    }

    #[test]
    fn where_ipv6_is_missing_ipv4_is_enough() {
        let without_ipv6 = |address: SocketAddr, _| {
            let error = io::Error::from_raw_os_error(97);
            if address.is_ipv6() { Err(ListenError { address, error }) } else { Ok(address) }
        };
        assert_eq!(everywhere(4000, without_ipv6).unwrap(), "0.0.0.0:4000".parse().unwrap());
        // A port in use is in use: the IPv4 half alone would hide that.
        let in_use = |address, _| Err::<(), _>(ListenError { address, error: io::ErrorKind::AddrInUse.into() });
        assert_eq!(everywhere(4000, in_use).unwrap_err().address, "[::]:4000".parse().unwrap());
    }
}
