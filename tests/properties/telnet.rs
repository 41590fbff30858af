//! The telnet decoder followed by the line decoder, as a connection has them.

use super::{chunkings, take_header};
use crate::protocol::line_decoder::{LineDecoder, LineTooLong};
use crate::protocol::telnet::{Decoder, Item, SubnegotiationTooLong, TelnetCommand, TelnetOption};

/// All options that the server may request, by their bits in the second byte of the header.
const OPTIONS: [TelnetOption; 6] = [
    TelnetOption::PeerBinary,
    TelnetOption::OwnBinary,
    TelnetOption::Echo,
    TelnetOption::SuppressGoAhead,
    TelnetOption::WindowSize,
    TelnetOption::TerminalType,
];

/// The bit of the header for a reader that withdraws and requests the options again at each window size.
const CHANGES_OPTIONS: u8 = 1 << 6;

/// The bit of the header for a reader that puts back data.
const PUTS_BACK: u8 = 1 << 7;

/// The most times that a connection accepts an option.
const MAX_ACCEPTANCES: usize = 16;

/// An item or line of the decoded stream.
#[derive(Debug, PartialEq)]
enum Event {
    Line(Vec<u8>),
    Command(TelnetCommand),
    Request(Vec<u8>),
    SubnegotiationTooLong(SubnegotiationTooLong),
    LineTooLong(LineTooLong),
}

/// The result of a stream.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    events: Vec<Event>,
    data: Vec<u8>,
    nvt: (bool, bool),
}

struct Reader {
    decoder: Decoder,
    lines: LineDecoder,
    flags: u8,
    decoded: Decoded,
    /// Whether the reader has put the literal FF back that comes next.
    has_put_back: bool,
    /// Whether a line or a subnegotiation was too long.
    has_failed: bool,
    read: usize,
    command_bytes: usize,
}

impl Reader {
    fn new(max_line: usize, flags: u8) -> Self {
        let mut reader = Self {
            decoder: Decoder::default(),
            lines: LineDecoder::new(max_line),
            flags,
            decoded: Decoded::default(),
            has_put_back: false,
            has_failed: false,
            read: 0,
            command_bytes: 0,
        };
        reader.request();
        reader
    }

    fn request(&mut self) {
        let wanted: Vec<_> = (0..).zip(OPTIONS).filter(|(bit, _)| self.flags >> bit & 1 == 1).map(|(_, o)| o).collect();
        let sent = [self.decoder.withdraw(&wanted), self.decoder.request(&wanted)].concat();
        assert!(sent.len() <= 6 * wanted.len(), "one request and one withdrawal for each option");
        self.decoded.events.push(Event::Request(sent));
    }

    fn read(&mut self, chunk: &[u8]) {
        let mut input = chunk;
        self.read += chunk.len();
        while let Some(item) = self.decoder.next_item(&mut input) {
            match item {
                Ok(Item::Data(data)) => {
                    let kept = self.read_data(data);
                    input = &chunk[chunk.len() - input.len() - (data.len() - kept)..];
                }
                Ok(Item::Command(command)) => self.handle_command(command),
                Err(error) => {
                    self.has_failed = true;
                    self.decoded.events.push(Event::SubnegotiationTooLong(error));
                }
            }
            if self.has_failed {
                return;
            }
        }
        assert!(input.is_empty(), "the decoder takes all of its input");
        self.command_bytes += self.decoder.take_command_bytes() as usize;
    }

    /// Reads a data item; returns how many bytes of it were used. The rest is put back.
    fn read_data(&mut self, data: &[u8]) -> usize {
        assert!(!data.is_empty(), "no data item is empty");
        let is_literal = data[0] == 0xFF;
        assert!(!data[1..].contains(&0xFF), "a literal FF is an item of its own");
        if self.flags & PUTS_BACK != 0 && is_literal && !std::mem::replace(&mut self.has_put_back, true) {
            self.decoder.unread_literal_iac();
            return data.len();
        }
        self.has_put_back = false;
        let used = if self.flags & PUTS_BACK != 0 && !is_literal { data.len().div_ceil(2) } else { data.len() };
        self.push_data(&data[..used]);
        used
    }

    fn push_data(&mut self, data: &[u8]) {
        self.decoded.data.extend_from_slice(data);
        let mut rest = data;
        while let Some(line) = self.lines.next_line(&mut rest) {
            match line {
                Ok(line) => {
                    assert!(line.len() <= self.lines.max_line(), "a line exceeds the bound");
                    self.decoded.events.push(Event::Line(line.into_owned()));
                }
                Err(error) => {
                    self.has_failed = true;
                    return self.decoded.events.push(Event::LineTooLong(error));
                }
            }
        }
        assert!(rest.is_empty(), "the line decoder takes all of its input");
    }

    fn handle_command(&mut self, command: TelnetCommand) {
        match command {
            TelnetCommand::Interrupt if self.lines.ends_in_partial_character() => drop(self.lines.discard_line()),
            TelnetCommand::Interrupt | TelnetCommand::EraseLine => self.lines.erase_line(),
            TelnetCommand::EraseCharacter => self.lines.erase_character(),
            TelnetCommand::WindowSize { .. } if self.flags & CHANGES_OPTIONS != 0 => self.request(),
            _ => {}
        }
        self.decoded.events.push(Event::Command(command));
    }

    fn finish(mut self) -> Decoded {
        if self.has_failed {
            return self.decoded;
        }
        while let Some(Item::Data(data)) = self.decoder.finish() {
            self.read_data(data);
        }
        let (data, command) = (self.decoded.data.len(), self.command_bytes);
        // An IAC may be left at the end: of an unfinished command or subnegotiation.
        assert!(
            (data + command..=data + command + 1).contains(&self.read),
            "{} bytes, {data} of data, {command} of commands",
            self.read
        );
        self.decoded.nvt = (self.decoder.is_nvt(), self.lines.is_nvt());
        if let Some(line) = self.lines.finish() {
            assert!(line.len() <= self.lines.max_line(), "the last line exceeds the bound");
            self.decoded.events.push(Event::Line(line));
        }
        self.decoded
    }
}

fn decode(chunks: &[&[u8]], max_line: usize, flags: u8) -> Decoded {
    let mut reader = Reader::new(max_line, flags);
    for chunk in chunks {
        if !reader.has_failed {
            reader.read(chunk);
        }
    }
    reader.finish()
}

/// Checks that a stream means the same in every chunking, with data put back or not, and that its data, sent again
/// with each FF doubled, is the same data without a command.
///
/// The first byte is the longest line, the second byte the options and [`CHANGES_OPTIONS`] and [`PUTS_BACK`], and the
/// third byte the seed of the chunks.
pub fn check_telnet(mut bytes: &[u8]) {
    let Some(&[max_line, flags, seed]) = take_header(&mut bytes) else {
        return;
    };
    let max_line = usize::from(max_line) + 1;
    let whole = decode(&[bytes], max_line, flags & !PUTS_BACK);
    for chunks in chunkings(bytes, seed) {
        let mut decoded = decode(&chunks, max_line, flags);
        if whole.events.iter().any(|event| matches!(event, Event::LineTooLong(_))) {
            // A chunk that ends earlier gives less data to the line decoder before the failure.
            decoded.data.clone_from(&whole.data);
        }
        assert_eq!(decoded, whole, "{} chunks", chunks.len());
    }

    let is_acceptance = |event: &&Event| matches!(event, Event::Command(TelnetCommand::Accept { .. }));
    assert!(whole.events.iter().filter(is_acceptance).count() <= MAX_ACCEPTANCES, "too many acceptances");
    let doubled: Vec<u8> = whole.data.iter().flat_map(|byte| vec![*byte; if *byte == 0xFF { 2 } else { 1 }]).collect();
    let again = decode(&[&doubled], usize::MAX, 0);
    assert_eq!(again.data, whole.data, "data with each FF doubled is the same data");
    assert!(!again.nvt.0, "doubled FFs are no commands");
}
