//! Properties of the pure parts that read a peer's bytes, each as one function of any bytes.
//!
//! A fuzzer looks for bytes for which a property fails (`tests/fuzz`, `.ci/fuzz`), and the unit tests check the
//! properties for the bytes that it has found interesting so far (`corpora.rs`). Both call the same functions.
//!
//! `src/lib.rs` includes this folder in unit tests and under `--cfg fuzzing` only: the functions use items that the
//! crate keeps to itself. They exist to panic, and are in no release.

#![allow(missing_docs, clippy::expect_used, clippy::missing_panics_doc)]

mod commands;
#[cfg(test)]
mod corpora;
mod input_line;
mod lines;
mod telnet;
mod terminal_output;
mod websocket;

pub use commands::check_commands;
pub use input_line::check_input_line;
pub use lines::check_lines;
pub use telnet::check_telnet;
pub use websocket::check_websocket;

/// Checks the property of one target for these bytes.
pub type Check = fn(&[u8]);

/// The targets, by the names of their folders of `tests/fuzz/corpus`.
pub const TARGETS: [(&str, Check); 5] = [
    ("commands", check_commands),
    ("input_line", check_input_line),
    ("lines", check_lines),
    ("telnet", check_telnet),
    ("websocket", check_websocket),
];

/// Returns ways to cut `bytes` into the chunks of a stream: in one piece, byte by byte, and in chunks of lengths that
/// follow from `seed`.
fn chunkings(bytes: &[u8], seed: u8) -> [Vec<&[u8]>; 3] {
    let (mut lengths, mut rest, mut state) = (Vec::new(), bytes, u32::from(seed));
    while !rest.is_empty() {
        // A linear congruential generator (Numerical Recipes, section 7.1).
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (chunk, after) = rest.split_at(rest.len().min(1 + (state >> 28) as usize));
        lengths.push(chunk);
        rest = after;
    }
    [vec![bytes], bytes.chunks(1).collect(), lengths]
}

/// Removes `N` bytes from the front of `bytes`; `None` if there are fewer.
fn take_header<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (header, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(header)
}

/// Asserts that `text` holds no character with which a member could control the terminal of another member.
#[track_caller]
fn assert_safe(text: &str) {
    let unsafe_character = text.chars().find(|character| {
        let number = u32::from(*character);
        (number < 0x20 && number != 0x09)
            || matches!(number, 0x7F..=0x9F | 0x2028..=0x202E | 0x2066..=0x2069 | 0xFEFF | 0xFFF9..=0xFFFB)
    });
    assert_eq!(unsafe_character, None, "a terminal may take this character for a command: {text:?}");
}
