//! The table of chat commands: the words, arguments, help and parser of each. Their costs stand in `cost.rs`.

use super::arguments::{
    parse_help, parse_ids, parse_ignore, parse_join, parse_last, parse_msg, parse_quit, parse_switch, parse_time,
    parse_user_name, required,
};
use super::{ArgumentError, Command};

/// The longest word, in bytes, that is compared with the table for a suggestion: no longer one is a single
/// edit away from a command's word.
const MAX_COMPARED_WORD: usize = 16;

/// The specification of a command.
#[derive(Debug)]
pub(crate) struct CommandSpec {
    /// The word after the slash, in lower case.
    pub(super) word: &'static str,
    /// Other words for the same command, in lower case.
    pub(super) aliases: &'static [&'static str],
    /// The arguments, as the help shows them; empty for a command without arguments.
    pub(super) arguments: &'static str,
    /// The effect of the command, as the list of commands shows it.
    pub(super) summary: &'static str,
    /// More about the effect, as the help of this command shows it: rows of at most 75 bytes; may be empty.
    pub(super) details: &'static str,
    /// A whole line that runs the command, with arguments if it takes any.
    pub(super) example: &'static str,
    /// Parses the arguments, given without the blanks around them.
    pub(super) parse: for<'a> fn(&'a str) -> Result<Command<'a>, ArgumentError<'a>>,
}

/// Specifications are equal when they are the same entry of the table.
impl PartialEq for CommandSpec {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Eq for CommandSpec {}

/// Every command, in the order of the help.
pub(super) static COMMANDS: [CommandSpec; 16] = [
    CommandSpec {
        word: "help",
        aliases: &["h", "?"],
        arguments: "[COMMAND]",
        summary: "list the commands, or explain one of them",
        details: "",
        example: "/help msg",
        parse: parse_help,
    },
    CommandSpec {
        word: "who",
        aliases: &["names"],
        arguments: "",
        summary: "list the members of this room",
        details: "",
        example: "/who",
        parse: |_| Ok(Command::Who),
    },
    CommandSpec {
        word: "rooms",
        aliases: &["list"],
        arguments: "",
        summary: "list the rooms and how many are in each",
        details: "",
        example: "/rooms",
        parse: |_| Ok(Command::Rooms),
    },
    CommandSpec {
        word: "join",
        aliases: &[],
        arguments: "ROOM [NAME]",
        summary: "leave this room for another one",
        details: "a room that has no member yet is made; without NAME you keep your name",
        example: "/join lobby",
        parse: parse_join,
    },
    CommandSpec {
        word: "nick",
        aliases: &["nickname"],
        arguments: "NAME",
        summary: "change your name",
        details: "a name has 1 to 20 printable ASCII characters and no blank",
        example: "/nick alice2",
        parse: |name| parse_user_name(name).map(Command::Nick),
    },
    CommandSpec {
        word: "me",
        aliases: &[],
        arguments: "TEXT",
        summary: "describe an action: * alice waves",
        details: "",
        example: "/me waves",
        parse: |text| required("text", text).map(Command::Me),
    },
    CommandSpec {
        word: "msg",
        aliases: &["w", "tell"],
        arguments: "NAME TEXT",
        summary: "whisper to one member of this room",
        details: "no other member sees it",
        example: "/msg bob hello",
        parse: parse_msg,
    },
    CommandSpec {
        word: "reply",
        aliases: &["r"],
        arguments: "TEXT",
        summary: "whisper back to the member that whispered last",
        details: "no other member sees it",
        example: "/reply hello",
        parse: |text| required("text", text).map(Command::Reply),
    },
    CommandSpec {
        word: "last",
        aliases: &[],
        arguments: "[N]",
        summary: "show the last lines of this room",
        details: "without N, the last 20",
        example: "/last 5",
        parse: parse_last,
    },
    CommandSpec {
        word: "ignore",
        aliases: &[],
        arguments: "[NAME]",
        summary: "hide the lines of NAME, or list the hidden names",
        details: "only you stop seeing them; /unignore NAME shows them again",
        example: "/ignore bob",
        parse: parse_ignore,
    },
    CommandSpec {
        word: "unignore",
        aliases: &[],
        arguments: "NAME",
        summary: "show the lines of NAME again",
        details: "/ignore alone lists the hidden names",
        example: "/unignore bob",
        parse: |name| parse_user_name(name).map(Command::Unignore),
    },
    CommandSpec {
        word: "ui",
        aliases: &[],
        arguments: "[on|off]",
        summary: "edit lines with the arrow keys (telnet, PuTTY)",
        details: "what others say never tears the line that you type; alone, says its state",
        example: "/ui on",
        parse: |on| parse_switch(on).map(Command::Ui),
    },
    CommandSpec {
        word: "time",
        aliases: &[],
        arguments: "[on|off|OFFSET]",
        summary: "show when each line was said",
        details: "OFFSET is yours from UTC: +2, -3 or +5:30; alone, says its state",
        example: "/time +2",
        parse: parse_time,
    },
    CommandSpec {
        word: "color",
        aliases: &[],
        arguments: "[on|off]",
        summary: "a color for each name",
        details: "alone, says its state",
        example: "/color on",
        parse: |on| parse_switch(on).map(Command::Color),
    },
    CommandSpec {
        word: "ids",
        aliases: &[],
        arguments: "[on|off|KEY ID]",
        summary: "number what is said in this room, for programs",
        details: "as #7 alice: hi; KEY, the numbering of /ids on, and ID show what came after",
        example: "/ids on",
        parse: parse_ids,
    },
    CommandSpec {
        word: "quit",
        aliases: &["exit", "part"],
        arguments: "[TEXT]",
        summary: "leave the server, after a last text",
        details: "",
        example: "/quit good night",
        parse: parse_quit,
    },
];

/// Returns the command of which `word` is the word or an alias, in any ASCII case.
pub(super) fn find(word: &str) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|spec| spec.words().any(|own| own.eq_ignore_ascii_case(word)))
}

/// Returns the first command of which the word, or else an alias, is one edit away from `word`: a letter
/// added, removed, replaced, or exchanged with the next one. Words of one letter are near to everything and
/// have no suggestion.
pub(super) fn find_similar(word: &str) -> Option<&'static CommandSpec> {
    if !(2..=MAX_COMPARED_WORD).contains(&word.len()) {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let is_similar = |own: &str| own.len() > 1 && strsim::osa_distance(own, &word) == 1;
    let by_word = COMMANDS.iter().find(|spec| is_similar(spec.word));
    by_word.or_else(|| COMMANDS.iter().find(|spec| spec.aliases.iter().any(|alias| is_similar(alias))))
}

impl CommandSpec {
    /// Returns the word and the aliases.
    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.word).chain(self.aliases.iter().copied())
    }
}
