//! Arguments of TLS: the files of the certificate and of its key.

use roomcast::config::{NetworkSettings, SettingsError, TlsFiles};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct TlsArgs {
    /// A PEM file with the certificate chain of tls:// and wss:// listeners, the server's own certificate first
    #[arg(long, value_name = "FILE", env = "ROOMCAST_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// A PEM file with the private key of --tls-cert, without a passphrase
    #[arg(long, value_name = "FILE", env = "ROOMCAST_TLS_KEY")]
    tls_key: Option<PathBuf>,
}

impl TlsArgs {
    /// Returns `network` with the files that are given.
    pub(super) fn apply_to(self, mut network: NetworkSettings) -> Result<NetworkSettings, SettingsError> {
        network.tls = match (self.tls_cert, self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (Some(_), None) => return Err(SettingsError::TlsFile("--tls-cert", "--tls-key")),
            (None, Some(_)) => return Err(SettingsError::TlsFile("--tls-key", "--tls-cert")),
        };
        Ok(network)
    }
}
