//! Admits a request of any protocol: its client's rate, the form of its answer, its content type, its size and
//! its bytes. A handler gets no answer without: [`pump::open`](super::pump::open) takes an [`Admitted`], and
//! [`Call::admit`] alone makes one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use mime::Mime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::peer::{self, Peer};
use super::request_log::RequestLog;
use crate::app::App;
use crate::error::Error;
use crate::limits::{MAX_BODY_BYTES, MAX_DISCARDED_BYTES};

/// Holds a request that has reached the handler of a protocol; its body has not been read.
pub(crate) struct Call {
    app: Arc<App>,
    log: Arc<RequestLog>,
    peer: Peer,
    headers: HeaderMap,
    body: Body,
}

/// Proves that a request was admitted.
pub(crate) struct Admitted {
    app: Arc<App>,
    log: Arc<RequestLog>,
}

impl Admitted {
    /// Returns what an answer needs of its request.
    pub(super) fn into_parts(self) -> (Arc<App>, Arc<RequestLog>) {
        (self.app, self.log)
    }
}

impl FromRequest<Arc<App>> for Call {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let missing = || Error::Internal("a request came past the layers around its route".to_owned());
        let log = parts.extensions.get::<Arc<RequestLog>>().cloned().ok_or_else(missing)?;
        let peer = parts.extensions.get::<Peer>().copied().ok_or_else(missing)?;
        Ok(Self { app: Arc::clone(app), log, peer, headers: parts.headers, body })
    }
}

impl Call {
    /// Admits the request. `choose_form` decides by the headers, before the body is read; `read` parses the
    /// body. What is left of the body of a refused request is discarded.
    ///
    /// # Errors
    ///
    /// [`Error::RateLimited`] beyond `RATE_LIMIT`, then the errors of `choose_form`, of
    /// [`Call::read_json_body`] and of `read`.
    pub(crate) async fn admit<F, T>(
        mut self,
        choose_form: impl FnOnce(&HeaderMap) -> Result<F, Error>,
        read: impl FnOnce(&App, &[u8]) -> Result<T, Error>,
    ) -> Result<(Admitted, F, T), Error> {
        let outcome = self.check_and_read(choose_form, read).await;
        if outcome.is_err() {
            self.discard_body().await;
        }
        let (form, read) = outcome?;
        Ok((Admitted { app: self.app, log: self.log }, form, read))
    }

    async fn check_and_read<F, T>(
        &mut self,
        choose_form: impl FnOnce(&HeaderMap) -> Result<F, Error>,
        read: impl FnOnce(&App, &[u8]) -> Result<T, Error>,
    ) -> Result<(F, T), Error> {
        let client = peer::client_address(self.peer, &self.headers, self.app.limits.trusted_proxies);
        self.app.rate_limit.check(client).map_err(Error::RateLimited)?;
        let form = choose_form(&self.headers)?;
        // The share is held until the body has been parsed, because the values take more memory than the bytes.
        let (bytes, _share) = self.read_json_body().await?;
        Ok((form, read(&self.app, &bytes)?))
    }

    /// Reads a body that is declared as JSON, is small enough and arrives in time. The permit is the body's
    /// share of the bytes that open bodies may take together.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedMediaType`], [`Error::PayloadTooLarge`], [`Error::Overloaded`] where too many bodies
    /// are being read, and [`Error::MalformedJson`] for a body that breaks off or is late.
    async fn read_json_body(&mut self) -> Result<(Vec<u8>, OwnedSemaphorePermit), Error> {
        let text_of = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let mime: Option<Mime> = text_of(header::CONTENT_TYPE).and_then(|text| text.parse().ok());
        if mime.is_none_or(|mime| mime.essence_str() != "application/json") {
            return Err(Error::UnsupportedMediaType);
        }
        let length = text_of(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let length: usize = length.unwrap_or(MAX_BODY_BYTES);
        if length > MAX_BODY_BYTES {
            return Err(Error::PayloadTooLarge);
        }
        let share = self.app.body_bytes.try_acquire(length);
        let share = share.ok_or(Error::Overloaded("too many bodies are being read"))?;
        let on_timeout = |_| Err(Error::MalformedJson("the body did not arrive in time".to_owned()));
        let limit = self.app.limits.body_timeout;
        let bytes = timeout(limit, read_bytes(&mut self.body)).await.unwrap_or_else(on_timeout)?;
        Ok((bytes, share))
    }

    /// Reads and throws away the rest of the body, within bounds: a client that is still sending when its
    /// connection closes may never read the refusal.
    async fn discard_body(&mut self) {
        let discarding = async {
            let mut left = MAX_DISCARDED_BYTES;
            while let Some(Ok(frame)) = self.body.frame().await {
                left = left.saturating_sub(frame.into_data().unwrap_or_default().len());
                if left == 0 {
                    return;
                }
            }
        };
        let _ = timeout(self.app.limits.discard_timeout, discarding).await;
    }
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
