//! Handed sockets: listeners and connections that another process of the server has passed to this one.

use crate::net::BoundAddress;
use crate::net::listener::{Listener, Listening};
use crate::net::socket_file::SocketFile;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::net::{TcpListener, TcpStream, UnixListener};

/// A listener that another process has passed.
#[derive(Debug)]
pub(crate) struct HandedListener {
    /// Where it is bound.
    pub(crate) address: BoundAddress,
    /// Whether a service manager has opened the socket, and removes its file.
    pub(crate) is_activated: bool,
    pub(crate) descriptor: OwnedFd,
}

impl HandedListener {
    /// Registers the listener with the runtime.
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn watch(self) -> io::Result<Listener> {
        let Self { address, is_activated, descriptor } = self;
        let io = match &address {
            BoundAddress::Unix(_) | BoundAddress::Activated(_) => Listening::Unix(watch_unix(descriptor)?),
            _ => Listening::Tcp(watch_tcp(descriptor)?),
        };
        let file = match &address {
            BoundAddress::Unix(path) if !is_activated => Some(SocketFile::handed(path)),
            _ => None,
        };
        Ok(Listener { file, io, address, proxy: None, is_activated })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.io {
            Listening::Tcp(listener) => listener.as_fd(),
            Listening::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Registers a TCP listener with the runtime.
///
/// # Errors
/// The system's error.
pub(crate) fn watch_tcp(descriptor: OwnedFd) -> io::Result<TcpListener> {
    TcpListener::from_std(descriptor.into())
}

/// Registers a Unix listener with the runtime.
///
/// # Errors
/// The system's error.
pub(super) fn watch_unix(descriptor: OwnedFd) -> io::Result<UnixListener> {
    UnixListener::from_std(descriptor.into())
}

/// Registers a connection's socket with the runtime, whatever its kind.
///
/// # Errors
/// The system's error.
pub(crate) fn watch_stream(descriptor: OwnedFd) -> io::Result<TcpStream> {
    TcpStream::from_std(descriptor.into())
}
