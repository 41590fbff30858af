//! One connection to the server: a socket and what it has yet to write. Reading needs no memory of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Tick;

/// Bytes that one connection may have yet to write: a server that leaves more of them unread cannot be measured.
pub(crate) const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of the buffer into which a thread reads all of its sockets.
pub(crate) const READ_BUFFER_BYTES: usize = 256 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket.
    stream: TcpStream,
    /// Its room, in its worker's numbering.
    pub(crate) room: usize,
    /// Its place in the room.
    pub(crate) member: usize,
    /// When it began to connect.
    pub(crate) started: Tick,
    /// Whether it stands: until then nothing can be written.
    pub(crate) connected: bool,
    /// Bytes that the socket did not take yet.
    pub(crate) pending: Vec<u8>,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// So many bytes; there may be more if the buffer was filled.
    Bytes(usize),
    /// Nothing for now.
    WouldBlock,
    /// The end: the server closed, or the connection broke.
    Closed,
}

impl Connection {
    /// Begins to connect, from the given source address if there is one.
    pub(crate) fn open(
        target: SocketAddr,
        source: Option<Ipv4Addr>,
        (room, member): (usize, usize),
        started: Tick,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) && error.kind() != ErrorKind::WouldBlock => {
                return Err(error);
            }
            _ => {}
        }
        let stream = TcpStream::from_std(socket.into());
        Ok(Self { stream, room, member, started, connected: false, pending: Vec::new() })
    }

    /// The socket, to be registered with a poll.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Whether the connection stands by now.
    ///
    /// # Errors
    /// When it was refused or failed otherwise.
    pub(crate) fn check_connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.connected = self.stream.peer_addr().is_ok();
        Ok(self.connected)
    }

    /// Reads once.
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

    /// Writes what is pending, as far as the socket takes it; memory is given back once all is written.
    /// What a broken connection doesn't take stays pending: reading finds the end.
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

    /// Says that nothing more will be sent; the server is to end the connection.
    pub(crate) fn shutdown_write(&mut self) {
        // A connection that is broken already needs no goodbye.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}

/// `EINPROGRESS` on Linux: a non-blocking connect has begun.
const IN_PROGRESS: i32 = 115;

/// The source address of a connection: spread over 127/8 when the server is there, so that ports suffice.
pub(crate) fn source_address(target: SocketAddr, number: usize, sources: u8) -> Option<Ipv4Addr> {
    match target.ip() {
        IpAddr::V4(ip) if ip.is_loopback() && sources > 1 => {
            let last = u8::try_from(number % usize::from(sources)).unwrap_or(0);
            Some(Ipv4Addr::new(127, 0, 0, 1 + last))
        }
        _ => None,
    }
}
