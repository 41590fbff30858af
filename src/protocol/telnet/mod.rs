//! Telnet: takes a peer's commands out of its bytes (RFC 854, 855), and says what they ask for.
//!
//! Decoding every connection is safe: each command begins with FF, which UTF-8 has nowhere. Of what
//! the server says nothing has to be doubled, for the same reason. It says nothing first, either:
//! `nc`, programs, and `telnet` on any port but 23 take an unasked command for rubbish.

mod budget;
mod options;
#[cfg(test)]
mod transcripts;

pub use budget::TelnetBudget;
pub use options::TelnetOption;

use memchr::memchr;
use options::{OptionStates, Verb};

/// Interpret As Command: what each command begins with. Doubled, it is data.
pub const IAC: u8 = 0xFF;

/// A data byte FF, as it is when it comes doubled.
const ESCAPED_IAC: &[u8] = &[IAC];

/// Begins a subnegotiation, an option's subnegotiation.
const SB: u8 = 0xFA;

/// Ends a subnegotiation.
const SE: u8 = 0xF0;

/// The lowest byte that is a command: EOF, of the linemode option (RFC 1184, section 2.5). Those of
/// RFC 854 begin at [`SE`].
const FIRST_COMMAND: u8 = 0xEC;

/// The longest subnegotiation, its option counted, in bytes: far beyond what any option has to say.
const MAX_SUBNEGOTIATION: u16 = 4096;

/// The bytes of a window's size: its option, then columns and rows, big-endian (RFC 1073).
const WINDOW_SIZE_LENGTH: usize = 5;

/// Takes telnet's commands out of a stream of bytes.
///
/// It may stop and go on between any two bytes, and allocates nothing. Where a command stands makes
/// no difference to the data around it: a line end cut in two by one is a line end.
///
/// It is meant to be asked again and again until all input is taken; what it says then is to be
/// done in that order. When a run of data can't be used up at once, what is left of it may be put
/// back in front of the input: it is decoded to the same again. Only of a run that is an FF the
/// decoder has to [know](Self::unread_escaped_iac).
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// Whether a command has come.
    nvt: bool,
    /// What was agreed on; nothing, until [`enable_options`](Self::enable_options).
    options: OptionStates,
    subnegotiation: Subnegotiation,
    /// Bytes since they were last asked for that are not data.
    command_bytes: u32,
}

/// Where in a command the stream is.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// In none.
    #[default]
    Data,
    /// After an IAC.
    AfterIac,
    /// After an IAC and a verb: an option is next.
    AfterVerb(Verb),
    /// In a subnegotiation.
    Subnegotiation,
    /// In a subnegotiation, after an IAC.
    SubnegotiationAfterIac,
}

/// What came in a subnegotiation.
#[derive(Debug, Default)]
struct Subnegotiation {
    /// How many bytes, the option among them.
    length: u16,
    /// The first of them. The rest belongs to options that are refused.
    head: [u8; WINDOW_SIZE_LENGTH],
}

/// What a decoder finds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Data; more of it may follow.
    Data(&'a [u8]),
    /// A command that asks for something. Those that don't are taken out without a word.
    Command(TelnetCommand),
}

/// What a peer asks for. Answers go to it alone, behind all that it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelnetCommand {
    /// IP, Ctrl-C: drop the unfinished line. Nobody is disconnected for it.
    Interrupt,
    /// EC: erase the last character of the unfinished line.
    EraseCharacter,
    /// EL: erase the unfinished line.
    EraseLine,
    /// AYT: show that somebody is there.
    AreYouThere,
    /// The peer wants an option that it doesn't get: send the answer (RFC 1143, section 7).
    ///
    /// DO TIMING-MARK (RFC 860) is one: without an answer Linux telnet, after Ctrl-C, throws away
    /// all that it gets.
    Refuse {
        /// The whole command.
        reply: [u8; 3],
    },
    /// What was offered is in use from here on.
    Enabled(TelnetOption),
    /// What was offered is not in use, or no more.
    Disabled {
        /// Which.
        option: TelnetOption,
        /// What to send: only when the peer ends what it had agreed to.
        reply: Option<[u8; 3]>,
    },
    /// How large the peer's window is (RFC 1073); 0 is a size that it doesn't know. It comes once
    /// [`TelnetOption::WindowSize`] is agreed on, and after each change.
    WindowSize {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
}

/// A subnegotiation was longer than 4 KiB; nothing behind it is decoded any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnegotiationTooLong;

impl Decoder {
    /// Takes the next item off the front of `input`; `None` when nothing is left of it.
    ///
    /// # Errors
    /// [`SubnegotiationTooLong`], as soon as a subnegotiation is.
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

    /// Notes that the last byte of what was taken is put back, which is the second of a doubled FF:
    /// alone it would begin a command.
    pub fn unread_escaped_iac(&mut self) {
        self.state = State::AfterIac;
    }

    /// How many of the bytes so far were not data, since this was last asked: what an
    /// [`TelnetBudget`] is for. They count toward no line's length.
    pub fn take_command_bytes(&mut self) -> u32 {
        std::mem::take(&mut self.command_bytes)
    }

    /// Whether the peer has sent a command: it is an NVT (RFC 854).
    #[must_use]
    pub fn is_nvt(&self) -> bool {
        self.nvt
    }

    /// Offers to do the line's editing and to echo, and asks for the window's size; what to send.
    ///
    /// What is in use, or asked for already, is left out. Nothing is in use before it was
    /// [agreed](TelnetCommand::Enabled) on.
    pub fn enable_options(&mut self) -> Vec<u8> {
        self.options.enable_all()
    }

    /// Ends all that was agreed on; what to send.
    ///
    /// What was offered and not answered yet is left out: who wants it ended ends it when the answer
    /// comes. Two questions at once about one option are how loops begin (RFC 1143, section 3).
    pub fn disable_options(&mut self) -> Vec<u8> {
        self.options.disable_all()
    }

    /// Takes one byte of a command.
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
            // Without its end, a subnegotiation ends where another command begins.
            (State::AfterIac | State::SubnegotiationAfterIac, _) => return Ok(self.decode_after_iac(byte)),
            (State::AfterVerb(verb), option) => {
                self.state = State::Data;
                return Ok(self.options.receive(verb, option).map(Item::Command));
            }
        }
        Ok(None)
    }

    /// Takes the byte behind an IAC.
    fn decode_after_iac(&mut self, byte: u8) -> Option<Item<'static>> {
        self.state = State::Data;
        if byte == IAC {
            self.command_bytes -= 1;
            return Some(Item::Data(ESCAPED_IAC));
        }
        self.nvt |= byte >= FIRST_COMMAND;
        match byte {
            0xF4 => Some(Item::Command(TelnetCommand::Interrupt)),
            0xF6 => Some(Item::Command(TelnetCommand::AreYouThere)),
            0xF7 => Some(Item::Command(TelnetCommand::EraseCharacter)),
            0xF8 => Some(Item::Command(TelnetCommand::EraseLine)),
            SB => {
                self.state = State::Subnegotiation;
                self.subnegotiation = Subnegotiation::default();
                None
            }
            // EOF, SUSP, ABORT, EOR, NOP, DM, BRK, AO and GA ask for nothing that a line has, and an SE
            // ends nothing here.
            _ => {
                self.state = Verb::from_byte(byte).map_or(State::Data, State::AfterVerb);
                None
            }
        }
    }

    fn count_command_bytes(&mut self, bytes: usize) {
        self.command_bytes = self.command_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

impl Subnegotiation {
    /// Takes bytes of a subnegotiation, doubled ones as one.
    fn push(&mut self, bytes: &[u8]) -> Result<(), SubnegotiationTooLong> {
        let taken = usize::from(self.length);
        let length = u16::try_from(taken + bytes.len()).ok().filter(|length| *length <= MAX_SUBNEGOTIATION);
        self.length = length.ok_or(SubnegotiationTooLong)?;
        for (place, byte) in self.head.iter_mut().skip(taken).zip(bytes) {
            *place = *byte;
        }
        Ok(())
    }

    /// The window's size, if that is what came.
    fn window_size(&self) -> Option<TelnetCommand> {
        let [option, columns @ .., _, _] = self.head;
        let [.., high, low] = self.head;
        let fits = option == TelnetOption::WindowSize.code() && usize::from(self.length) == WINDOW_SIZE_LENGTH;
        let size =
            TelnetCommand::WindowSize { columns: u16::from_be_bytes(columns), rows: u16::from_be_bytes([high, low]) };
        fits.then_some(size)
    }
}
