//! Arguments of proxies: which peers may say whose connection they pass on.

use roomcast::config::{NetworkItem, NetworkSettings, PeerNetworks, SettingsError};

#[expect(clippy::doc_markdown, reason = "the help shows this text as it is")]
#[derive(Debug, clap::Args)]
pub(super) struct ProxyArgs {
    /// Networks of the proxies before listeners with ?proxy, repeatable: as 10.0.0.0/8, ::1, or unix for Unix sockets;
    /// none for no peer. A peer outside of them is told so and closed there
    #[arg(long, value_name = "CIDR", env = "ROOMCAST_TRUST", value_delimiter = ',')]
    trust: Vec<NetworkItem>,
}

impl ProxyArgs {
    /// Returns `network` with the trusted proxies that are given.
    pub(super) fn apply_to(self, mut network: NetworkSettings) -> Result<NetworkSettings, SettingsError> {
        if !self.trust.is_empty() {
            if !network.takes_proxy_headers() {
                return Err(SettingsError::Trust);
            }
            network.trust =
                PeerNetworks::from_items(&self.trust).map_err(|_| SettingsError::NoneIsNotAlone("--trust"))?;
        }
        Ok(network)
    }
}
