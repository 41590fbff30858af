//! Configuration: what a server does and where its bounds are, as validated values in groups.
//!
//! Settings, their defaults, their units and the check for contradictions live here. Nothing here parses a
//! command line or knows a socket: `cli` turns arguments into [`Settings`], other layers read them.

mod bounds;
mod listen;
mod live;
mod motd;
mod peer_networks;
mod settings;
pub mod units;

pub use listen::{ListenAddress, ListenAddressError};
pub use live::Live;
pub use motd::{Motd, MotdError};
pub use peer_networks::{NetworkItem, NoneIsNotAlone, PeerNetworks};
pub use settings::{DEFAULT_PORT, LiveSettings, NetworkSettings, RoomSettings, Settings, SettingsError, SlowReader};

/// Open files kept back from connections: listeners, the runtime's own, standard streams, and connections
/// that wait for a place or are told why they get none before they are closed.
pub const RESERVED_FILES: usize = 64;
