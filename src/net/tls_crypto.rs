//! The cryptography of TLS: which ciphers and key exchanges are offered, and what a handshake with a key costs.
//!
//! The Cargo feature `aws-lc-rs` takes the cryptography of AWS-LC in place of ring's, and offers the hybrid key exchange
//! X25519MLKEM768 first: who records a connection today can't decrypt it with a quantum computer later.

use crate::limits::handshake_budget::HANDSHAKE_UNITS;
use rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as implementation;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as implementation;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{Error, ServerConfig, SignatureAlgorithm};
use std::sync::Arc;

/// The length of the `SubjectPublicKeyInfo` of a P-256 key, in bytes.
const P256_PUBLIC_KEY: usize = 91;

/// The bytes of the `SubjectPublicKeyInfo` of an RSA key that are not its modulus.
const RSA_OVERHEAD: usize = 38;

/// The bytes of a part of a modulus: 512 bits.
const RSA_PART: usize = 64;

/// The units of an RSA signature for the cube of the number of parts. On the machine of the measurement, where a P-256
/// signature takes 24 µs and an Ed25519 signature 41 µs, ring takes 0.6 to 0.9 ms for 2,048 bits, 2.0 ms for 3,072 and 4.6
/// ms for 4,096; AWS-LC takes half of that.
const RSA_PART_UNITS: u32 = 2;

/// The units of a P-384 or P-521 signature beyond those of a P-256 one: 440 µs with ring, 90 and 180 µs with AWS-LC.
const LONG_ECDSA_UNITS: u32 = 90;

/// The length of the `SubjectPublicKeyInfo` that is assumed of a key that does not tell it: that of RSA with 4,096 bits.
const LONGEST_PUBLIC_KEY: usize = RSA_OVERHEAD + 8 * RSA_PART;

/// Returns the ciphers and key exchanges that are offered. The client chooses among the key exchanges, and P-384 costs the
/// server several times what a handshake is charged.
pub(super) fn provider() -> CryptoProvider {
    let kx_groups = vec![
        #[cfg(feature = "aws-lc-rs")]
        implementation::kx_group::X25519MLKEM768,
        implementation::kx_group::X25519,
        implementation::kx_group::SECP256R1,
    ];
    CryptoProvider { kx_groups, ..implementation::default_provider() }
}

/// Returns the configuration of connections with this certificate, and the units of each handshake: TLS 1.2 and 1.3,
/// without session tickets, which save nothing here and take memory.
///
/// # Errors
/// The error of rustls, for a key that can't be used or that is not the certificate's.
pub(super) fn configure(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
) -> Result<(ServerConfig, u32), Error> {
    let certified = CertifiedKey::from_der(chain, key, &provider)?;
    let units = handshake_units(&*certified.key);
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok((config, units))
}

/// Returns the units of a handshake with this key. They are known without a trial, so that a busy machine at the start
/// charges no more.
fn handshake_units(key: &dyn SigningKey) -> u32 {
    let public_key = key.public_key().map_or(LONGEST_PUBLIC_KEY, |public_key| public_key.len());
    HANDSHAKE_UNITS + signature_units(key.algorithm(), public_key)
}

/// Returns the units of a signature beyond those of a P-256 or Ed25519 key. `public_key` is the length of the
/// `SubjectPublicKeyInfo` in bytes.
fn signature_units(algorithm: SignatureAlgorithm, public_key: usize) -> u32 {
    match algorithm {
        SignatureAlgorithm::ED25519 => 0,
        SignatureAlgorithm::ECDSA if public_key <= P256_PUBLIC_KEY => 0,
        SignatureAlgorithm::ECDSA => LONG_ECDSA_UNITS,
        // The time grows with the cube of the length. An unknown kind costs as much as an RSA key of that length.
        _ => {
            let parts = public_key.saturating_sub(RSA_OVERHEAD).div_ceil(RSA_PART);
            let parts = u32::try_from(parts).unwrap_or(u32::MAX);
            parts.saturating_pow(3).saturating_mul(RSA_PART_UNITS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_charged_by_the_kind_and_the_length_of_the_key() {
        for (algorithm, public_key, units) in [
            (SignatureAlgorithm::ED25519, 44, 0),
            (SignatureAlgorithm::ECDSA, 91, 0),
            (SignatureAlgorithm::ECDSA, 120, 90),
            (SignatureAlgorithm::ECDSA, 158, 90),
            (SignatureAlgorithm::RSA, 294, 128),
            (SignatureAlgorithm::RSA, 422, 432),
            (SignatureAlgorithm::RSA, 550, 1_024),
            (SignatureAlgorithm::RSA, 1_062, 8_192),
            (SignatureAlgorithm::Unknown(7), LONGEST_PUBLIC_KEY, 1_024),
            (SignatureAlgorithm::RSA, 0, 0),
            (SignatureAlgorithm::RSA, usize::MAX, u32::MAX),
        ] {
            assert_eq!(signature_units(algorithm, public_key), units, "{algorithm:?} with {public_key} bytes");
        }
    }
}
