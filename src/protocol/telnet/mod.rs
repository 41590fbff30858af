//! Telnet: separates a peer's telnet commands from its data (RFC 854, RFC 855).
//!
//! Every connection may be decoded: each command begins with the byte FF, which no UTF-8 text contains.
//! For the same reason no text of the server needs a doubled FF. On a plain TCP port the server sends no
//! command before the peer does, since `nc`, programs, and `telnet` on ports other than 23 would show it
//! as garbage.

mod budget;
mod options;
#[cfg(test)]
mod transcripts;

pub(crate) use budget::TelnetBudget;
pub use options::TelnetOption;

use memchr::memchr;
use options::{OptionStates, Verb};

/// IAC, "interpret as command": the first byte of each command. Doubled, it is one data byte FF.
pub(crate) const IAC: u8 = 0xFF;

/// The data that a doubled IAC stands for.
const ESCAPED_IAC: &[u8] = &[IAC];

/// SB, which begins a subnegotiation: the parameters of an option (RFC 855).
const SB: u8 = 0xFA;

/// SE, which ends a subnegotiation.
const SE: u8 = 0xF0;

/// The lowest command byte: EOF of the linemode option (RFC 1184, section 2.5). The commands of RFC 854
/// begin at [`SE`].
const FIRST_COMMAND: u8 = 0xEC;

/// The longest subnegotiation in bytes, with its option byte: far more than any option needs.
const MAX_SUBNEGOTIATION: u16 = 4096;

/// The length of a NAWS subnegotiation: option byte, columns and rows, both big-endian u16 (RFC 1073).
const WINDOW_SIZE_LENGTH: usize = 5;

/// Separates telnet commands from the data of a byte stream.
///
/// Input may be split between any two bytes, and decoding allocates nothing. A command does not change the
/// data around it: CR, a command and LF are a CR LF.
///
/// The caller calls [`next_item`](Self::next_item) until it returns `None` and handles the items in that
/// order. A caller that cannot use all of a data item may put the unused end back in front of its input,
/// which decodes to the same data again. If that end is a doubled FF, the caller must also call
/// `unread_escaped_iac`.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Where in a command the next byte stands.
    state: State,
    /// Whether the peer has sent a command.
    nvt: bool,
    /// All disabled until [`enable_options`](Self::enable_options).
    options: OptionStates,
    /// The subnegotiation that is being received.
    subnegotiation: Subnegotiation,
    /// The bytes that were not data, since [`take_command_bytes`](Self::take_command_bytes).
    command_bytes: u32,
}

/// The position in a command at which the next byte stands.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Outside a command.
    #[default]
    Data,
    /// After an IAC.
    AfterIac,
    /// After an IAC and a verb: the next byte is an option.
    AfterVerb(Verb),
    /// In a subnegotiation.
    Subnegotiation,
    /// In a subnegotiation, after an IAC.
    SubnegotiationAfterIac,
}

/// The content of a subnegotiation.
#[derive(Debug, Default)]
struct Subnegotiation {
    /// The number of bytes, with the option byte.
    length: u16,
    /// The first bytes. Only NAWS is ever accepted, so the decoder needs no others.
    head: [u8; WINDOW_SIZE_LENGTH],
}

/// An item of the decoded stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Data without commands, never empty.
    Data(&'a [u8]),
    /// A command that the connection has to handle. The decoder drops all others.
    Command(TelnetCommand),
}

/// A telnet command that the connection has to handle.
///
/// Replies go to that peer alone, after all output that is queued for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelnetCommand {
    /// IP, which clients send for Ctrl-C: drop the unfinished line and keep the connection.
    Interrupt,
    /// EC: erase the last character of the unfinished line.
    EraseCharacter,
    /// EL: erase the unfinished line.
    EraseLine,
    /// AYT: send a line that shows that the server is alive.
    AreYouThere,
    /// The peer requests an option that the server refuses: send `reply` (RFC 1143, section 7).
    ///
    /// DO TIMING-MARK (RFC 860) is such a request: after Ctrl-C, Linux telnet discards all output until
    /// the reply arrives.
    Refuse {
        /// The whole command to send.
        reply: [u8; 3],
    },
    /// The peer has accepted the request for this option: it is enabled from here on.
    Enabled(TelnetOption),
    /// The peer has refused a requested option or ended an enabled one: it is disabled.
    Disabled {
        /// The option.
        option: TelnetOption,
        /// The whole command to send; only if the peer has ended an enabled option.
        reply: Option<[u8; 3]>,
    },
    /// The size of the peer's window (RFC 1073); 0 means unknown. A peer sends it when
    /// [`TelnetOption::WindowSize`] is enabled, and after each change.
    WindowSize {
        /// The width in characters.
        columns: u16,
        /// The height in lines.
        rows: u16,
    },
}

/// A subnegotiation is longer than 4 KiB. The decoder must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnegotiationTooLong;

impl Decoder {
    /// Removes the next item from the front of `input`; returns `None` when `input` is empty.
    ///
    /// # Errors
    /// [`SubnegotiationTooLong`], as soon as a subnegotiation exceeds 4 KiB.
    pub fn next_item<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<Item<'a>, SubnegotiationTooLong>> {
        while let Some((first, rest)) = input.split_first() {
            let item = match self.state {
                State::Data if *first != IAC => {
                    let (run, rest) = input.split_at(memchr(IAC, input).unwrap_or(input.len()));
                    *input = rest;
                    return Some(Ok(Item::Data(run)));
                }
                State::Subnegotiation if *first != IAC => {
                    let (run, rest) = input.split_at(memchr(IAC, input).unwrap_or(input.len()));
                    *input = rest;
                    self.count_command_bytes(run.len());
                    self.subnegotiation.push(run).map(|()| None)
                }
                _ => {
                    *input = rest;
                    self.count_command_bytes(1);
                    self.decode_command_byte(*first)
                }
            };
            if let Some(item) = item.transpose() {
                return Some(item);
            }
        }
        None
    }

    /// Tells the decoder that the caller puts back the second byte of a doubled FF, the last one decoded.
    /// Without this call, that FF would begin a command.
    pub(crate) fn unread_escaped_iac(&mut self) {
        self.state = State::AfterIac;
    }

    /// Returns the number of bytes that were not data since the last call, to be spent from a
    /// [`TelnetBudget`]. They do not count toward the length of a line.
    pub(crate) fn take_command_bytes(&mut self) -> u32 {
        std::mem::take(&mut self.command_bytes)
    }

    /// Returns whether the peer has sent a command, so is a network virtual terminal (NVT, RFC 854).
    #[must_use]
    pub(crate) fn is_nvt(&self) -> bool {
        self.nvt
    }

    /// Requests ECHO, SUPPRESS-GO-AHEAD and the window size; returns the bytes to send.
    ///
    /// Options that are enabled or requested already are left out. An option is disabled until the peer
    /// [accepts](TelnetCommand::Enabled) it.
    pub(crate) fn enable_options(&mut self) -> Vec<u8> {
        self.options.enable_all()
    }

    /// Requests to disable all enabled options; returns the bytes to send.
    ///
    /// Options whose request is unanswered are left out; the caller disables them when the answer arrives.
    /// Two unanswered requests about one option can start a loop (RFC 1143, section 3).
    pub(crate) fn disable_options(&mut self) -> Vec<u8> {
        self.options.disable_all()
    }

    /// Decodes one byte of a command.
    fn decode_command_byte(&mut self, byte: u8) -> Result<Option<Item<'static>>, SubnegotiationTooLong> {
        match (self.state, byte) {
            (State::Data, _) => self.state = State::AfterIac,
            (State::Subnegotiation, _) => self.state = State::SubnegotiationAfterIac,
            (State::SubnegotiationAfterIac, IAC) => {
                self.state = State::Subnegotiation;
                self.subnegotiation.push(ESCAPED_IAC)?;
            }
            (State::SubnegotiationAfterIac, SE) => {
                self.state = State::Data;
                return Ok(self
                    .subnegotiation
                    .window_size()
                    .filter(|_| self.options.is_window_size_enabled())
                    .map(Item::Command));
            }
            // A subnegotiation without SE ends where the next command begins.
            (State::AfterIac | State::SubnegotiationAfterIac, _) => return Ok(self.decode_after_iac(byte)),
            (State::AfterVerb(verb), option) => {
                self.state = State::Data;
                return Ok(self.options.receive(verb, option).map(Item::Command));
            }
        }
        Ok(None)
    }

    /// Decodes the byte after an IAC.
    fn decode_after_iac(&mut self, byte: u8) -> Option<Item<'static>> {
        self.state = State::Data;
        if byte == IAC {
            self.command_bytes -= 1;
            return Some(Item::Data(ESCAPED_IAC));
        }
        self.nvt |= byte >= FIRST_COMMAND;
        match byte {
            // IP, AYT, EC and EL (RFC 854, page 14).
            0xF4 => Some(Item::Command(TelnetCommand::Interrupt)),
            0xF6 => Some(Item::Command(TelnetCommand::AreYouThere)),
            0xF7 => Some(Item::Command(TelnetCommand::EraseCharacter)),
            0xF8 => Some(Item::Command(TelnetCommand::EraseLine)),
            SB => {
                self.state = State::Subnegotiation;
                self.subnegotiation = Subnegotiation::default();
                None
            }
            // EOF, SUSP, ABORT, EOR, NOP, DM, BRK, AO and GA do not affect a line, and no subnegotiation is
            // open that an SE could end.
            _ => {
                self.state = Verb::from_byte(byte).map_or(State::Data, State::AfterVerb);
                None
            }
        }
    }

    /// Counts bytes that are not data.
    fn count_command_bytes(&mut self, bytes: usize) {
        self.command_bytes = self.command_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

impl Subnegotiation {
    /// Appends bytes of the subnegotiation; the caller has reduced a doubled IAC to one.
    fn push(&mut self, bytes: &[u8]) -> Result<(), SubnegotiationTooLong> {
        let taken = usize::from(self.length);
        let length = u16::try_from(taken + bytes.len()).ok().filter(|length| *length <= MAX_SUBNEGOTIATION);
        self.length = length.ok_or(SubnegotiationTooLong)?;
        for (place, byte) in self.head.iter_mut().skip(taken).zip(bytes) {
            *place = *byte;
        }
        Ok(())
    }

    /// Returns the window size, if this is a NAWS subnegotiation.
    fn window_size(&self) -> Option<TelnetCommand> {
        let [option, columns @ .., _, _] = self.head;
        let [.., high, low] = self.head;
        let fits = option == TelnetOption::WindowSize.code() && usize::from(self.length) == WINDOW_SIZE_LENGTH;
        let size =
            TelnetCommand::WindowSize { columns: u16::from_be_bytes(columns), rows: u16::from_be_bytes([high, low]) };
        fits.then_some(size)
    }
}
