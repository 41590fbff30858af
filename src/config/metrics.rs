//! The settings of metrics and health checks.

use std::net::SocketAddr;

/// The listener for metrics and health checks: a restart alone can change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where it listens; `None` for no listener. Port 0 lets the system choose a free one.
    pub listen: Option<SocketAddr>,
}
