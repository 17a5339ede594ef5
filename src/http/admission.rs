//! Admits a request of any protocol: its client's rate, its content type, its size, and its bytes.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use mime::Mime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::peer::{self, Peer};
use crate::app::App;
use crate::error::Error;
use crate::limits::{MAX_BODY_BYTES, MAX_DISCARDED_BYTES};

/// Holds a request's body, and its share of the bytes that open bodies may take together, until the question
/// has been read.
pub(crate) struct AdmittedBody {
    /// The body; at most 1 MiB.
    pub(super) bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

/// Counts a request against the rate limit of its client.
///
/// # Errors
///
/// [`Error::RateLimited`] beyond `RATE_LIMIT`.
pub(crate) fn check_rate(app: &App, peer: Peer, headers: &HeaderMap) -> Result<(), Error> {
    let client = peer::client_address(peer, headers, app.limits.trusted_proxies);
    app.rate_limit.check(client).map_err(Error::RateLimited)
}

/// Reads a body that is declared as JSON, is small enough and arrives in time.
///
/// # Errors
///
/// [`Error::UnsupportedMediaType`], [`Error::PayloadTooLarge`], [`Error::Overloaded`] where too many bodies are
/// being read, and [`Error::MalformedJson`] for a body that breaks off or is late.
pub(crate) async fn read_json_body(
    app: &App,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<AdmittedBody, Error> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime: Option<Mime> = declared.and_then(|text| text.parse().ok());
    if mime.is_none_or(|mime| mime.essence_str() != "application/json") {
        return Err(Error::UnsupportedMediaType);
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(MAX_BODY_BYTES);
    if length > MAX_BODY_BYTES {
        return Err(Error::PayloadTooLarge);
    }
    let share =
        app.body_bytes.try_acquire(length).ok_or(Error::Overloaded("too many bodies are being read"))?;
    let on_timeout = |_| Err(Error::MalformedJson("the body did not arrive in time".to_owned()));
    let bytes = timeout(app.limits.body_timeout, read_bytes(body)).await.unwrap_or_else(on_timeout)?;
    Ok(AdmittedBody { bytes, _share: share })
}

async fn read_bytes(body: &mut Body) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| Error::MalformedJson("the body broke off".to_owned()))?.into_data();
        bytes.extend_from_slice(&data.unwrap_or_default());
        if bytes.len() > MAX_BODY_BYTES {
            return Err(Error::PayloadTooLarge);
        }
    }
    Ok(bytes)
}

/// Reads and throws away the rest of a refused request's body, within bounds: a client that is still sending
/// when its connection closes may never read the refusal.
pub(super) async fn discard_body(app: &App, body: &mut Body) {
    let discarding = async {
        let mut left = MAX_DISCARDED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.into_data().unwrap_or_default().len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(app.limits.discard_timeout, discarding).await;
}
