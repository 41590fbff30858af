//! WebSocket of one peer: decodes its frames and makes control frames, without I/O (RFC 6455).
//!
//! The payload of text messages becomes lines while it arrives: nothing of a message is kept but the state that a frame and
//! a character are in. Frames with lines are made once for all peers in `src/peer/line_frames.rs`.

use serde::{Deserialize, Serialize};
use std::mem;

/// The longest header of a frame: two bytes, eight of the length, four of the mask (RFC 6455, section 5.2).
const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL: usize = 125;

/// The bit of a frame that ends its message.
const FIN: u8 = 0x80;

/// The bits that extensions use. The server agrees to none.
const RESERVED: u8 = 0x70;

/// The opcodes of frames (RFC 6455, section 11.8).
mod opcode {
    pub(super) const CONTINUATION: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const BINARY: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const PING: u8 = 9;
    pub(super) const PONG: u8 = 10;
}

/// Why a WebSocket connection ends, as the peer's program reads it (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
pub(crate) enum CloseCode {
    /// The conversation is over.
    Normal = 1000,
    /// The server ends.
    GoingAway = 1001,
    /// The peer broke the protocol.
    Protocol = 1002,
    /// The peer sent bytes that are no text.
    NotText = 1003,
    /// The peer sent text that is not UTF-8.
    NotUtf8 = 1007,
    /// The peer broke a rule of the server, or an operator closes the connection.
    Policy = 1008,
    /// A line was too long.
    TooLong = 1009,
    /// An error of the server.
    Internal = 1011,
    /// The server goes on in another process.
    Restart = 1012,
    /// The server has no capacity.
    TryAgainLater = 1013,
}

/// Why frames are not decoded any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A frame is not masked.
    #[error("WebSocket: a frame is not masked")]
    NotMasked,
    /// A header has a reserved bit, an unknown opcode or a bad length.
    #[error("WebSocket: bad frame")]
    BadFrame,
    /// A control frame is too long or has no end.
    #[error("WebSocket: bad control frame")]
    BadControl,
    /// A continuation without a message, or a message within a message.
    #[error("WebSocket: messages are mixed")]
    Mixed,
    /// A close frame has a code that is none, or a reason that is no text.
    #[error("WebSocket: bad close frame")]
    BadClose,
    /// A binary message.
    #[error("WebSocket: a binary message")]
    Binary,
    /// Text that is not UTF-8.
    #[error("WebSocket: text that is not UTF-8")]
    NotUtf8,
}

impl FrameError {
    /// Returns the code with which the connection is closed.
    pub(crate) fn close_code(self) -> CloseCode {
        match self {
            Self::Binary => CloseCode::NotText,
            Self::NotUtf8 => CloseCode::NotUtf8,
            Self::NotMasked | Self::BadFrame | Self::BadControl | Self::Mixed | Self::BadClose => CloseCode::Protocol,
        }
    }
}

/// A close frame of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerClose {
    /// The code, if there is one.
    pub(crate) code: Option<u16>,
}

/// The outcome of one decoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DecodedFrames {
    /// The frames that ended in the bytes.
    pub(crate) frames: u32,
    /// The control frames and the empty frames among them, which hold no part of a line.
    pub(crate) empty_frames: u32,
    /// The payload of the last ping, which a pong answers: earlier ones need no answer (RFC 6455, section 5.5.3).
    pub(crate) ping: Option<Vec<u8>>,
    /// The close frame with which the peer has ended its output. The bytes after that are no input.
    pub(crate) end: Option<PeerClose>,
}

/// Decodes the frames of one client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FrameDecoder {
    /// The header of the frame, as far as it has come.
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// The payload bytes of the frame that have not come; `None` until the header is complete.
    left: Option<u64>,
    /// The payload bytes of the frame that have come, modulo 4: the place in the mask.
    mask_at: usize,
    /// The payload of a control frame, as far as it has come.
    control: Vec<u8>,
    /// Whether a message has begun and not ended.
    in_message: bool,
    /// Whether the last byte of the message so far is an LF.
    ends_in_lf: bool,
    /// The first bytes of a character whose last ones have not come.
    character: Vec<u8>,
    /// Whether the peer has ended its output, or broken the protocol.
    is_over: bool,
}

impl FrameDecoder {
    /// Decodes received bytes. Appends the text of messages to `lines`: a message that does not end in LF gets one. Keeps
    /// at most a header, a control frame and a character.
    ///
    /// # Errors
    /// [`FrameError`] if the peer breaks the protocol. The lines before that are valid; the decoder takes no byte any more.
    pub(crate) fn decode(&mut self, mut wire: &[u8], lines: &mut Vec<u8>) -> Result<DecodedFrames, FrameError> {
        let mut decoded = DecodedFrames::default();
        while !self.is_over {
            let Some(left) = self.left else {
                match self.take_header(&mut wire) {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(error) => return Err(self.fail(error)),
                }
            };
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(wire.len());
            let (payload, rest) = wire.split_at(most);
            wire = rest;
            self.take_payload(payload, lines).map_err(|error| self.fail(error))?;
            let left = left - most as u64;
            self.left = Some(left);
            if left > 0 {
                break;
            }
            self.end_frame(lines, &mut decoded).map_err(|error| self.fail(error))?;
        }
        Ok(decoded)
    }

    /// Returns the bytes of memory that the decoder keeps beside itself.
    pub(crate) fn held_bytes(&self) -> usize {
        self.control.capacity() + self.character.capacity()
    }

    fn fail(&mut self, error: FrameError) -> FrameError {
        self.is_over = true;
        error
    }

    fn opcode(&self) -> u8 {
        self.header[0] & 0x0F
    }

    fn is_control(&self) -> bool {
        self.opcode() >= opcode::CLOSE
    }

    /// Takes bytes of a header; returns whether it is complete.
    fn take_header(&mut self, wire: &mut &[u8]) -> Result<bool, FrameError> {
        while let Some((byte, rest)) = wire.split_first() {
            *wire = rest;
            self.header[self.header_len] = *byte;
            self.header_len += 1;
            match self.header_len {
                1 => self.check_first_byte()?,
                2 => self.check_second_byte()?,
                _ => {}
            }
            if self.header_len >= 2 && self.header_len == self.header_size() {
                self.left = Some(self.payload_length()?);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check_first_byte(&self) -> Result<(), FrameError> {
        let first = self.header[0];
        if first & RESERVED != 0 {
            return Err(FrameError::BadFrame);
        }
        match (self.opcode(), self.in_message) {
            (opcode::CONTINUATION, true) | (opcode::TEXT, false) => Ok(()),
            (opcode::CONTINUATION, false) | (opcode::TEXT | opcode::BINARY, true) => Err(FrameError::Mixed),
            (opcode::BINARY, false) => Err(FrameError::Binary),
            (opcode::CLOSE | opcode::PING | opcode::PONG, _) if first & FIN != 0 => Ok(()),
            (opcode::CLOSE | opcode::PING | opcode::PONG, _) => Err(FrameError::BadControl),
            _ => Err(FrameError::BadFrame),
        }
    }

    fn check_second_byte(&self) -> Result<(), FrameError> {
        if self.header[1] & 0x80 == 0 {
            return Err(FrameError::NotMasked);
        }
        if self.is_control() && usize::from(self.short_length()) > MAX_CONTROL {
            return Err(FrameError::BadControl);
        }
        Ok(())
    }

    /// Returns the first form of the length: that of a short payload, or 126 or 127 before a longer form.
    fn short_length(&self) -> u8 {
        self.header[1] & 0x7F
    }

    /// Returns the length of the header, of which the first two bytes have come.
    fn header_size(&self) -> usize {
        match self.short_length() {
            126 => 2 + 2 + 4,
            127 => 2 + 8 + 4,
            _ => 2 + 4,
        }
    }

    /// Returns the length of the payload; the header is complete. The shortest form alone is valid.
    fn payload_length(&self) -> Result<u64, FrameError> {
        let long =
            self.header[2..self.header_size() - 4].iter().fold(0, |length, byte| (length << 8) | u64::from(*byte));
        match self.short_length() {
            126 if long < 126 => Err(FrameError::BadFrame),
            127 if u16::try_from(long).is_ok() || long > u64::MAX / 2 => Err(FrameError::BadFrame),
            126 | 127 => Ok(long),
            short => Ok(u64::from(short)),
        }
    }

    /// Unmasks bytes of the payload.
    fn take_payload(&mut self, payload: &[u8], lines: &mut Vec<u8>) -> Result<(), FrameError> {
        let mask_start = self.header_size() - 4;
        let (mask, at) = (&self.header[mask_start..mask_start + 4], self.mask_at);
        let unmasked = payload.iter().zip(at..).map(|(byte, at)| byte ^ mask[at % 4]);
        let from = lines.len();
        if self.is_control() {
            self.control.extend(unmasked);
        } else {
            lines.extend(unmasked);
        }
        self.mask_at = (at + payload.len()) % 4;
        match lines[from..].last() {
            None => Ok(()),
            Some(last) => {
                self.ends_in_lf = *last == b'\n';
                self.check_text(&lines[from..]).map_err(|valid| {
                    lines.truncate(from + valid);
                    FrameError::NotUtf8
                })
            }
        }
    }

    /// Checks that text is UTF-8 as far as it has come; the error is how many bytes of it are.
    fn check_text(&mut self, mut text: &[u8]) -> Result<(), usize> {
        let before = text.len();
        while let (false, Some((byte, rest))) = (self.character.is_empty(), text.split_first()) {
            self.character.push(*byte);
            text = rest;
            match str::from_utf8(&self.character) {
                Ok(_) => self.character = Vec::new(),
                Err(error) if error.error_len().is_some() => return Err(0),
                Err(_) => {}
            }
        }
        match str::from_utf8(text) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(before.saturating_sub(text.len()) + error.valid_up_to()),
            Err(error) => {
                self.character.extend_from_slice(&text[error.valid_up_to()..]);
                Ok(())
            }
        }
    }

    /// Ends a frame whose payload has come.
    fn end_frame(&mut self, lines: &mut Vec<u8>, decoded: &mut DecodedFrames) -> Result<(), FrameError> {
        let is_last = self.header[0] & FIN != 0;
        let is_empty = self.short_length() == 0;
        decoded.frames += 1;
        decoded.empty_frames += u32::from(self.is_control() || (is_empty && !is_last));
        match self.opcode() {
            opcode::CLOSE => {
                decoded.end = Some(PeerClose { code: close_code(&mem::take(&mut self.control))? });
                self.is_over = true;
            }
            opcode::PING => decoded.ping = Some(mem::take(&mut self.control)),
            opcode::PONG => self.control = Vec::new(),
            _ => {
                self.in_message = !is_last;
                if is_last {
                    if !self.character.is_empty() {
                        return Err(FrameError::NotUtf8);
                    }
                    if !mem::take(&mut self.ends_in_lf) {
                        lines.push(b'\n');
                    }
                }
            }
        }
        (self.header_len, self.left, self.mask_at) = (0, None, 0);
        Ok(())
    }
}

/// Returns the code of a close frame's payload (RFC 6455, sections 5.5.1 and 7.4); `None` without one.
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) if str::from_utf8(reason).is_ok() => Ok(Some(code)),
            _ => Err(FrameError::BadClose),
        },
        [_] => Err(FrameError::BadClose),
    }
}

/// Returns a control frame; its payload is cut to the longest that one may have.
fn control_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    let mut frame = vec![FIN | opcode, u8::try_from(payload.len()).unwrap_or_default()];
    frame.extend_from_slice(payload);
    frame
}

/// Returns the answer to a ping.
pub(crate) fn pong_frame(payload: &[u8]) -> Vec<u8> {
    control_frame(opcode::PONG, payload)
}

/// Returns a ping, which the peer's program answers.
pub(crate) fn ping_frame() -> Vec<u8> {
    control_frame(opcode::PING, b"")
}

/// Returns the frame that ends the server's output.
pub(crate) fn close_frame(code: CloseCode) -> Vec<u8> {
    control_frame(opcode::CLOSE, &(code as u16).to_be_bytes())
}

#[cfg(test)]
mod tests;
