//! Line frames: lines as the text frames of a WebSocket server (RFC 6455, section 5.2), made once for all peers.
//!
//! A server's frames are not masked, so they hold nothing of one peer. A frame holds whole lines, each with its LF: as many
//! as fit [`MAX_FRAME`], or one longer line.

use memchr::{memchr, memrchr};

/// The longest frame with more than one line, in bytes. A browser takes many lines in a frame at a tenth of the cost of a
/// frame for each, and a begun frame has to be kept.
pub(crate) const MAX_FRAME: usize = 16 << 10;

/// The header of a frame of [`MAX_FRAME`].
const HEADER: usize = 4;

/// The first byte of a text frame that is a whole message.
const FIN_TEXT: u8 = 0x81;

/// Appends whole lines, each with its LF, as frames.
pub(crate) fn extend_with_frames(out: &mut impl for<'a> Extend<&'a u8>, mut lines: &[u8]) {
    while !lines.is_empty() {
        let most = lines.len().min(MAX_FRAME - HEADER);
        let end = if most == lines.len() { Some(most - 1) } else { memrchr(b'\n', &lines[..most]) };
        let end = end.or_else(|| memchr(b'\n', lines)).unwrap_or(lines.len() - 1);
        let (payload, rest) = lines.split_at(end + 1);
        push_header(out, payload.len());
        out.extend(payload);
        lines = rest;
    }
}

fn push_header(out: &mut impl for<'a> Extend<&'a u8>, payload: usize) {
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(length @ ..126), _) => out.extend(&[FIN_TEXT, length]),
        (_, Ok(length)) => {
            let [high, low] = length.to_be_bytes();
            out.extend(&[FIN_TEXT, 126, high, low]);
        }
        _ => {
            out.extend(&[FIN_TEXT, 127]);
            out.extend(&(payload as u64).to_be_bytes());
        }
    }
}

/// Where written bytes of frames end, and the frame that they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameCut {
    /// The end of the last frame that is written at least in part, in bytes of the frames.
    pub(crate) end: usize,
    /// The end of the lines in the frames that are written whole, in bytes of the lines.
    pub(crate) written_lines_end: usize,
    /// The end of the lines in the frames up to `end`, in bytes of the lines.
    pub(crate) lines_end: usize,
}

/// Returns where the first `written` bytes of `frames` end, which [`extend_with_frames`] has made.
pub(crate) fn cut_frames(frames: &[u8], written: usize) -> FrameCut {
    let mut cut = FrameCut::default();
    while cut.end < written {
        let (header, payload) = match &frames[cut.end + 1..] {
            [126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            [127, long @ ..] => {
                let length = long.first_chunk().map_or(0, |length| u64::from_be_bytes(*length));
                (10, usize::try_from(length).unwrap_or(usize::MAX))
            }
            [length, ..] => (2, usize::from(*length)),
            // Frames end with a payload.
            [] => break,
        };
        cut.written_lines_end = cut.lines_end;
        cut.end += header + payload;
        cut.lines_end += payload;
    }
    if cut.end == written {
        cut.written_lines_end = cut.lines_end;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(lines: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        extend_with_frames(&mut out, lines);
        out
    }

    /// Returns the payloads of frames and their headers' lengths.
    fn payloads(mut frames: &[u8]) -> Vec<&[u8]> {
        let mut payloads = Vec::new();
        while !frames.is_empty() {
            let cut = cut_frames(frames, 1);
            payloads.push(&frames[cut.end - cut.lines_end..cut.end]);
            frames = &frames[cut.end..];
        }
        payloads
    }

    #[test]
    fn header_has_the_shortest_form_for_each_length() {
        for (length, header) in [
            (1, &[0x81, 1][..]),
            (10, &[0x81, 10]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (16_000, &[0x81, 126, 0x3E, 0x80]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut line = vec![b'x'; length - 1];
            line.push(b'\n');
            let framed = frames(&line);
            assert_eq!(framed.strip_suffix(&line[..]), Some(header), "{length}");
        }
    }

    #[test]
    fn frames_hold_whole_lines_up_to_the_longest_frame() {
        let line = format!("{}\n", "x".repeat(99));
        let lines = line.repeat(400);
        let framed = frames(lines.as_bytes());
        let payloads = payloads(&framed);
        assert_eq!(payloads.iter().map(|payload| payload.len()).collect::<Vec<_>>(), [16_300, 16_300, 7_400]);
        assert_eq!(payloads.concat(), lines.as_bytes());
        let long = format!("a\n{}\nb\n", "x".repeat(20_000));
        let framed = frames(long.as_bytes());
        assert_eq!(self::payloads(&framed).iter().map(|payload| payload.len()).collect::<Vec<_>>(), [2, 20_001, 2]);
        assert!(frames(b"").is_empty());
    }

    #[test]
    fn cut_is_the_end_of_the_frame_that_has_begun() {
        let framed = [frames(b"a\nb\n"), frames(b"c\n")].concat();
        let cut = |end, written_lines_end, lines_end| FrameCut { end, written_lines_end, lines_end };
        assert_eq!(cut_frames(&framed, 0), cut(0, 0, 0));
        for written in 1..6 {
            assert_eq!(cut_frames(&framed, written), cut(6, 0, 4), "{written}");
        }
        assert_eq!(cut_frames(&framed, 6), cut(6, 4, 4));
        assert_eq!(cut_frames(&framed, 7), cut(10, 4, 6));
        assert_eq!(cut_frames(&framed, 10), cut(10, 6, 6));
    }

    proptest! {
        #[test]
        fn lines_are_kept_and_each_cut_is_between_two_lines(
            lengths in prop::collection::vec(prop_oneof![0..200_usize, 16_000..17_000_usize, 65_000..66_000_usize], 1..20),
            written in 0..200_000_usize,
        ) {
            let lines: Vec<u8> = lengths.iter().flat_map(|length| [vec![b'x'; *length], vec![b'\n']].concat()).collect();
            let framed = frames(&lines);
            let payloads = payloads(&framed);
            prop_assert_eq!(payloads.concat(), &lines[..]);
            for payload in payloads {
                prop_assert!(payload.ends_with(b"\n"));
                prop_assert!(payload.len() + HEADER <= MAX_FRAME || memchr(b'\n', payload) == Some(payload.len() - 1));
            }
            let cut = cut_frames(&framed, written.min(framed.len()));
            prop_assert!(cut.end >= written.min(framed.len()));
            prop_assert!(cut.lines_end == 0 || lines[cut.lines_end - 1] == b'\n');
            prop_assert_eq!(&framed[cut.end..], &frames_after(&framed, cut.end)[..]);
        }
    }

    fn frames_after(framed: &[u8], at: usize) -> Vec<u8> {
        payloads(&framed[at..]).into_iter().flat_map(frames).collect()
    }
}
