//! The TLS acceptor: begins the TLS of each new connection with the certificate that is installed.

use crate::config::TlsFiles;
use crate::net::certificate::{CertificateError, TlsCertificate};
use crate::net::codec::TlsCodec;
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::Arc;

/// The certificate of a server's TLS listeners, which a reload may replace. Clones share it.
///
/// A reload is two steps: [`TlsAcceptor::prepare`] may fail and changes nothing, and [`TlsAcceptor::install`] can't fail. A
/// handshake that has begun keeps the certificate with which it began.
#[derive(Clone)]
pub struct TlsAcceptor(Arc<ArcSwap<TlsCertificate>>);

impl TlsAcceptor {
    /// Returns an acceptor with this certificate.
    #[must_use]
    pub fn new(certificate: TlsCertificate) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(certificate)))
    }

    /// Reads the files of a certificate and of its key, and checks that they can be installed.
    ///
    /// # Errors
    /// [`CertificateError`], as for [`TlsCertificate::read`].
    pub fn prepare(files: &TlsFiles) -> Result<TlsCertificate, CertificateError> {
        TlsCertificate::read(files)
    }

    /// Uses the certificate for all connections that are accepted from now on.
    pub fn install(&self, certificate: TlsCertificate) {
        self.0.store(Arc::new(certificate));
    }

    /// Returns the codec of a new connection.
    ///
    /// # Errors
    /// The error of rustls, for a configuration that no connection can have.
    pub(crate) fn begin(&self) -> Result<TlsCodec, rustls::Error> {
        let certificate = self.0.load();
        TlsCodec::new(certificate.config(), certificate.handshake_units())
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsAcceptor")
    }
}
