//! Commands: an operator's line and its arguments, as a value.

use super::command_table::{COMMANDS, CommandSpec};
use super::hooks::HookKind;
use crate::config::units::parse_duration;
use crate::limits::bans::{MAX_REASON, parse_network};
use crate::peer::PeerId;
use crate::text::names::{RoomName, UserName};
use crate::text::sanitize::sanitize;
use ipnet::IpNet;
use std::fmt;
use std::time::Duration;

/// The longest announcement, in bytes.
const MAX_ANNOUNCEMENT: usize = 1_000;

/// The most characters of a wrong word that an error shows.
const SHOWN: usize = 60;

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Stats,
    Ready,
    /// Lists rooms whose names come after this one.
    Rooms {
        after: Option<RoomName>,
    },
    /// Lists the connections of all rooms or of one, whose numbers come after this one.
    Peers {
        room: Option<RoomName>,
        after: Option<PeerId>,
    },
    /// Lists the bans of networks that come after this one.
    Bans {
        after: Option<IpNet>,
    },
    Kick {
        target: KickTarget,
        reason: String,
    },
    Ban {
        network: IpNet,
        time: Option<Duration>,
        reason: String,
    },
    Unban(IpNet),
    Mute {
        member: MemberTarget,
        time: Option<Duration>,
    },
    Unmute(MemberTarget),
    /// Shows a text to the members of one room, or of all.
    Announce {
        room: Option<RoomName>,
        text: String,
    },
    Drain,
    /// Calls the program with the rest of the line.
    Hook(HookKind, String),
    Quit,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberTarget {
    /// The connection of this number.
    Number(PeerId),
    /// The member of this name in this room.
    Named(RoomName, UserName),
}

/// The connections to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KickTarget {
    Member(MemberTarget),
    /// All connections from this network.
    Network(IpNet),
}

/// A line that is no command. Shown, it says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Checks an operator's line without running it.
///
/// # Errors
/// [`UsageError`] if the line is no command, or its arguments are wrong.
pub fn check_command(line: &str) -> Result<(), UsageError> {
    Command::parse(line).map(drop)
}

/// The words of a line that are left.
struct Words<'a> {
    rest: &'a str,
    spec: &'static CommandSpec,
}

impl Command {
    /// Reads a command and its arguments.
    pub(super) fn parse(line: &str) -> Result<Self, UsageError> {
        let (word, rest) = split_word(line);
        let spec = CommandSpec::find(word).ok_or_else(|| unknown_command(word))?;
        let mut words = Words { rest, spec };
        let command = match spec.word {
            "stats" => Self::Stats,
            "ready" => Self::Ready,
            "rooms" => Self::Rooms { after: words.optional("after", parse_room)? },
            "peers" => Self::Peers {
                room: words.optional("in", parse_room)?,
                after: words.optional("after", |word| parse_number(word).ok_or_else(|| no_number(word)))?,
            },
            "bans" => Self::Bans { after: words.optional("after", parse_net)? },
            "kick" => Self::Kick { target: words.kick_target()?, reason: words.text(MAX_REASON)? },
            "ban" => Self::Ban { network: words.network()?, time: words.time()?, reason: words.text(MAX_REASON)? },
            "unban" => Self::Unban(words.network()?),
            "mute" => Self::Mute { member: words.member()?, time: words.time()? },
            "unmute" => Self::Unmute(words.member()?),
            "announce" => words.announcement()?,
            "drain" => Self::Drain,
            "reload" => Self::Hook(HookKind::Reload, words.text(MAX_REASON)?),
            "log-level" => Self::Hook(HookKind::LogLevel, words.text(MAX_REASON)?),
            "config" => Self::Hook(HookKind::Config, words.text(MAX_REASON)?),
            "upgrade" => Self::Hook(HookKind::Upgrade, words.text(MAX_REASON)?),
            "quit" => Self::Quit,
            _ => Self::Help,
        };
        words.expect_end()?;
        Ok(command)
    }
}

impl Command {
    /// Returns whether the command is for all servers of a cluster. The number of a connection means something on its own
    /// server alone.
    pub(super) fn is_for_all_nodes(&self) -> bool {
        match self {
            Self::Kick { target: KickTarget::Member(member), .. }
            | Self::Mute { member, .. }
            | Self::Unmute(member) => {
                matches!(member, MemberTarget::Named(..))
            }
            Self::Kick { .. } | Self::Ban { .. } | Self::Unban(_) | Self::Announce { .. } => true,
            _ => false,
        }
    }

    /// Returns whether the command needs no answer of a connection or a room and changes nothing.
    pub(super) fn is_allowed_during_handover(&self) -> bool {
        matches!(self, Self::Help | Self::Stats | Self::Ready | Self::Quit)
    }
}

impl<'a> Words<'a> {
    /// Takes the next word; empty at the end.
    fn next(&mut self) -> &'a str {
        let (word, rest) = split_word(self.rest);
        self.rest = rest;
        word
    }

    /// Takes the next word if it is `expected`.
    fn take(&mut self, expected: &str) -> bool {
        let (word, rest) = split_word(self.rest);
        let is_next = word == expected;
        if is_next {
            self.rest = rest;
        }
        is_next
    }

    /// Takes the word that follows `keyword`, if that is next.
    fn optional<T>(
        &mut self,
        keyword: &str,
        parse: impl FnOnce(&str) -> Result<T, UsageError>,
    ) -> Result<Option<T>, UsageError> {
        if self.take(keyword) { parse(self.next()).map(Some) } else { Ok(None) }
    }

    fn network(&mut self) -> Result<IpNet, UsageError> {
        if self.rest.is_empty() {
            return Err(self.wrong_form());
        }
        parse_net(self.next())
    }

    fn time(&mut self) -> Result<Option<Duration>, UsageError> {
        self.optional("for", |word| match parse_duration(word) {
            Ok(time) if !time.is_zero() => Ok(time),
            _ => Err(UsageError(format!("{} is no time: write for 30s, for 10m, for 12h or for 7days", quote(word)))),
        })
    }

    fn member(&mut self) -> Result<MemberTarget, UsageError> {
        let wrong_form = self.wrong_form();
        match self.next() {
            "in" => {
                let room = parse_room(self.next())?;
                let name = self.next();
                let name = UserName::parse(name)
                    .map_err(|error| UsageError(format!("the user name {} {error}", quote(name))))?;
                Ok(MemberTarget::Named(room, name))
            }
            word => parse_number(word).map(MemberTarget::Number).ok_or(wrong_form),
        }
    }

    fn kick_target(&mut self) -> Result<KickTarget, UsageError> {
        let (word, rest) = split_word(self.rest);
        if word.contains(['.', ':', '/']) {
            let network = parse_net(word)?;
            self.rest = rest;
            return Ok(KickTarget::Network(network));
        }
        self.member().map(KickTarget::Member)
    }

    fn announcement(&mut self) -> Result<Command, UsageError> {
        let wrong_form = self.wrong_form();
        let room = match self.next() {
            "all" => None,
            "in" => Some(parse_room(self.next())?),
            _ => return Err(wrong_form),
        };
        let text = self.text(MAX_ANNOUNCEMENT)?;
        if text.is_empty() { Err(wrong_form) } else { Ok(Command::Announce { room, text }) }
    }

    /// Takes the rest of the line as a text without characters that control a terminal.
    fn text(&mut self, most: usize) -> Result<String, UsageError> {
        let text = sanitize(self.rest.as_bytes()).replace('\t', " ").trim().to_owned();
        self.rest = "";
        if text.len() > most {
            return Err(UsageError(format!("the text has {} bytes: write at most {most}", text.len())));
        }
        Ok(text)
    }

    fn expect_end(&self) -> Result<(), UsageError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong_form()) }
    }

    fn wrong_form(&self) -> UsageError {
        UsageError(format!("write: {}", self.spec.form()))
    }
}

/// Returns the first word of a text, and the rest without the blanks between them.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(|character: char| character.is_ascii_whitespace()).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn unknown_command(word: &str) -> UsageError {
    if word.is_empty() {
        return UsageError("a command is missing: help lists them".to_owned());
    }
    let similar = COMMANDS
        .iter()
        .max_by(|one, other| strsim::jaro_winkler(one.word, word).total_cmp(&strsim::jaro_winkler(other.word, word)));
    let similar = similar.filter(|spec| strsim::jaro_winkler(spec.word, word) > 0.8);
    let hint = similar.map(|spec| format!("did you mean {}? ", spec.word)).unwrap_or_default();
    UsageError(format!("{} is no command: {hint}help lists them", quote(word)))
}

fn parse_net(word: &str) -> Result<IpNet, UsageError> {
    parse_network(word).map_err(|error| UsageError(error.to_string()))
}

fn parse_room(word: &str) -> Result<RoomName, UsageError> {
    RoomName::parse(word).map_err(|error| UsageError(format!("the room name {} {error}", quote(word))))
}

/// Returns the number of a connection, which has digits alone.
fn parse_number(word: &str) -> Option<PeerId> {
    let has_digits_alone = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| has_digits_alone).map(PeerId)
}

fn no_number(word: &str) -> UsageError {
    UsageError(format!("{} is no number of a connection: peers lists them", quote(word)))
}

/// Returns the start of a word in quotes, escaped.
fn quote(word: &str) -> String {
    match word.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &word[..end]),
        None => format!("{word:?}"),
    }
}

impl fmt::Display for MemberTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(PeerId(number)) => write!(f, "connection {number}"),
            Self::Named(room, name) => write!(f, "{name} in {room}"),
        }
    }
}

impl fmt::Display for KickTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => member.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Command {
        Command::parse(line).unwrap()
    }

    fn error(line: &str) -> String {
        Command::parse(line).unwrap_err().to_string()
    }

    fn named() -> MemberTarget {
        MemberTarget::Named(RoomName::parse("lobby").unwrap(), UserName::parse("alice").unwrap())
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn each_command_is_read_with_its_arguments() {
        let (lobby, number) = (RoomName::parse("lobby").unwrap(), MemberTarget::Number(PeerId(17)));
        let minutes = Some(Duration::from_secs(600));
        for (line, command) in [
            ("stats", Command::Stats),
            (" ready ", Command::Ready),
            ("rooms", Command::Rooms { after: None }),
            ("rooms after lobby", Command::Rooms { after: Some(lobby) }),
            ("peers", Command::Peers { room: None, after: None }),
            ("peers in lobby after 17", Command::Peers { room: Some(lobby), after: Some(PeerId(17)) }),
            ("bans after 10.0.0.0/8", Command::Bans { after: Some(net("10.0.0.0/8")) }),
            ("unban 2001:db8::1", Command::Unban(net("2001:db8::/64"))),
            ("unmute 17", Command::Unmute(number)),
            ("mute in lobby alice for 10m", Command::Mute { member: named(), time: minutes }),
            ("mute 17", Command::Mute { member: number, time: None }),
            ("drain", Command::Drain),
            ("quit", Command::Quit),
            ("help", Command::Help),
            ("log-level debug", Command::Hook(HookKind::LogLevel, "debug".to_owned())),
        ] {
            assert_eq!(parse(line), command, "{line}");
        }
    }

    #[test]
    fn targets_of_a_kick_are_a_number_a_network_or_a_member_and_the_rest_is_the_reason() {
        for (line, target, reason) in [
            ("kick 17", KickTarget::Member(MemberTarget::Number(PeerId(17))), ""),
            ("kick 17 in lobby alice", KickTarget::Member(MemberTarget::Number(PeerId(17))), "in lobby alice"),
            ("kick in lobby alice too  loud", KickTarget::Member(named()), "too  loud"),
            ("kick 10.0.0.7 flooding", KickTarget::Network(net("10.0.0.7/32")), "flooding"),
            ("kick 2001:db8::/32", KickTarget::Network(net("2001:db8::/32")), ""),
        ] {
            assert_eq!(parse(line), Command::Kick { target, reason: reason.to_owned() }, "{line}");
        }
    }

    #[test]
    fn ban_has_a_network_a_time_and_a_reason() {
        let ban = |line: &str| match parse(line) {
            Command::Ban { network, time, reason } => (network.to_string(), time, reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(ban("ban 10.0.0.7"), ("10.0.0.7/32".to_owned(), None, String::new()));
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(ban("ban 10.0.0.0/8 for 1h a b"), ("10.0.0.0/8".to_owned(), hour, "a b".to_owned()));
        assert_eq!(ban("ban 10.0.0.7 red\t\x1b[31mtext").2, "red text");
        assert_eq!(error("ban"), "write: ban NET [for TIME] [REASON]");
        assert!(error("ban 10.0.0.0/33 x").starts_with("\"10.0.0.0/33\" is no address and no network: write"));
        assert!(error("ban 10.0.0.7 for ever").starts_with("\"ever\" is no time: write for 30s"));
        assert!(error("ban 10.0.0.7 for 0s").starts_with("\"0s\" is no time"));
        assert!(error("ban 10.0.0.7 for").starts_with("\"\" is no time"));
        assert_eq!(error(&format!("ban 10.0.0.7 {}", "x".repeat(201))), "the text has 201 bytes: write at most 200");
    }

    #[test]
    fn announcement_is_for_all_rooms_or_for_one_and_is_made_safe() {
        let announce = |line: &str| match parse(line) {
            Command::Announce { room, text } => (room.map(|room| room.to_string()), text),
            other => panic!("{other:?}"),
        };
        assert_eq!(announce("announce all in 5 minutes"), (None, "in 5 minutes".to_owned()));
        assert_eq!(announce("announce in lobby hi"), (Some("lobby".to_owned()), "hi".to_owned()));
        assert_eq!(announce("announce all a\x1b[2Jb\u{202E}c"), (None, "abc".to_owned()));
        for line in ["announce", "announce hello", "announce all", "announce in lobby", "announce all \x1b[2J"] {
            assert_eq!(error(line), "write: announce all TEXT | in ROOM TEXT", "{line}");
        }
    }

    #[test]
    fn wrong_line_is_answered_with_what_to_write() {
        assert_eq!(error(""), "a command is missing: help lists them");
        assert_eq!(error("kik 7"), "\"kik\" is no command: did you mean kick? help lists them");
        assert_eq!(error("shutdown\x1b[2J"), "\"shutdown\\u{1b}[2J\" is no command: help lists them");
        assert_eq!(error("stats now"), "write: stats");
        assert_eq!(error("mute alice"), "write: mute NUMBER | in ROOM NAME [for TIME]");
        assert_eq!(error("mute -1"), "write: mute NUMBER | in ROOM NAME [for TIME]");
        assert_eq!(error("kick"), "write: kick NUMBER | NET | in ROOM NAME [REASON]");
        assert!(error("mute in lobby").starts_with("the user name \"\" has 0 characters"));
        assert!(error("peers in <lobby>").starts_with("the room name \"<lobby>\" is enclosed"));
        assert!(error("peers after alice").starts_with("\"alice\" is no number of a connection"));
        assert!(error("kick 10.0.0.1/8").contains("has bits beyond its prefix"));
        assert!(error(&"x".repeat(4_000)).len() < 200);
    }
}
