//! The handle of a server: what its operator can change while it serves.
//!
//! A reload has two steps. `Shared::prepare` reads and checks everything, may fail and changes nothing;
//! `Shared::install` puts what was prepared in force and can't fail. So a reload changes all or nothing.

use super::handover::{FreezeError, HandoverParts, HandoverTurn};
use crate::config::{LiveLog, LiveSettings, LogSettings, Motd, PeerNetworks, Settings, TrustedProxies};
use crate::connection::ServerContext;
use crate::connection::close_reason::CloseReason;
use crate::limits::bans::{BanList, PreparedBans};
use crate::net::{TlsAcceptor, TlsCertificate};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

/// Reads all settings anew; the error is one line.
type ReadSettings = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// A handle of a running server. Clones are handles of the same server.
#[derive(Clone)]
pub struct ServerHandle(Arc<Shared>);

/// The values that all handles of a server share.
struct Shared {
    context: Arc<ServerContext>,
    /// The settings of the start: those that need a restart are in force until then.
    started_with: Settings,
    parts: LiveParts,
    handover: Arc<HandoverParts>,
    read_settings: ReadSettings,
    /// Held during a reload, so that two reloads don't mix their settings, and during a handover.
    reloading: Arc<Mutex<()>>,
}

/// The parts of a server, beside its live settings, that a reload changes.
pub(super) struct LiveParts {
    pub(super) log: Arc<LiveLog>,
    pub(super) bans: Arc<BanList>,
    /// The certificate of the TLS listeners; `None` without such a listener.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) trusted_proxies: Arc<TrustedProxies>,
}

/// The outcome of a reload that put settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The flags of settings that were changed and stay as they were: a restart alone can change them.
    pub needs_restart: Vec<&'static str>,
}

/// Everything that a reload puts in force, read and checked.
struct Prepared {
    live: LiveSettings,
    motd: Option<Motd>,
    log: LogSettings,
    certificate: Option<TlsCertificate>,
    /// The trusted proxies, where a listener of the settings takes headers.
    trust: Option<PeerNetworks>,
    outcome: Reloaded,
}

impl ServerHandle {
    pub(super) fn new(
        context: Arc<ServerContext>,
        started_with: Settings,
        parts: LiveParts,
        handover: Arc<HandoverParts>,
        read_settings: ReadSettings,
    ) -> Self {
        Self(Arc::new(Shared { context, started_with, parts, handover, read_settings, reloading: Arc::default() }))
    }

    /// Begins a handover of the server to another process.
    ///
    /// # Errors
    /// [`FreezeError`], while another handover or a reload runs and while the server drains or ends.
    pub fn begin_handover(&self) -> Result<HandoverTurn, FreezeError> {
        HandoverTurn::take(&self.0.handover, &self.0.reloading)
    }

    /// Reads the settings anew and puts those in force that can be changed at run time, all or nothing. Logs the outcome:
    /// one record for each changed setting that needs a restart, or one for the mistake. Needs a runtime.
    ///
    /// # Errors
    /// One line that names the mistake; all settings stay as they were then.
    pub async fn reload(&self) -> Result<Reloaded, String> {
        let reloaded = self.0.reload().await;
        match &reloaded {
            Ok(Reloaded { needs_restart }) => {
                for setting in needs_restart {
                    warn!(setting, "a changed setting needs a restart: it stays as it was");
                }
                info!("settings reloaded");
            }
            Err(reason) => error!(reason, "settings not reloaded: all stay as they were"),
        }
        reloaded
    }
}

impl Shared {
    async fn reload(self: &Arc<Self>) -> Result<Reloaded, String> {
        let _alone = self.reloading.lock().await;
        let shared = Arc::clone(self);
        // Reading a file may take long, and no connection may wait for it.
        let prepared = spawn_blocking(move || shared.prepare()).await;
        let prepared = prepared.map_err(|error| format!("the settings can't be read: {error}"))??;
        let bans = self.parts.bans.prepare_reload().await.map_err(|error| error.to_string())?;
        let reloaded = self.install(prepared, bans);
        let shared = Arc::clone(self);
        // A walk through all connections takes longer than a worker of the runtime may be taken.
        if let Err(error) = spawn_blocking(move || shared.close_banned()).await {
            error!(%error, "connections that are banned now stay: this is a bug");
        }
        Ok(reloaded)
    }

    /// Reads the settings and checks them, also with those that stay until a restart. Changes nothing.
    fn prepare(&self) -> Result<Prepared, String> {
        let Settings { network, rooms, live, motd, moderation, log, metrics, cluster } = (self.read_settings)()?;
        let read = Settings { network, rooms, live, motd: None, moderation, log, metrics, cluster };
        let needs_restart = self.started_with.restart_differences(&read);
        let (certificate_files, trust) =
            (read.network.tls.clone(), read.network.takes_proxy_headers().then(|| read.network.trust.clone()));
        let (network, rooms) = (self.started_with.network.clone(), self.started_with.rooms);
        let in_force = Settings { network, rooms, metrics: self.started_with.metrics, ..read };
        in_force.validate().map_err(|error| format!("{error}; {} would need a restart", needs_restart.join(", ")))?;
        let certificate = self.parts.tls.as_ref().and(certificate_files.as_ref()).map(TlsAcceptor::prepare).transpose();
        let certificate = certificate.map_err(|error| error.to_string())?;
        Ok(Prepared { live, motd, log, certificate, trust, outcome: Reloaded { needs_restart } })
    }

    /// Asks connections to close whose addresses are banned.
    fn close_banned(&self) {
        let Some(directory) = &self.context.directory else { return };
        for (connection, ban) in directory.find_banned(&self.parts.bans) {
            directory.request_close(connection, CloseReason::Banned, ban.to_string());
        }
    }

    /// Puts prepared settings in force.
    fn install(&self, prepared: Prepared, bans: Option<PreparedBans>) -> Reloaded {
        let Prepared { live, motd, log, certificate, trust, outcome } = prepared;
        let LiveParts { log: live_log, bans: ban_list, tls, trusted_proxies } = &self.parts;
        if let Some(trust) = trust {
            trusted_proxies.replace(trust);
        }
        if let Some(bans) = bans {
            ban_list.install(bans);
        }
        if let Some((tls, certificate)) = tls.as_ref().zip(certificate) {
            tls.install(certificate);
        }
        live_log.replace(log);
        self.context.live.replace(live);
        self.context.live.replace_motd(motd);
        outcome
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerHandle")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ListenAddress, LogFormat, LogLevel};
    use crate::server::Server;
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU64;
    use std::sync::Mutex as StdMutex;

    /// Returns a server with a change of the default settings, and its handle, whose reloads read `next`.
    fn server_reading(
        change: impl FnOnce(&mut Settings),
        next: impl Fn() -> Result<Settings, String> + Send + Sync + 'static,
    ) -> (Server, ServerHandle, Arc<LiveLog>) {
        let mut settings = Settings::default();
        settings.network.listen =
            vec![ListenAddress::Tcp { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 }.into()];
        change(&mut settings);
        let server = Server::bind(&settings, 10).unwrap();
        let listen = settings.network.listen;
        let log = Arc::new(LiveLog::new(LogSettings::default()));
        let handle = server.handle(Arc::clone(&log), move || {
            let mut settings = next()?;
            settings.network.listen.clone_from(&listen);
            Ok(settings)
        });
        (server, handle, log)
    }

    #[tokio::test]
    async fn reload_puts_live_settings_message_and_log_in_force() {
        let (server, handle, log) = server_reading(
            |_| {},
            || {
                let mut settings = Settings { motd: Some(Motd::new(b"be kind").unwrap()), ..Settings::default() };
                settings.live.rate = 7;
                settings.log = LogSettings { level: LogLevel::Trace, format: LogFormat::Json };
                Ok(settings)
            },
        );
        assert_eq!(handle.reload().await, Ok(Reloaded { needs_restart: vec![] }));
        let live = &server.context.live;
        assert_eq!((live.get().rate, live.motd().unwrap().as_str()), (7, "*** be kind\n"));
        assert_eq!(log.get(), LogSettings { level: LogLevel::Trace, format: LogFormat::Json });
    }

    #[tokio::test]
    async fn reload_replaces_the_trusted_proxies_where_a_listener_takes_headers() {
        for (url, is_replaced) in [("tcp://127.0.0.1:0?proxy=v1", true), ("tcp://127.0.0.1:0", false)] {
            let trusted = PeerNetworks::from_items(&["10.0.0.0/8".parse().unwrap()]).unwrap();
            let (server, handle, _) = server_reading(
                |settings| settings.network.listen = vec![url.parse().unwrap()],
                move || {
                    let mut settings = Settings::default();
                    settings.network.trust = trusted.clone();
                    Ok(settings)
                },
            );
            let proxies = server.trusted_proxies();
            let is_trusted = |ip: [u8; 4]| proxies.contains(Some(ip.into()));
            assert!(is_trusted([127, 0, 0, 1]) && !is_trusted([10, 0, 0, 1]));
            assert_eq!(handle.reload().await, Ok(Reloaded { needs_restart: vec![] }));
            assert_eq!((is_trusted([10, 0, 0, 1]), is_trusted([127, 0, 0, 1])), (is_replaced, !is_replaced), "{url}");
        }
    }

    #[tokio::test]
    async fn reload_that_fails_changes_nothing() {
        let (server, handle, log) = server_reading(
            |settings| settings.motd = Some(Motd::new(b"old").unwrap()),
            || Err("roomcast.toml:1:1: a mistake".to_owned()),
        );
        let before = server.context.live.get();
        assert_eq!(handle.reload().await, Err("roomcast.toml:1:1: a mistake".to_owned()));
        assert_eq!((server.context.live.get(), log.get()), (before, LogSettings::default()));
        assert_eq!(server.context.live.motd().unwrap().as_str(), "*** old\n");
    }

    #[tokio::test]
    async fn reader_that_panics_changes_nothing() {
        let (server, handle, _) = server_reading(|_| {}, || panic!("a bug of the reader"));
        let before = server.context.live.get();
        let told = handle.reload().await.unwrap_err();
        assert!(told.starts_with("the settings can't be read: "), "{told}");
        assert_eq!(server.context.live.get(), before);
    }

    #[tokio::test]
    async fn settings_that_need_a_restart_are_named_and_stay() {
        let (server, handle, _) = server_reading(
            |_| {},
            || {
                let mut settings = Settings::default();
                settings.rooms.max_rooms = 7;
                settings.live.rate = 7;
                Ok(settings)
            },
        );
        for _ in 0..2 {
            assert_eq!(handle.reload().await, Ok(Reloaded { needs_restart: vec!["--max-rooms"] }));
        }
        assert_eq!(server.context.live.get().rate, 7);
    }

    /// The new backlog fits the new ceiling, which is not in force before a restart.
    #[tokio::test]
    async fn live_settings_that_contradict_settings_in_force_are_refused() {
        let (server, handle, _) = server_reading(
            |settings| settings.network.memory = NonZeroU64::new(2 << 20),
            || {
                let mut settings = Settings::default();
                settings.network.memory = NonZeroU64::new(8 << 20);
                settings.live.backlog = 4 << 20;
                settings.validate().map_err(|error| error.to_string())
            },
        );
        let told = handle.reload().await.unwrap_err();
        assert!(told.starts_with("--memory 2.0MiB is less than --backlog 4MiB"), "{told}");
        assert!(told.ends_with("; --memory would need a restart"), "{told}");
        assert_eq!(server.context.live.get().backlog, 1 << 20);
    }

    #[tokio::test]
    async fn reloads_do_not_overlap() {
        let running = Arc::new(StdMutex::new(()));
        let (_server, handle, _) = server_reading(
            |_| {},
            move || {
                let alone = running.try_lock().map_err(|_| "two reloads read at the same time".to_owned())?;
                std::thread::yield_now();
                drop(alone);
                Ok(Settings::default())
            },
        );
        let reloads: Vec<_> = (0..20)
            .map(|_| {
                let handle = handle.clone();
                tokio::spawn(async move { handle.reload().await })
            })
            .collect();
        for reload in reloads {
            assert_eq!(reload.await.unwrap(), Ok(Reloaded { needs_restart: vec![] }));
        }
    }
}
