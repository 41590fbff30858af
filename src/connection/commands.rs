//! Commands: what a member's command does.

use super::Connection;
use super::close_reason::CloseReason;
use super::lines::LineEncoder;
use crate::metrics::counters::MetricsDelta;
use crate::peer::byte_sink::ByteSink;
use crate::peer::line_batch::{EncodedBatch, count_lines};
use crate::peer::{OutputOp, Peer};
use crate::protocol::commands::{self, Command, TimeSetting};
use crate::room::registry::ShuttingDown;
use crate::terminal::line_style::LineStyle;
use crate::text::names::{RoomName, UserName};
use crate::text::{messages, replies};
use bytes::Bytes;
use std::fmt::Display;
use std::sync::Arc;
use tokio::time::Instant;

/// How many lines a command is charged that looks at all rooms, or copies many lines.
const LISTING_COST: u32 = 20;

impl Connection {
    /// Runs a member's command, which `line` asked for. The lines before it are in the room's inbox; what the
    /// command says to the room is added to `lines`.
    #[allow(clippy::needless_pass_by_value, reason = "a command is run once")]
    pub(super) fn run_command(
        &mut self,
        command: Command<'_>,
        line: &[u8],
        lines: &mut LineEncoder,
    ) -> Result<(), CloseReason> {
        let Some(membership) = self.state.admitted_membership() else {
            return Ok(());
        };
        let (room, user) = (membership.room(), membership.user());
        match command {
            Command::Help(topic) => self.reply_with(|out| commands::push_help(out, topic)),
            Command::Who => self.request_members(),
            Command::Rooms => self.request_rooms(),
            Command::Join { room: wanted, .. } if wanted == room => {
                self.reply_with(|out| replies::push_already_here(out, &room));
            }
            Command::Join { room, user: name } => self.switch_rooms(room, name.unwrap_or(user)),
            Command::Nick(name) => {
                self.state.begin_request(|membership| {
                    membership.request_rename(name);
                    true
                });
            }
            Command::Me(text) => lines.add(|out| messages::push_action(out, &user, text)),
            Command::Msg { to, text } => {
                if !self.state.begin_request(|membership| membership.send_whisper(to, text)) {
                    self.block_command(line);
                }
            }
            Command::Last(count) => self.request_history(count),
            Command::Quit(text) => {
                if let Some(text) = text {
                    lines.add(|out| messages::push_chat(out, &user, text));
                }
                self.send_lines(lines);
                return Err(CloseReason::Quit);
            }
            Command::Ui(on) => self.switch_input_line(on.unwrap_or(true)),
            Command::Time(setting) => {
                self.switch_style("time", |style| &mut style.time, setting != Some(TimeSetting::Off));
            }
            Command::Color(on) => self.switch_style("color", |style| &mut style.color, on.unwrap_or(true)),
            Command::Reply(_) => self.reply(replies::NO_WHISPER_TO_REPLY_TO.into()),
            Command::Ignore(None) => self.reply_with(|out| replies::push_ignored_names(out, &[])),
            Command::Ignore(Some(name)) => self.reply_with(|out| replies::push_ignored(out, &name)),
            Command::Unignore(name) => self.reply_with(|out| replies::push_not_ignored(out, &name)),
        }
        Ok(())
    }

    /// Asks the room for its members.
    fn request_members(&mut self) {
        self.state.begin_request(|membership| {
            membership.request_members();
            true
        });
    }

    /// Asks the room for the rooms of the server.
    fn request_rooms(&mut self) {
        self.state.begin_request(|membership| {
            membership.request_rooms();
            true
        });
        self.charge_lines(LISTING_COST);
    }

    /// Asks the room for its last `count` lines.
    fn request_history(&mut self, count: u16) {
        self.state.begin_request(|membership| {
            membership.request_history(count);
            true
        });
        self.charge_lines(LISTING_COST);
    }

    /// Sends lines to this peer alone. They reach it as a room's lines do, and like those they are within its
    /// backlog's bound: a peer that asks on and on and reads nothing must not fill the memory.
    pub(super) fn reply(&mut self, lines: Vec<u8>) {
        if let Some(pending) = &mut self.pending_output {
            // Earlier output waits for the write lock, and must not be overtaken.
            pending.0.push_back(OutputOp::Reply(lines));
        } else if !lines.is_empty() {
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

    /// Charges a command as so many lines.
    fn charge_lines(&mut self, lines: u32) {
        let limit = self.rate_limit();
        self.rate.spend_many(lines, &limit, Instant::now().into_std());
    }

    /// Switches a part of the style in which the input line shows lines.
    fn switch_style(&mut self, what: &str, part: fn(&mut LineStyle) -> &mut bool, on: bool) {
        match &mut self.input_line {
            Some(input_line) => {
                *part(input_line.style()) = on;
                self.reply_with(|out| replies::push_switched(out, what, on));
            }
            None => self.reply_line(&format_args!("/{what} works with the input line: /ui on")),
        }
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
            Err(ShuttingDown) => self.reply_line(&"no room is joined any more: the server is shutting down"),
        }
    }
}
