//! Waits for the signals that stop a command.

use tokio_util::sync::CancellationToken;

/// Returns tokens that the first and the second Ctrl-C or SIGTERM cancel.
pub(super) fn watch_stop_signals() -> (CancellationToken, CancellationToken) {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let tokens = (first.clone(), second.clone());
    tokio::spawn(async move {
        next_stop_signal().await;
        first.cancel();
        next_stop_signal().await;
        second.cancel();
    });
    tokens
}

/// Waits for the next Ctrl-C or SIGTERM.
async fn next_stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}
