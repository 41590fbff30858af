//! Signals of the operating system: the first SIGINT, SIGTERM or, without a configuration file, SIGHUP ends the server
//! gracefully, a second one at once. With a configuration file SIGHUP reloads it.

use roomcast::ServerHandle;
use std::future::pending;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the server. From [`listen`] on none of them ends the process by itself.
pub(super) struct ShutdownSignals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where SIGHUP is a request for a reload.
    hangup: Option<Signal>,
}

/// The signal that asks for a reload. From [`listen`] on it does not end the process.
pub(super) struct ReloadSignal(Signal);

/// The signal that asks for an upgrade. From [`listen`] on it does not end the process.
pub(super) struct UpgradeSignal(Signal);

/// Starts to listen for the signals; `reloads` says whether SIGHUP asks for a reload. Needs a runtime.
///
/// # Errors
/// When the system refuses a handler.
pub(super) fn listen(reloads: bool) -> io::Result<(ShutdownSignals, Option<ReloadSignal>, UpgradeSignal)> {
    let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let hangup = signal(SignalKind::hangup())?;
    let (hangup, reload) = if reloads { (None, Some(ReloadSignal(hangup))) } else { (Some(hangup), None) };
    let upgrade = UpgradeSignal(signal(SignalKind::user_defined2())?);
    Ok((ShutdownSignals { interrupt, terminate, hangup }, reload, upgrade))
}

impl ShutdownSignals {
    /// Waits for the first signal. The next one ends the process with 128 and the signal's number.
    pub(super) async fn first(mut self) {
        self.next().await;
        tokio::spawn(async move {
            let number = self.next().await;
            std::process::exit(128 + number.as_raw_value());
        });
    }

    async fn next(&mut self) -> SignalKind {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hangup => SignalKind::hangup(),
        }
    }
}

impl UpgradeSignal {
    /// Waits for the signal; returns false if none can come any more.
    pub(super) async fn next(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}

impl ReloadSignal {
    /// Reloads the settings at each signal. Signals that come during a reload are one more reload.
    pub(super) async fn reload_at_each(mut self, server: ServerHandle) {
        while self.0.recv().await.is_some() {
            // The reload has logged its outcome.
            let _ = server.reload().await;
        }
    }
}
