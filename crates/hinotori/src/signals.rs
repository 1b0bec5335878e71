//! What tells the process to stop.

use std::io;

/// Waits for SIGTERM or SIGINT and returns its name.
#[cfg(unix)]
pub(crate) async fn told_to_stop() -> io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Waits for Ctrl+C, which other systems have in place of signals.
#[cfg(not(unix))]
pub(crate) async fn told_to_stop() -> io::Result<&'static str> {
    tokio::signal::ctrl_c().await.map(|()| "SIGINT")
}
