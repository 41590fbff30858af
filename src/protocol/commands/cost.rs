//! The costs of commands: the work that each one makes the server do, in one table.
//!
//! A unit is the work of one delivery, about 5 µs. The connection spends the units from the budget of its address before
//! it runs the command. `n` is the number of members of the asker's room, `r` the number of rooms of the server:
//!
//! | command | units | work | output |
//! |---|---|---|---|
//! | `/help` | 2 | formats the table | at most 24 rows of 79 bytes, to the asker |
//! | `/who` | 6 + n/128 | takes 50 of `n` names and sorts those | at most 1.2 KiB, to the asker |
//! | `/rooms` | 6 + r/32 | walks all rooms of the server, under a read lock of each shard in turn | at most 1.5 KiB, to the asker |
//! | `/join` | 8 + n | copies the member maps of both rooms | one line to each member of both rooms |
//! | `/nick` | 4 + n | copies the member map, `n` entries | one line to each of `n` members |
//! | `/me` | 0 | the work of a chat line, which the line rate bounds | one line to each of `n` members |
//! | `/msg`, `/reply` | 4 + n/128 | looks one name up, among all `n` members where names may be duplicates | one line to the asker and one to the addressee |
//! | `/last` | 12 | copies lines of the history, at most 64 KiB | those lines, to the asker |
//! | `/ids` | 12 | copies lines of the history, at most 64 KiB | those lines, to the asker |
//! | `/ignore`, `/unignore` | 2 | searches the connection's list of hidden names | one line to the asker |
//! | `/ui` | 8 | negotiates telnet options, redraws the input line | at most one row of the terminal and 20 bytes |
//! | `/time`, `/color` | 2 | sets a field of the connection | one line to the asker |
//! | `/quit` | 0 | a leave, which the address is charged for as for each end of a membership | one line to each of `n` members |
//! | an unknown word or a wrong argument | 2 | compares the word, cut to 16 bytes, with every word of the table | one line to the asker |
//!
//! `/join`, `/nick` and the JOIN line wait, too, until the address has paid for its earlier joins, leaves and renames. Keys
//! of the input line and telnet commands have a budget of the connection (`src/protocol/telnet/budget.rs`).

use super::{Command, CommandError, ParsedLine};

/// The units of a command that has no valid form.
const ERROR_COST: u32 = 2;

/// Members that cost as much to look at as one delivery.
const MEMBERS_PER_UNIT: usize = 128;

/// Rooms that cost as much to look at as one delivery: a look at one takes about 100 ns.
const ROOMS_PER_UNIT: usize = 32;

/// The sizes on which the work of a command depends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CostScale {
    /// The members of the asker's room.
    pub(crate) members: usize,
    /// The rooms of the server.
    pub(crate) rooms: usize,
}

/// Returns the units that a parsed line costs beside what the line rate charges; 0 for chat.
pub(crate) fn cost(parsed: &Result<ParsedLine<'_>, CommandError<'_>>, scale: CostScale) -> u32 {
    match parsed {
        Ok(ParsedLine::Chat(_)) => 0,
        Ok(ParsedLine::Command(command)) => command.cost(scale),
        Err(_) => ERROR_COST,
    }
}

impl Command<'_> {
    /// Returns the units that the command costs.
    fn cost(&self, CostScale { members, rooms }: CostScale) -> u32 {
        let (fixed, walked) = match self {
            Self::Me(_) | Self::Quit(_) => (0, 0),
            Self::Help(_) | Self::Ignore(_) | Self::Unignore(_) | Self::Time(_) | Self::Color(_) => (2, 0),
            Self::Msg { .. } | Self::Reply(_) => (4, members / MEMBERS_PER_UNIT),
            Self::Who => (6, members / MEMBERS_PER_UNIT),
            Self::Rooms => (6, rooms / ROOMS_PER_UNIT),
            Self::Last(_) | Self::Ids(_) => (12, 0),
            Self::Ui(_) => (8, 0),
            Self::Nick(_) => (4, members),
            Self::Join { .. } => (8, members),
        };
        u32::try_from(walked).unwrap_or(u32::MAX).saturating_add(fixed)
    }

    /// Returns whether the command changes a membership, so that it waits until earlier changes are paid for.
    pub(crate) fn changes_membership(&self) -> bool {
        matches!(self, Self::Nick(_) | Self::Join { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn cost_of(line: &str, members: usize, rooms: usize) -> u32 {
        cost(&parse(line), CostScale { members, rooms })
    }

    #[test]
    fn commands_cost_what_they_walk() {
        assert_eq!((cost_of("/who", 0, 9), cost_of("/who", 1280, 9)), (6, 16));
        assert_eq!((cost_of("/rooms", 9, 0), cost_of("/rooms", 9, 3200)), (6, 106));
        assert_eq!((cost_of("/nick al", 1000, 9), cost_of("/join hall", 1000, 9)), (1004, 1008));
        assert_eq!((cost_of("/msg bob hi", 128, 9), cost_of("/reply hi", 0, 9)), (5, 4));
        assert_eq!(cost_of("/nick al", usize::MAX, 9), u32::MAX);
    }

    #[test]
    fn chat_costs_nothing_and_a_wrong_command_costs_its_answer() {
        for chat in ["hello", "//who", "/etc/passwd", "/me waves", "/quit bye"] {
            assert_eq!(cost_of(chat, 1000, 1000), 0, "{chat}");
        }
        for wrong in ["/unknown", "/nick", "/who are you", "/last many"] {
            assert_eq!(cost_of(wrong, 1000, 1000), ERROR_COST, "{wrong}");
        }
    }

    #[test]
    fn commands_that_tell_the_room_change_a_membership() {
        for (line, changes) in [("/nick al", true), ("/join hall", true), ("/who", false), ("/quit", false)] {
            let Ok(ParsedLine::Command(command)) = parse(line) else { panic!("{line} is no command") };
            assert_eq!(command.changes_membership(), changes, "{line}");
        }
    }
}
