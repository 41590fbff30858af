//! Administration: a Unix socket on which operators moderate a running server, one command a line.
//!
//! The commands, their replies, the sessions and the record of each action in the log live here. A reply is one JSON object
//! a line. A connection's own task does what a command asks of it, and an announcement goes through the passes of its rooms; nothing
//! here writes to a peer.

mod actions;
mod command;
mod command_table;
mod hooks;
mod listings;
mod outcome;
mod server;
mod session;

pub use command::{UsageError, check_command};
pub use command_table::usage;
pub use hooks::{AdminHook, AdminHooks};
pub(crate) use server::AdminServer;

use crate::cluster::{ClusterOperators, OperatorLines};
use crate::connection::{ConnectionDirectory, ServerContext};
use crate::limits::bans::BanList;
use crate::net::LocalPeer;
use crate::text::names::NodeName;
use std::fmt;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The state that the commands of operators work on.
#[derive(Debug)]
pub(crate) struct AdminContext {
    server: Arc<ServerContext>,
    directory: Arc<ConnectionDirectory>,
    bans: Arc<BanList>,
    hooks: AdminHooks,
    /// The other servers of the cluster, if there are some.
    cluster: Option<ClusterOperators>,
    started: Instant,
}

/// The operator that runs a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operator {
    /// A process of this machine.
    Local(LocalPeer),
    /// An operator of another server of the cluster.
    Node(NodeName),
}

impl Operator {
    /// Returns the operator as a ban names it.
    fn ban_author(self) -> String {
        match self {
            Self::Local(peer) => format!("uid {}", peer.uid),
            Self::Node(node) => format!("node {node}"),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(peer) => peer.fmt(f),
            Self::Node(node) => write!(f, "node {node}"),
        }
    }
}

impl AdminContext {
    /// Returns the context of a server that starts now.
    pub(crate) fn new(
        server: Arc<ServerContext>,
        directory: Arc<ConnectionDirectory>,
        bans: Arc<BanList>,
        hooks: AdminHooks,
        cluster: Option<ClusterOperators>,
    ) -> Self {
        Self { server, directory, bans, hooks, cluster, started: Instant::now() }
    }
}

/// Runs the lines of other servers' operators, one after the other, until the server ends.
pub(crate) async fn run_cluster_lines(context: AdminContext, mut lines: OperatorLines, shutdown: CancellationToken) {
    while let Some(Some((node, line))) = shutdown.run_until_cancelled(lines.recv()).await {
        context.run_for_node(&line, node).await;
    }
}
