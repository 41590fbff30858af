//! The help: written from the table of commands, so it lists exactly the commands that exist.

use super::table::{COMMANDS, CommandSpec};
use std::fmt::Write;

/// Appends the help of one command, or the list of all commands: at most 24 rows of at most 79 columns.
///
/// No row begins with a word that ends in a colon: a recalled chat line does.
pub(crate) fn push_help(out: &mut Vec<u8>, topic: Option<&CommandSpec>) {
    let text = topic.map_or_else(format_list, format_topic);
    for row in text.lines() {
        out.extend_from_slice(b"*** ");
        out.extend_from_slice(row.as_bytes());
        out.push(b'\n');
    }
}

/// Returns one row per command, one about the help of a command and one about the second slash.
fn format_list() -> String {
    let width = COMMANDS.iter().map(|spec| spec.word.len() + 1 + spec.arguments.len()).max().unwrap_or_default();
    let mut text = String::new();
    for CommandSpec { word, arguments, summary, .. } in &COMMANDS {
        let usage = format!("{word} {arguments}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "/{usage:width$}  {summary}");
    }
    text + "for more about one of them write its name after /help: /help msg\n\
            to say a line that looks like a command, write a second /: //who\n"
}

/// Returns the usage and summary of a command, its details, its aliases and an example.
fn format_topic(spec: &CommandSpec) -> String {
    let usage = format!("/{} {}", spec.word, spec.arguments);
    let details = if spec.details.is_empty() { String::new() } else { format!("{}\n", spec.details) };
    let aliases: Vec<String> = spec.aliases.iter().map(|alias| format!("/{alias}")).collect();
    let aliases = match aliases.len() {
        0 => String::new(),
        1 => format!("{} is another name of it\n", aliases[0]),
        _ => format!("{} are other names of it\n", aliases.join(", ")),
    };
    format!("{}: {}\n{details}{aliases}for example: {}\n", usage.trim_end(), spec.summary, spec.example)
}
