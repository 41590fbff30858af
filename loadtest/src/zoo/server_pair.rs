//! The two servers of a zoo: one for the good clients and one for the control.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::ceiling::find_ceiling;
use super::result::Ceiling;
use crate::args::CommonArgs;
use crate::machine::Machine;
use crate::open_files;
use crate::process::Process;
use crate::server::{Server, find_program};

/// A spawned server and its process.
pub(super) struct WatchedServer {
    pub(super) server: Server,
    pub(super) process: Process,
}

/// Two servers that were started alike.
pub(super) struct ServerPair {
    /// The server of the good clients.
    pub(super) here: WatchedServer,
    /// The control server, which has no good clients.
    pub(super) control: WatchedServer,
    /// The program of this generator, which attacking processes run.
    pub(super) generator: PathBuf,
}

impl ServerPair {
    /// Starts two servers with the same arguments. Without arguments they have their default bounds.
    ///
    /// # Errors
    /// Fails when a server does not start.
    pub(super) fn spawn(common: &CommonArgs) -> Result<Self> {
        open_files::raise_limit()?;
        let program = find_program(common.server.as_deref())?;
        let here = WatchedServer::spawn(&program, &common.server_arg)?;
        let control = WatchedServer::spawn(&program, &common.server_arg)?;
        let generator = std::env::current_exe().context("this program has no path")?;
        Ok(Self { here, control, generator })
    }

    /// Returns the bound of the server's memory. The server has had time to print it.
    pub(super) fn ceiling(&mut self, common: &CommonArgs, machine: &Machine) -> Ceiling {
        find_ceiling(&self.here.server.printed_lines(), &common.server_arg, machine)
    }
}

impl WatchedServer {
    fn spawn(program: &Path, arguments: &[String]) -> Result<Self> {
        let server = Server::spawn(program, arguments)?;
        let process = Process::new(server.pid()).context("the spawned server cannot be read")?;
        Ok(Self { server, process })
    }

    /// Returns the CPU time of the server in nanoseconds; 0 when it has ended.
    pub(super) fn cpu(&self) -> u64 {
        self.process.sample().map_or(0, |sample| sample.cpu)
    }
}
