//! Moderation: the socket of the operators, and the bans.

use crate::limits::bans::BansFile;
use std::path::PathBuf;

/// The settings for the moderation of a running server. A restart alone can change the paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModerationSettings {
    /// The path of the Unix socket that takes operators' commands; `None` for no such socket.
    pub admin_socket: Option<PathBuf>,
    /// The file that keeps the bans, with its bans; `None` for bans that end with the server.
    pub bans: Option<BansFile>,
}
