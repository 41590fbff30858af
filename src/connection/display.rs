//! Display: how a connection shows lines to a peer that asked for more than plain lines.

use super::Connection;
use super::input_line::InputLine;
use crate::peer::OutputOp;
use crate::peer::route::Route;
use crate::protocol::commands::TimeSetting;
use crate::terminal::line_style::LineFormatter;
use crate::text::names::UserName;
use crate::text::replies;
use crate::text::time::Minute;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The display of one peer. Only a peer that asked for an input line, times, colors or hidden names has one; the peer
/// keeps its settings when the input line is switched off and on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LineDisplay {
    /// Formats arriving lines.
    pub(super) formatter: LineFormatter,
    /// The line that is being typed, with the row that shows it.
    pub(super) input_line: Option<InputLine>,
}

impl LineDisplay {
    /// Returns whether the display shows lines otherwise than they were sent.
    fn encodes_lines(&self) -> bool {
        self.input_line.is_some() || !self.formatter.is_plain()
    }

    /// Encodes whole lines, each with its LF, that were said in the minute `said`: above the input line, or with
    /// `line_end` in line mode.
    pub(super) fn encode(&mut self, lines: &[u8], said: Minute, line_end: &str, wire: &mut VecDeque<u8>) {
        #[cfg(test)]
        super::tests::panic_of_encoder_if_asked(lines);
        let mut out = Vec::new();
        match &mut self.input_line {
            Some(input_line) => input_line.print_above(&mut out, &mut self.formatter, lines, said),
            None => self.formatter.format_lines(&mut out, lines, said, line_end),
        }
        wire.extend(out);
    }
}

impl Connection {
    /// Returns the display, which is made if there is none.
    pub(super) fn display_mut(&mut self) -> &mut LineDisplay {
        let user = self.identity().map(|(_, user)| user);
        self.display.get_or_insert_with(|| {
            let mut display = Box::<LineDisplay>::default();
            if let Some(user) = user {
                display.formatter.set_own_name(user);
            }
            display
        })
    }

    /// Returns the end of a line of this peer that its connection encodes.
    pub(super) fn line_end(&self) -> &'static str {
        if self.is_nvt() { "\r\n" } else { "\n" }
    }

    /// Tells the display the room and the name of its peer, after either has changed.
    pub(super) fn update_display_identity(&mut self) {
        let Some((room, user)) = self.state.admitted_membership().map(|member| (member.room(), member.user())) else {
            return;
        };
        if let Some(display) = &mut self.display {
            display.formatter.set_own_name(user);
            if let Some(input_line) = &mut display.input_line {
                input_line.set_room(&room);
            }
        }
        self.schedule_redraw();
    }

    /// Returns whether the peer is shown lines otherwise than they were sent.
    pub(super) fn display_encodes_lines(&self) -> bool {
        self.display.as_ref().is_some_and(|display| display.encodes_lines())
    }

    /// Lets passes write the peer's lines, or hands them to the connection, whichever its display and its transport need. Called after
    /// each change of the display.
    pub(super) fn update_route(&mut self) {
        let encodes_lines = self.display_encodes_lines();
        let route = match (encodes_lines || self.transport.is_some(), self.is_nvt()) {
            _ if self.web.is_some() => self.web_route(encodes_lines),
            (true, _) => Route::Buffered,
            (false, true) => Route::DirectCrLf,
            (false, false) => Route::DirectLf,
        };
        if !encodes_lines {
            self.end_encoding_delay();
        }
        self.add_output([OutputOp::Route(route)]);
    }

    /// Sets the time before each line, or answers with its state.
    pub(super) fn set_time(&mut self, setting: Option<TimeSetting>) {
        let style = &mut self.display_mut().formatter.style;
        match setting {
            None => {}
            Some(TimeSetting::On) => style.time = true,
            Some(TimeSetting::Off) => style.time = false,
            Some(TimeSetting::Offset(offset)) => (style.time, style.offset) = (true, offset),
        }
        let offset = style.time.then_some(style.offset);
        self.update_route();
        self.reply_with(|out| replies::push_time_state(out, offset));
    }

    /// Switches the colors on or off, or answers with their state.
    pub(super) fn set_color(&mut self, on: Option<bool>) {
        let style = &mut self.display_mut().formatter.style;
        style.color = on.unwrap_or(style.color);
        let on = style.color;
        self.update_route();
        self.reply_with(|out| replies::push_switched(out, "color", on));
    }

    /// Hides the lines of a name, or answers with the hidden names.
    pub(super) fn ignore(&mut self, name: Option<UserName>) {
        let ignored = &mut self.display_mut().formatter.ignored;
        let Some(name) = name else {
            let names = ignored.names().to_vec();
            return self.reply_with(|out| replies::push_ignored_names(out, &names));
        };
        match ignored.ignore(name) {
            Ok(_) => {
                self.update_route();
                self.reply_with(|out| replies::push_ignored(out, &name));
            }
            Err(full) => self.reply_line(&full),
        }
    }

    /// Shows the lines of a name again.
    pub(super) fn unignore(&mut self, name: UserName) {
        if self.display_mut().formatter.ignored.unignore(&name) {
            self.update_route();
            self.reply_with(|out| replies::push_unignored(out, &name));
        } else {
            self.reply_with(|out| replies::push_not_ignored(out, &name));
        }
    }
}
