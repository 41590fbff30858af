//! Tests of the TLS codec against the client of rustls, in memory.

use super::*;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use std::io::{ErrorKind, Read, Write};
use std::sync::LazyLock;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A self-signed certificate for `localhost`, and its key.
static CERTIFICATE: LazyLock<(CertificateDer<'static>, PrivateKeyDer<'static>)> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
});

/// The configuration of the server. The tests of the certificate's files have that of a real server.
static CONFIG: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let (certificate, key) = &*CERTIFICATE;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certificate.clone()], key.clone_key()).unwrap();
    config.send_tls13_tickets = 0;
    Arc::new(config)
});

/// A codec and a client that are connected by calls alone.
struct Pair {
    codec: TlsCodec,
    client: ClientConnection,
    /// The bytes that the codec has decoded.
    plain: Vec<u8>,
    /// The bytes that the client has decrypted.
    seen: Vec<u8>,
}

impl Pair {
    /// Returns a pair whose client trusts `roots`, before the first byte.
    fn trusting(version: &'static SupportedProtocolVersion, roots: RootCertStore) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let codec = TlsCodec::new(Arc::clone(&CONFIG), 60).unwrap();
        Self { codec, client, plain: Vec::new(), seen: Vec::new() }
    }

    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CERTIFICATE.0.clone()).unwrap();
        Self::trusting(version, roots)
    }

    /// Returns a pair after its handshake.
    fn open(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::new(version);
        pair.exchange(usize::MAX).unwrap();
        assert!(pair.codec.is_open() && !pair.client.is_handshaking());
        pair
    }

    /// Returns the bytes that the client wants to send.
    fn client_bytes(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        wire
    }

    /// Decodes bytes; returns what the codec says of them, and gives its reply to the client.
    fn decode(&mut self, mut wire: Vec<u8>) -> Result<Inbound, CodecError> {
        loop {
            let decoded = self.decode_once(&mut wire)?;
            if decoded.inbound != Inbound::Waiting {
                return Ok(decoded.inbound);
            }
            wire.clear();
        }
    }

    /// Decodes bytes by one call, and gives the codec's reply to the client.
    fn decode_once(&mut self, wire: &mut [u8]) -> Result<Decoded, CodecError> {
        let mut reply = Vec::new();
        let decoded = self.codec.decode(wire, &mut self.plain, &mut reply);
        let _ = self.give(&reply, usize::MAX);
        decoded
    }

    /// Gives bytes to the client, in two parts.
    fn give(&mut self, wire: &[u8], cut: usize) -> Result<(), Error> {
        let (first, second) = wire.split_at(cut.min(wire.len()));
        for mut part in [first, second] {
            while !part.is_empty() {
                self.client.read_tls(&mut part).unwrap();
                self.client.process_new_packets()?;
                let mut buffer = [0; 4_096];
                while let Ok(count @ 1..) = self.client.reader().read(&mut buffer) {
                    self.seen.extend_from_slice(&buffer[..count]);
                }
            }
        }
        Ok(())
    }

    /// Exchanges bytes until the client has nothing to send; each of its flights comes in two parts.
    fn exchange(&mut self, cut: usize) -> Result<(), CodecError> {
        loop {
            let flight = self.client_bytes();
            if flight.is_empty() {
                return Ok(());
            }
            let (first, second) = flight.split_at(cut.min(flight.len()));
            for part in [first, second] {
                self.decode(part.to_vec())?;
            }
        }
    }

    fn encode(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        self.codec.encode(plain, &mut wire).unwrap();
        wire
    }
}

#[test]
fn handshake_and_first_line_are_decoded_wherever_they_are_cut() {
    for version in VERSIONS {
        let hello = Pair::new(version).client_bytes().len();
        for cut in 0..=hello {
            let mut pair = Pair::new(version);
            pair.client.writer().write_all(b"JOIN lobby alice\n").unwrap();
            pair.exchange(cut).unwrap();
            assert!(pair.codec.is_open(), "cut at {cut}");
            assert_eq!(pair.plain, b"JOIN lobby alice\n", "cut at {cut}");
            assert_eq!(pair.codec.held_bytes(), 0, "a quiet peer keeps a buffer");
        }
    }
}

#[test]
fn lines_are_decoded_at_every_cut_of_their_records() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.writer().write_all(b"one\ntwo\n").unwrap();
        let longest = pair.client_bytes().len();
        for cut in 0..=longest {
            let mut pair = Pair::open(version);
            pair.client.writer().write_all(b"one\ntwo\n").unwrap();
            let wire = pair.client_bytes();
            assert_eq!(pair.decode(wire[..cut].to_vec()), Ok(Inbound::Open));
            let is_whole = cut == longest;
            assert_eq!(pair.codec.held_bytes() > 0, cut > 0 && !is_whole, "cut at {cut}");
            assert_eq!(pair.decode(wire[cut..].to_vec()), Ok(Inbound::Open));
            assert_eq!((pair.plain.as_slice(), pair.codec.held_bytes()), (&b"one\ntwo\n"[..], 0), "cut at {cut}");
        }
    }
}

#[test]
fn encoded_lines_reach_the_client_wherever_they_are_cut() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        for cut in 0..=64 {
            let wire = pair.encode(b"bob: hi\n");
            pair.give(&wire, cut).unwrap();
            assert_eq!(std::mem::take(&mut pair.seen), b"bob: hi\n", "cut at {cut}");
        }
    }
}

#[test]
fn long_lines_pass_both_ways_in_several_records() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let text = [vec![b'x'; 100_000], b"\n".to_vec()].concat();
        let wire = pair.encode(&text);
        pair.give(&wire, 17_000).unwrap();
        assert_eq!(pair.seen.len(), text.len());
        // The client's own buffer holds 64 KiB.
        for part in text.chunks(20_000) {
            pair.client.writer().write_all(part).unwrap();
            let mut wire = pair.client_bytes();
            while !wire.is_empty() {
                let rest = wire.split_off(pair.codec.read_capacity().min(16 << 10).min(wire.len()));
                assert_eq!(pair.decode(wire), Ok(Inbound::Open));
                assert!(pair.codec.held_bytes() <= MAX_RECORD, "{}", pair.codec.held_bytes());
                wire = rest;
            }
        }
        assert!(pair.plain == text, "the lines differ");
    }
}

#[test]
fn plain_text_is_no_tls_and_gets_no_alert() {
    for text in ["JOIN lobby alice\n", "GET / HTTP/1.1\r\n", "\r\n", "\u{FF}", "S"] {
        let (mut codec, mut reply) = (TlsCodec::new(Arc::clone(&CONFIG), 60).unwrap(), Vec::new());
        let decoded = codec.decode(&mut text.as_bytes().to_vec(), &mut Vec::new(), &mut reply);
        assert_eq!((decoded, reply.len()), (Err(CodecError::NotTls), 0), "{text}");
    }
}

#[test]
fn nothing_is_encoded_before_the_handshake() {
    let mut pair = Pair::new(&TLS13);
    let mut wire = Vec::new();
    assert_eq!(pair.codec.encode(b"x", &mut wire), Err(CodecError::Closed));
    pair.codec.close(&mut wire);
    assert!(wire.is_empty() && !pair.codec.is_open());
    let hello = pair.client_bytes();
    pair.codec.decode(&mut hello.clone(), &mut Vec::new(), &mut Vec::new()).unwrap();
    assert_eq!(pair.codec.encode(b"x", &mut wire), Err(CodecError::Closed), "the client has not answered yet");
}

#[test]
fn end_of_either_side_is_told_to_the_other_and_leaves_the_other_direction_open() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.writer().write_all(b"bye").unwrap();
        pair.client.send_close_notify();
        let wire = pair.client_bytes();
        assert_eq!(pair.decode(wire), Ok(Inbound::Ended));
        assert_eq!(pair.plain, b"bye");
        let wire = pair.encode(b"alice has left\n");
        pair.give(&wire, 0).unwrap();
        assert_eq!(pair.seen, b"alice has left\n");
        let mut wire = Vec::new();
        pair.codec.close(&mut wire);
        pair.give(&wire, 0).unwrap();
        assert!(matches!(pair.client.reader().read(&mut [0; 1]), Ok(0)), "the client sees no clean end");
    }
}

#[test]
fn client_that_does_not_trust_the_certificate_is_named_by_its_alert() {
    for version in VERSIONS {
        let mut pair = Pair::trusting(version, RootCertStore::empty());
        assert_eq!(pair.exchange(usize::MAX), Err(CodecError::Alert(AlertDescription::UnknownCA)));
        assert!(!pair.codec.is_open());
    }
}

#[test]
fn record_that_does_not_decrypt_ends_the_connection_with_an_alert() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.writer().write_all(b"one\n").unwrap();
        let mut wire = pair.client_bytes();
        *wire.last_mut().unwrap() ^= 1;
        let mut reply = Vec::new();
        let decoded = pair.codec.decode(&mut wire, &mut pair.plain, &mut reply);
        assert_eq!(decoded, Err(CodecError::BadRecord));
        assert_eq!(pair.give(&reply, 0), Err(Error::AlertReceived(AlertDescription::BadRecordMac)));
        assert!(pair.plain.is_empty());
        assert_eq!(pair.codec.encode(b"x", &mut Vec::new()), Err(CodecError::Closed));
    }
}

#[test]
fn refusal_is_an_alert_that_a_client_understands() {
    let mut pair = Pair::new(&TLS13);
    pair.client_bytes();
    assert_eq!(pair.give(&REFUSAL, 0), Err(Error::AlertReceived(AlertDescription::InternalError)));
}

#[test]
fn first_record_that_holds_no_hello_is_refused_with_an_alert() {
    for record in [&b"\x16\x03\x01\0\x05hello"[..], b"\x16\x03\x01\0\x04\x02\0\0\0", b"\x16\x03\x01\xFF\xFF"] {
        let (mut codec, mut reply) = (TlsCodec::new(Arc::clone(&CONFIG), 60).unwrap(), Vec::new());
        codec.decode(&mut record.to_vec(), &mut Vec::new(), &mut reply).unwrap_err();
        assert_eq!((reply.len(), &reply[..6]), (7, &[21, 3, 3, 0, 2, 2][..]), "{}", record.escape_ascii());
    }
}

#[test]
fn handshake_message_without_an_end_is_cut_off() {
    // A handshake record of 16 KiB that begins a ClientHello of 60,000 bytes, again and again.
    let record = |first: &[u8]| [&[HANDSHAKE, 3, 1, 0x40, 0][..], first, &vec![0; (16 << 10) - first.len()]].concat();
    let (mut codec, mut reply) = (TlsCodec::new(Arc::clone(&CONFIG), 60).unwrap(), Vec::new());
    let mut wire = record(&[1, 0, 0xEA, 0x60]);
    for _ in 0..8 {
        let part = codec.read_capacity().min(wire.len());
        if let Err(error) = codec.decode(&mut wire[..part], &mut Vec::new(), &mut reply) {
            assert!(matches!(error, CodecError::BadRecord | CodecError::Violation), "{error:?}");
            return;
        }
        assert!(codec.held_bytes() <= 2 * MAX_RECORD);
        wire = [wire.split_off(part), record(&[])].concat();
    }
    panic!("the message is kept on and on");
}

#[test]
fn key_update_of_the_client_is_followed() {
    let mut pair = Pair::open(&TLS13);
    pair.client.refresh_traffic_keys().unwrap();
    pair.client.writer().write_all(b"one\n").unwrap();
    pair.exchange(3).unwrap();
    assert_eq!(pair.plain, b"one\n");
    let wire = pair.encode(b"two\n");
    pair.give(&wire, 0).unwrap();
    assert_eq!(pair.seen, b"two\n");
}

/// Returns `count` records of one byte each.
fn short_records(pair: &mut Pair, count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|_| {
            pair.client.writer().write_all(b"x").unwrap();
            pair.client_bytes()
        })
        .collect()
}

#[test]
fn one_call_decodes_a_bounded_number_of_records_and_keeps_the_others() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let mut wire = short_records(&mut pair, 2 * RECORDS_PER_CALL + 1);
        let last = wire.pop().unwrap();
        let of_call = |inbound| Decoded { inbound, records: RECORDS_PER_CALL, empty_records: 0 };
        assert_eq!(pair.decode_once(&mut wire), Ok(of_call(Inbound::Waiting)));
        // Lines are encoded while records wait, and decode none of them.
        let sealed = pair.encode(b"bob: hi\n");
        pair.give(&sealed, 0).unwrap();
        assert_eq!((pair.seen.as_slice(), pair.plain.len()), (&b"bob: hi\n"[..], RECORDS_PER_CALL as usize));
        assert!(pair.codec.held_bytes() > 0);
        assert_eq!(pair.decode_once(&mut []), Ok(of_call(Inbound::Waiting)), "a part of a record is left");
        let nothing = Decoded { inbound: Inbound::Open, records: 0, empty_records: 0 };
        assert_eq!(pair.decode_once(&mut []), Ok(nothing));
        let one = Decoded { records: 1, ..nothing };
        assert_eq!(pair.decode_once(&mut [last]), Ok(one));
        assert_eq!(pair.plain, vec![b'x'; 2 * RECORDS_PER_CALL as usize + 1]);
        assert_eq!(pair.codec.held_bytes(), 0);
    }
}

#[test]
fn records_without_content_are_counted() {
    let mut pair = Pair::open(&TLS13);
    let mut wire = Vec::new();
    for _ in 0..3 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(b"x").unwrap();
        wire.extend(pair.client_bytes());
    }
    let decoded = pair.decode_once(&mut wire);
    assert_eq!(decoded, Ok(Decoded { inbound: Inbound::Open, records: 6, empty_records: 3 }));
}

/// A client may send its first message in records of one byte, which rustls keeps until the message is complete.
#[test]
fn handshake_message_in_many_records_is_decoded() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        let hello = pair.client_bytes();
        let wire: Vec<u8> = hello[RECORD_HEADER..].iter().flat_map(|byte| [HANDSHAKE, 3, 1, 0, 1, *byte]).collect();
        for part in wire.chunks(500) {
            pair.decode(part.to_vec()).unwrap();
        }
        pair.exchange(usize::MAX).unwrap();
        assert!(pair.codec.is_open());
    }
}

#[test]
fn no_session_ticket_is_sent() {
    let mut pair = Pair::open(&TLS13);
    assert_eq!(pair.client.reader().read(&mut [0; 1]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    assert_eq!(pair.client.tls13_tickets_received(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Before the handshake: as the first bytes, and after the header of a handshake record.
    #[test]
    fn any_first_bytes_are_refused_or_wait_for_more(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        is_handshake in any::<bool>(),
        cut in 0usize..600,
    ) {
        let header: &[u8] = if is_handshake { &[HANDSHAKE, 3, 1, 0, 200] } else { &[] };
        let wire = [header, &bytes].concat();
        let mut codec = TlsCodec::new(Arc::clone(&CONFIG), 60).unwrap();
        let (mut plain, mut reply) = (Vec::new(), Vec::new());
        let (first, second) = wire.split_at(cut.min(wire.len()));
        if codec.decode(&mut first.to_vec(), &mut plain, &mut reply).is_ok() {
            let _ = codec.decode(&mut second.to_vec(), &mut plain, &mut reply);
        }
        prop_assert!(plain.is_empty() && !codec.is_open());
    }

    /// After the handshake: between and inside records, which are cut and changed.
    #[test]
    fn any_bytes_after_the_handshake_never_become_text(
        bytes in prop::collection::vec(any::<u8>(), 1..600),
        at in 0usize..100,
        change in 1u8..,
        is_tls13 in any::<bool>(),
    ) {
        let mut pair = Pair::open(VERSIONS[usize::from(is_tls13)]);
        pair.client.writer().write_all(b"one\n").unwrap();
        let mut wire = pair.client_bytes();
        // The first three bytes are a type and a version, which TLS 1.3 ignores (RFC 8446, section 5.1).
        let at = 3 + at % (wire.len() - 3);
        wire[at] ^= change;
        let decoded = pair.decode([wire, bytes].concat());
        prop_assert!(pair.plain.is_empty(), "{:?}", decoded);
    }
}
