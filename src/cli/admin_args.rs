//! Arguments of moderation: the operators' socket, and the file of bans.

use roomcast::config::ModerationSettings;
use roomcast::limits::bans::{BansFile, BansFileError};
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct AdminArgs {
    /// A Unix socket for `roomcast ctl`, which only the server's user and root can connect to [default: none]
    #[arg(long, value_name = "PATH", env = "ROOMCAST_ADMIN")]
    admin: Option<PathBuf>,

    /// A file that keeps the bans; the first ban makes it [default: the bans end with the server]
    #[arg(long, value_name = "FILE", env = "ROOMCAST_BANS")]
    bans: Option<PathBuf>,
}

impl AdminArgs {
    /// Returns the settings, with the bans of the file.
    pub(super) fn into_settings(self) -> Result<ModerationSettings, BansFileError> {
        let bans = self.bans.map(BansFile::read).transpose()?;
        Ok(ModerationSettings { admin_socket: self.admin, bans })
    }
}
