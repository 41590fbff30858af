//! Configuration: what a server does and where its bounds are, as validated values in groups.
//!
//! Settings, their defaults, their units and the check for contradictions live here. Nothing here parses a
//! command line or knows a socket: `cli` turns arguments into [`Settings`], other layers read them.

mod activation;
mod bounds;
mod cluster;
mod listen;
mod listen_url;
mod live;
mod log;
mod metrics;
mod moderation;
mod motd;
mod origin;
mod peer_networks;
mod restart;
mod settings;
mod tls_files;
mod trusted_proxies;
pub mod units;

pub use activation::{ActivatedProtocol, ActivationError};
pub use cluster::{ClusterOrder, ClusterSettings};
pub use listen::{ListenAddress, ListenAddressError};
pub(crate) use listen_url::write_parameters;
pub use listen_url::{ListenUrl, ProxyVersions};
pub use live::Live;
pub use log::{LiveLog, LogFormat, LogLevel, LogSettings};
pub use metrics::MetricsSettings;
pub use moderation::ModerationSettings;
pub use motd::{Motd, MotdError};
pub use origin::{AllowedOrigin, OriginError};
pub use peer_networks::{NetworkItem, NoneIsNotAlone, PeerNetworks};
pub use settings::{DEFAULT_PORT, LiveSettings, NetworkSettings, RoomSettings, Settings, SettingsError, SlowReader};
pub use tls_files::TlsFiles;
pub use trusted_proxies::TrustedProxies;

/// Open files kept back from connections: listeners, the runtime's own, standard streams, requests for metrics, and
/// connections that wait for a place or are told why they get none before they are closed.
pub const RESERVED_FILES: usize = 64;

/// Open files kept back for connections whose PROXY header has not come, where a listener takes one.
pub const RESERVED_PROXY_FILES: usize = 64;
