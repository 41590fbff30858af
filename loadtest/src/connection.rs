//! A connection to the server: a socket and its unwritten bytes. Reads use the buffer of the thread.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::clock::Tick;
use crate::metrics::Metrics;

/// The most unwritten bytes of one connection. A server that leaves more of them unread cannot be measured.
pub(crate) const MAX_PENDING_BYTES: usize = 8 * 1024 * 1024;

/// The capacity that an empty buffer of unwritten bytes keeps. There are thousands of connections.
const KEPT_CAPACITY: usize = 4096;

/// Bytes of the buffer into which a thread reads all of its sockets.
pub(crate) const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Bytes of the receive buffer of a member that reads slowly. The kernel doubles this number; the bytes that it holds besides are
/// as if they were read.
pub(crate) const SLOW_RECEIVE_BUFFER: usize = 4096;

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
    pub(crate) pending: PendingBytes,
    /// The lines among these bytes, the oldest first.
    unwritten: VecDeque<UnwrittenLine>,
    /// Whether the socket accepted no more bytes at the last write. Nothing is written until it is writable again.
    blocked: bool,
    /// Whether the server has reset the connection.
    pub(crate) was_reset: bool,
}

/// A line whose last byte the socket has not accepted.
#[derive(Clone, Copy, Debug)]
struct UnwrittenLine {
    /// The number of bytes ever queued up to its last one.
    end: u64,
    /// The tick for which it was planned.
    planned: Tick,
}

/// Bytes that wait to be written. Bytes at the front are removed without moving the others each time.
#[derive(Debug, Default)]
pub(crate) struct PendingBytes {
    bytes: Vec<u8>,
    /// The number of bytes at the front that are written.
    written: usize,
    /// The number of bytes ever written.
    total_written: u64,
}

impl PendingBytes {
    /// Returns the bytes that wait.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Returns the buffer to which more bytes are appended.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the number of bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Returns the number of bytes ever queued.
    pub(crate) fn queued(&self) -> u64 {
        self.total_written + self.len() as u64
    }

    /// Returns whether no byte waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes `count` bytes from the front. The rest is moved only after at least as many bytes were written, so that
    /// all moves together cost no more than the writes.
    fn remove(&mut self, count: usize) {
        self.written += count;
        self.total_written += count as u64;
        if self.is_empty() {
            self.written = 0;
            if self.bytes.capacity() > KEPT_CAPACITY { self.bytes = Vec::new() } else { self.bytes.clear() }
        } else if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }
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
    /// Starts to connect, from the source address and with the receive buffer that are given.
    pub(crate) fn open(
        target: SocketAddr,
        (source, receive_buffer): (Option<Ipv4Addr>, Option<usize>),
        (room, member): (usize, usize),
        started: Tick,
    ) -> io::Result<Self> {
        let stream = start_connect(target, source, receive_buffer)?;
        Ok(Self {
            stream,
            room,
            member,
            started,
            connected: false,
            pending: PendingBytes::default(),
            unwritten: VecDeque::new(),
            blocked: false,
            was_reset: false,
        })
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
                Err(error) => {
                    self.was_reset = error.kind() == ErrorKind::ConnectionReset;
                    return ReadOutcome::Closed;
                }
            }
        }
    }

    /// Writes the pending bytes as far as the socket accepts them, unless it accepted none at the last write. The bytes
    /// of a broken connection stay pending: a read reports the close.
    pub(crate) fn flush(&mut self) {
        while self.connected && !self.blocked && !self.pending.is_empty() {
            match self.stream.write(self.pending.waiting()) {
                Ok(count) => self.pending.remove(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.blocked = true,
            }
        }
    }

    /// Writes the pending bytes of a socket that the poll has reported as writable.
    pub(crate) fn flush_writable(&mut self) {
        self.blocked = false;
        self.flush();
    }

    /// Notes that the bytes queued last are a line that was planned for a tick.
    pub(crate) fn note_line(&mut self, planned: Tick) {
        self.unwritten.push_back(UnwrittenLine { end: self.pending.queued(), planned });
    }

    /// Records the time from the planned time to the write of each line that the socket has accepted since the last call.
    pub(crate) fn record_written(&mut self, now: Tick, metrics: &mut Metrics) {
        let written = self.pending.total_written;
        while let Some(line) = self.unwritten.front().copied().filter(|line| line.end <= written) {
            self.unwritten.pop_front();
            if metrics.in_window(line.planned) {
                metrics.write_lag.record(now.saturating_sub(line.planned), 1);
            }
        }
    }

    /// Removes the bytes and lines that the socket has not accepted whole. Returns the number of lines.
    pub(crate) fn take_unwritten_lines(&mut self) -> usize {
        (self.pending.bytes, self.pending.written) = (Vec::new(), 0);
        std::mem::take(&mut self.unwritten).len()
    }

    /// Shuts the sending side down, which asks the server to close the connection.
    pub(crate) fn shutdown_write(&mut self) {
        // A shutdown of a broken connection fails, and needs no handling.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Enlarges a small receive buffer, so that the bytes which wait for a slow member arrive soon.
    pub(crate) fn enlarge_receive_buffer(&mut self) {
        // A socket that keeps its small buffer receives the same bytes, later.
        let _ = SockRef::from(&self.stream).set_recv_buffer_size(READ_BUFFER_BYTES);
    }

    /// Closes the connection at once, by a reset where `reset` is set. Bytes that the server has sent are not read.
    pub(crate) fn cut(self, reset: bool) {
        // The calls fail on a broken connection, which is cut already.
        if reset {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        } else {
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_bytes_are_removed_from_the_front() {
        let mut pending = PendingBytes::default();
        pending.buffer().extend_from_slice(b"0123456789");
        pending.remove(3);
        assert_eq!((pending.waiting(), pending.len()), (&b"3456789"[..], 7));
        pending.buffer().push(b'x');
        pending.remove(4);
        assert_eq!(pending.waiting(), b"789x");
        pending.remove(4);
        assert!(pending.is_empty());
    }

    #[test]
    fn removal_of_small_parts_moves_each_byte_a_few_times_only() {
        let (size, part) = (1 << 20, 64);
        let mut pending = PendingBytes::default();
        pending.buffer().resize(size, b'x');
        let mut moved = 0;
        while !pending.is_empty() {
            let before = pending.written;
            pending.remove(part);
            if pending.written < before {
                moved += pending.len();
            }
        }
        assert!(moved <= size, "{moved} bytes were moved to remove {size}");
    }
}
