//! The settings of a cluster: servers that share their rooms.

use crate::text::names::NodeName;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// How a server shares its rooms with others: a restart alone can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The URLs of NATS servers; empty for a server of its own.
    pub servers: Vec<String>,
    /// The name of the cluster: servers of one name share their rooms.
    pub name: NodeName,
    /// The name of this server, which no other one has.
    pub node: Option<NodeName>,
    /// Whether the server ends if no NATS server answers at its start.
    pub required: bool,
    /// The file with the credentials for NATS.
    pub credentials: Option<PathBuf>,
    /// The file with the certificates of the authorities that NATS servers are checked with.
    pub ca: Option<PathBuf>,
    /// How long NATS keeps the lines of rooms; zero: they end with their rooms.
    pub history_for: Duration,
    /// The most bytes of all rooms' lines that NATS keeps; the largest number is no bound.
    pub history_size: NonZeroU64,
    /// The NATS servers that keep them.
    pub history_replicas: u8,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        let name = NodeName::parse("roomcast").unwrap_or_else(|_| unreachable!("the word is a name"));
        Self {
            servers: Vec::new(),
            name,
            node: None,
            required: false,
            credentials: None,
            ca: None,
            history_for: Duration::ZERO,
            history_size: NonZeroU64::MIN.saturating_add((1 << 30) - 1),
            history_replicas: 1,
        }
    }
}

impl ClusterSettings {
    /// Returns whether rooms are shared.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Returns whether NATS keeps the lines of rooms.
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.is_on() && !self.history_for.is_zero()
    }
}
