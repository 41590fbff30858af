//! Tests of the line decoder, against a decoder that reads byte by byte.

use super::*;
use crate::text::escape_sequence::{ESC, sequence_length};
use crate::text::sanitize::sanitize;
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

/// The lines of a decoded stream, and the state of the decoder after it.
#[derive(Debug, PartialEq)]
struct Decoded {
    /// All lines, with what `finish` returns.
    lines: Vec<Vec<u8>>,
    /// Whether a line was too long.
    too_long: bool,
    nvt: bool,
}

/// Decodes `chunks` and checks that the unfinished line stays within the bound.
fn decode(chunks: &[&[u8]], max: usize) -> Decoded {
    let mut decoder = LineDecoder::new(max);
    let mut lines = Vec::new();
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(line) = decoder.next_line(&mut input) {
            let Ok(line) = line else { return Decoded { lines, too_long: true, nvt: decoder.is_nvt() } };
            lines.push(line.into_owned());
        }
        assert!(input.is_empty() && decoder.unfinished.len() <= max, "{} of {max}", decoder.unfinished.len());
        assert!(decoder.unfinished.capacity() <= (2 * max).max(8), "{} for {max}", decoder.unfinished.capacity());
    }
    lines.extend(decoder.finish());
    Decoded { lines, too_long: false, nvt: decoder.is_nvt() }
}

/// Decodes with the whole stream in view: the specification that the tests compare `LineDecoder` with.
fn reference_decode(mut bytes: &[u8], max: usize) -> Decoded {
    let mut stream = Decoded { lines: Vec::new(), too_long: false, nvt: false };
    let (mut line, mut length, mut has_sent_lf) = (Vec::new(), 0, false);
    while let [first, ..] = bytes {
        let (taken, ends_line) = match bytes {
            [b'\n', ..] => (1, true),
            [b'\r', b'\r', b'\n', ..] if !has_sent_lf => (3, true),
            [b'\r', b'\n' | 0, ..] => (2, true),
            [b'\r', ..] => (1, !has_sent_lf),
            _ => (1, false),
        };
        length += usize::from(*first != b'\n');
        if length > max {
            stream.too_long = true;
            return stream;
        }
        if ends_line {
            stream.nvt |= *first == b'\r';
            stream.lines.push(std::mem::take(&mut line));
            length = 0;
        } else if matches!(first, 0x08 | 0x7F) {
            line = reference_erase(&line);
        } else if !matches!(first, b'\r' | 0) {
            line.push(*first);
        } else if bytes == [b'\r'] && line.is_empty() {
            stream.lines.push(Vec::new());
        }
        has_sent_lf |= bytes[..taken].contains(&b'\n');
        bytes = &bytes[taken..];
    }
    if !line.is_empty() {
        stream.lines.push(line);
    }
    stream
}

/// Returns `line` without its last character and the escape sequences after that. The lines of the tests
/// are shorter than the bytes that the decoder looks back at.
fn reference_erase(line: &[u8]) -> Vec<u8> {
    let without_sequences = |line: &[u8]| {
        let (mut at, mut visible_end) = (0, 0);
        while at < line.len() {
            if line[at] == ESC {
                at += sequence_length(&line[at..]);
            } else {
                at += 1;
                visible_end = at;
            }
        }
        line[..visible_end].to_vec()
    };
    let mut line = without_sequences(line);
    let width = line.utf8_chunks().last().map_or(0, |last| match last.invalid().len() {
        0 => last.valid().graphemes(true).next_back().map_or(0, str::len),
        invalid => invalid,
    });
    let character = line.split_off(line.len() - width);
    if matches!(character[..], [b' '..=b'~']) { line } else { without_sequences(&line) }
}

/// Checks the lines of `typed`, decoded whole and byte by byte.
#[track_caller]
fn assert_lines(typed: impl AsRef<[u8]>, lines: &[&str]) {
    let typed = typed.as_ref();
    let shown = |stream: Decoded| -> Vec<String> {
        assert!(!stream.too_long);
        stream.lines.iter().map(|line| line.escape_ascii().to_string()).collect()
    };
    let expected: Vec<String> = lines.iter().map(|line| line.as_bytes().escape_ascii().to_string()).collect();
    for size in 1..=typed.len().max(1) {
        let chunks: Vec<&[u8]> = typed.chunks(size).collect();
        assert_eq!(shown(decode(&chunks, 100)), expected, "{} in chunks of {size}", typed.escape_ascii());
    }
}

/// Returns the lines that `decoder` makes of `bytes`.
fn lines_of(decoder: &mut LineDecoder, mut bytes: &[u8]) -> Vec<String> {
    let next_line = || decoder.next_line(&mut bytes);
    std::iter::from_fn(next_line).map(|line| String::from_utf8(line.unwrap().into_owned()).unwrap()).collect()
}

#[test]
fn lf_cr_lf_cr_cr_lf_and_cr_nul_end_a_line() {
    let lines = ["one", "two", "three", "four", "", "", "", "end"];
    assert_lines("one\ntwo\r\nthree\r\r\nfour\r\0\n\r\n\r\0end\n", &lines);
    assert_lines("one\r\0two\r\r\nthree\r\nfour\n\n\r\n\r\0end\n", &lines);
}

#[test]
fn cr_alone_ends_a_line_until_the_first_lf() {
    assert_lines("JOIN cr a\rone\rtwo\r", &["JOIN cr a", "one", "two"]);
    assert_lines("JOIN cr a\r\r\none\r\r\ntwo\r\r\n", &["JOIN cr a", "one", "two"]);
    assert_lines("JOIN room sam\r", &["JOIN room sam"]);
    assert_lines("hello\r\nnext\rpart\n", &["hello", "nextpart"]);
    assert_lines("hello\r\0next\rlast\n", &["hello", "next", "last"]);
    assert_lines("one\r\rthree\r\r\r\nsix\n", &["one", "", "three", "", "six"]);
    assert_lines("one\r\r\0three\r", &["one", "", "three"]);
    assert_lines("one\r\r", &["one", ""]);
    assert_lines("\r", &[""]);
    assert_lines("\r\n", &[""]);
    assert_lines("\r\0\n", &["", ""]);
    assert_lines("a\r\0\0b\r", &["a", "b"]);
}

#[test]
fn line_that_a_cr_alone_ends_is_returned_at_once() {
    let mut decoder = LineDecoder::new(100);
    assert_eq!(lines_of(&mut decoder, b"hello\r"), ["hello"]);
    assert_eq!(lines_of(&mut decoder, b"\n"), [""; 0], "the LF belongs to the CR before it");
    assert_eq!(lines_of(&mut decoder, b"\n"), [""]);
    assert_eq!(lines_of(&mut decoder, b"one\rtwo\r"), [""; 0], "the connection has sent an LF");
    assert_eq!(lines_of(&mut decoder, b"\n"), ["onetwo"]);
}

#[test]
fn cr_inside_a_line_is_dropped_after_the_first_lf() {
    assert_lines("\na\rb\r\r\n\r\r\0\rc\n", &["", "ab", "", "c"]);
    assert_lines("\na\r", &["", "a"]);
    assert_lines("\n\r", &["", ""]);
    assert_lines("\na\r\r\r\rb\r\r\r\nc", &["", "ab", "c"]);
}

#[test]
fn lf_or_nul_after_a_cr_that_ended_a_line_elsewhere_is_dropped() {
    for (typed, lines) in [
        ("\nnext\n", &["next"][..]),
        ("\0next\n", &["next"]),
        ("next\n", &["next"]),
        ("\n\n", &[""]),
        ("\r\nnext\n", &["next"]),
        ("\rnext\n", &["", "next"]),
    ] {
        for size in 1..=typed.len() {
            let mut decoder = LineDecoder::new(100);
            decoder.continue_after_cr();
            let chunks = typed.as_bytes().chunks(size);
            let found: Vec<String> = chunks.flat_map(|chunk| lines_of(&mut decoder, chunk)).collect();
            assert_eq!(found, lines, "{typed:?}");
        }
    }
    let mut decoder = LineDecoder::new(100);
    assert_eq!(lines_of(&mut decoder, b"first\n"), ["first"]);
    decoder.continue_after_cr();
    assert_eq!(lines_of(&mut decoder, b"\nnext\r\n"), ["next"]);
    decoder.continue_after_cr();
    assert_eq!(lines_of(&mut decoder, b"\rlast\n"), ["last"], "the connection has sent an LF");
}

#[test]
fn nul_inside_a_line_is_dropped() {
    assert_lines("\0a\0\0b\0\nc\r\0\0d\n", &["ab", "c", "d"]);
}

#[test]
fn backspace_erases_one_character_of_the_unfinished_line() {
    for erase in ["\u{8}", "\u{7F}"] {
        let typed = |line: &str| format!("\n{}\n", line.replace('<', erase));
        assert_lines(typed("hellp<o"), &["", "hello"]);
        assert_lines(typed("<<a<<b"), &["", "b"]);
        assert_lines(typed("gr\u{FC}<u\u{1F600}<!"), &["", "gru!"]);
        assert_lines(typed("e\u{301}👩\u{200D}🚒🇩🇪<<!"), &["", "e\u{301}!"]);
        assert_lines(typed("one\n<two"), &["", "one", "two"]);
        assert_lines(typed("ab\r<"), &["", "a"]);
        assert_lines(typed("ab<\r"), &["", "a"]);
        assert_lines(typed("ab\x1B[D<\x1B[31mc<d\x1B<"), &["", "a\x1B[31m"]);
        assert_lines(typed("ab\x1B[<D"), &["", "aD"]);
    }
    assert_lines(b"\xFF\x08a\xE2\x82\x08b\n", &["ab"]);
}

#[test]
fn erase_calls_edit_the_unfinished_line() {
    let mut decoder = LineDecoder::new(10);
    decoder.erase_character();
    decoder.erase_line();
    assert_eq!(lines_of(&mut decoder, b"\n"), [""]);
    for (before, erase, after, line) in [
        ("caf\u{E9}", LineDecoder::erase_character as fn(&mut LineDecoder), "e\n", "cafe"),
        ("dropped", LineDecoder::erase_line, "kept\n", "kept"),
        ("erased\r", LineDecoder::erase_line, "\n", ""),
        ("erased\r", LineDecoder::erase_character, "\0", "erase"),
        ("0123456789", LineDecoder::erase_line, "0123456789\n", "0123456789"),
    ] {
        assert_eq!(lines_of(&mut decoder, before.as_bytes()), [""; 0]);
        erase(&mut decoder);
        assert_eq!(lines_of(&mut decoder, after.as_bytes()), [line], "{before}");
    }
    assert!(decoder.is_nvt());
}

#[test]
fn draft_is_taken_out_of_the_unfinished_line() {
    let mut decoder = LineDecoder::new(10);
    assert_eq!(decoder.take_draft(), b"");
    assert_eq!(lines_of(&mut decoder, b"one\n012345678\x08"), ["one"]);
    assert_eq!(decoder.take_draft(), b"01234567");
    assert_eq!(lines_of(&mut decoder, b"0123456789\n"), ["0123456789"], "the length starts again from zero");
    assert_eq!(lines_of(&mut decoder, b"two\r"), [""; 0]);
    assert_eq!(decoder.take_draft(), b"two");
    assert_eq!(decoder.finish(), None);
}

#[test]
fn discarded_line_is_dropped_up_to_its_end_and_the_next_line_is_returned() {
    for chunk in [1, 3, 100] {
        let mut decoder = LineDecoder::new(100);
        assert_eq!(lines_of(&mut decoder, b"one\nlost"), ["one"]);
        assert!(decoder.discard_line());
        assert!(!decoder.discard_line());
        let lines: Vec<String> =
            b" too\r\n\ntwo\n".chunks(chunk).flat_map(|bytes| lines_of(&mut decoder, bytes)).collect();
        assert_eq!(lines, ["", "two"]);
        decoder.discard_line();
        assert!(lines_of(&mut decoder, b"rest").is_empty());
        assert_eq!(decoder.finish(), None, "the end of the stream ends the discarded line");
        assert_eq!(decoder.take_draft(), b"", "a discarded line is no draft");
        assert_eq!(lines_of(&mut decoder, b"three\n"), ["three"], "the draft has ended the discarded line");
    }
}

#[test]
fn unfinished_line_that_ends_in_a_partial_character_is_recognized() {
    let mut decoder = LineDecoder::new(10);
    assert!(!decoder.ends_in_partial_character());
    assert_eq!(lines_of(&mut decoder, b"\xD1"), [""; 0]);
    assert!(decoder.ends_in_partial_character());
    assert_eq!(lines_of(&mut decoder, b"\x83"), [""; 0]);
    assert!(!decoder.ends_in_partial_character());
}

#[test]
fn max_line_counts_dropped_and_erased_bytes_and_a_cr() {
    for (typed, fits) in [
        ("1234\n", true),
        ("12345\n", false),
        ("123\r", true),
        ("1234\r", false),
        ("123\r\n", true),
        ("1234\r\n", false),
        ("123\r\0", true),
        ("1234\r\0", false),
        ("\n12\r\r\n", true),
        ("\n123\r\r\n", false),
        ("12\u{8}3\n", true),
        ("12\u{8}34\n", false),
        ("\u{8}\u{8}\u{8}\u{8}\n", true),
        ("\u{8}\u{8}\u{8}\u{8}\u{8}\n", false),
        ("\0\0\0\0\0", false),
        ("\n\r\r\r\r\n", true),
        ("\n\r\r\r\r\r\n", false),
        ("1234\n1234", true),
    ] {
        for size in 1..=typed.len() {
            let chunks: Vec<&[u8]> = typed.as_bytes().chunks(size).collect();
            assert_eq!(decode(&chunks, 4).too_long, !fits, "{typed:?} in chunks of {size}");
        }
    }
    assert!(decode(&[b"12345"], 4).too_long, "the error comes before the line end");
    let mut decoder = LineDecoder::new(4);
    assert_eq!(decoder.next_line(&mut &b"1234"[..]), None);
    decoder.erase_character();
    assert_eq!(decoder.next_line(&mut &b"5"[..]), Some(Err(LineTooLong)), "an erased byte still counts");
}

#[test]
fn finish_returns_the_unfinished_line() {
    for (typed, rest) in
        [("a", Some("a")), ("a\r", Some("a")), ("\r", Some("")), ("", None), ("a\n", None), ("a\u{8}\0", None)]
    {
        let mut decoder = LineDecoder::new(9);
        assert_eq!(lines_of(&mut decoder, b"\n"), [""]);
        lines_of(&mut decoder, typed.as_bytes());
        assert_eq!(decoder.finish(), rest.map(Vec::from), "{typed:?}");
        assert_eq!(decoder.finish(), None);
    }
}

#[test]
fn cr_at_a_line_end_shows_that_the_peer_is_an_nvt() {
    for (typed, nvt) in [
        ("a\n\rb\n\0\n", false),
        ("a\r\n", true),
        ("\r\0", true),
        ("a\r\r\n", true),
        ("a\r", true),
        ("a\n\r\r\n", true),
        ("a\r\nb\nc\n", true),
    ] {
        for size in 1..=typed.len() {
            let chunks: Vec<&[u8]> = typed.as_bytes().chunks(size).collect();
            assert_eq!(decode(&chunks, 9).nvt, nvt, "{typed:?}");
        }
    }
}

#[test]
fn line_that_is_whole_in_the_input_is_borrowed() {
    for typed in ["hello\n", "hello\r\n", "hello\r\0", "hello\r"] {
        let mut decoder = LineDecoder::new(9);
        assert!(matches!(decoder.next_line(&mut typed.as_bytes()), Some(Ok(Cow::Borrowed(b"hello")))));
        assert_eq!(decoder.unfinished.capacity(), 0);
    }
}

#[test]
fn line_of_the_greatest_length_is_borrowed_before_and_after_the_first_lf() {
    for (typed, max) in [("hello\n", 5), ("hello\r\n", 6), ("hello\r\0", 6)] {
        let mut decoder = LineDecoder::new(max);
        for _ in 0..2 {
            assert!(matches!(decoder.next_line(&mut typed.as_bytes()), Some(Ok(Cow::Borrowed(b"hello")))), "{typed:?}");
            assert_eq!(lines_of(&mut decoder, b"\n"), [""]);
        }
    }
}

#[test]
fn decoder_shows_its_bound_and_the_start_and_length_of_its_unfinished_line() {
    let mut decoder = LineDecoder::new(10);
    assert_eq!((decoder.max_line(), decoder.held_bytes(), decoder.starts_with(b"a")), (10, 0, false));
    assert_eq!(lines_of(&mut decoder, b"abc\x08"), [""; 0]);
    assert_eq!((decoder.held_bytes(), decoder.starts_with(b"ab"), decoder.starts_with(b"b")), (2, true, false));
    assert_eq!(lines_of(&mut decoder, b"\n"), ["ab"]);
    assert_eq!((decoder.held_bytes(), decoder.starts_with(b"ab")), (0, false));
    assert_eq!(LineDecoder::new(usize::MAX).max_line(), u32::MAX as usize);
}

/// Every connection holds a decoder, so its size bounds the memory of a quiet connection.
#[test]
fn line_decoder_stays_within_40_bytes() {
    assert!(size_of::<LineDecoder>() <= 40, "{}", size_of::<LineDecoder>());
}

/// Bytes in which line ends, erase characters and parts of characters and sequences are frequent.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let frequent = &b"\n\r\r\r\0\x08\x7F\x1B[]D\x07\x18\xC3\xA9\xE2\x82\xACab"[..];
    let byte = prop_oneof![prop::sample::select(frequent), any::<u8>()];
    // Half of the streams have no LF at their start, so that a CR alone ends their lines.
    (any::<bool>(), prop::collection::vec(byte, 0..200)).prop_map(|(has_lf, mut bytes)| {
        let end = if has_lf { 0 } else { bytes.len() / 2 };
        bytes[..end].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'\r');
        bytes
    })
}

proptest! {
    /// Any chunking of any bytes gives the same lines as the specification.
    #[test]
    fn chunking_does_not_change_the_lines(
        bytes in bytes(),
        cuts in prop::collection::vec(0usize..200, 0..20),
        max in 1usize..60,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let expected = reference_decode(&bytes, max);
        prop_assert_eq!(&decode(&[&bytes], max), &expected);
        prop_assert_eq!(&decode(&chunks, max), &expected);
        prop_assert_eq!(&decode(&single, max), &expected);
    }

    /// The text that members see does not depend on how the bytes of a sequence are split.
    #[test]
    fn chunking_does_not_change_the_sanitized_text(
        before in "[a-zé ]{0,8}",
        sequence in prop::sample::select(&["\x1B[D", "\x1B[3~", "\x1BOP", "\x1B[[A", "\x1B]0;t\x07", "\x1BPq\x1B\\", "\x1B(B"][..]),
        after in "[a-zé ]{0,8}",
        size in 1usize..9,
    ) {
        let line = format!("{before}{sequence}{after}\n");
        let chunks: Vec<&[u8]> = line.as_bytes().chunks(size).collect();
        let texts: Vec<_> = decode(&chunks, 99).lines.iter().map(|line| sanitize(line).into_owned()).collect();
        prop_assert_eq!(texts, [before + &after]);
    }
}
