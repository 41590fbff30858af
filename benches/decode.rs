//! Bytes a second from a read to lines to text: what a connection does before the room gets it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use roomcast::lines::Lines;
use roomcast::text;
use std::hint::black_box;

/// As much as one read brings.
const READ: usize = 64 << 10;

/// A read full of `line`, again and again.
fn input(line: &[u8]) -> Vec<u8> {
    line.iter().copied().cycle().take(READ / line.len() * line.len()).collect()
}

/// Cuts a read into lines and cleans each; how many bytes of text came of it.
fn decode(mut bytes: &[u8], chunk: usize) -> usize {
    let mut lines = Lines::new(20_000);
    let mut text = 0;
    while !bytes.is_empty() {
        let (mut input, rest) = bytes.split_at(chunk.min(bytes.len()));
        bytes = rest;
        while let Some(Ok(line)) = lines.next(&mut input) {
            text += text::clean(&line).len();
        }
    }
    text
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
