//! Commands: what a member's command does.

use super::Connection;
use super::close_reason::CloseReason;
use super::lines::LineEncoder;
use super::poll_slice::SYSTEM_CALL_WORK;
use crate::metrics::counters::MetricsDelta;
use crate::peer::byte_sink::ByteSink;
use crate::peer::line_batch::{EncodedBatch, count_lines};
use crate::peer::{OutputOp, Peer};
use crate::protocol::commands::{self, Command, IdsSetting};
use crate::room::membership::Membership;
use crate::room::operation::{IdsRequest, MemberListing};
use crate::room::registry::JoinRefused;
use crate::text::names::{RoomName, UserName};
use crate::text::{messages, replies};
use bytes::Bytes;
use std::fmt::Display;
use std::sync::Arc;

impl Connection {
    /// Runs a member's command. The lines before it are in the room's inbox; what the
    /// command says to the room is added to `lines`.
    #[allow(clippy::needless_pass_by_value, reason = "a command is run once")]
    pub(super) fn run_command(&mut self, command: Command<'_>, lines: &mut LineEncoder) -> Result<(), CloseReason> {
        let Some(membership) = self.state.admitted_membership() else {
            return Ok(());
        };
        let (room, user) = (membership.room(), membership.user());
        match command {
            Command::Help(topic) => self.reply_with(|out| commands::push_help(out, topic)),
            Command::Who => self.request(|membership| membership.request_members(MemberListing::Who)),
            Command::Rooms => self.request(|membership| membership.request_rooms()),
            Command::Last(count) => self.request(|membership| membership.request_history(count)),
            Command::Join { room: wanted, user: name } if wanted == room => {
                self.reply_with(|out| {
                    replies::push_already_here(out, &room, name.filter(|name| *name != user).as_ref());
                });
            }
            Command::Join { room, user: name } => self.switch_rooms(room, name.unwrap_or(user)),
            Command::Nick(name) => self.request(|membership| membership.request_rename(name)),
            Command::Me(text) => lines.add(|out| messages::push_action(out, &user, text)),
            Command::Msg { to, text } => self.request(|membership| membership.send_whisper(to, text)),
            Command::Reply(text) => self.request(|membership| membership.send_reply(text)),
            Command::Quit(text) => {
                if let Some(text) = text {
                    lines.add(|out| messages::push_chat(out, &user, text));
                }
                self.send_lines(lines);
                return Err(CloseReason::Quit);
            }
            Command::Ui(on) => self.switch_input_line(on),
            Command::Ids(setting) => self.request(|membership| membership.request_ids(ids_request(setting))),
            Command::Time(setting) => self.set_time(setting),
            Command::Color(on) => self.set_color(on),
            Command::Ignore(name) => self.ignore(name),
            Command::Unignore(name) => self.unignore(name),
        }
        Ok(())
    }

    /// Asks the room for something that the room answers.
    pub(super) fn request(&mut self, ask: impl FnOnce(&mut Membership)) {
        self.state.begin_request(ask);
    }

    /// Sends lines to this peer alone. They reach it as a room's lines do, and like those they are within its
    /// backlog's bound: a peer that asks on and on and reads nothing must not fill the memory.
    pub(super) fn reply(&mut self, lines: Vec<u8>) {
        if let Some(pending) = &mut self.pending_output {
            // Earlier output waits for the write lock, and must not be overtaken.
            pending.0.push_back(OutputOp::Reply(lines));
        } else if !lines.is_empty() {
            self.slice.charge(SYSTEM_CALL_WORK);
            self.slice.charge_bytes(lines.len());
            let mut metrics = MetricsDelta::default();
            let count = count_lines(&lines);
            self.peer.deliver_batch(&EncodedBatch::new(Bytes::from(lines), count), &mut metrics);
            self.context.registry.counters().add(&metrics);
        }
    }

    /// Sends the lines that `push` appends, as [`Connection::reply`] does.
    pub(super) fn reply_with(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = Vec::new();
        push(&mut lines);
        self.reply(lines);
    }

    /// Sends one line of the server's own, as [`Connection::reply`] does.
    pub(super) fn reply_line(&mut self, text: &impl Display) {
        self.reply_with(|out| replies::push_reply(out, text));
    }

    /// Takes another name, since an older member of another server has the peer's.
    pub(super) fn give_name_up(&mut self) {
        let Some((name, free)) = self
            .state
            .admitted_membership()
            .and_then(|membership| Some((membership.user(), membership.similar_free_name()?)))
        else {
            return;
        };
        self.reply_with(|out| replies::push_name_given_up(out, &name, &free));
        self.request(|membership| membership.request_rename(free));
    }

    /// Asks another room for admission.
    fn switch_rooms(&mut self, room: RoomName, user: UserName) {
        let Some(slot) = self.state.admitted_membership().map(|membership| membership.slot().other()) else {
            return;
        };
        let peer: Arc<Peer<dyn ByteSink>> = Arc::clone(&self.peer) as _;
        match self.context.registry.join(room, user, peer, slot) {
            Ok(next) => self.state.begin_switching(next),
            // The notice of the room that the member is in follows.
            Err(JoinRefused::TooManyRooms(max)) => self.reply_line(&messages::too_many_rooms(max)),
            Err(JoinRefused::ShuttingDown) => {
                self.reply_line(&"no room is joined any more: the server is shutting down");
            }
        }
    }
}

/// Returns what the argument of `/ids` asks of the room.
fn ids_request(setting: IdsSetting) -> IdsRequest {
    match setting {
        IdsSetting::State => IdsRequest::State,
        IdsSetting::On => IdsRequest::On,
        IdsSetting::Off => IdsRequest::Off,
        IdsSetting::After { numbering, last_id } => IdsRequest::After { numbering, last_id },
    }
}
