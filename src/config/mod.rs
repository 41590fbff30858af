//! Configuration: what a server does and where its bounds are, as validated values in groups.
//!
//! Settings, their defaults, their units and the check for contradictions live here. Nothing here parses a
//! command line or knows a socket: `cli` turns arguments into [`Settings`], other layers read them.

mod bounds;
mod exempt;
mod listen;
mod live;
mod log;
mod metrics;
mod moderation;
mod motd;
mod restart;
mod settings;
mod tls_files;
pub mod units;

pub use exempt::{ExemptItem, ExemptNetworks, NoneIsNotAlone};
pub use listen::{ListenAddress, ListenAddressError};
pub use live::Live;
pub use log::{LiveLog, LogFormat, LogLevel, LogSettings};
pub use metrics::MetricsSettings;
pub use moderation::ModerationSettings;
pub use motd::{Motd, MotdError};
pub use settings::{DEFAULT_PORT, LiveSettings, NetworkSettings, RoomSettings, Settings, SettingsError, SlowReader};
pub use tls_files::TlsFiles;

/// Open files kept back from connections: listeners, the runtime's own, standard streams, requests for metrics, and
/// connections that wait for a place or are told why they get none before they are closed.
pub const RESERVED_FILES: usize = 64;
