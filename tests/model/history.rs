//! Histories: what the clients of one case do, step by step, and the strategy that generates it.

use proptest::prelude::*;

/// The number of clients that are connected at a time at most.
pub const SLOTS: usize = 5;

const ROOMS: usize = 3;

/// Two of them differ from another in case alone.
const NAMES: [&str; 6] = ["alice", "bob", "carl", "a-name-of-20-letters", "Alice", "BOB"];

/// The names of a server that allows duplicate names: `/who` lists names that differ in case alone in any order.
const DISTINCT_NAMES: usize = 4;

/// First lines that are refused. `{room}` stands for a room of the case.
const BAD_FIRST_LINES: [&str; 11] = [
    "",
    "   ",
    "hello",
    "JOIN",
    "JOIN {room}",
    "JOIN {room} alice bob",
    "JOIN {room} *alice",
    "JOIN {room} /alice",
    "JOIN {room} alice:",
    "JOIN {room} a-name-of-21-letters-",
    "JOIN <{room}> <alice>",
];

/// Lines of chat, the ones that look like commands and the ones that look like lines of the server among them.
const CHAT: [&str; 13] = [
    "hi",
    "",
    " between blanks ",
    "/etc/passwd",
    "//who",
    " //who",
    "// comment",
    "/1",
    "grüße, друг 👩‍🚒",
    "a\tb",
    "*** server is shutting down",
    "bob has left",
    "a CR \rinside",
];

/// Commands without a name of the case in them.
const COMMANDS: [&str; 31] = [
    "/who",
    "/names",
    " /WHO",
    "/who x",
    "/rooms",
    "/list",
    "/last",
    "/last 200",
    "/last 3",
    "/last 1",
    "/help",
    "/?",
    "/me waves",
    "/me",
    "/reply yes, I do",
    "/r  again ",
    "/reply",
    "/msg",
    "/msg bob",
    "/nick",
    "/nick *bob",
    "/nick /bob",
    "/nick bob:",
    "/join",
    "/frobnicate",
    "/frobnicate bob secret",
    "/anunknownwordofwhichareplyshowsthestart",
    "/quit",
    "/quit good night",
    "/exit",
    "/me  twice  blank ",
];

/// The kinds of servers that histories run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    Plain,
    DuplicateNames,
    /// A joiner is shown three earlier lines.
    Replay,
    /// Lines and bytes are delayed by small rates.
    Delayed,
    /// The backlog is small and lines are long, so that lines are skipped.
    SmallBacklog,
}

/// One case.
#[derive(Clone, Debug)]
pub struct History {
    pub profile: Profile,
    pub steps: Vec<Step>,
    /// Whether the server shuts down at the end, while all clients are connected.
    pub shuts_down: bool,
}

/// One step. A step of a slot without a client connects one first, if it sends something.
#[derive(Clone, Debug)]
pub enum Step {
    /// Connects a client in a free slot, which sends its first line.
    Connect {
        slot: usize,
        client: ClientKind,
        first: FirstLine,
    },
    /// Sends lines in packets. A cut is a place in the bytes, in 256ths.
    Send {
        slot: usize,
        lines: Vec<(Line, LineEnd)>,
        cuts: Vec<u8>,
    },
    /// Sends a number of long lines at once.
    Flood {
        slot: usize,
        lines: usize,
        length: usize,
    },
    /// Sends lines and ends the client's input at once, after an unfinished line if there is one; the client reads on to
    /// its end.
    HalfClose {
        slot: usize,
        lines: Vec<(Line, LineEnd)>,
        unfinished: Option<Line>,
    },
    /// Closes the socket, after an unfinished line if there is one.
    Close {
        slot: usize,
        unfinished: Option<Line>,
    },
    /// Resets the connection in the middle of a line; a client of a Unix socket closes it.
    Reset {
        slot: usize,
    },
    /// The client reads nothing until it reads on.
    StopReading {
        slot: usize,
    },
    ReadOn {
        slot: usize,
    },
}

/// How a client connects, and how it ends its lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientKind {
    pub is_tcp: bool,
    pub line_ends: LineEnds,
}

/// The line ends of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnds {
    /// LF: the client never shows that it is a network virtual terminal (NVT).
    #[default]
    Lf,
    /// CR LF at first, then any that ends in LF or NUL.
    Mixed,
    /// CR alone, or CR NUL: a terminal in raw mode.
    Cr,
}

impl LineEnds {
    /// Returns the line end that the client sends in place of `wanted`.
    pub fn choose(self, wanted: LineEnd, is_first: bool) -> LineEnd {
        match (self, wanted) {
            (Self::Lf, _) => LineEnd::Lf,
            (Self::Mixed, _) if is_first => LineEnd::CrLf,
            (Self::Mixed, LineEnd::Cr) => LineEnd::CrLf,
            (Self::Mixed, wanted) => wanted,
            (Self::Cr, LineEnd::CrNul) => LineEnd::CrNul,
            (Self::Cr, _) => LineEnd::Cr,
        }
    }
}

#[derive(Clone, Debug)]
pub enum FirstLine {
    Join { room: usize, name: usize },
    Bad(usize),
}

#[derive(Clone, Debug)]
pub enum Line {
    Chat(usize),
    Command(usize),
    Join {
        room: usize,
        name: Option<usize>,
    },
    Nick {
        name: usize,
    },
    Msg {
        name: usize,
    },
    /// A line of the longest legal length, less one, plus nothing or plus one byte.
    Long {
        excess: i8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    Lf,
    CrLf,
    CrNul,
    Cr,
    CrCrLf,
}

impl LineEnd {
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::CrNul => b"\r\0",
            Self::Cr => b"\r",
            Self::CrCrLf => b"\r\r\n",
        }
    }
}

/// The names of a case. The rooms of each case have names of their own, so all cases can share a server.
pub struct Names {
    case: u64,
    are_distinct: bool,
    /// Whether `/last` is left out: the model does not bound a history in bytes.
    has_no_history: bool,
    max_line: usize,
}

impl Names {
    pub fn new(case: u64, profile: Profile, max_line: usize) -> Self {
        let (are_distinct, has_no_history) = (profile == Profile::DuplicateNames, profile == Profile::SmallBacklog);
        Self { case, are_distinct, has_no_history, max_line }
    }

    fn room(&self, room: usize) -> String {
        format!("{}-{:x}", ["lobby", "dev", "tea"][room % ROOMS], self.case)
    }

    fn user(&self, name: usize) -> &'static str {
        NAMES[if self.are_distinct { name % DISTINCT_NAMES } else { name % NAMES.len() }]
    }

    /// Returns the text of a first line.
    pub fn first_line(&self, first: &FirstLine) -> String {
        match first {
            FirstLine::Join { room, name } => format!("JOIN {} {}", self.room(*room), self.user(*name)),
            FirstLine::Bad(index) => BAD_FIRST_LINES[index % BAD_FIRST_LINES.len()].replace("{room}", &self.room(0)),
        }
    }

    /// Returns the text of a line.
    pub fn line(&self, line: &Line) -> String {
        match line {
            Line::Chat(index) => CHAT[index % CHAT.len()].to_owned(),
            Line::Command(index) => match COMMANDS[index % COMMANDS.len()] {
                command if self.has_no_history && command.starts_with("/last") => "/who".to_owned(),
                command => command.to_owned(),
            },
            Line::Join { room, name } => {
                format!("/join {} {}", self.room(*room), name.map_or("", |name| self.user(name)))
            }
            Line::Nick { name } => format!("/nick {}", self.user(*name)),
            Line::Msg { name } => format!("/msg {} psst", self.user(*name)),
            Line::Long { excess } => "x".repeat(self.max_line.saturating_add_signed((*excess).into())),
        }
    }
}

impl Line {
    /// Returns whether every member sees the line and nothing else comes of it.
    pub fn is_chat(&self) -> bool {
        matches!(self, Self::Chat(_))
    }
}

fn line() -> impl Strategy<Value = Line> {
    prop_oneof![
        6 => (0..CHAT.len()).prop_map(Line::Chat),
        6 => (0..COMMANDS.len()).prop_map(Line::Command),
        3 => (0..ROOMS, prop::option::of(0..NAMES.len())).prop_map(|(room, name)| Line::Join { room, name }),
        3 => (0..NAMES.len()).prop_map(|name| Line::Nick { name }),
        2 => (0..NAMES.len()).prop_map(|name| Line::Msg { name }),
        1 => (-1i8..=1).prop_map(|excess| Line::Long { excess }),
    ]
}

fn line_end() -> impl Strategy<Value = LineEnd> {
    prop_oneof![
        4 => Just(LineEnd::Lf),
        4 => Just(LineEnd::CrLf),
        1 => Just(LineEnd::CrNul),
        1 => Just(LineEnd::Cr),
        1 => Just(LineEnd::CrCrLf),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0..SLOTS;
    let first = prop_oneof![
        8 => (0..ROOMS, 0..NAMES.len()).prop_map(|(room, name)| FirstLine::Join { room, name }),
        1 => (0..BAD_FIRST_LINES.len()).prop_map(FirstLine::Bad),
    ];
    let line_ends = prop_oneof![6 => Just(LineEnds::Lf), 2 => Just(LineEnds::Mixed), 1 => Just(LineEnds::Cr)];
    let kind = (prop::bool::weighted(0.25), line_ends).prop_map(|(is_tcp, line_ends)| ClientKind { is_tcp, line_ends });
    let lines = prop_oneof![
        3 => prop::collection::vec((line(), line_end()), 1..2),
        2 => prop::collection::vec((line(), line_end()), 2..6),
    ];
    let cuts = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 1..4)];
    prop_oneof![
        6 => (slot(), kind, first).prop_map(|(slot, client, first)| Step::Connect { slot, client, first }),
        16 => (slot(), lines, cuts).prop_map(|(slot, lines, cuts)| Step::Send { slot, lines, cuts }),
        2 => (slot(), 1usize..24, 1usize..16_000).prop_map(|(slot, lines, length)| Step::Flood { slot, lines, length }),
        2 => (slot(), prop::collection::vec((line(), line_end()), 0..4), prop::option::of(line()))
            .prop_map(|(slot, lines, unfinished)| Step::HalfClose { slot, lines, unfinished }),
        1 => (slot(), prop::option::of(line())).prop_map(|(slot, unfinished)| Step::Close { slot, unfinished }),
        1 => slot().prop_map(|slot| Step::Reset { slot }),
        1 => slot().prop_map(|slot| Step::StopReading { slot }),
        1 => slot().prop_map(|slot| Step::ReadOn { slot }),
    ]
}

/// Returns a step of a history in which backlogs overflow: the kernel's buffers hold about 200 KiB before the backlog
/// begins.
fn small_backlog_step() -> impl Strategy<Value = Step> {
    let slot = || 0..3usize;
    let flood = (slot(), 1usize..40, prop_oneof![1usize..200, 6_000usize..19_000]);
    prop_oneof![
        4 => flood.prop_map(|(slot, lines, length)| Step::Flood { slot, lines, length }),
        2 => slot().prop_map(|slot| Step::StopReading { slot }),
        1 => slot().prop_map(|slot| Step::ReadOn { slot }),
        4 => step(),
    ]
}

/// Returns the strategy of all histories.
pub fn history() -> impl Strategy<Value = History> {
    let profile = prop_oneof![
        20 => Just(Profile::Plain),
        6 => Just(Profile::DuplicateNames),
        4 => Just(Profile::Replay),
        1 => Just(Profile::Delayed),
    ];
    let shuts_down = prop::bool::weighted;
    prop_oneof![
        30 => (profile, prop::collection::vec(step(), 1..24), shuts_down(0.05)),
        1 => (Just(Profile::SmallBacklog), prop::collection::vec(small_backlog_step(), 1..16), shuts_down(0.4)),
    ]
    .prop_map(|(profile, steps, shuts_down)| History { profile, steps, shuts_down })
}
