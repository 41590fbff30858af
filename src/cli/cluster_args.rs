//! Arguments of a cluster.

use super::values::cluster_order_parser;
use clap::builder::BoolishValueParser;
use roomcast::config::units::{parse_duration, parse_memory};
use roomcast::config::{ClusterOrder, ClusterSettings, SettingsError};
use roomcast::text::names::NodeName;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// Share the rooms with other servers over NATS, repeatable: nats://HOST:PORT, tls://HOST:PORT, with
    /// nats://USER:PASSWORD@HOST:PORT for a user [default: a server of its own]
    #[arg(long, value_name = "URL", env = "ROOMCAST_CLUSTER", value_delimiter = ',', value_parser = parse_url)]
    cluster: Vec<String>,

    /// The name of the cluster: servers of one name share their rooms; letters, digits, _ and -
    #[arg(long, value_name = "NAME", env = "ROOMCAST_CLUSTER_NAME")]
    cluster_name: Option<NodeName>,

    /// The name of this server in the cluster, which no other server has; letters, digits, _ and -
    #[arg(long, value_name = "NAME", env = "ROOMCAST_NODE")]
    node: Option<NodeName>,

    /// The order of lines: sender keeps the order of each sender, total gives all members of a room one order, through
    /// JetStream; the same for all servers of a cluster [default: sender]
    #[arg(long, value_name = "sender|total", env = "ROOMCAST_CLUSTER_ORDER", value_parser = cluster_order_parser(),
          hide_possible_values = true)]
    cluster_order: Option<ClusterOrder>,

    /// The NATS servers that keep each entry of JetStream: 1, 3 or 5 [default: 1]
    #[arg(long, value_name = "NUMBER", env = "ROOMCAST_CLUSTER_REPLICAS", value_parser = parse_replicas)]
    cluster_replicas: Option<usize>,

    /// A file of credentials for NATS (.creds)
    #[arg(long, value_name = "FILE", env = "ROOMCAST_CLUSTER_CREDENTIALS")]
    cluster_credentials: Option<PathBuf>,

    /// A file with the certificates (PEM) of the authorities that NATS servers are checked with [default: those of the
    /// system]
    #[arg(long, value_name = "FILE", env = "ROOMCAST_CLUSTER_CA")]
    cluster_ca: Option<PathBuf>,

    /// End with exit code 1 if no NATS server answers at the start; without it the server serves its own members meanwhile
    #[arg(long, env = "ROOMCAST_CLUSTER_REQUIRED", value_name = "on|off", value_parser = BoolishValueParser::new(),
          hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cluster_required: Option<bool>,

    /// How long NATS keeps the last lines of rooms, for rooms that were closed and for a start of all servers; at least 1m,
    /// as 7d; NATS needs its flag -js for it; 0s = lines end with their rooms
    #[arg(long, value_name = "TIME", env = "ROOMCAST_HISTORY_FOR", value_parser = parse_history_for)]
    history_for: Option<Duration>,

    /// Bytes of all rooms' lines that NATS keeps, beyond which it drops the oldest; 0 = no limit
    #[arg(long, value_name = "SIZE", env = "ROOMCAST_HISTORY_SIZE", value_parser = parse_memory)]
    history_size: Option<NonZeroU64>,
}

impl ClusterArgs {
    /// Returns the settings.
    pub(super) fn into_settings(self) -> Result<ClusterSettings, SettingsError> {
        let default = ClusterSettings::default();
        let others = [
            ("--cluster-name", self.cluster_name.is_some_and(|name| name != default.name)),
            ("--node", self.node.is_some()),
            ("--cluster-order", self.cluster_order.is_some_and(|order| order != default.order)),
            ("--cluster-replicas", self.cluster_replicas.is_some_and(|replicas| replicas != default.replicas)),
            ("--cluster-credentials", self.cluster_credentials.is_some()),
            ("--cluster-ca", self.cluster_ca.is_some()),
            ("--cluster-required", self.cluster_required == Some(true)),
            ("--history-for", self.history_for.is_some_and(|time| !time.is_zero())),
        ];
        if let Some((flag, _)) = others.into_iter().find(|(_, is_given)| self.cluster.is_empty() && *is_given) {
            return Err(SettingsError::NoCluster(flag));
        }
        let history_for = self.history_for.unwrap_or(default.history_for);
        let of_history = [("--history-size", self.history_size.is_some_and(|size| size != default.history_size))];
        if let Some((flag, _)) = of_history.into_iter().find(|(_, is_given)| history_for.is_zero() && *is_given) {
            return Err(SettingsError::NoHistoryFor(flag));
        }
        Ok(ClusterSettings {
            servers: self.cluster,
            name: self.cluster_name.unwrap_or(default.name),
            node: self.node,
            order: self.cluster_order.unwrap_or(default.order),
            replicas: self.cluster_replicas.unwrap_or(default.replicas),
            required: self.cluster_required.unwrap_or(false),
            credentials: self.cluster_credentials,
            ca: self.cluster_ca,
            history_for,
            history_size: self.history_size.unwrap_or(default.history_size),
        })
    }
}

/// Reads a number of replicas. An even number survives no more losses than the odd one below it.
fn parse_replicas(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|replicas| matches!(replicas, 1 | 3 | 5)).ok_or_else(|| "1, 3 or 5 is wanted".to_owned())
}

/// Reads how long lines are kept: NATS keeps no message for less than a moment.
fn parse_history_for(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).ok().filter(|time| time.is_zero() || *time >= Duration::from_secs(60));
    time.ok_or_else(|| "a time of at least 1m is wanted, as 12h or 7d, or 0s for none".to_owned())
}

/// Reads the URL of a NATS server.
fn parse_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
    let host = rest.map(|rest| rest.rsplit_once('@').map_or(rest, |(_, host)| host));
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', ' ', '?', '#']);
    match host {
        Some(host) if is_host(host) && has_port(host) => Ok(text.to_owned()),
        _ => {
            Err("the URL of a NATS server is wanted, as nats://127.0.0.1:4222 or tls://nats.example.com:4222"
                .to_owned())
        }
    }
}

/// Returns whether the part of `host` after its last colon, if it is a port at all, is one.
fn has_port(host: &str) -> bool {
    match host.rsplit_once(':') {
        Some((_, port)) if !host.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port != 0),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_a_scheme_and_a_host() {
        for url in ["nats://127.0.0.1:4222", "tls://n.example.com", "nats://u:p@[::1]:4222", "nats://[::1]"] {
            assert_eq!(parse_url(url).unwrap(), url);
        }
        for url in [
            "127.0.0.1:4222",
            "http://host",
            "nats://",
            "nats://host:0",
            "nats://host:99999",
            "nats://a b",
            "nats://u@",
        ] {
            assert!(parse_url(url).unwrap_err().contains("nats://127.0.0.1:4222"), "{url}");
        }
    }
}
