//! Listings: the server, its rooms, its connections and its bans as operators see them, page by page.

use super::AdminContext;
use super::actions::no_room;
use super::outcome::Outcome;
use crate::connection::ConnectionReport;
use crate::metrics::counters::MetricsDelta;
use crate::peer::PeerId;
use crate::room::registry::Registry;
use crate::text::names::RoomName;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

/// The most entries of one reply, which has 64 KiB at the most.
const PAGE: usize = 100;

/// How long connections may take for their figures, all together. Each needs one turn of its task.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

impl AdminContext {
    /// Returns the figures of the server.
    pub(super) fn stats(&self) -> Outcome {
        let (registry, server) = (&self.server.registry, &self.server);
        let MetricsDelta { lines, deliveries, joins, leaves, .. } = registry.counters().read();
        let now = SystemTime::now();
        let bans = self.bans.table().bans().iter().filter(|ban| ban.is_in_force(|| now)).count();
        Outcome::done(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "connections": self.directory.len(),
            "rooms": registry.len(),
            "bans": bans,
            "joins": joins,
            "leaves": leaves,
            "lines": lines,
            "deliveries": deliveries,
            "memory_bytes": registry.memory().used(),
            "memory_limit_bytes": registry.memory().ceiling(),
            "draining": server.draining.is_cancelled(),
        }))
    }

    /// Returns whether the server takes new connections; refused if it does not.
    pub(super) fn readiness(&self) -> Outcome {
        match self.server.readiness() {
            Ok(()) => Outcome::message("ready"),
            Err(reason) => Outcome::Refused(format!("not ready: {reason}")),
        }
    }

    /// Returns the rooms after `after`, by name.
    pub(super) async fn rooms(&self, after: Option<RoomName>) -> Outcome {
        let registry = Arc::clone(&self.server.registry);
        // A walk through all rooms takes longer than a worker of the runtime may be taken.
        let sort = move || {
            let mut rooms = registry.rooms();
            rooms.retain(|(name, _)| after.is_none_or(|after| *name > after));
            rooms.sort_unstable();
            rooms
        };
        let rooms = spawn_blocking(sort).await.unwrap_or_default();
        let (total, next) = (rooms.len(), rooms.get(PAGE - 1).map(|(name, _)| name.to_string()));
        let page = rooms.iter().take(PAGE);
        let page: Vec<Value> =
            page.map(|(name, members)| json!({ "room": name.as_str(), "members": members })).collect();
        listing("rooms", &page, total.saturating_sub(PAGE), next.map(Value::from))
    }

    /// Returns the connections after `after`, by number: all of them, or those of the members of one room.
    pub(super) async fn peers(&self, room: Option<RoomName>, after: Option<PeerId>) -> Outcome {
        let (directory, registry) = (Arc::clone(&self.directory), Arc::clone(&self.server.registry));
        // A walk through all connections takes longer than a worker of the runtime may be taken.
        let page = spawn_blocking(move || match room {
            Some(room) => members_page(&registry, &room, after).ok_or(room),
            None => Ok(directory.page(after, PAGE)),
        });
        let (ids, left_out) = match page.await {
            Ok(Ok(page)) => page,
            Ok(Err(room)) => return Outcome::Refused(no_room(&room)),
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let next = ids.last().map(|id| Value::from(id.0));
        listing("peers", &self.report(&ids).await, left_out, next)
    }

    /// Returns the figures of connections, which their own tasks report. A connection that has closed meanwhile is left
    /// out, and one that has no turn in time is shown as busy.
    async fn report(&self, ids: &[PeerId]) -> Vec<Value> {
        let deadline = Instant::now() + REPORT_TIMEOUT;
        let requests: Vec<(PeerId, oneshot::Receiver<ConnectionReport>)> =
            ids.iter().filter_map(|id| Some((*id, self.directory.request_report(*id)?))).collect();
        let mut reports = Vec::with_capacity(requests.len());
        for (PeerId(number), request) in requests {
            match timeout_at(deadline, request).await {
                Ok(Ok(report)) => reports.push(show_report(number, &report)),
                Ok(Err(_)) => {}
                Err(_) => reports.push(json!({ "connection": number, "busy": true })),
            }
        }
        reports
    }

    /// Returns the bans in force of networks after `after`.
    pub(super) fn list_bans(&self, after: Option<IpNet>) -> Outcome {
        let (table, now) = (self.bans.table(), SystemTime::now());
        let is_listed = |network: IpNet| after.is_none_or(|after| network > after);
        let bans = table.bans().iter().filter(|ban| is_listed(ban.network) && ban.is_in_force(|| now));
        let total = bans.clone().count();
        let page: Vec<Value> = bans
            .take(PAGE)
            .map(|ban| {
                let (network, expires) = (ban.network.to_string(), ban.expires_text());
                json!({ "network": network, "expires": expires, "reason": ban.reason, "by": ban.by })
            })
            .collect();
        let next = page.last().map(|ban| ban["network"].clone());
        listing("bans", &page, total.saturating_sub(PAGE), next)
    }
}

/// Returns the lowest numbers of a room's members above `after`, and how many more there are; `None` if there is no such room.
fn members_page(registry: &Registry, room: &RoomName, after: Option<PeerId>) -> Option<(Vec<PeerId>, usize)> {
    let members = registry.members_of(room)?;
    let ids = members.values().map(|peer| peer.id().0).filter(|id| after.is_none_or(|after| *id > after.0));
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    let left_out = ids.len().saturating_sub(PAGE);
    Some((ids.into_iter().take(PAGE).map(PeerId).collect(), left_out))
}

/// Returns a page of a listing. `next` is the value after which the next page begins, if entries are left out.
fn listing(name: &str, page: &[Value], left_out: usize, next: Option<Value>) -> Outcome {
    let next = next.filter(|_| left_out > 0);
    Outcome::done(json!({ name: page, "left_out": left_out, "next": next }))
}

fn show_report(number: u64, report: &ConnectionReport) -> Value {
    let ConnectionReport { address, identity, lines_in, backlog, idle, muted } = report;
    let room = identity.as_ref().map(|(room, _)| room.as_str());
    let name = identity.as_ref().map(|(_, name)| name.as_str());
    json!({
        "connection": number,
        "address": address,
        "room": room,
        "name": name,
        "lines": lines_in,
        "backlog_bytes": backlog,
        "idle_seconds": idle.as_secs(),
        "muted": muted,
    })
}
