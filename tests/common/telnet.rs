//! What a client says and reads that is not made of lines: telnet's commands.

use super::Client;
use socket2::SockRef;
use std::io::{BufRead, Read};

/// What Linux telnet waits for after Ctrl-C, and shows nothing before it has come.
pub const TIMING_MARK: &[u8] = b"\xFF\xFC\x06";

impl Client {
    /// Reads so many bytes.
    #[track_caller]
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("not as many bytes came");
        bytes
    }

    /// Reads bytes that are these.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let read = self.read_bytes(bytes.len());
        assert_eq!(read.escape_ascii().to_string(), bytes.escape_ascii().to_string());
    }

    /// Reads up to these bytes; what stands before them.
    pub fn read_until_bytes(&mut self, end: impl AsRef<[u8]>) -> Vec<u8> {
        let (mut bytes, end) = (Vec::new(), end.as_ref());
        let Some(last) = end.last() else { return bytes };
        while !bytes.ends_with(end) {
            let read = self.reader.read_until(*last, &mut bytes).expect("the bytes did not come");
            assert!(read > 0, "the server closed the connection before {:?}", end.escape_ascii().to_string());
        }
        bytes.truncate(bytes.len() - end.len());
        bytes
    }

    /// Sends bytes of which the last is urgent.
    pub fn send_urgent(&self, bytes: &[u8]) {
        assert_eq!(SockRef::from(self.stream()).send_out_of_band(bytes).unwrap(), bytes.len());
    }
}
