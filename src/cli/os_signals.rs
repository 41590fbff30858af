//! Signals of the operating system: the first SIGINT, SIGTERM or SIGHUP ends the server gracefully, a second one
//! at once.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the server. From [`listen`] on none of them ends the process by itself.
pub(super) struct ShutdownSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// Starts to listen for the signals. Needs a runtime.
///
/// # Errors
/// When the system refuses a handler.
pub(super) fn listen() -> io::Result<ShutdownSignals> {
    let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(ShutdownSignals { interrupt, terminate, hangup: signal(SignalKind::hangup())? })
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
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }
}
