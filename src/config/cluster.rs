//! The settings of a cluster: servers that share their rooms.

use crate::text::names::NodeName;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// The order in which members of several servers see lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterOrder {
    /// Lines of one sender keep their order. A line reaches the members of its own server at once.
    #[default]
    Sender,
    /// All members of a room see all lines, joins and leaves in one order, which a log in JetStream gives.
    Total,
}

impl ClusterOrder {
    /// The names of all orders.
    pub const NAMES: [&str; 2] = ["sender", "total"];

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[usize::from(self == Self::Total)]
    }
}

/// How a server shares its rooms with others: a restart alone can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The URLs of NATS servers; empty for a server of its own.
    pub servers: Vec<String>,
    /// The name of the cluster: servers of one name share their rooms.
    pub name: NodeName,
    /// The name of this server, which no other one has.
    pub node: Option<NodeName>,
    /// The order of lines of several servers.
    pub order: ClusterOrder,
    /// The NATS servers that keep each entry of a log: 1, 3 or 5.
    pub replicas: usize,
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
}

impl Default for ClusterSettings {
    fn default() -> Self {
        let name = NodeName::parse("roomcast").unwrap_or_else(|_| unreachable!("the word is a name"));
        Self {
            servers: Vec::new(),
            name,
            node: None,
            order: ClusterOrder::Sender,
            replicas: 1,
            required: false,
            credentials: None,
            ca: None,
            history_for: Duration::ZERO,
            history_size: NonZeroU64::MIN.saturating_add((1 << 30) - 1),
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
