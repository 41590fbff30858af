//! The bytes that a fuzzer found interesting, as unit tests.

use super::TARGETS;
use std::fs;
use std::path::Path;

/// The most bytes in the files of one corpus.
const MAX_CORPUS: u64 = 200 << 10;

#[test]
fn properties_hold_for_every_file_of_the_corpora() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (target, check) in TARGETS {
        let mut bytes = 0;
        for entry in fs::read_dir(corpora.join(target)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            bytes += input.len() as u64;
            // The test's output is shown if a check panics.
            println!("{}", path.display());
            check(&input);
        }
        assert!((1..=MAX_CORPUS).contains(&bytes), "the corpus of {target} has {bytes} bytes");
    }
}

#[test]
fn properties_hold_for_short_inputs() {
    for (_, check) in TARGETS {
        for length in 0..5 {
            check(&b"\0\0\0\0\0"[..length]);
        }
        for byte in 0..=u8::MAX {
            check(&[20, 20, 0, byte, byte, b'\r', b'\n']);
        }
    }
}
