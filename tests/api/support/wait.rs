//! Waits for a condition that must come true, and fails with the caller's line if it does not.

use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

/// Longest wait of a test; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Returns the outcome of `work`, which must come within [`PATIENCE`].
#[track_caller]
pub fn within<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, work).await;
        outcome.unwrap_or_else(|_| panic!("{caller}: nothing came within {PATIENCE:?}"))
    }
}

/// Waits until `holds` returns true, which must be within [`PATIENCE`].
#[track_caller]
pub fn eventually(mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let until = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(Instant::now() < until, "{caller}: the condition does not hold after {PATIENCE:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
