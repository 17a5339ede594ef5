//! Reads what any upstream service sends over HTTP: bodies through a bound, events line by line, and failed
//! calls with their chance of another attempt.

pub(crate) mod retry;
pub(crate) mod sse;

use std::time::Duration;

use reqwest::Response;

use super::types::Error;
use crate::text::log_safe;

/// Describes a failed attempt: its error, and the chance of another attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(super) error: Error,
    pub(super) retry: Retry,
}

/// Rates the chance of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// No further attempt can succeed.
    No,
    /// One more attempt may succeed.
    Once,
    /// Further attempts may succeed, as many as the schedule allows, after at least the wait that the service
    /// asked for, if it named one.
    After(Option<Duration>),
}

impl Fault {
    /// Returns the fault of a refusal, which lasts until a setting changes.
    pub(super) fn refused(cause: String) -> Self {
        Self { error: Error::Refused(cause), retry: Retry::No }
    }

    /// Returns the fault of a response that cannot be used.
    pub(super) fn unusable(cause: &str) -> Self {
        Self { error: Error::Failed(cause.to_owned()), retry: Retry::No }
    }

    /// Returns the fault of a broken connection.
    pub(super) fn transport(error: &reqwest::Error) -> Self {
        Self { error: Error::Failed(transport_cause(error)), retry: Retry::After(None) }
    }
}

/// Reads a body of at most `max_bytes`.
///
/// # Errors
///
/// Returns a fault if the connection breaks or the body is longer.
pub(super) async fn read_body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::transport(&error))? {
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Fault::unusable("a body beyond its bound"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Describes a transport error by its kind and its root cause, without the URL.
pub(super) fn transport_cause(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    let kind = if error.is_connect() {
        "could not connect"
    } else if error.is_timeout() {
        "timed out"
    } else {
        "connection broke"
    };
    format!("{kind}: {}", log_safe(&text))
}
