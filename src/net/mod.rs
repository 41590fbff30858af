//! Net: sockets, how the server listens on them, and what transforms a transport's bytes.
//!
//! System calls on sockets live here. Nothing here knows a line, a room or a member: the one thing shared with
//! the layers below is [`ByteSink`](crate::peer::byte_sink::ByteSink), which a socket is.

mod activation;
mod address;
mod certificate;
pub(crate) mod codec;
mod handed;
mod linger;
mod listener;
mod local_listener;
mod proxy_header;
mod socket;
mod socket_file;
mod socket_options;
mod tls_acceptor;
mod tls_crypto;

pub use activation::{ActivatedSockets, ActivatedSocketsError};
pub(crate) use address::PeerAddress;
pub use address::{BoundAddress, BoundListener};
pub use certificate::{CertificateError, TlsCertificate};
pub(crate) use handed::{HandedListener, watch_stream, watch_tcp};
pub(crate) use linger::{linger_close, linger_close_stream};
pub use listener::ListenError;
pub(crate) use listener::{ACCEPT_QUEUE, Listener, ListenerProtocol, listen_for_metrics};
pub(crate) use local_listener::{LocalListener, LocalPeer};
pub(crate) use proxy_header::{ProxyHeaderError, read_proxy_header};
pub(crate) use socket::Socket;
pub use tls_acceptor::TlsAcceptor;
