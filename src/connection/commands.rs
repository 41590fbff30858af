//! Errands: what a member's commands ask for, and what comes of it.

use super::input::Draft;
use super::{Connection, Errand, Place};
use crate::connection::close_reason::CloseReason;
use crate::metrics::counters::Tally;
use crate::peer::Peer;
use crate::peer::line_batch::{EncodedBatch, count_lines};
use crate::peer::output_buffer::ByteSink;
use crate::protocol::commands::{self, Command};
use crate::room::registry::ShuttingDown;
use crate::terminal::line_style::Dress;
use crate::text::names::{RoomName, UserName};
use crate::text::{messages, replies};
use bytes::Bytes;
use std::fmt::Display;
use std::mem;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::debug;

/// How many lines a command counts for that looks at all rooms, or copies many lines.
const DEAR: u32 = 20;

impl Connection {
    /// Does what a member's command asks for: `line` said it. What it said before is in the room's
    /// inbox; what comes of this one for the room goes into `draft`.
    #[allow(clippy::needless_pass_by_value, reason = "a command is done once")]
    pub(super) fn obey(&mut self, command: Command<'_>, line: &[u8], draft: &mut Draft) -> Result<(), CloseReason> {
        let Place::Inside(membership) = &mut self.place else {
            return Ok(());
        };
        let mut told = Vec::new();
        match command {
            Command::Help => commands::help(&mut told),
            Command::Who => membership.who(|total, names| replies::who(&mut told, total, names)),
            Command::Rooms => {
                replies::rooms(&mut told, self.host.registry.rooms());
                self.pace.spend_many(DEAR, &self.host.limit, Instant::now().into_std());
            }
            Command::Join { room, .. } if room == membership.room() => replies::here_already(&mut told, &room),
            Command::Join { room, user } => {
                let user = user.unwrap_or(membership.user());
                return self.move_to(room, user);
            }
            Command::Nick(name) => {
                membership.rename(name);
                self.errand = Errand::Renaming;
            }
            Command::Me(text) => draft.add(|out| messages::acted(out, &membership.user(), text)),
            Command::Msg { to, text } if membership.whisper(to, text) => self.errand = Errand::Asking,
            Command::Msg { .. } => self.unsent.get_or_insert_default().command = Some(line.into()),
            Command::Last(count) => {
                membership.recall(count);
                self.errand = Errand::Asking;
                self.pace.spend_many(DEAR, &self.host.limit, Instant::now().into_std());
            }
            Command::Quit(text) => {
                if let Some(text) = text {
                    draft.add(|out| messages::said(out, &membership.user(), text));
                }
                self.post(draft);
                return Err(CloseReason::Quit);
            }
            Command::Ui(on) => self.switch_editor(on),
            Command::Time(on) => self.dress("time", |dress| &mut dress.time, on, &mut told),
            Command::Color(on) => self.dress("color", |dress| &mut dress.color, on, &mut told),
        }
        self.answer(told);
        Ok(())
    }

    /// Answers a command with lines. They come to the peer as a room's do, and like those they are
    /// within its backlog's bound: who asks on and on and reads nothing must not fill the memory.
    pub(super) fn answer(&self, lines: Vec<u8>) {
        if !lines.is_empty() {
            let mut tally = Tally::default();
            let count = count_lines(&lines);
            self.peer.deliver_batch(&EncodedBatch::new(Bytes::from(lines), count), &mut tally);
            self.host.registry.counters().add(&tally);
        }
    }

    /// Answers with one line that is no user's.
    pub(super) fn tell_misuse(&self, text: &impl Display) {
        let mut told = Vec::new();
        replies::answer(&mut told, text);
        self.answer(told);
    }

    /// Puts something on the lines that the editor shows, or takes it off.
    fn dress(&mut self, what: &str, part: fn(&mut Dress) -> &mut bool, on: bool, told: &mut Vec<u8>) {
        match self.editor() {
            Some((editor, _)) => {
                *part(&mut editor.dress) = on;
                replies::switched(told, what, on);
            }
            None => replies::answer(told, &format_args!("/{what} works with the line editor: /ui on")),
        }
    }

    /// Asks another room for a seat.
    fn move_to(&mut self, room: RoomName, user: UserName) -> Result<(), CloseReason> {
        let peer: Arc<Peer<dyn ByteSink>> = Arc::clone(&self.peer) as _;
        match self.host.registry.join(room, user, peer) {
            Ok(asked) => {
                self.errand = Errand::Moving(Box::new(asked));
                Ok(())
            }
            Err(ShuttingDown) => self.shut_out(),
        }
    }

    /// No room lets anybody in any more: the server ends. A member waits for its own room's goodbye,
    /// which is sure to come.
    pub(super) fn shut_out(&mut self) -> Result<(), CloseReason> {
        match self.place {
            Place::Inside(_) => {
                self.errand = Errand::Ending;
                Ok(())
            }
            Place::Outside | Place::Waiting(_) => Err(CloseReason::Shutdown),
        }
    }

    /// A room has let the peer in: if it comes from another one, it leaves that.
    pub(super) fn enter(&mut self) {
        match (mem::replace(&mut self.place, Place::Outside), mem::replace(&mut self.errand, Errand::None)) {
            (old @ Place::Inside(_), Errand::Moving(new)) => {
                self.place = Place::Inside(*new);
                self.errand = Errand::Leaving;
                drop(old);
            }
            (Place::Waiting(membership), errand) => (self.place, self.errand) = (Place::Inside(membership), errand),
            (place, errand) => (self.place, self.errand) = (place, errand),
        }
        let (room, name) = self.seat().unzip();
        debug!(room = room.as_ref().map(RoomName::as_str), name = name.as_ref().map(UserName::as_str), "admitted");
    }

    /// Somebody has the name that was asked for.
    pub(super) fn refused(&mut self) -> Result<(), CloseReason> {
        let mut told = Vec::new();
        match (mem::replace(&mut self.errand, Errand::None), &mut self.place) {
            (Errand::Moving(new), _) => replies::taken_there(&mut told, &new.room(), &new.user()),
            (Errand::Renaming, Place::Inside(membership)) => {
                if let Some(name) = membership.resolve_rename(false) {
                    replies::taken_here(&mut told, &name);
                }
            }
            _ => return Err(CloseReason::NameTaken),
        }
        self.answer(told);
        Ok(())
    }

    /// The room has given the name that was asked for.
    pub(super) fn renamed(&mut self) {
        if let Place::Inside(membership) = &mut self.place {
            membership.resolve_rename(true);
        }
        self.errand = Errand::None;
    }

    /// The room that was left has said its last line.
    pub(super) fn moved(&mut self) {
        if matches!(self.errand, Errand::Leaving) {
            self.errand = Errand::None;
            self.released = false;
        }
    }
}
