//! A connection to the server: a socket and its unwritten bytes. Reads use the buffer of the thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Tick;

/// The most unwritten bytes of one connection. A server that leaves more of them unread cannot be measured.
pub(crate) const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of the buffer into which a thread reads all of its sockets.
pub(crate) const READ_BUFFER_BYTES: usize = 256 * 1024;

/// A connection to the server.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket.
    stream: TcpStream,
    /// The index of the connection's room in its worker.
    pub(crate) room: usize,
    /// The index of the connection among the members of its room.
    pub(crate) member: usize,
    /// The tick at which connecting started.
    pub(crate) started: Tick,
    /// Whether the connection is established. Nothing is written before.
    pub(crate) connected: bool,
    /// Bytes that the socket has not accepted yet.
    pub(crate) pending: Vec<u8>,
}

/// The outcome of a read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// The number of bytes read. More bytes may follow where the buffer is full.
    Bytes(usize),
    /// No bytes are available.
    WouldBlock,
    /// The server closed the connection, or it broke.
    Closed,
}

impl Connection {
    /// Starts to connect, from the source address if one is given.
    pub(crate) fn open(
        target: SocketAddr,
        source: Option<Ipv4Addr>,
        (room, member): (usize, usize),
        started: Tick,
    ) -> io::Result<Self> {
        let stream = start_connect(target, source, None)?;
        Ok(Self { stream, room, member, started, connected: false, pending: Vec::new() })
    }

    /// Returns the socket, for registration with a poll.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Checks whether the connection is established.
    ///
    /// # Errors
    /// Fails when the connection was refused or broke.
    pub(crate) fn check_connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.connected = self.stream.peer_addr().is_ok();
        Ok(self.connected)
    }

    /// Reads once into `buffer`.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return ReadOutcome::Closed,
                Ok(count) => return ReadOutcome::Bytes(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return ReadOutcome::WouldBlock,
                Err(_) => return ReadOutcome::Closed,
            }
        }
    }

    /// Writes the pending bytes as far as the socket accepts them. Frees a large buffer after the last byte. The bytes
    /// of a broken connection stay pending: a read reports the close.
    pub(crate) fn flush(&mut self) {
        let mut written = 0;
        while self.connected && written < self.pending.len() {
            match self.stream.write(&self.pending[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if written == self.pending.len() && self.pending.capacity() > 4096 {
            self.pending = Vec::new();
        } else {
            self.pending.drain(..written);
        }
    }

    /// Shuts the sending side down, which asks the server to close the connection.
    pub(crate) fn shutdown_write(&mut self) {
        // A shutdown of a broken connection fails, and needs no handling.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}

/// `EINPROGRESS` on Linux: a non-blocking connect has started.
const IN_PROGRESS: i32 = 115;

/// Starts to connect a socket that does not block, from the source address and with the receive buffer that are given.
///
/// # Errors
/// Fails when the system has no descriptor or port left, or refuses the connection at once.
pub(crate) fn start_connect(
    target: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) && error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Returns the source address of a connection. Loads on 127/8 spread over several addresses, because each has its own
/// ports.
pub(crate) fn source_address(target: SocketAddr, number: usize, sources: u8) -> Option<Ipv4Addr> {
    match target.ip() {
        IpAddr::V4(ip) if ip.is_loopback() && sources > 1 => {
            let last = u8::try_from(number % usize::from(sources)).unwrap_or(0);
            Some(Ipv4Addr::new(127, 0, 0, 1 + last))
        }
        _ => None,
    }
}
