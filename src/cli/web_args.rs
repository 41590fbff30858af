//! Arguments of web listeners: which pages may connect.

use roomcast::config::{AllowedOrigin, NetworkSettings};

#[expect(clippy::doc_markdown, reason = "the help shows this text as it is")]
#[derive(Debug, clap::Args)]
pub(super) struct WebArgs {
    /// Web pages that may open WebSocket connections beside the server's own, repeatable: as https://chat.example, or any
    /// for all pages
    #[arg(long, value_name = "ORIGIN", env = "ROOMCAST_ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<AllowedOrigin>,
}

impl WebArgs {
    /// Returns `network` with the pages that are given.
    pub(super) fn apply_to(self, network: NetworkSettings) -> NetworkSettings {
        NetworkSettings { allow_origin: self.allow_origin, ..network }
    }
}
