//! Telnet: separates a peer's telnet commands from its data (RFC 854, RFC 855).
//!
//! Every connection may be decoded: each command begins with the byte FF, which no UTF-8 text contains, and
//! an FF that begins no command stays data. For the same reason no text of the server needs a doubled FF. On a plain TCP port the server sends no
//! command before the peer does, since `nc`, programs, and `telnet` on ports other than 23 would show it
//! as garbage.

mod budget;
mod options;
mod subnegotiation;
#[cfg(test)]
mod transcripts;

pub(crate) use budget::TelnetBudget;
pub use options::TelnetOption;
use serde::{Deserialize, Serialize};
pub use subnegotiation::SubnegotiationTooLong;
pub(crate) use subnegotiation::{MAX_SUBNEGOTIATION, TERMINAL_TYPE_REQUEST};

use memchr::memchr;
use options::{OptionStates, Verb};
use subnegotiation::Subnegotiation;

/// TIMING-MARK (RFC 860): a client that has requested it shows no output before the answer.
pub(crate) const TIMING_MARK: u8 = 6;

/// IAC, "interpret as command": the first byte of each command. Doubled, it is one data byte FF.
pub(crate) const IAC: u8 = 0xFF;

/// The data that a doubled IAC stands for, and an IAC that begins no command.
const LITERAL_IAC: &[u8] = &[IAC];

/// SB, which begins a subnegotiation: the parameters of an option (RFC 855).
const SB: u8 = 0xFA;

/// SE, which ends a subnegotiation.
const SE: u8 = 0xF0;

/// The lowest command byte: EOF of the linemode option (RFC 1184, section 2.5). The commands of RFC 854
/// begin at [`SE`]. An IAC before a lower byte begins no command.
const FIRST_COMMAND: u8 = 0xEC;

/// Separates telnet commands from the data of a byte stream.
///
/// Input may be split between any two bytes, and decoding allocates nothing. A command does not change the
/// data around it: CR, a command and LF are a CR LF.
///
/// The caller calls [`next_item`](Self::next_item) until it returns `None` and handles the items in that
/// order; at the end of the stream it calls `finish`. A caller that cannot use all of a data item may put the
/// unused end back in front of its input, which decodes to the same data again. A data item that begins with
/// the byte FF is a literal FF: the caller puts no byte back for it, and calls `unread_literal_iac`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Decoder {
    /// Where in a command the next byte stands.
    state: State,
    /// Whether the peer has sent a command.
    nvt: bool,
    /// All disabled until [`request`](Self::request), or until the peer asks for BINARY.
    options: OptionStates,
    /// The subnegotiation that is being received.
    subnegotiation: Subnegotiation,
    /// The bytes that were not data, since [`take_command_bytes`](Self::take_command_bytes). An IAC is
    /// counted with the byte after it, which shows whether it is data.
    command_bytes: u32,
}

/// The position in a command at which the next byte stands.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
enum State {
    /// Outside a command.
    #[default]
    Data,
    /// Outside a command, and a literal FF comes before the next byte.
    UnreadLiteral,
    /// After an IAC.
    AfterIac,
    /// After an IAC and a verb: the next byte is an option.
    AfterVerb(Verb),
    /// In a subnegotiation.
    Subnegotiation,
    /// In a subnegotiation, after an IAC.
    SubnegotiationAfterIac,
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
/// Replies go to that peer alone: a refusal after all output that is queued for it, every other one before that.
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
    /// The peer asks for BINARY, which the server accepts: the option is enabled from here on, send `reply`.
    /// A connection gets at most 16 of these, so the reply needs no budget.
    Accept {
        /// The option, in the direction that the peer asks for.
        option: TelnetOption,
        /// The whole command to send.
        reply: [u8; 3],
    },
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
    /// The name of the peer's terminal (RFC 1091), the answer to a `TERMINAL_TYPE_REQUEST`.
    TerminalType {
        /// Whether the terminal can't move the cursor: its name is empty, or dumb, emacs, network or unknown
        /// in ASCII letters of either case.
        dumb: bool,
    },
}

impl Decoder {
    /// Removes the next item from the front of `input`; returns `None` when `input` is empty and no literal
    /// FF was put back.
    ///
    /// # Errors
    /// [`SubnegotiationTooLong`], as soon as a subnegotiation exceeds 4 KiB.
    pub fn next_item<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<Item<'a>, SubnegotiationTooLong>> {
        if matches!(self.state, State::UnreadLiteral) {
            return Some(Ok(self.literal_iac()));
        }
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
                // No command: the IAC is data, and the byte is decoded as data next.
                State::AfterIac | State::SubnegotiationAfterIac if *first < FIRST_COMMAND => {
                    return Some(Ok(self.literal_iac()));
                }
                _ => {
                    *input = rest;
                    self.decode_command_byte(*first)
                }
            };
            if let Some(item) = item.transpose() {
                return Some(item);
            }
        }
        None
    }

    /// Returns the data that is left at the end of the stream: an IAC after which no byte came, or a literal
    /// FF that was put back.
    pub(crate) fn finish(&mut self) -> Option<Item<'static>> {
        matches!(self.state, State::AfterIac | State::UnreadLiteral).then(|| self.literal_iac())
    }

    /// Puts back the item that was returned last, a literal FF: the decoder returns it again before all
    /// others. The caller puts back no byte of its input for it: the bytes of the item may stand in an earlier
    /// input.
    pub(crate) fn unread_literal_iac(&mut self) {
        self.state = State::UnreadLiteral;
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

    /// Requests each of `options` that is not enabled; returns the bytes to send, in the order of `options`.
    ///
    /// An option is disabled until the peer [accepts](TelnetCommand::Enabled) it. A request that was never
    /// answered is sent again, since the peer may have missed its meaning: a peer that keeps RFC 1143 ignores
    /// a request for what it has accepted. The caller calls this once for each command of its user, so no loop
    /// comes of that.
    pub(crate) fn request(&mut self, options: &[TelnetOption]) -> Vec<u8> {
        self.options.request(options)
    }

    /// Disables each of `options` that is enabled; returns the bytes to send, in the order of `options`.
    ///
    /// The options are disabled at once, whether or not the peer acknowledges that, and may be requested
    /// again. A request that is unanswered is left: if the peer accepts it later, the caller gets
    /// [`TelnetCommand::Enabled`], and withdraws the option then.
    pub(crate) fn withdraw(&mut self, options: &[TelnetOption]) -> Vec<u8> {
        self.options.withdraw(options)
    }

    /// Returns whether the option is enabled.
    #[must_use]
    pub(crate) fn is_enabled(&self, option: TelnetOption) -> bool {
        self.options.is_enabled(option)
    }

    /// Decodes one byte of a command.
    fn decode_command_byte(&mut self, byte: u8) -> Result<Option<Item<'static>>, SubnegotiationTooLong> {
        match (self.state, byte) {
            (State::Data | State::UnreadLiteral, _) => self.state = State::AfterIac,
            (State::Subnegotiation, _) => self.state = State::SubnegotiationAfterIac,
            (State::SubnegotiationAfterIac, IAC) => {
                self.state = State::Subnegotiation;
                self.count_command_bytes(2);
                self.subnegotiation.push(LITERAL_IAC)?;
            }
            (State::SubnegotiationAfterIac, SE) => {
                self.state = State::Data;
                self.count_command_bytes(2);
                let command = self.subnegotiation.command().filter(|(option, _)| self.is_enabled(*option));
                return Ok(command.map(|(_, command)| Item::Command(command)));
            }
            // A subnegotiation without SE ends where the next command begins.
            (State::AfterIac | State::SubnegotiationAfterIac, _) => return Ok(self.decode_after_iac(byte)),
            (State::AfterVerb(verb), option) => {
                self.state = State::Data;
                self.count_command_bytes(1);
                return Ok(self.options.receive(verb, option).map(Item::Command));
            }
        }
        Ok(None)
    }

    /// Decodes the byte after an IAC: an IAC or a command.
    fn decode_after_iac(&mut self, byte: u8) -> Option<Item<'static>> {
        if byte == IAC {
            self.count_command_bytes(1);
            return Some(self.literal_iac());
        }
        self.state = State::Data;
        self.count_command_bytes(2);
        self.nvt = true;
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

    /// Returns a literal FF; the next byte stands outside a command.
    fn literal_iac(&mut self) -> Item<'static> {
        self.state = State::Data;
        Item::Data(LITERAL_IAC)
    }

    /// Counts bytes that are not data.
    fn count_command_bytes(&mut self, bytes: usize) {
        self.command_bytes = self.command_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}
