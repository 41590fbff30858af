//! Bytes of a client that are not lines: telnet commands.

use super::Client;
use socket2::SockRef;
use std::io::{BufRead, Read};

/// The reply to DO TIMING-MARK. Linux telnet drops all input after Ctrl-C until this reply.
pub const TIMING_MARK: &[u8] = b"\xFF\xFC\x06";

/// DO BINARY, with which the server answers a peer's first telnet command: letters that are not ASCII arrive whole then.
pub const BINARY_REQUEST: &[u8] = b"\xFF\xFD\x00";

/// The options that the server requests for an input line: DO BINARY, DO TERMINAL-TYPE, DO NAWS, WILL
/// SUPPRESS-GO-AHEAD, WILL ECHO.
pub const INPUT_LINE_REQUEST: &[u8] = b"\xFF\xFD\x00\xFF\xFD\x18\xFF\xFD\x1F\xFF\xFB\x03\xFF\xFB\x01";

/// The agreement of a client of 80 columns that tells no terminal type.
pub const AGREEMENT: &[u8] =
    b"\xFF\xFB\x00\xFF\xFC\x18\xFF\xFB\x1F\xFF\xFA\x1F\x00\x50\x00\x18\xFF\xF0\xFF\xFD\x03\xFF\xFD\x01";

/// The agreement of a client that tells neither its window nor its terminal, so that its lines are not wrapped.
pub const AGREEMENT_WITHOUT_WINDOW: &[u8] = b"\xFF\xFC\x18\xFF\xFC\x1F\xFF\xFD\x03\xFF\xFD\x01";

impl Client {
    /// Sends a first telnet command, NOP, and reads the request that answers it, with the lines before that.
    pub fn send_first_command(&mut self) {
        self.send(b"\xFF\xF1");
        self.read_until_bytes(BINARY_REQUEST);
    }

    /// Switches the input line on, as a client of 80 columns that agrees to it, and reads up to its prompt.
    pub fn switch_input_line_on(&mut self) {
        self.send("/ui on\r\n");
        self.read_until_bytes(&INPUT_LINE_REQUEST[3..]);
        self.send(AGREEMENT);
        self.read_until_bytes("*** ui is on\r\n");
        self.read_until_bytes("> ");
    }

    /// Reads `count` bytes.
    #[track_caller]
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("too few bytes within the deadline");
        bytes
    }

    /// Reads as many bytes, which must equal `bytes`.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let read = self.read_bytes(bytes.len());
        assert_eq!(read.escape_ascii().to_string(), bytes.escape_ascii().to_string());
    }

    /// Reads up to and including `end`. Returns the bytes before it.
    pub fn read_until_bytes(&mut self, end: impl AsRef<[u8]>) -> Vec<u8> {
        let (mut bytes, end) = (Vec::new(), end.as_ref());
        let Some(last) = end.last() else { return bytes };
        while !bytes.ends_with(end) {
            let read = self.reader.read_until(*last, &mut bytes).expect("no bytes within the deadline");
            let tail = &bytes[bytes.len().saturating_sub(300)..];
            assert!(read > 0, "the server closed the connection after {:?}", tail.escape_ascii().to_string());
        }
        bytes.truncate(bytes.len() - end.len());
        bytes
    }

    /// Sends bytes, the last of which is urgent data.
    pub fn send_urgent(&self, bytes: &[u8]) {
        assert_eq!(SockRef::from(self.stream()).send_out_of_band(bytes).unwrap(), bytes.len());
    }
}
