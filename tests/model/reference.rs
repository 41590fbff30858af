//! The model: a chat server without sockets, threads and bounds, written to be compared with the contract by reading.
//!
//! One call is one event of the outside world. Each event is complete before the next one. A room is a list of members
//! in the order of their joins, and a client's output is the list of the lines that it has to see.

use crate::decoder::LineDecoder;
use crate::wording::{
    self, SHUTTING_DOWN, WELCOME, chat_text, check_user_name, parse_join, similar_name, split_command,
};
use std::collections::BTreeMap;

/// The number of a client, in the order of connects.
pub type ClientId = usize;

/// The settings that the model follows.
#[derive(Clone, Debug)]
pub struct Rules {
    pub allow_duplicate_names: bool,
    /// The number of earlier lines that a joiner is shown.
    pub replay: usize,
    pub max_line: usize,
    /// The reply to `/help`, line by line.
    pub help: Vec<String>,
}

pub struct Model {
    rules: Rules,
    rooms: BTreeMap<String, Room>,
    clients: Vec<Client>,
}

#[derive(Default)]
struct Room {
    /// In the order of joins.
    members: Vec<ClientId>,
    /// The lines since the room appeared, and whether each is a notice: of a join, a leave or a rename.
    history: Vec<(bool, String)>,
}

#[derive(Default)]
struct Client {
    decoder: LineDecoder,
    /// The room that the client is in.
    room: Option<String>,
    name: String,
    /// The member that whispered last to this one in its room, with the last name that it had there.
    whisperer: Option<(ClientId, String)>,
    has_ended: bool,
    output: Vec<OutputLine>,
}

/// A line that a client has to see.
#[derive(Clone, Debug)]
pub struct OutputLine {
    /// The line with its line end.
    pub text: String,
    pub source: Source,
}

/// Where a line comes from. The lines of one source that a client sees have one order; the contract orders no lines of
/// two sources that come of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The connection itself answers.
    Connection,
    /// The room of this name says or answers it.
    Room(String),
}

impl Model {
    pub fn new(rules: Rules) -> Self {
        Self { rules, rooms: BTreeMap::new(), clients: Vec::new() }
    }

    /// Returns all lines that a client has to see, in order.
    pub fn output(&self, client: ClientId) -> &[OutputLine] {
        &self.clients[client].output
    }

    /// Returns whether a client is in a room.
    pub fn is_member(&self, client: ClientId) -> bool {
        self.clients[client].room.is_some()
    }

    /// Returns whether the server closes the client's connection after its output.
    pub fn has_ended(&self, client: ClientId) -> bool {
        self.clients[client].has_ended
    }

    // The events.

    pub fn connect(&mut self) -> ClientId {
        let client = self.clients.len();
        self.clients.push(Client::default());
        for line in WELCOME {
            self.show(client, line);
        }
        client
    }

    /// The server receives bytes of a client.
    pub fn receive(&mut self, client: ClientId, bytes: &[u8]) {
        for byte in bytes {
            if self.has_ended(client) {
                return;
            }
            match self.clients[client].decoder.push(*byte, self.rules.max_line) {
                Ok(None) => {}
                Ok(Some(line)) => self.handle_line(client, &line),
                Err(_) => {
                    let reason = format!("the line was longer than {} bytes: send shorter lines", self.rules.max_line);
                    self.end(client, Some(reason));
                }
            }
        }
    }

    /// The client's input ends: its unfinished last line counts.
    pub fn end_of_input(&mut self, client: ClientId) {
        if self.has_ended(client) {
            return;
        }
        if let Some(line) = self.clients[client].decoder.finish() {
            self.handle_line(client, &line);
        }
        if !self.has_ended(client) {
            let is_member = self.clients[client].room.is_some();
            let reason = "the connection ended before its first line; write: JOIN <ROOMNAME> <USERNAME>, for example: \
                          JOIN lobby alice";
            self.end(client, (!is_member).then(|| reason.to_owned()));
        }
    }

    /// The client resets its connection: its unfinished line is dropped.
    pub fn reset(&mut self, client: ClientId) {
        if !self.has_ended(client) {
            self.end(client, None);
        }
    }

    /// The server shuts down: the notice is the last line of each member.
    pub fn shut_down(&mut self) {
        for client in 0..self.clients.len() {
            if self.has_ended(client) {
                continue;
            }
            self.clients[client].has_ended = true;
            if self.clients[client].room.take().is_some() {
                self.show(client, SHUTTING_DOWN);
            } else {
                self.show(client, "ERROR");
                self.show(client, "the server is shutting down: come back later");
            }
        }
        self.rooms.clear();
    }

    // Lines.

    fn handle_line(&mut self, client: ClientId, line: &[u8]) {
        let line = str::from_utf8(line).expect("the histories hold valid UTF-8 only");
        let Some(room) = self.clients[client].room.clone() else {
            return match parse_join(line) {
                Ok((room, name)) if self.is_taken(&room, &name, None) => {
                    let other = similar_name(&name);
                    let reason = format!(
                        "the name {name} is taken in {room}: connect again and choose another, for example: JOIN {room} \
                         {other}"
                    );
                    self.end(client, Some(reason));
                }
                Ok((room, name)) => self.join(client, &room, &name),
                Err(reason) => self.end(client, Some(reason)),
            };
        };
        let name = self.clients[client].name.clone();
        let Some((word, arguments)) = split_command(line) else {
            return self.say(&room, false, &format!("{name}: {}", chat_text(line)));
        };
        let (first, rest) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
        match (word.as_str(), first) {
            ("who" | "names", "") => self.show_members(client, &room),
            ("rooms" | "list", "") => self.show_rooms(client, &room),
            ("last", _) => {
                let count = if first.is_empty() { 20 } else { first.parse().expect("a number of lines") };
                self.show_history(client, &room, count);
            }
            ("help" | "h" | "?", "") => {
                self.rules.help.clone().iter().for_each(|line| self.show_local(client, line));
            }
            ("join", wanted) if !wanted.is_empty() => self.change_room(client, wanted, rest.trim()),
            ("nick" | "nickname", wanted) if !wanted.is_empty() => self.rename(client, &room, wanted),
            ("me", text) if !text.is_empty() => self.say(&room, false, &format!("* {name} {arguments}")),
            ("msg" | "w" | "tell", to) if !rest.trim().is_empty() => self.whisper(client, &room, to, rest.trim()),
            ("reply" | "r", text) if !text.is_empty() => self.reply(client, &room, arguments),
            ("quit" | "exit" | "part", _) => {
                if !arguments.is_empty() {
                    self.say(&room, false, &format!("{name}: {arguments}"));
                }
                self.end(client, None);
            }
            _ => self.show_local(client, &mistake(&word, arguments)),
        }
    }

    // Rooms.

    fn is_taken(&self, room: &str, name: &str, but_for: Option<ClientId>) -> bool {
        let has_name = |member: &&ClientId| self.clients[**member].name.eq_ignore_ascii_case(name);
        !self.rules.allow_duplicate_names
            && self.members(room).iter().filter(has_name).any(|member| Some(*member) != but_for)
    }

    fn members(&self, room: &str) -> &[ClientId] {
        self.rooms.get(room).map_or(&[], |room| &room.members)
    }

    fn join(&mut self, client: ClientId, room: &str, name: &str) {
        let replayed = self.last_lines(room, self.rules.replay);
        (self.clients[client].room, self.clients[client].name) = (Some(room.to_owned()), name.to_owned());
        for line in replayed {
            self.show(client, &format!("*** {line}"));
        }
        self.rooms.entry(room.to_owned()).or_default().members.push(client);
        self.clients[client].whisperer = None;
        self.say(room, true, &format!("{name} has joined"));
    }

    /// Removes a member; the room is gone with its last one.
    fn leave(&mut self, client: ClientId, room: &str, name: &str) {
        let members = &mut self.rooms.get_mut(room).expect("the room of a member").members;
        members.retain(|member| *member != client);
        if members.is_empty() {
            self.rooms.remove(room);
        } else {
            self.say(room, true, &format!("{name} has left"));
        }
    }

    fn change_room(&mut self, client: ClientId, wanted: &str, name: &str) {
        // A later line may have become a part of this one, where a lone CR ends no line any more.
        if let Some(Err(error)) = (!name.is_empty()).then(|| check_user_name(name)) {
            let usage = "write: /join ROOM [NAME], for example: /join lobby";
            return self.show_local(client, &format!("*** /join: the name {error}; {usage}"));
        }
        let own_name = self.clients[client].name.clone();
        let here = self.clients[client].room.clone().expect("a member");
        if wanted == here {
            let is_other = !name.is_empty() && !name.eq_ignore_ascii_case(&own_name);
            let hint = if is_other { format!("; to change your name write: /nick {name}") } else { String::new() };
            return self.show_local(client, &format!("*** you are in {here} already{hint}"));
        }
        let name = if name.is_empty() { own_name.clone() } else { name.to_owned() };
        if self.is_taken(wanted, &name, None) {
            let line = format!(
                "*** the name {name} is taken in {wanted}: you stay here; write: /join {wanted} NAME, for example: /join \
                 {wanted} {}",
                similar_name(&name)
            );
            return self.show_local(client, &line);
        }
        self.join(client, wanted, &name);
        self.leave(client, &here, &own_name);
    }

    fn rename(&mut self, client: ClientId, room: &str, wanted: &str) {
        if let Err(error) = check_user_name(wanted) {
            let usage = "write: /nick NAME, for example: /nick alice2";
            return self.show_local(client, &format!("*** /nick: the name {error}; {usage}"));
        }
        let name = std::mem::replace(&mut self.clients[client].name, wanted.to_owned());
        if name == wanted {
            return self.show(client, &format!("*** you are called {name} already"));
        }
        if self.is_taken(room, wanted, Some(client)) {
            self.clients[client].name = name;
            let line = format!(
                "*** the name {wanted} is taken in {room}: you keep your name; write: /nick NAME, for example: /nick {}",
                similar_name(wanted)
            );
            return self.show_local(client, &line);
        }
        for member in self.members(room).to_vec() {
            if let Some((whisperer, known)) = &mut self.clients[member].whisperer
                && *whisperer == client
            {
                wanted.clone_into(known);
            }
        }
        self.say(room, true, &format!("{name} is now known as {wanted}"));
    }

    // Whispers.

    fn whisper(&mut self, client: ClientId, room: &str, to: &str, text: &str) {
        let is_called = |member: &ClientId| self.clients[*member].name.eq_ignore_ascii_case(to);
        let found: Vec<ClientId> = self.members(room).iter().copied().filter(is_called).collect();
        match found[..] {
            [] => self.show(client, &format!("*** no member here is called {to}: /who lists the members")),
            [addressee] => self.deliver_whisper(client, addressee, text),
            _ => self.show(client, &format!("*** {} members here are called {to}: nothing was sent", found.len())),
        }
    }

    fn reply(&mut self, client: ClientId, room: &str, text: &str) {
        let Some((whisperer, name)) = self.clients[client].whisperer.clone() else {
            let line = "*** no member has whispered to you in this room yet; write: /msg NAME TEXT";
            return self.show(client, line);
        };
        let has_name = |member: ClientId| self.clients[member].name.eq_ignore_ascii_case(&name);
        if self.members(room).contains(&whisperer) && has_name(whisperer) {
            self.deliver_whisper(client, whisperer, text);
        } else if self.members(room).iter().any(|member| has_name(*member)) {
            let line =
                format!("*** {name}, the member that whispered to you, has left: another member is called {name} now");
            self.show(client, &line);
        } else {
            self.show(client, &format!("*** no member here is called {name}: /who lists the members"));
        }
    }

    fn deliver_whisper(&mut self, from: ClientId, to: ClientId, text: &str) {
        let (sender, addressee) = (self.clients[from].name.clone(), self.clients[to].name.clone());
        self.show(to, &format!("*** {sender} whispers: {text}"));
        self.show(from, &format!("*** you whisper to {addressee}: {text}"));
        self.clients[to].whisperer = Some((from, sender));
    }

    // Listings.

    fn show_members(&mut self, client: ClientId, room: &str) {
        let mut names: Vec<String> =
            self.members(room).iter().map(|member| self.clients[*member].name.clone()).collect();
        names.sort_by_key(|name| name.to_ascii_lowercase());
        self.show(client, &format!("*** {} in {room}: {}", names.len(), names.join(", ")));
    }

    fn show_rooms(&mut self, client: ClientId, own: &str) {
        let mut rooms: Vec<(usize, &String)> =
            self.rooms.iter().map(|(name, room)| (room.members.len(), name)).collect();
        rooms.sort_by_key(|(members, name)| (usize::MAX - members, *name));
        let noun = if rooms.len() == 1 { "room" } else { "rooms" };
        let listed: Vec<String> = rooms.iter().map(|(members, name)| format!("{name} ({members})")).collect();
        self.show(client, &format!("*** {} {noun}: {}; you are in {own}", rooms.len(), listed.join(", ")));
    }

    fn show_history(&mut self, client: ClientId, room: &str, count: usize) {
        for line in self.last_lines(room, count) {
            self.show(client, &format!("*** {line}"));
        }
    }

    /// Returns the last `count` lines of a room. At most half of them, rounded up, are notices, unless there is less
    /// talk: joins and leaves push no talk out.
    fn last_lines(&self, room: &str, count: usize) -> Vec<String> {
        let history = self.rooms.get(room).map_or(&[][..], |room| &room.history);
        let talk = history.iter().filter(|(is_notice, _)| !is_notice).count();
        let mut notices = count.div_ceil(2).max(count.saturating_sub(talk));
        let mut shown = Vec::new();
        for (is_notice, line) in history.iter().rev() {
            if shown.len() < count && (!is_notice || notices > 0) {
                notices -= usize::from(*is_notice);
                shown.push(line.clone());
            }
        }
        shown.reverse();
        shown
    }

    // Output.

    /// Shows a line to all members of a room, and keeps it in the room's history.
    fn say(&mut self, room: &str, is_notice: bool, line: &str) {
        let Room { members, history } = self.rooms.get_mut(room).expect("the room of a member");
        history.push((is_notice, line.to_owned()));
        for member in members.clone() {
            self.show(member, line);
        }
    }

    /// Shows a line of the client's room to it.
    fn show(&mut self, client: ClientId, line: &str) {
        let source = self.clients[client].room.clone().map_or(Source::Connection, Source::Room);
        self.push(client, line, source);
    }

    fn show_local(&mut self, client: ClientId, line: &str) {
        self.push(client, line, Source::Connection);
    }

    fn push(&mut self, client: ClientId, line: &str, source: Source) {
        let client = &mut self.clients[client];
        let line_end = if client.decoder.is_nvt { "\r\n" } else { "\n" };
        client.output.push(OutputLine { text: format!("{line}{line_end}"), source });
    }

    /// Ends a connection: its client leaves its room, and is told the reason if there is one.
    fn end(&mut self, client: ClientId, reason: Option<String>) {
        self.clients[client].has_ended = true;
        if let Some(room) = self.clients[client].room.take() {
            let name = self.clients[client].name.clone();
            self.leave(client, &room, &name);
        }
        if let Some(reason) = reason {
            self.show(client, "ERROR");
            self.show(client, &reason);
        }
    }
}

/// Returns the reply to a command that can't be run.
fn mistake(word: &str, arguments: &str) -> String {
    let is_without_text = !arguments.contains(char::is_whitespace);
    match word {
        "who" | "rooms" => format!("*** /{word} takes no arguments; write: /{word}"),
        "join" => "*** /join: the room is missing; write: /join ROOM [NAME], for example: /join lobby".to_owned(),
        "nick" => "*** /nick: the name is missing; write: /nick NAME, for example: /nick alice2".to_owned(),
        "me" => "*** /me: the text is missing; write: /me TEXT, for example: /me waves".to_owned(),
        "msg" if arguments.is_empty() => {
            "*** /msg: the name is missing; write: /msg NAME TEXT, for example: /msg bob hello".to_owned()
        }
        "msg" if is_without_text => {
            "*** /msg: the text is missing; write: /msg NAME TEXT, for example: /msg bob hello".to_owned()
        }
        "reply" => "*** /reply: the text is missing; write: /reply TEXT, for example: /reply hello".to_owned(),
        _ => {
            let shown = shorten(word);
            format!("*** unknown command /{shown}: /help lists them; //{shown} says it")
        }
    }
}

/// Returns the form in which a reply shows a typed word: at most its first 20 characters.
fn shorten(word: &str) -> String {
    match word.char_indices().nth(20) {
        Some((end, _)) => format!("{}...", &word[..end]),
        None => word.to_owned(),
    }
}

/// Returns how many lines a skip notice counts, if `line` is exactly one.
pub fn parse_skip_notice(line: &str) -> Option<usize> {
    let count = line.strip_prefix("*** ")?.split(' ').next()?.parse().ok()?;
    (line == wording::skipped(count)).then_some(count)
}
