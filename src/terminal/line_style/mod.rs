//! Line style: how one member sees the lines of a room: their time, colors and marks, without ignored names.
//!
//! A style needs no editor: a member in line mode has one, too. The editor uses the same formatter for the lines that
//! it prints above its row.

use super::ignore_list::IgnoreList;
use super::room_line::RoomLine;
use super::wrap::{self, INDENTATION};
use crate::text::names::UserName;
use crate::text::time::Minute;
use serde::{Deserialize, Serialize};

/// The colors of names, from the 256-color palette of terminals. Each has a contrast of at least 3.5 to
/// black and to white, so it is readable on both.
const COLORS: [u8; 12] = [28, 30, 32, 63, 64, 100, 130, 135, 160, 162, 164, 166];

/// SGR reset.
const RESET_STYLE: &[u8] = b"\x1b[0m";

/// The additions to each line; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineStyle {
    /// Whether the time at which the line was said comes first, as `12:34 `.
    pub(crate) time: bool,
    /// The minutes that the shown time is east of UTC.
    pub(crate) offset: i16,
    /// Whether each name has its own fixed color, the server's lines are dim, and lines for this member stand out.
    pub(crate) color: bool,
}

/// Formats lines for one member, the owner.
///
/// The formatter belongs to the connection, so that the settings outlive the editor and apply in line mode, too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LineFormatter {
    /// The additions to each line.
    pub(crate) style: LineStyle,
    /// The names whose lines are not shown.
    pub(crate) ignored: IgnoreList,
    /// The owner's name, whose mentions are marked; `None` before the owner has joined a room.
    own_name: Option<UserName>,
}

/// Where formatted lines are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    /// The text before the line: its time and a blank, or nothing.
    pub(super) time: &'a str,
    /// The bytes that end each row.
    pub(super) row_end: &'a str,
    /// The columns of the terminal; 0 if unknown, so that lines are not wrapped.
    pub(super) columns: usize,
}

/// Whether a line calls for the owner's attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// The line mentions the owner's name, or is a whisper to the owner.
    Wanted,
    NotWanted,
}

/// How a part of a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextStyle {
    Plain,
    /// A line of the server.
    Dim,
    /// The text of a line that mentions the owner.
    Bold,
    /// A whisper to the owner: bold and reverse, the most visible style that every terminal has.
    BoldReverse,
    /// A name in its color of the 256-color palette.
    Name {
        color: u8,
        bold: bool,
    },
}

/// A line with its styles: `head` up to `head_length`, `rest` after that.
struct StyledLine<'a> {
    text: &'a str,
    head_length: usize,
    head: TextStyle,
    rest: TextStyle,
}

impl LineFormatter {
    /// Sets the owner's name, whose mentions are marked.
    pub(crate) fn set_own_name(&mut self, name: UserName) {
        self.own_name = Some(name);
    }

    /// Returns the owner's name.
    pub(super) fn own_name(&self) -> Option<&UserName> {
        self.own_name.as_ref()
    }

    /// Returns whether [`format_lines`](Self::format_lines) changes nothing but line ends, so that a peer in line mode
    /// needs no formatter.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        !self.style.time && !self.style.color && self.ignored.names().is_empty()
    }

    /// Appends `lines`, each with its LF, for a peer in line mode: in the owner's style, with `line_end` as the line
    /// end, without the lines of ignored names, not wrapped. `said` is the minute in which the lines were said.
    pub(crate) fn format_lines(&mut self, out: &mut Vec<u8>, lines: &[u8], said: Minute, line_end: &str) {
        let time = self.format_time(said);
        let layout = Layout { time: &time, row_end: line_end, columns: 0 };
        for line in String::from_utf8_lossy(lines).lines() {
            self.format_line(out, line, RoomLine::parse(line), layout);
        }
    }

    /// Returns the time to show before a line, with a blank, or nothing if the style has no time.
    pub(super) fn format_time(&self, said: Minute) -> String {
        if self.style.time { format!("{} ", said.format(self.style.offset)) } else { String::new() }
    }

    /// Appends `line`, of the kind `parsed`, unless its name is ignored. Returns whether the owner's attention is
    /// wanted.
    pub(super) fn format_line(
        &mut self,
        out: &mut Vec<u8>,
        line: &str,
        parsed: RoomLine<'_>,
        layout: Layout<'_>,
    ) -> Attention {
        if self.ignored.hides(parsed) {
            return Attention::NotWanted;
        }
        let mentioned = self.own_name.is_some_and(|name| parsed.mentions(name.as_str()));
        let styled = if self.style.color { StyledLine::new(line, parsed, mentioned) } else { StyledLine::plain(line) };
        styled.push_rows(out, layout);
        let wanted = mentioned || matches!(parsed, RoomLine::Whisper { .. });
        if wanted { Attention::Wanted } else { Attention::NotWanted }
    }
}

impl<'a> StyledLine<'a> {
    fn plain(text: &'a str) -> Self {
        Self { text, head_length: 0, head: TextStyle::Plain, rest: TextStyle::Plain }
    }

    /// Chooses the styles of a line by its kind.
    fn new(text: &'a str, parsed: RoomLine<'_>, mentioned: bool) -> Self {
        let name = |name: &str| TextStyle::Name { color: color_of_name(name.as_bytes()), bold: mentioned };
        let (head, rest) = match parsed {
            RoomLine::Chat { name: by, .. } | RoomLine::Action { name: by, .. } if mentioned => {
                (name(by), TextStyle::Bold)
            }
            RoomLine::Chat { name: by, .. }
            | RoomLine::Action { name: by, .. }
            | RoomLine::Joined { name: by }
            | RoomLine::Left { name: by }
            | RoomLine::Renamed { from: by, .. } => (name(by), TextStyle::Plain),
            RoomLine::Whisper { .. } => (TextStyle::Plain, TextStyle::BoldReverse),
            RoomLine::Recalled { .. } | RoomLine::Server => (TextStyle::Plain, TextStyle::Dim),
            RoomLine::WhisperSent | RoomLine::Other => (TextStyle::Plain, TextStyle::Plain),
        };
        Self { text, head_length: parsed.head_length(text), head, rest }
    }

    /// Appends the line as rows, which are wrapped if the width is known.
    fn push_rows(self, out: &mut Vec<u8>, layout: Layout<'_>) {
        out.extend_from_slice(layout.time.as_bytes());
        if layout.columns < wrap::MIN_COLUMNS {
            self.push_part(out, 0, self.text.len());
            return out.extend_from_slice(layout.row_end.as_bytes());
        }
        // A name holds no TAB, so `head_length` stays valid.
        let text = wrap::expand_tabs(self.text, layout.time.len());
        let line = StyledLine { text: &text, ..self };
        let following = layout.columns - INDENTATION.len();
        let (mut start, mut available) = (0, layout.columns - layout.time.len());
        loop {
            let (length, next) = wrap::split_row(&text[start..], available, following);
            line.push_part(out, start, start + length);
            out.extend_from_slice(layout.row_end.as_bytes());
            start += next;
            if start >= text.len() {
                return;
            }
            out.extend_from_slice(INDENTATION.as_bytes());
            available = following;
        }
    }

    /// Appends the bytes from `start` to `end` of the text. Each row ends its style, so that no indentation has one.
    fn push_part(&self, out: &mut Vec<u8>, start: usize, end: usize) {
        let middle = self.head_length.clamp(start, end);
        for (part, style) in [(&self.text[start..middle], self.head), (&self.text[middle..end], self.rest)] {
            if !part.is_empty() {
                style.push_text(out, part);
            }
        }
    }
}

impl TextStyle {
    /// Appends `text` between the SGR sequence (ECMA-48, section 8.3.117) of this style and a reset.
    fn push_text(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Self::Plain => return out.extend_from_slice(text.as_bytes()),
            Self::Dim => out.extend_from_slice(b"\x1b[2m"),
            Self::Bold => out.extend_from_slice(b"\x1b[1m"),
            Self::BoldReverse => out.extend_from_slice(b"\x1b[1;7m"),
            Self::Name { color, bold } => {
                out.extend_from_slice(format!("\x1b[{}38;5;{color}m", if bold { "1;" } else { "" }).as_bytes());
            }
        }
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(RESET_STYLE);
    }
}

/// Returns the color of a name, by the FNV-1a hash of its lower case: the same in every process.
fn color_of_name(name: &[u8]) -> u8 {
    let hash = name
        .iter()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193));
    COLORS[hash as usize % COLORS.len()]
}

#[cfg(test)]
mod tests;
