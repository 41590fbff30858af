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

use crate::connection::{ConnectionDirectory, ServerContext};
use crate::limits::bans::BanList;
use std::sync::Arc;
use tokio::time::Instant;

/// The state that the commands of operators work on.
#[derive(Debug)]
pub(crate) struct AdminContext {
    server: Arc<ServerContext>,
    directory: Arc<ConnectionDirectory>,
    bans: Arc<BanList>,
    hooks: AdminHooks,
    started: Instant,
}

impl AdminContext {
    /// Returns the context of a server that starts now.
    pub(crate) fn new(
        server: Arc<ServerContext>,
        directory: Arc<ConnectionDirectory>,
        bans: Arc<BanList>,
        hooks: AdminHooks,
    ) -> Self {
        Self { server, directory, bans, hooks, started: Instant::now() }
    }
}
