//! Arguments of metrics and health checks.

use roomcast::config::MetricsSettings;
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
pub(super) struct MetricsArgs {
    /// Answer HTTP requests for /metrics (as Prometheus reads it), /healthz and /readyz at this address, which users
    /// should not reach; port 0 picks a free one and prints it [default: no metrics]
    #[arg(long, value_name = "ADDR:PORT", env = "ROOMCAST_METRICS", value_parser = parse_address)]
    metrics: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Returns the settings.
    pub(super) fn into_settings(self) -> MetricsSettings {
        MetricsSettings { listen: self.metrics }
    }
}

/// Reads an IP address and a port.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an IP address and a port are wanted, as 127.0.0.1:9464 or [::1]:9464".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_an_ip_address_with_a_port() {
        for text in ["127.0.0.1:9464", "[::1]:0", "0.0.0.0:1"] {
            assert_eq!(parse_address(text).unwrap().to_string(), text);
        }
        for text in ["9464", ":9464", "127.0.0.1", "localhost:9464", "::1:9464", "127.0.0.1:70000", ""] {
            assert!(parse_address(text).unwrap_err().contains("as 127.0.0.1:9464"), "{text}");
        }
    }
}
