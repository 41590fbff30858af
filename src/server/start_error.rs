//! Why a server does not start.

use crate::cluster::ClusterError;
use crate::net::{CertificateError, ListenError};

/// Why a server does not start. Shown, it says what to do about that.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file of the TLS certificate can't be used: a mistake in the settings.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server can't be part of its cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A server of another process can't be taken over.
    #[error("{0}")]
    Handover(String),
}
