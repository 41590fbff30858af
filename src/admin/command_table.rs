//! The table of commands: the word, the arguments and the effect of each.

use super::hooks::{AdminHooks, HookKind};
use std::fmt::Write;

/// One command, as operators are told of it.
#[derive(Debug)]
pub(super) struct CommandSpec {
    /// The first word.
    pub(super) word: &'static str,
    /// The arguments.
    pub(super) arguments: &'static str,
    /// The effect.
    about: &'static str,
    /// The hook that the command needs.
    hook: Option<HookKind>,
}

const fn command(word: &'static str, arguments: &'static str, about: &'static str) -> CommandSpec {
    CommandSpec { word, arguments, about, hook: None }
}

const fn hooked(word: &'static str, arguments: &'static str, about: &'static str, hook: HookKind) -> CommandSpec {
    CommandSpec { word, arguments, about, hook: Some(hook) }
}

/// All commands.
pub(super) static COMMANDS: [CommandSpec; 18] = [
    command("help", "", "list the commands"),
    command("stats", "", "show the figures of the server"),
    command("ready", "", "refused while the server takes no new connections"),
    command("rooms", "[after ROOM]", "list the rooms"),
    command("peers", "[in ROOM] [after NUMBER]", "list the connections by number"),
    command("bans", "[after NET]", "list the bans"),
    command("kick", "NUMBER | NET | in ROOM NAME [REASON]", "close connections, with the reason"),
    command("ban", "NET [for TIME] [REASON]", "close connections from a network, and refuse new ones"),
    command("unban", "NET", "remove a ban"),
    command("mute", "NUMBER | in ROOM NAME [for TIME]", "keep the lines of a connection from its room"),
    command("unmute", "NUMBER | in ROOM NAME", "end a mute"),
    command("announce", "all TEXT | in ROOM TEXT", "show a line to all members, or to those of one room"),
    command("drain", "", "take no new connections, and serve those that exist"),
    hooked("reload", "", "read the configuration again, all or nothing", HookKind::Reload),
    hooked("log-level", "[LEVEL]", "show or change the level of the log", HookKind::LogLevel),
    hooked(
        "config",
        "",
        "show the settings that flags, variables and the configuration file say now",
        HookKind::Config,
    ),
    hooked("upgrade", "", "start the program anew, which goes on with all connections", HookKind::Upgrade),
    command("quit", "", "end the session"),
];

impl CommandSpec {
    /// Returns the command of this word.
    pub(super) fn find(word: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|spec| spec.word == word)
    }

    /// Returns the word and the arguments.
    pub(super) fn form(&self) -> String {
        format!("{} {}", self.word, self.arguments).trim_end().to_owned()
    }

    /// Returns whether a program with these hooks has the command.
    fn is_available(&self, hooks: &AdminHooks) -> bool {
        self.hook.is_none_or(|hook| hooks.get(hook).is_some())
    }
}

/// Returns a line for each command of a program with these hooks: its arguments and its effect.
#[must_use]
pub fn usage(hooks: &AdminHooks) -> String {
    let available = || COMMANDS.iter().filter(|spec| spec.is_available(hooks));
    let width = available().map(|spec| spec.form().len()).max().unwrap_or_default();
    available().fold(String::new(), |mut out, spec| {
        // A write to a string never fails.
        let _ = writeln!(out, "  {:width$}  {}", spec.form(), spec.about);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn usage_lists_the_commands_whose_hooks_the_program_has() {
        let without = usage(&AdminHooks::default());
        assert!(without.contains("  ban NET [for TIME] [REASON]  ") && !without.contains("reload"), "{without}");
        let reload: crate::admin::AdminHook = Arc::new(|_| Ok(String::new()));
        let with = usage(&AdminHooks { reload: Some(reload), ..AdminHooks::default() });
        assert!(with.contains("  reload  ") && !with.contains("log-level"), "{with}");
        assert_eq!(with.lines().count(), without.lines().count() + 1);
    }
}
