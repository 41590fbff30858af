//! Errands: what a member's commands ask for, and what comes of it.

use super::input::LineEncoder;
use super::{Connection, PendingRequest, RoomState};
use crate::connection::close_reason::CloseReason;
use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::events::MembershipSlot;
use crate::peer::line_batch::{EncodedBatch, count_lines};
use crate::peer::output_buffer::ByteSink;
use crate::protocol::commands::{self, Command};
use crate::room::registry::ShuttingDown;
use crate::terminal::line_style::LineStyle;
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
    /// inbox; what comes of this one for the room goes into `encoder`.
    #[allow(clippy::needless_pass_by_value, reason = "a command is done once")]
    pub(super) fn run_command(
        &mut self,
        command: Command<'_>,
        line: &[u8],
        encoder: &mut LineEncoder,
    ) -> Result<(), CloseReason> {
        let RoomState::Inside(membership) = &mut self.room_state else {
            return Ok(());
        };
        let mut told = Vec::new();
        match command {
            Command::Help => commands::push_help(&mut told),
            Command::Who => membership.list_members(|total, names| replies::push_who(&mut told, total, names)),
            Command::Rooms => {
                replies::push_rooms(&mut told, self.host.registry.rooms());
                self.rate.spend_many(DEAR, &self.host.limit, Instant::now().into_std());
            }
            Command::Join { room, .. } if room == membership.room() => replies::push_already_here(&mut told, &room),
            Command::Join { room, user } => {
                let user = user.unwrap_or(membership.user());
                return self.move_to(room, user);
            }
            Command::Nick(name) => {
                membership.request_rename(name);
                self.request = PendingRequest::Renaming;
            }
            Command::Me(text) => encoder.add(|out| messages::push_action(out, &membership.user(), text)),
            Command::Msg { to, text } if membership.send_whisper(to, text) => self.request = PendingRequest::Asking,
            Command::Msg { .. } => self.blocked_input.get_or_insert_default().command = Some(line.into()),
            Command::Last(count) => {
                membership.request_history(count);
                self.request = PendingRequest::Asking;
                self.rate.spend_many(DEAR, &self.host.limit, Instant::now().into_std());
            }
            Command::Quit(text) => {
                if let Some(text) = text {
                    encoder.add(|out| messages::push_chat(out, &membership.user(), text));
                }
                self.post(encoder);
                return Err(CloseReason::Quit);
            }
            Command::Ui(on) => self.switch_editor(on),
            Command::Time(on) => self.style("time", |style| &mut style.time, on, &mut told),
            Command::Color(on) => self.style("color", |style| &mut style.color, on, &mut told),
        }
        self.reply(told);
        Ok(())
    }

    /// Answers a command with lines. They come to the peer as a room's do, and like those they are
    /// within its backlog's bound: who asks on and on and reads nothing must not fill the memory.
    pub(super) fn reply(&self, lines: Vec<u8>) {
        if !lines.is_empty() {
            let mut metrics = MetricsDelta::default();
            let count = count_lines(&lines);
            self.peer.deliver_batch(&EncodedBatch::new(Bytes::from(lines), count), &mut metrics);
            self.host.registry.counters().add(&metrics);
        }
    }

    /// Answers with one line that is no user's.
    pub(super) fn reply_line(&self, text: &impl Display) {
        let mut told = Vec::new();
        replies::push_reply(&mut told, text);
        self.reply(told);
    }

    /// Puts something on the lines that the editor shows, or takes it off.
    fn style(&mut self, what: &str, part: fn(&mut LineStyle) -> &mut bool, on: bool, told: &mut Vec<u8>) {
        match self.editor() {
            Some((editor, _)) => {
                *part(&mut editor.style) = on;
                replies::push_switched(told, what, on);
            }
            None => replies::push_reply(told, &format_args!("/{what} works with the line editor: /ui on")),
        }
    }

    /// Asks another room for a seat.
    fn move_to(&mut self, room: RoomName, user: UserName) -> Result<(), CloseReason> {
        let peer: Arc<Peer<dyn ByteSink>> = Arc::clone(&self.peer) as _;
        match self.host.registry.join(room, user, peer, MembershipSlot::A) {
            Ok(asked) => {
                self.request = PendingRequest::Moving(Box::new(asked));
                Ok(())
            }
            Err(ShuttingDown) => self.on_room_closed(),
        }
    }

    /// No room lets anybody in any more: the server ends. A member waits for its own room's goodbye,
    /// which is sure to come.
    pub(super) fn on_room_closed(&mut self) -> Result<(), CloseReason> {
        match self.room_state {
            RoomState::Inside(_) => {
                self.request = PendingRequest::Ending;
                Ok(())
            }
            RoomState::Outside | RoomState::Waiting(_) => Err(CloseReason::Shutdown),
        }
    }

    /// A room has let the peer in: if it comes from another one, it leaves that.
    pub(super) fn enter(&mut self) {
        match (
            mem::replace(&mut self.room_state, RoomState::Outside),
            mem::replace(&mut self.request, PendingRequest::None),
        ) {
            (old @ RoomState::Inside(_), PendingRequest::Moving(new)) => {
                self.room_state = RoomState::Inside(*new);
                self.request = PendingRequest::Leaving;
                drop(old);
            }
            (RoomState::Waiting(membership), request) => {
                (self.room_state, self.request) = (RoomState::Inside(membership), request);
            }
            (room_state, request) => (self.room_state, self.request) = (room_state, request),
        }
        let (room, name) = self.identity().unzip();
        debug!(room = room.as_ref().map(RoomName::as_str), name = name.as_ref().map(UserName::as_str), "admitted");
    }

    /// Somebody has the name that was asked for.
    pub(super) fn refused(&mut self) -> Result<(), CloseReason> {
        let mut told = Vec::new();
        match (mem::replace(&mut self.request, PendingRequest::None), &mut self.room_state) {
            (PendingRequest::Moving(new), _) => replies::push_name_taken_in(&mut told, &new.room(), &new.user()),
            (PendingRequest::Renaming, RoomState::Inside(membership)) => {
                if let Some(name) = membership.resolve_rename(false) {
                    replies::push_name_taken(&mut told, &name);
                }
            }
            _ => return Err(CloseReason::NameTaken),
        }
        self.reply(told);
        Ok(())
    }

    /// The room has given the name that was asked for.
    pub(super) fn renamed(&mut self) {
        if let RoomState::Inside(membership) = &mut self.room_state {
            membership.resolve_rename(true);
        }
        self.request = PendingRequest::None;
    }

    /// The room that was left has said its last line.
    pub(super) fn moved(&mut self) {
        if matches!(self.request, PendingRequest::Leaving) {
            self.request = PendingRequest::None;
            self.released = false;
        }
    }
}
