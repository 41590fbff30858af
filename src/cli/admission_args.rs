//! Arguments of admission: the bounds on connections, and the memory ceiling.

use roomcast::config::units::parse_memory;
use roomcast::config::{NetworkItem, NetworkSettings, PeerNetworks, SettingsError};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

#[expect(clippy::doc_markdown, reason = "the help shows this text as it is")]
#[derive(Debug, clap::Args)]
pub(super) struct AdmissionArgs {
    /// The most connections; more are told that the server is full. The last tenth is for addresses that have none
    /// [default, and 0: what the limit of open files allows, less 64; less 128 with a
    /// listener that takes PROXY headers]
    #[arg(long, value_name = "N", env = "ROOMCAST_MAX_CONNECTIONS")]
    max_connections: Option<usize>,

    /// The most connections of one address, or of one IPv6 network of 64 bits; 0 = no limit
    #[arg(long, value_name = "N", env = "ROOMCAST_MAX_PER_ADDRESS")]
    max_per_address: Option<usize>,

    /// Connections a second that one address may open; more are told why and closed; 0 = no limit
    #[arg(long, value_name = "N", env = "ROOMCAST_CONNECT_RATE")]
    connect_rate: Option<u32>,

    /// Connections that one address may open at once before --connect-rate refuses more
    #[arg(long, value_name = "N", env = "ROOMCAST_CONNECT_BURST")]
    connect_burst: Option<NonZeroU32>,

    /// Networks that --max-per-address and --connect-rate do not apply to, repeatable: as 10.0.0.0/8, ::1, or unix for
    /// Unix sockets; none for no peer
    #[arg(long, value_name = "CIDR", env = "ROOMCAST_EXEMPT", value_delimiter = ',')]
    exempt: Vec<NetworkItem>,

    /// The most memory for all queues, histories, unfinished lines and kernel buffers together, as 512MiB; 0 = no limit
    /// [default: a quarter of the memory of the machine or the cgroup, whichever is smaller]
    #[arg(long, value_name = "SIZE", env = "ROOMCAST_MEMORY", value_parser = parse_memory)]
    memory: Option<NonZeroU64>,
}

impl AdmissionArgs {
    /// Returns `network` with the bounds of admission that are given.
    pub(super) fn apply_to(self, mut network: NetworkSettings) -> Result<NetworkSettings, SettingsError> {
        network.max_connections = self.max_connections.and_then(NonZeroUsize::new);
        network.max_per_address = self.max_per_address.unwrap_or(network.max_per_address);
        network.connect_rate = self.connect_rate.unwrap_or(network.connect_rate);
        network.connect_burst = self.connect_burst.unwrap_or(network.connect_burst);
        network.memory = self.memory;
        if !self.exempt.is_empty() {
            network.exempt =
                PeerNetworks::from_items(&self.exempt).map_err(|_| SettingsError::NoneIsNotAlone("--exempt"))?;
        }
        Ok(network)
    }
}
