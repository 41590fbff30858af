//! Actions: the effects of operators' commands, each with its record in the log.

use super::command::{Command, KickTarget, MemberTarget};
use super::command_table::usage;
use super::hooks::HookKind;
use super::outcome::Outcome;
use super::{AdminContext, Operator};
use crate::config::units::show_duration;
use crate::connection::close_reason::CloseReason;
use crate::limits::bans::Ban;
use crate::net::LocalPeer;
use crate::peer::PeerId;
use crate::room::roster::{NameMatch, find_by_name};
use crate::text::messages::KICKED;
use crate::text::names::{NodeName, RoomName};
use crate::text::replies::format_count;
use ipnet::IpNet;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::spawn_blocking;
use tracing::warn;

/// The longest text of a hook in a reply, in bytes.
const MAX_HOOK_TEXT: usize = 32 << 10;

impl AdminContext {
    /// Runs an operator's line, and logs what it did; returns the outcome, and whether the session goes on.
    pub(super) async fn run(&self, line: &str, operator: LocalPeer) -> (Outcome, bool) {
        let operator = Operator::Local(operator);
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(error) => return (Outcome::Usage(error), true),
        };
        let outcome = if self.server.handover.is_active() && !command.is_allowed_during_handover() {
            Outcome::Refused("the server is being upgraded: try again".to_owned())
        } else {
            let outcome = self.run_command(&command, operator).await;
            self.forward((&command, line), outcome)
        };
        log_action(&command, &outcome, operator);
        (outcome, command != Command::Quit)
    }

    /// Runs a line of another server's operator, if it is a command for all servers.
    pub(super) async fn run_for_node(&self, line: &str, node: NodeName) {
        match Command::parse(line) {
            Ok(command) if command.is_for_all_nodes() => {
                let operator = Operator::Node(node);
                let outcome = self.run_command(&command, operator).await;
                log_action(&command, &outcome, operator);
            }
            _ => {
                warn!(node = node.as_str(), "a line of another server's operator is dropped: it is no command for all");
            }
        }
    }

    /// Has other servers run a command for all. What this server refused may succeed there.
    fn forward(&self, (command, line): (&Command, &str), outcome: Outcome) -> Outcome {
        let Some(cluster) = self.cluster.as_ref().filter(|_| command.is_for_all_nodes()) else { return outcome };
        cluster.send(line);
        match outcome {
            Outcome::Refused(reason) => {
                Outcome::message(format!("{reason}; the other servers of the cluster are asked"))
            }
            other => other,
        }
    }

    async fn run_command(&self, command: &Command, operator: Operator) -> Outcome {
        match command {
            Command::Help => Outcome::message(usage(&self.hooks).trim_end()),
            Command::Stats => self.stats(),
            Command::Ready => self.readiness(),
            Command::Rooms { after } => self.rooms(*after).await,
            Command::Peers { room, after } => self.peers(*room, *after).await,
            Command::Bans { after } => self.list_bans(*after),
            Command::Kick { target, reason } => self.kick(*target, reason).await,
            Command::Ban { network, time, reason } => self.ban((*network, *time), reason, operator).await,
            Command::Unban(network) => self.unban(*network).await,
            Command::Mute { member, time } => self.mute(*member, *time),
            Command::Unmute(member) => self.unmute(*member),
            Command::Announce { room, text } => self.announce(*room, text).await,
            Command::Drain => self.drain(),
            Command::Hook(kind, argument) => self.call_hook(*kind, argument).await,
            Command::Quit => Outcome::message("bye"),
        }
    }

    async fn kick(&self, target: KickTarget, reason: &str) -> Outcome {
        let told = if reason.is_empty() { KICKED.to_owned() } else { format!("{KICKED}: {reason}") };
        let member = match target {
            KickTarget::Member(member) => member,
            KickTarget::Network(network) => {
                let closed = self.close_network(network, CloseReason::Kicked, told).await;
                let message = format!("{} closed", format_count(closed, "connection"));
                return match closed {
                    0 => Outcome::Refused(format!("no connection comes from {network}: peers lists the connections")),
                    _ => Outcome::done(json!({ "closed": closed, "message": message })),
                };
            }
        };
        self.change(member, |id| self.directory.request_close(id, CloseReason::Kicked, told), "is closed")
    }

    async fn ban(&self, (network, time): (IpNet, Option<Duration>), reason: &str, operator: Operator) -> Outcome {
        let now = SystemTime::now();
        let expires = time.map(|time| whole_seconds(now + time));
        let by = operator.ban_author();
        let ban = Ban { network, expires, reason: reason.to_owned(), by };
        let (told, until) = (ban.to_string(), ban.expires_text());
        if let Err(error) = self.bans.add(ban, now).await {
            return Outcome::Refused(error.to_string());
        }
        // The ban is in force: a connection that is admitted from now on is refused, and those before are in the directory.
        let closed = self.close_network(network, CloseReason::Banned, told).await;
        let end = until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        let mut message = format!("{network} is banned{end}, {} closed", format_count(closed, "connection"));
        if !self.bans.is_kept() {
            message += "; the ban ends with the server, which was started without --bans FILE";
        }
        let (network, kept) = (network.to_string(), self.bans.is_kept());
        Outcome::done(
            json!({ "network": network, "expires": until, "closed": closed, "kept": kept, "message": message }),
        )
    }

    async fn unban(&self, network: IpNet) -> Outcome {
        match self.bans.remove(network, SystemTime::now()).await {
            Ok(true) => Outcome::message(format!("{network} is no longer banned")),
            Ok(false) => {
                let other = self.bans.find(network.addr(), SystemTime::now);
                let hint = other.map(|other| format!(", {} covers it", other.network)).unwrap_or_default();
                Outcome::Refused(format!("there is no ban of {network}{hint}: bans lists them"))
            }
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }

    fn mute(&self, member: MemberTarget, time: Option<Duration>) -> Outcome {
        let end = time.map_or_else(|| "until it closes".to_owned(), |time| format!("for {}", show_duration(time)));
        self.change(member, |id| self.directory.request_mute(id, time), &format!("is muted {end}"))
    }

    fn unmute(&self, member: MemberTarget) -> Outcome {
        self.change(member, |id| self.directory.request_unmute(id), "is not muted")
    }

    /// Asks a connection for a change.
    fn change(&self, member: MemberTarget, request: impl FnOnce(PeerId) -> bool, state: &str) -> Outcome {
        match self.find_member(member) {
            Ok(id) if request(id) => {
                Outcome::done(json!({ "connection": id.0, "message": format!("connection {} {state}", id.0) }))
            }
            Ok(PeerId(number)) => Outcome::Refused(no_connection(number)),
            Err(error) => Outcome::Refused(error),
        }
    }

    async fn announce(&self, room: Option<RoomName>, text: &str) -> Outcome {
        let line: Arc<[u8]> = format!("*** {text}\n").into_bytes().into();
        let registry = Arc::clone(&self.server.registry);
        // A walk through all rooms takes longer than a worker of the runtime may be taken.
        let announced = spawn_blocking(move || registry.announce(room.as_ref(), &line));
        let (rooms, members) = announced.await.unwrap_or_default();
        if let (Some(room), 0) = (room, rooms) {
            return Outcome::Refused(no_room(&room));
        }
        let (of_members, of_rooms) = (format_count(members as u64, "member"), format_count(rooms as u64, "room"));
        let message = format!("announced to {of_members} of {of_rooms}");
        Outcome::done(json!({ "rooms": rooms, "members": members, "message": message }))
    }

    fn drain(&self) -> Outcome {
        self.server.draining.cancel();
        let connections = self.directory.len();
        let message =
            format!("no new connections are accepted, {} served", format_count(connections as u64, "connection"));
        Outcome::done(json!({ "connections": connections, "message": message }))
    }

    async fn call_hook(&self, kind: HookKind, argument: &str) -> Outcome {
        let Some(hook) = self.hooks.get(kind).map(Arc::clone) else {
            return Outcome::Refused("this server has no such command: help lists them".to_owned());
        };
        let argument = argument.to_owned();
        match spawn_blocking(move || hook(&argument)).await {
            Ok(Ok(text)) if text.len() > MAX_HOOK_TEXT => {
                Outcome::Refused(format!("the answer is longer than {MAX_HOOK_TEXT} bytes: see roomcast --show-config"))
            }
            Ok(Ok(text)) => Outcome::message(text),
            Ok(Err(error)) => Outcome::Refused(error),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }

    /// Asks all connections from a network to close; returns how many.
    async fn close_network(&self, network: IpNet, reason: CloseReason, told: String) -> u64 {
        let directory = Arc::clone(&self.directory);
        // A walk through all connections takes longer than a worker of the runtime may be taken.
        let close = move || {
            let ids = directory.find_by_network(network).into_iter();
            ids.filter(|id| directory.request_close(*id, reason, told.clone())).count() as u64
        };
        spawn_blocking(close).await.unwrap_or_default()
    }

    /// Returns the number of a connection.
    fn find_member(&self, member: MemberTarget) -> Result<PeerId, String> {
        let (room, name) = match member {
            MemberTarget::Number(id) => return Ok(id),
            MemberTarget::Named(room, name) => (room, name),
        };
        let members = self.server.registry.members_of(&room).ok_or_else(|| no_room(&room))?;
        match find_by_name(&members, name) {
            NameMatch::One(_, peer) => Ok(peer.id()),
            NameMatch::None => Err(format!("no member of {room} is called {name}: peers in {room} lists them")),
            NameMatch::Several(count) => Err(format!(
                "{count} members of {room} are called {name}: write the number of one, peers in {room} lists them"
            )),
        }
    }
}

pub(super) fn no_room(room: &RoomName) -> String {
    format!("there is no room {room}: rooms lists them")
}

fn no_connection(number: u64) -> String {
    format!("there is no connection {number}: peers lists them")
}

/// Returns a time in whole seconds, rounded up.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs() + u64::from(since.subsec_nanos() > 0))
}

/// Writes the record of a command that changes something, or was refused to do so.
fn log_action(command: &Command, outcome: &Outcome, operator: Operator) {
    let time = match command {
        Command::Ban { time, .. } | Command::Mute { time, .. } => *time,
        _ => None,
    };
    let (action, on, reason) = match command {
        Command::Kick { target, reason } => ("kick", target.to_string(), reason.as_str()),
        Command::Ban { network, reason, .. } => ("ban", network.to_string(), reason.as_str()),
        Command::Unban(network) => ("unban", network.to_string(), ""),
        Command::Mute { member, .. } => ("mute", member.to_string(), ""),
        Command::Unmute(member) => ("unmute", member.to_string(), ""),
        Command::Announce { room, text } => {
            ("announce", room.map_or_else(|| "all rooms".to_owned(), |room| room.to_string()), text.as_str())
        }
        Command::Drain => ("drain", "server".to_owned(), ""),
        Command::Hook(HookKind::Reload, _) => ("reload", "server".to_owned(), ""),
        Command::Hook(HookKind::LogLevel, level) if !level.is_empty() => ("log-level", "server".to_owned(), &**level),
        _ => return,
    };
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    let time = time.map(show_duration);
    let (connection, closed, error) = (outcome.number("connection"), outcome.number("closed"), outcome.error());
    warn!(action, target = on, connection, closed, time, reason, by = operator.to_string(), error, "operator");
}
