//! The text of a line of load: its room, sender, number and planned time, then padding up to the size.
//!
//! `#rrrr ssss qqqqqqqq tttttttttt cccc abcdef…`: room, sender, sequence, planned microseconds, and a checksum over all
//! of these, in hexadecimal digits. Each field has a fixed width, so that all lines of a run have the same length.
//! Every byte is either constant or covered by the checksum.

/// Bytes of the fixed part, which is the smallest payload.
pub const MIN_SIZE: usize = 36;
/// The largest payload: a line of 20,000 bytes also holds the protocol's own text.
pub const MAX_SIZE: usize = 19_000;

const PADDING: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
/// The offset of each number, and its digits.
const ROOM: (usize, usize) = (1, 4);
const SENDER: (usize, usize) = (6, 4);
const SEQUENCE: (usize, usize) = (11, 8);
const PLANNED: (usize, usize) = (20, 10);
const CHECKSUM: (usize, usize) = (31, 4);
/// The offsets of the spaces.
const SPACES: [usize; 5] = [5, 10, 19, 30, 35];
/// The largest prime below 2^16. A change of any single byte changes a sum modulo a prime.
const CHECKSUM_MODULUS: u64 = 65521;

/// The numbers that a payload carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The number of the room in the whole run. It reveals lines that arrive in another room.
    pub room: u32,
    /// The sender's index among the members of its room.
    pub sender: u32,
    /// The number of lines that this sender sent before.
    pub sequence: u32,
    /// Microseconds from the run's epoch to the planned time.
    pub planned_us: u64,
}

/// Appends the payload of `size` bytes (at least [`MIN_SIZE`]) that carries `stamp`.
pub fn encode(stamp: &Stamp, size: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + size.max(MIN_SIZE), b' ');
    let text = &mut out[start..];
    text[0] = b'#';
    write_hex(text, ROOM, u64::from(stamp.room));
    write_hex(text, SENDER, u64::from(stamp.sender));
    write_hex(text, SEQUENCE, u64::from(stamp.sequence));
    write_hex(text, PLANNED, stamp.planned_us);
    let checksum = checksum(text);
    write_hex(text, CHECKSUM, checksum);
    for (byte, pad) in text[MIN_SIZE..].iter_mut().zip(PADDING.iter().cycle()) {
        *byte = *pad;
    }
}

/// Decodes a payload, whose size follows from its stamp. Returns `None` when any byte differs from the output of
/// [`encode`].
#[must_use]
pub fn decode(text: &[u8], size_of: impl FnOnce(&Stamp) -> usize) -> Option<Stamp> {
    if text.len() < MIN_SIZE || text[0] != b'#' {
        return None;
    }
    let padding = text[MIN_SIZE..].iter().zip(PADDING.iter().cycle());
    if SPACES.iter().any(|&at| text[at] != b' ') || padding.into_iter().any(|(byte, pad)| byte != pad) {
        return None;
    }
    if read_hex(text, CHECKSUM)? != checksum(text) {
        return None;
    }
    let stamp = Stamp {
        room: u32::try_from(read_hex(text, ROOM)?).ok()?,
        sender: u32::try_from(read_hex(text, SENDER)?).ok()?,
        sequence: u32::try_from(read_hex(text, SEQUENCE)?).ok()?,
        planned_us: read_hex(text, PLANNED)?,
    };
    (text.len() == size_of(&stamp)).then_some(stamp)
}

/// Returns a checksum over all numbers.
fn checksum(text: &[u8]) -> u64 {
    text[..CHECKSUM.0].iter().fold(0, |sum, byte| (sum * 257 + u64::from(*byte)) % CHECKSUM_MODULUS)
}

fn write_hex(text: &mut [u8], (at, digits): (usize, usize), mut value: u64) {
    for byte in text[at..at + digits].iter_mut().rev() {
        *byte = b"0123456789abcdef"[usize::from(value.to_le_bytes()[0] & 15)];
        value >>= 4;
    }
}

fn read_hex(text: &[u8], (at, digits): (usize, usize)) -> Option<u64> {
    text[at..at + digits].iter().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { room: 0xfe01, sender: 0xabc, sequence: 0xdead_beef, planned_us: 0xff_1234_5678 };

    #[test]
    fn decoding_returns_the_encoded_stamp() {
        for size in [MIN_SIZE, 37, 64, 4096] {
            let mut text = Vec::new();
            encode(&STAMP, size, &mut text);
            assert_eq!(text.len(), size);
            assert_eq!(decode(&text, |_| size), Some(STAMP));
        }
    }

    #[test]
    fn payload_with_a_changed_byte_is_rejected() {
        let mut text = Vec::new();
        encode(&STAMP, 64, &mut text);
        for at in 0..text.len() {
            for other in (0..=255).filter(|other| *other != text[at]) {
                let mut changed = text.clone();
                changed[at] = other;
                assert_eq!(decode(&changed, |_| 64), None, "byte {at} as {other}");
            }
        }
        assert_eq!(decode(&text[..63], |_| 64), None);
    }
}
