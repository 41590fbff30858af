//! What a line of load says: who sent it, which one it is, when it was planned; then padding up to the size asked for.
//!
//! `#rrrr ssss qqqqqqqq tttttttttt cccc abcdef…`: room, sender, sequence, planned microseconds and a sum over all of
//! these in hexadecimal, each of a fixed width, so that every line of a run is equally long and every byte of it is
//! known beforehand or proven by the sum.

/// Bytes of the fixed part: the smallest payload.
pub const MIN_SIZE: usize = 36;
/// The largest payload that fits a line of 20,000 bytes with some room for a protocol's own words.
pub const MAX_SIZE: usize = 19_000;

const PADDING: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
/// Where each number starts, and its digits.
const ROOM: (usize, usize) = (1, 4);
const SENDER: (usize, usize) = (6, 4);
const SEQUENCE: (usize, usize) = (11, 8);
const PLANNED: (usize, usize) = (20, 10);
const CHECKSUM: (usize, usize) = (31, 4);
/// Where there are blanks.
const SPACES: [usize; 5] = [5, 10, 19, 30, 35];
/// The largest prime below 2^16: no change of a single byte leaves a sum modulo it as it was.
const CHECKSUM_MODULUS: u64 = 65521;

/// The numbers that a payload carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The room it was sent to, counted over the whole run: a line that leaks into another room is seen.
    pub room: u32,
    /// The sender's place among its room's members.
    pub sender: u32,
    /// How many lines this sender sent before.
    pub sequence: u32,
    /// Microseconds from the run's epoch to the planned time of sending.
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

/// Reads a payload back. `None` when a single byte of it is not as [`encode`] wrote it.
#[must_use]
pub fn decode(text: &[u8], size: usize) -> Option<Stamp> {
    if text.len() != size || size < MIN_SIZE || text[0] != b'#' {
        return None;
    }
    let padding = text[MIN_SIZE..].iter().zip(PADDING.iter().cycle());
    if SPACES.iter().any(|&at| text[at] != b' ') || padding.into_iter().any(|(byte, pad)| byte != pad) {
        return None;
    }
    if read_hex(text, CHECKSUM)? != checksum(text) {
        return None;
    }
    Some(Stamp {
        room: u32::try_from(read_hex(text, ROOM)?).ok()?,
        sender: u32::try_from(read_hex(text, SENDER)?).ok()?,
        sequence: u32::try_from(read_hex(text, SEQUENCE)?).ok()?,
        planned_us: read_hex(text, PLANNED)?,
    })
}

/// A sum over all numbers.
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
    fn reads_back_what_it_wrote() {
        for size in [MIN_SIZE, 37, 64, 4096] {
            let mut text = Vec::new();
            encode(&STAMP, size, &mut text);
            assert_eq!(text.len(), size);
            assert_eq!(decode(&text, size), Some(STAMP));
        }
    }

    #[test]
    fn notices_any_changed_byte() {
        let mut text = Vec::new();
        encode(&STAMP, 64, &mut text);
        for at in 0..text.len() {
            for other in (0..=255).filter(|other| *other != text[at]) {
                let mut changed = text.clone();
                changed[at] = other;
                assert_eq!(decode(&changed, 64), None, "byte {at} as {other}");
            }
        }
        assert_eq!(decode(&text[..63], 64), None);
    }
}
