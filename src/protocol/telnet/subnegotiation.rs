//! Telnet subnegotiations: the parameters of an option that a peer sends (RFC 855).

use super::{IAC, SB, SE, TelnetCommand, TelnetOption};
use serde::{Deserialize, Serialize};

/// The longest subnegotiation in bytes, with its option byte: far more than any option needs.
pub(crate) const MAX_SUBNEGOTIATION: u16 = 4096;

/// The length of a NAWS subnegotiation: option byte, columns and rows, both big-endian u16 (RFC 1073).
const WINDOW_SIZE_LENGTH: usize = 5;

/// IS, which begins the answer with a terminal's name (RFC 1091).
const IS: u8 = 0;

/// SEND, which asks for a terminal's name (RFC 1091).
const SEND: u8 = 1;

/// The bytes to send when [`TelnetOption::TerminalType`] is enabled: they ask for the name of the peer's
/// terminal (RFC 1091), which arrives as [`TelnetCommand::TerminalType`].
pub(crate) const TERMINAL_TYPE_REQUEST: [u8; 6] = [IAC, SB, 24, SEND, IAC, SE];

/// The names of terminals that can't move the cursor. "network" is what a client sends for an unknown
/// terminal, and "emacs" what Emacs sends for its shell buffers.
const DUMB_TERMINALS: [&[u8]; 5] = [b"", b"dumb", b"emacs", b"network", b"unknown"];

/// The bytes before the name of a terminal: the option byte and [`IS`].
const NAME_START: usize = 2;

/// The bytes that are kept: option byte, [`IS`] and as many bytes as the longest of [`DUMB_TERMINALS`] has.
const HEAD_LENGTH: usize = NAME_START + 7;

/// A subnegotiation is longer than 4 KiB. The decoder must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnegotiationTooLong;

/// The content of a subnegotiation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Subnegotiation {
    /// The number of bytes, with the option byte.
    length: u16,
    /// The first bytes. The rest of a longer name tells nothing: no name of a dumb terminal is that long.
    head: [u8; HEAD_LENGTH],
}

impl Subnegotiation {
    /// Appends bytes of the subnegotiation; the caller has reduced a doubled IAC to one.
    ///
    /// # Errors
    /// [`SubnegotiationTooLong`], if the subnegotiation exceeds 4 KiB then.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), SubnegotiationTooLong> {
        let taken = usize::from(self.length);
        let length = u16::try_from(taken + bytes.len()).ok().filter(|length| *length <= MAX_SUBNEGOTIATION);
        self.length = length.ok_or(SubnegotiationTooLong)?;
        for (place, byte) in self.head.iter_mut().skip(taken).zip(bytes) {
            *place = *byte;
        }
        Ok(())
    }

    /// Returns the option that the subnegotiation is about and its meaning, if the server makes use of it.
    pub(super) fn command(&self) -> Option<(TelnetOption, TelnetCommand)> {
        let length = usize::from(self.length);
        match self.head {
            [option, a, b, c, d, ..] if option == TelnetOption::WindowSize.code() && length == WINDOW_SIZE_LENGTH => {
                let (columns, rows) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                Some((TelnetOption::WindowSize, TelnetCommand::WindowSize { columns, rows }))
            }
            [option, IS, ..] if option == TelnetOption::TerminalType.code() && length >= NAME_START => {
                let name = self.head.get(NAME_START..length);
                let dumb = name.is_some_and(|name| DUMB_TERMINALS.iter().any(|dumb| name.eq_ignore_ascii_case(dumb)));
                Some((TelnetOption::TerminalType, TelnetCommand::TerminalType { dumb }))
            }
            _ => None,
        }
    }
}
