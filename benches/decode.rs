//! Decoding: bytes a second from a read through telnet and lines to text, as in a connection.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use roomcast::protocol::line_decoder::LineDecoder;
use roomcast::protocol::telnet::{Decoder, Item};
use roomcast::text::sanitize;
use std::hint::black_box;

/// The bytes of one read.
const READ: usize = 64 << 10;

/// The length of a long escape sequence.
const SEQUENCE_LENGTH: usize = 60;

/// Returns the bytes of a read that repeats `line`.
fn input(line: &[u8]) -> Vec<u8> {
    line.iter().copied().cycle().take(READ / line.len() * line.len()).collect()
}

/// Returns the bytes of a read whose lines repeat `piece` a thousand times.
fn lines_of(piece: &[u8]) -> Vec<u8> {
    input(&[&piece.repeat(1000)[..], b"\n"].concat())
}

/// Returns the bytes of a line that repeats `piece` after a sequence and a character, which together are nearly as
/// long as the bytes in which the decoder looks for a sequence.
fn after_long_sequence(piece: &[u8]) -> Vec<u8> {
    [&b"\x1B["[..], &[b'0'; SEQUENCE_LENGTH - 3], b"mx", &piece.repeat(1000), b"\n"].concat()
}

/// Decodes a read's telnet commands and lines, and sanitises each line. Returns the bytes of text and the
/// number of commands.
fn decode(mut bytes: &[u8], chunk: usize) -> (usize, usize) {
    let (mut decoder, mut lines) = (Decoder::default(), LineDecoder::new(20_000));
    let (mut text, mut commands) = (0, 0);
    while !bytes.is_empty() {
        let (mut input, rest) = bytes.split_at(chunk.min(bytes.len()));
        bytes = rest;
        while let Some(Ok(item)) = decoder.next_item(&mut input) {
            match item {
                Item::Data(mut run) => {
                    while let Some(Ok(line)) = lines.next_line(&mut run) {
                        text += sanitize::sanitize(&line).len();
                    }
                }
                Item::Command(_) => commands += 1,
            }
        }
    }
    (text, commands)
}

fn benchmark(criterion: &mut Criterion) {
    let inputs = [
        ("ascii-40", input(&[&[b'x'; 39][..], b"\n"].concat()), READ),
        ("ascii-crlf-40", input(&[&[b'x'; 38][..], b"\r\n"].concat()), READ),
        ("ascii-4096", input(&[&[b'x'; 4095][..], b"\n"].concat()), READ),
        ("utf8-40", input("grüße, 你好, жизнь и так далее\n".as_bytes()), READ),
        ("hostile-invalid-utf8", input(b"\xFF\xC3\xFE\x80\x80\xFF\xE2\x82\n"), READ),
        ("hostile-cr", input(b"\r"), 100),
        ("hostile-empty-lines", input(b"\n"), READ),
        ("hostile-one-byte-a-read", input(&[&[b'x'; 39][..], b"\n"].concat()), 1),
        ("hostile-commands", lines_of(b"\xFF\xF1"), READ),
        ("hostile-negotiation", lines_of(b"\xFF\xFD\x01"), READ),
        ("hostile-subnegotiation", input(&[&b"\xFF\xFA"[..], &[b'x'; 4096], b"\xFF\xF0"].concat()), READ),
        ("hostile-subnegotiations", lines_of(b"\xFF\xFA\xFF\xF0"), READ),
        ("hostile-doubled-ff", lines_of(b"\xFF\xFF"), READ),
        ("hostile-backspace", lines_of(b"a\x08"), READ),
        ("hostile-backspace-utf8", lines_of("\u{1F600}\u{7F}".as_bytes()), READ),
        ("hostile-backspace-cluster", lines_of("e\u{301}\u{302}\u{303}\u{7F}".as_bytes()), READ),
        ("hostile-backspace-sequence", lines_of(b"a\x1B[D\x08"), READ),
        ("hostile-backspace-after-sequence", input(&after_long_sequence(b"a\x08")), READ),
        ("hostile-nul", lines_of(b"a\0"), READ),
        ("hostile-cr-inside", lines_of(b"a\r"), READ),
        ("hostile-control", lines_of(b"\x1B[2J\x07"), READ),
        ("hostile-c1", lines_of("\u{9B}2J".as_bytes()), READ),
        ("hostile-sequence", lines_of(b"\x1B[1;2H"), READ),
        ("hostile-unfinished-sequence", lines_of(b"\x1B"), READ),
        ("hostile-flag", lines_of("\u{1F3F4}\u{E0061}\u{E0062}\u{E0063}".as_bytes()), READ),
        ("hostile-bidi", lines_of("a\u{202E}b\u{2066}".as_bytes()), READ),
    ];
    let mut group = criterion.benchmark_group("decode");
    for (name, bytes, chunk) in inputs {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(&bytes), chunk)));
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
