//! The files of a server's TLS certificate and key.

use std::path::PathBuf;

/// The PEM files with which a server proves its identity on `tls://` listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
}
