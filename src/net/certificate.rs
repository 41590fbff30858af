//! Certificates: reads a certificate chain and its key from PEM files, and refuses what no client would accept.

use crate::config::TlsFiles;
use crate::net::tls_crypto::{configure, provider};
use crate::text::text_file::open_text_file;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{Error, RootCertStore, ServerConfig};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest file of a certificate or a key, in bytes. A chain takes some kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// A certificate chain with its key, ready to be used.
#[derive(Clone)]
pub struct TlsCertificate {
    config: Arc<ServerConfig>,
    /// The units of a handshake in [`HandshakeBudget`](crate::limits::handshake_budget::HandshakeBudget).
    handshake_units: u32,
}

/// A certificate or a key that can't be used. Shown, it names the flag, the file and what is wanted.
#[derive(Debug)]
pub struct CertificateError {
    file: PemFile,
    path: PathBuf,
    problem: Problem,
}

/// Which of the two files has a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PemFile {
    Certificate,
    Key,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}: name a PEM file that can be read")]
    Unreadable(io::Error),
    #[error("the file is longer than {}KiB: name a PEM file", MAX_FILE >> 10)]
    TooLong,
    #[error("the file is no valid PEM text: a block from -----BEGIN {0}----- to -----END {0}----- is wanted")]
    NotPem(&'static str),
    #[error("the file holds no certificate: a block that begins with -----BEGIN CERTIFICATE----- is wanted")]
    NoCertificate,
    #[error(
        "the file holds no private key: a block that begins with -----BEGIN PRIVATE KEY----- is wanted, without a \
         passphrase"
    )]
    NoKey,
    #[error("the first certificate can't be parsed: an X.509 certificate is wanted")]
    BadCertificate,
    #[error("the certificate expired on {0}: renew it")]
    Expired(Date),
    #[error("the certificate is not valid before {0}: check the clock of this machine, or use another certificate")]
    NotYetValid(Date),
    #[error("the key can't be used: an RSA, ECDSA (P-256, P-384) or Ed25519 key is wanted")]
    BadKey,
    #[error("the key does not belong to the certificate in {}: name the key that the certificate was made for", quote(.0))]
    Mismatch(PathBuf),
}

/// A point in time, shown in UTC.
#[derive(Debug)]
struct Date(UnixTime);

impl TlsCertificate {
    /// Reads the files of a certificate chain and of its key, and checks that they belong together and that the first
    /// certificate is valid now.
    ///
    /// # Errors
    /// [`CertificateError`] for the first problem.
    pub fn read(files: &TlsFiles) -> Result<Self, CertificateError> {
        Self::read_at(files, UnixTime::now())
    }

    /// Reads the files as [`TlsCertificate::read`] does, at the time `now`.
    fn read_at(files: &TlsFiles, now: UnixTime) -> Result<Self, CertificateError> {
        let provider = Arc::new(provider());
        let of_certificate = |problem| CertificateError::new(PemFile::Certificate, files, problem);
        let chain = read_chain(&files.certificate).map_err(of_certificate)?;
        check_validity(&chain, &provider, now).map_err(of_certificate)?;
        let key = read_key(&files.key).map_err(|problem| CertificateError::new(PemFile::Key, files, problem))?;
        let configured = configure(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                CertificateError::new(PemFile::Key, files, Problem::Mismatch(files.certificate.clone()))
            }
            Error::InvalidCertificate(_) => of_certificate(Problem::BadCertificate),
            _ => CertificateError::new(PemFile::Key, files, Problem::BadKey),
        })?;
        let (config, handshake_units) = configured;
        Ok(Self { config: Arc::new(config), handshake_units })
    }

    /// Returns the configuration of the connections that use the certificate.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Returns the units of a handshake with the certificate, which depend on its kind of key.
    pub(super) fn handshake_units(&self) -> u32 {
        self.handshake_units
    }
}

impl fmt::Debug for TlsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsCertificate")
    }
}

impl CertificateError {
    fn new(file: PemFile, files: &TlsFiles, problem: Problem) -> Self {
        let path = match file {
            PemFile::Certificate => &files.certificate,
            PemFile::Key => &files.key,
        };
        Self { file, path: path.clone(), problem }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = match self.file {
            PemFile::Certificate => "--tls-cert",
            PemFile::Key => "--tls-key",
        };
        write!(f, "{flag} {}: {}", quote(&self.path), self.problem)
    }
}

impl std::error::Error for CertificateError {}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.0.as_secs())) {
            Some(time) => humantime::format_rfc3339_seconds(time).fmt(f),
            None => f.write_str("a date that can't be shown"),
        }
    }
}

/// Returns a path as one line.
fn quote(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// Returns the bytes of a file.
fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let read = open_text_file(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(Problem::Unreadable(error)),
        Ok(count) if count as u64 > MAX_FILE => Err(Problem::TooLong),
        Ok(_) => Ok(bytes),
    }
}

/// Returns the certificates of a PEM file, at least one.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read_file(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(Problem::NoCertificate),
        Ok(chain) => Ok(chain),
        Err(_) => Err(Problem::NotPem("CERTIFICATE")),
    }
}

/// Returns the first private key of a PEM file.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_slice(&read_file(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => Problem::NoKey,
        _ => Problem::NotPem("PRIVATE KEY"),
    })
}

/// Checks that the first certificate of a chain is valid at the time `now`.
///
/// The verification checks the dates before it looks for an issuer. Without a trusted root it always ends in an error, and
/// only the dates are of interest here.
fn check_validity(chain: &[CertificateDer<'_>], provider: &CryptoProvider, now: UnixTime) -> Result<(), Problem> {
    let certificate = chain.first().ok_or(Problem::NoCertificate)?;
    let certificate = ParsedCertificate::try_from(certificate).map_err(|_| Problem::BadCertificate)?;
    let algorithms = provider.signature_verification_algorithms.all;
    let verified =
        verify_server_cert_signed_by_trust_anchor(&certificate, &RootCertStore::empty(), &[], now, algorithms);
    match verified {
        Err(Error::InvalidCertificate(rustls::CertificateError::ExpiredContext { not_after, .. })) => {
            Err(Problem::Expired(Date(not_after)))
        }
        Err(Error::InvalidCertificate(rustls::CertificateError::NotValidYetContext { not_before, .. })) => {
            Err(Problem::NotYetValid(Date(not_before)))
        }
        Err(Error::InvalidCertificate(rustls::CertificateError::BadEncoding)) => Err(Problem::BadCertificate),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "certificate/tests.rs"]
mod tests;
