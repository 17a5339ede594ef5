//! Reads one answer: waits for the first visible text, then streams the answer from its beginning.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Response, header};
use tokio::time::Instant;

use super::fault::ApiKey;
use super::wire::{Decoder, EventFault};
use crate::chat::FinishReason;
use crate::config::ProviderLimits;
use crate::limits::MAX_ANSWER_BYTES;
use crate::provider::types::{Delta, DeltaStream, Error};
use crate::provider::upstream::sse::{EventReader, SseError};
use crate::provider::upstream::{Fault, Retry};

/// Time to wait for more text or the end of the body once a finish reason has come after text; then the answer
/// is done. Some proxies send `STOP` with every event, so `STOP` alone does not end an answer.
const AFTER_TEXT: Duration = Duration::from_secs(5);
/// Time to wait once a finish reason has come without any text. This wait is shorter, because the call may then
/// be repeated once, which takes time too.
const AFTER_NO_TEXT: Duration = Duration::from_secs(1);

/// Bounds the wait for the end of a body whose finish reason has come, well before the caller's own deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct FinishWaits {
    /// Longest time from the last text to the end of the wait.
    gap: Duration,
    after_no_text: Duration,
}

impl FinishWaits {
    /// Derives the waits from the caller's deadlines.
    pub(super) fn new(limits: &ProviderLimits) -> Self {
        Self {
            gap: limits.gap_timeout / 10 * 9,
            after_no_text: AFTER_NO_TEXT.min(limits.first_token_timeout / 4),
        }
    }

    /// Returns the end of a wait that begins now; the wait for the next text began at `began`.
    fn deadline(&self, has_text: bool, began: Instant) -> Instant {
        let now = Instant::now();
        if has_text { (now + AFTER_TEXT).min(began + self.gap) } else { now + self.after_no_text }
    }
}

/// Reads an answer while it arrives. Dropping the reader closes the connection.
pub(super) struct GeminiAnswer {
    events: EventReader,
    decoder: Decoder,
    /// Text from the beginning up to the first visible text, which is included.
    first: String,
    /// True if `first` holds visible text.
    has_text: bool,
    key: ApiKey,
    waits: FinishWaits,
}

impl GeminiAnswer {
    /// Reads the answer that comes as the body of a 200.
    ///
    /// # Errors
    ///
    /// Returns a fault if the body is no event stream.
    pub(super) fn new(response: Response, key: ApiKey, waits: FinishWaits) -> Result<Self, Fault> {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind: Option<mime::Mime> = kind.and_then(|kind| kind.parse().ok());
        if kind.is_none_or(|kind| kind.essence_str() != mime::TEXT_EVENT_STREAM) {
            return Err(Fault::unusable("a 200 that is no event stream"));
        }
        let events = EventReader::new(response.bytes_stream());
        Ok(Self { events, decoder: Decoder::default(), first: String::new(), has_text: false, key, waits })
    }

    /// Reads until visible text has arrived, which is kept in `first`, or the stream has ended with a finish
    /// reason other than `STOP`, which makes an answer even without text.
    ///
    /// # Errors
    ///
    /// Returns a fault if the stream breaks off, is no answer, or ends with `STOP` and without text.
    pub(super) async fn advance_to_text(&mut self) -> Result<(), Fault> {
        while let Some(text) = self.next_text().await? {
            self.first.push_str(&text);
            if !self.first.trim().is_empty() {
                self.has_text = true;
                return Ok(());
            }
            if self.first.len() > MAX_ANSWER_BYTES {
                return Err(Fault::unusable("white space without end"));
            }
        }
        match self.decoder.finish("") {
            Some(finish) if finish.finish_reason == FinishReason::Stop => {
                Err(Fault { error: Error::Failed("STOP without any text".to_owned()), retry: Retry::Once })
            }
            Some(_) => Ok(()),
            None if self.decoder.events() == 0 => Err(Fault { error: Error::Truncated, retry: Retry::Once }),
            None => Err(Fault { error: Error::Truncated, retry: Retry::No }),
        }
    }

    /// Returns the next visible text. `None` is the end: the body has ended, the connection has broken, or the
    /// wait after a finish reason is over.
    async fn next_text(&mut self) -> Result<Option<String>, Fault> {
        let began = Instant::now();
        let mut deadline = None;
        loop {
            if self.decoder.is_finished() && deadline.is_none() {
                deadline = Some(self.waits.deadline(self.has_text, began));
            }
            let event = match deadline {
                None => self.events.next().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, self.events.next()).await {
                    Ok(event) => event,
                    Err(_) => return Ok(None),
                },
            };
            match event {
                Some(Ok(data)) => {
                    let text = self.decoder.push(&data).map_err(|fault| match fault {
                        EventFault::Unusable => Fault::unusable("an event that is no answer"),
                        EventFault::Api(error) => self.key.read_stream_fault(&error),
                    })?;
                    if !text.is_empty() {
                        return Ok(Some(text));
                    }
                }
                // At the end of the body, or where the connection broke, the events so far decide; half an
                // event does not count.
                None | Some(Err(SseError::Connection)) => return Ok(None),
                Some(Err(error)) => return Err(Fault::unusable(&error.to_string())),
            }
        }
    }

    /// Turns the answer into a stream that begins with the text in `first`; `model` is the configured one.
    pub(super) fn into_stream(mut self, model: String) -> DeltaStream {
        let stream = async_stream::try_stream! {
            if !self.first.is_empty() {
                yield Delta::Text(std::mem::take(&mut self.first));
                while let Some(text) = self.next_text().await.map_err(|fault| fault.error)? {
                    yield Delta::Text(text);
                }
            }
            let finish = self.decoder.finish(&model).ok_or(Error::Truncated)?;
            yield Delta::Finish(finish);
        };
        stream.boxed()
    }
}
