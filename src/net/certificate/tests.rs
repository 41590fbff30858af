//! Tests of certificates and keys from files: each kind of bad file, and its one line.

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own in the folder for temporary files, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roomcast-certificate-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Writes two files; returns their paths.
    fn write(&self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> TlsFiles {
        let files = TlsFiles { certificate: self.0.join("cert.pem"), key: self.0.join("key.pem") };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        files
    }

    /// Reads two files; returns the error, with the folder left out.
    fn error(&self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> String {
        self.error_of(&self.write(certificate, key))
    }

    fn error_of(&self, files: &TlsFiles) -> String {
        let told = TlsCertificate::read(files).unwrap_err().to_string();
        assert!(!told.contains('\n'), "{told}");
        told.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Returns a certificate and its key as PEM text, valid between two years.
fn made(from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn certificate_and_its_key_are_read_and_no_ticket_is_offered() {
    let (folder, (certificate, key)) = (Folder::new(), made(2000, 4000));
    let config = TlsCertificate::read(&folder.write(&certificate, &key)).unwrap().config();
    assert_eq!(config.send_tls13_tickets, 0);
    assert!(!config.session_storage.can_cache());
    // Text around the blocks, both in one file, and a chain.
    let both = format!("A chain\n{certificate}and its key\n{key}{certificate}");
    TlsCertificate::read(&folder.write(&both, &both)).unwrap();
}

#[test]
fn handshake_with_an_rsa_certificate_is_charged_for_its_signature() {
    let folder = Folder::new();
    let units = |key: KeyPair| {
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let files = folder.write(certificate.pem(), key.serialize_pem());
        TlsCertificate::read(&files).unwrap().handshake_units()
    };
    assert_eq!(units(KeyPair::generate().unwrap()), 60);
    assert_eq!(units(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()), 150);
    assert_eq!(units(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()), 60);
    assert_eq!(units(KeyPair::from_pem(include_str!("rsa-2048.pem")).unwrap()), 188);
}

#[test]
fn file_that_can_not_be_read_is_named() {
    let (folder, (certificate, key)) = (Folder::new(), made(2000, 4000));
    let files = folder.write(&certificate, &key);
    fs::remove_file(&files.key).unwrap();
    let expected = "--tls-key key.pem: No such file or directory (os error 2): name a PEM file that can be read";
    assert_eq!(folder.error_of(&files), expected);
    let files = TlsFiles { certificate: folder.0.join(""), key: files.key };
    assert!(folder.error_of(&files).contains("it is a directory"));
    let told = folder.error(vec![b'x'; (1 << 20) + 1], key);
    assert_eq!(told, "--tls-cert cert.pem: the file is longer than 1024KiB: name a PEM file");
}

#[test]
fn file_without_pem_and_empty_chain_are_named() {
    let (folder, (certificate, key)) = (Folder::new(), made(2000, 4000));
    let none = "--tls-cert cert.pem: the file holds no certificate: a block that begins with -----BEGIN CERTIFICATE----- is wanted";
    for text in ["", "no PEM\n", "\u{0}\u{1}", &*key] {
        assert_eq!(folder.error(text, &key), none, "{text:?}");
    }
    for key in ["", "no PEM\n", &*certificate] {
        let told = folder.error(&certificate, key);
        assert!(told.starts_with("--tls-key key.pem: the file holds no private key: "), "{told}");
    }
    let (cut, _) = certificate.split_at(certificate.len() / 2);
    let told = folder.error(cut, &key);
    assert!(told.starts_with("--tls-cert cert.pem: the file is no valid PEM text: a block from"), "{told}");
    let garbled = certificate.replacen("MII", "M*I", 1);
    let told = folder.error(garbled, &key);
    assert!(told.starts_with("--tls-cert cert.pem: the file is no valid PEM text"), "{told}");
    let told = folder.error(&certificate, &key[..key.len() / 2]);
    assert!(
        told.starts_with("--tls-key key.pem: the file is no valid PEM text: a block from -----BEGIN PRIVATE"),
        "{told}"
    );
}

#[test]
fn block_that_is_no_certificate_or_no_key_is_named() {
    let (folder, (certificate, key)) = (Folder::new(), made(2000, 4000));
    let told = folder.error("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key);
    assert_eq!(told, "--tls-cert cert.pem: the first certificate can't be parsed: an X.509 certificate is wanted");
    let told = folder.error(&certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert!(told.starts_with("--tls-key key.pem: the key can't be used: an RSA, ECDSA"), "{told}");
}

#[test]
fn key_of_another_certificate_is_named_with_both_files() {
    let (folder, (certificate, _), (_, key)) = (Folder::new(), made(2000, 4000), made(2000, 4000));
    let told = folder.error(certificate, key);
    assert_eq!(
        told,
        "--tls-key key.pem: the key does not belong to the certificate in cert.pem: name the key that the certificate was \
         made for"
    );
}

#[test]
fn certificate_outside_of_its_time_is_named_with_the_date() {
    let folder = Folder::new();
    let (certificate, key) = made(2000, 2020);
    let told = folder.error(certificate, key);
    assert_eq!(told, "--tls-cert cert.pem: the certificate expired on 2020-01-01T00:00:00Z: renew it");
    let (certificate, key) = made(3000, 4000);
    let told = folder.error(certificate, key);
    assert!(
        told.starts_with("--tls-cert cert.pem: the certificate is not valid before 3000-01-01T00:00:00Z: "),
        "{told}"
    );
}

#[test]
fn certificate_is_valid_until_its_last_second() {
    let (folder, (certificate, key)) = (Folder::new(), made(2000, 2030));
    let files = folder.write(certificate, key);
    let last = UnixTime::since_unix_epoch(Duration::from_secs(1_893_456_000));
    assert!(TlsCertificate::read_at(&files, last).is_ok());
    let next = UnixTime::since_unix_epoch(Duration::from_secs(1_893_456_001));
    assert!(TlsCertificate::read_at(&files, next).is_err());
}
