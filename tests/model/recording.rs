//! Recordings: what one client has sent and received, cut into its visits of rooms.

use crate::script::{End, Packets, room_of};
use crate::wording::{SHUTTING_DOWN, WELCOME};
use std::collections::HashSet;

/// The bytes that one client has sent and received.
#[derive(Debug)]
pub struct Recording {
    pub end: End,
    /// The texts of its lines, in order.
    pub texts: Vec<String>,
    pub visits: Vec<Visit>,
    pub answers: Vec<Answer>,
    /// Whether its JOIN line was refused.
    pub is_refused: bool,
    /// The number of shutdown notices that it has received, and whether one is its last line.
    pub notices: usize,
    pub ends_with_notice: bool,
    /// Lines of a room before the client's `has joined` there.
    pub stray: Vec<String>,
}

/// The time of a client in one room, from its own `has joined` on.
#[derive(Debug)]
pub struct Visit {
    pub room: char,
    /// The client's name at the beginning.
    pub name: String,
    /// The lines of the room.
    pub lines: Vec<String>,
}

/// A line of the server to one client alone.
#[derive(Debug)]
pub struct Answer {
    /// Without `*** `.
    pub text: String,
    /// The visit in which it has come.
    pub visit: usize,
    /// The number of lines of that visit before it.
    pub place: usize,
}

impl Recording {
    /// Cuts the stream of a client. A stream that was cut by a reset may end inside a line, which is left out.
    pub fn new(sent: Packets, end: End, received: &str) -> Self {
        let own: HashSet<String> = sent.names.iter().map(|name| format!("{name} has joined")).collect();
        let whole = received.rfind('\n').map_or("", |end| &received[..end]);
        let lines: Vec<&str> = whole.lines().skip(WELCOME.len()).collect();
        let mut recording = Self {
            end,
            texts: sent.texts,
            visits: Vec::new(),
            answers: Vec::new(),
            // A connection that is refused in the kernel's queue gets no welcome before its error.
            is_refused: whole.lines().any(|line| line == "ERROR"),
            notices: lines.iter().filter(|line| **line == SHUTTING_DOWN).count(),
            ends_with_notice: lines.last() == Some(&SHUTTING_DOWN),
            stray: Vec::new(),
        };
        for line in lines.into_iter().take_while(|line| *line != "ERROR") {
            recording.add(line, own.contains(line));
        }
        recording
    }

    fn add(&mut self, line: &str, is_own_join: bool) {
        if line == SHUTTING_DOWN {
            return;
        }
        if let Some(text) = line.strip_prefix("*** ") {
            // While a client moves it is a member of both rooms, and may get a whisper in the one that it leaves.
            let whisperer = text.split_once(" whispers: ").map(|(name, _)| room_of(name));
            let visit = self.visits.iter().rposition(|visit| whisperer.is_none_or(|room| visit.room == room));
            if let Some(visit) = visit {
                let place = self.visits[visit].lines.len();
                self.answers.push(Answer { text: text.to_owned(), visit, place });
            }
            return;
        }
        let name = subject(line);
        let room = room_of(name);
        if is_own_join {
            self.visits.push(Visit { room, name: name.to_owned(), lines: vec![line.to_owned()] });
        } else if let Some(visit) = self.visits.iter_mut().rev().find(|visit| visit.room == room) {
            visit.lines.push(line.to_owned());
        } else {
            self.stray.push(line.to_owned());
        }
    }

    /// Returns whether a visit lasts until the shutdown.
    pub fn is_last_stay(&self, visit: usize) -> bool {
        self.end == End::Stay && visit + 1 == self.visits.len()
    }
}

/// Returns the name with which a line of a room begins.
pub fn subject(line: &str) -> &str {
    let line = line.strip_prefix("* ").unwrap_or(line);
    line.split([':', ' ']).next().unwrap_or_default()
}
