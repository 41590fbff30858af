//! A connection's socket: TCP or Unix, read and written without waiting, with the permit that it counts as.

use crate::limits::address_budget::AddressBudget;
use crate::limits::connection_permit::ConnectionPermit;
use crate::limits::memory::MemoryBudget;
use crate::peer::byte_sink::ByteSink;
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket.
///
/// The permit lives beside the descriptor and is dropped after it: a delivery pass may keep a peer alive for a
/// moment longer than its connection, and a place is free only when its descriptor is.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Any stream socket. The server uses only readiness and reads of tokio's type, which are the same for TCP and Unix
    /// sockets; an enum of both would cost each quiet peer 8 bytes.
    stream: TcpStream,
    permit: ConnectionPermit,
}

impl Socket {
    /// Returns a socket that counts as `permit` until its descriptor is closed.
    pub(crate) fn new(stream: TcpStream, permit: ConnectionPermit) -> Self {
        Self { stream, permit }
    }

    /// Returns the budget of the peer's address.
    pub(crate) fn address_budget(&self) -> &AddressBudget {
        self.permit.address_budget()
    }

    /// Returns the stream.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits until the socket may be readable. An error is found again, and named, by the read.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let _ = ready!(self.stream.poll_read_ready(context));
        Poll::Ready(())
    }

    /// Waits until the socket may take bytes.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        let _ = ready!(self.stream.poll_write_ready(context));
        Poll::Ready(())
    }

    /// Reads some bytes; 0 at the end of the input.
    ///
    /// # Errors
    /// `WouldBlock` when there are none now; anything else ends the connection.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
    }

    /// Reads some bytes that the system has received, as [`Socket::try_read`] does, whether or not the runtime knows
    /// that the socket is readable.
    ///
    /// # Errors
    /// `WouldBlock` when there are none; anything else ends the connection.
    pub(crate) fn read_received(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*SockRef::from(&self.stream)).read(buffer)
    }

    /// Returns the first byte that the system has received, which the next read finds again; `None` at the end of the input.
    ///
    /// # Errors
    /// `WouldBlock` when there is none: the runtime reports when one comes. Anything else ends the connection.
    pub(crate) fn peek_received(&self) -> io::Result<Option<u8>> {
        let peek = || -> io::Result<Option<u8>> {
            let mut first = [0];
            let (count, _) = recv(&self.stream, &mut first[..], RecvFlags::PEEK)?;
            Ok((count > 0).then_some(first[0]))
        };
        match peek() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.try_io(Interest::READABLE, peek),
            done => done,
        }
    }

    /// Returns whether the socket has a peer; one that was reset has none.
    pub(crate) fn is_connected(&self) -> bool {
        SockRef::from(&self.stream).peer_addr().is_ok()
    }
}

/// Registers a Unix stream as a stream of the type that [`Socket`] has.
///
/// # Errors
/// When the system can't watch the descriptor.
pub(super) fn from_unix(stream: UnixStream) -> io::Result<TcpStream> {
    let descriptor = OwnedFd::from(stream.into_std()?);
    TcpStream::from_std(descriptor.into())
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl ByteSink for Socket {
    /// Writes straight to the system: the runtime's readiness of a socket would cost one more access to memory on each
    /// delivery. The runtime is asked only when the socket takes nothing, so that it reports when that changes.
    /// (A Rust program gets an error for a broken pipe, and no signal.)
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match SockRef::from(&self.stream).send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.try_write(bytes),
            done => done,
        }
    }

    fn charge_membership_change(&self, deliveries: u32) {
        self.address_budget().charge_membership_change(deliveries, Instant::now());
    }

    fn memory(&self) -> Option<&Arc<MemoryBudget>> {
        Some(self.permit.memory())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::connection_permit::tests::slots;
    use std::io::Read;
    use std::os::unix::net::UnixStream as BlockingStream;

    #[tokio::test]
    async fn a_place_is_free_only_when_its_descriptor_is() {
        let (server, mut slots) = slots(1, 1);
        let (ours, mut theirs) = BlockingStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let permit = ConnectionPermit::try_acquire(slots.pop().unwrap()).unwrap();
        let socket = Socket::new(from_unix(UnixStream::from_std(ours).unwrap()).unwrap(), permit);
        assert_eq!(socket.try_write(b"hi").unwrap(), 2);
        assert_eq!(server.free_places(), 0);
        drop(socket);
        assert_eq!(server.free_places(), 1);
        let mut read = Vec::new();
        assert_eq!(theirs.read_to_end(&mut read).unwrap(), 2, "the descriptor is closed");
    }
}
