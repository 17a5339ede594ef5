//! One answer under way: its events, read as far as there is text, and as a stream from there on.
//!
//! The stream is read by `reqwest-eventsource`, always with `retry::Never`: by itself it would send the POST again
//! at the end of every body, and a POST that generates is paid for. Its limits, which we live with: it drops lines
//! outside `data:` and a last event without its blank line (both end as a truncated answer), it panics on a byte
//! order mark (caught here), it tells of bytes that are not UTF-8 only at the end of the body, and it bounds no line and
//! reads a long one again with every packet (8 MB took 5 s); for both, the deadlines of `rag` are the bound.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use reqwest::RequestBuilder;
use reqwest_eventsource::{Event, EventSource};
use tokio::time::Instant;

use super::Gemini;
use super::retry::{Fault, Retry};
use super::wire::{Decoder, EventFault};
use crate::chat::FinishReason;
use crate::provider::{Delta, DeltaStream, Error};

/// Once a finish reason has come after text, how long to wait for more of it or the end of the body: then it is done.
/// Some proxies send `STOP` with every event, so it is no sign by itself.
const AFTER_FINISH: Duration = Duration::from_secs(5);
/// The same where no text has come: then it may be asked once more, which takes time too.
pub(super) const AFTER_EMPTY_FINISH: Duration = Duration::from_secs(1);

/// An answer under way.
pub(super) struct Answer {
    source: EventSource,
    decoder: Decoder,
    first: String,
    /// Whether `first` is the beginning of an answer.
    answering: bool,
    gemini: Gemini,
}

impl Answer {
    /// The answer to `request`, which is sent when the first event is asked for.
    ///
    /// # Errors
    ///
    /// That the request cannot be repeated, which the reader of the stream wants of it.
    pub(super) fn new(gemini: Gemini, request: RequestBuilder) -> Result<Self, Fault> {
        let mut source =
            EventSource::new(request).map_err(|_| Fault::unusable("a request that cannot be sent"))?;
        source.set_retry_policy(Box::new(reqwest_eventsource::retry::Never));
        Ok(Self { source, decoder: Decoder::default(), first: String::new(), answering: false, gemini })
    }

    /// The next thing the reader of the stream has to say, a panic of it included.
    pub(super) async fn next_event(&mut self) -> Option<Result<Event, reqwest_eventsource::Error>> {
        let next = AssertUnwindSafe(self.source.next()).catch_unwind().await;
        next.unwrap_or_else(|_| {
            tracing::error!("reqwest-eventsource panicked on what Gemini sent");
            self.source.close();
            None
        })
    }

    /// Reads until there is visible text, which it keeps in `first`, or the stream has ended in a way that is an
    /// answer: a finish reason other than `STOP` needs no text.
    pub(super) async fn advance_to_text(&mut self) -> Result<(), Fault> {
        while let Some(text) = self.next_text().await? {
            self.first.push_str(&text);
            if !self.first.trim().is_empty() {
                self.answering = true;
                return Ok(());
            }
        }
        match self.decoder.end("") {
            Some(end) if end.finish_reason == FinishReason::Stop => {
                Err(Fault { error: Error::Failed("STOP without any text".to_owned()), retry: Retry::Once })
            }
            Some(_) => Ok(()),
            None if self.decoder.events() == 0 => Err(Fault { error: Error::Truncated, retry: Retry::Once }),
            None => Err(Fault { error: Error::Truncated, retry: Retry::No }),
        }
    }

    /// The next visible text; `None` at the end, however it came.
    async fn next_text(&mut self) -> Result<Option<String>, Fault> {
        let began = Instant::now();
        let mut deadline = None;
        loop {
            if self.decoder.finished() && deadline.is_none() {
                deadline = Some(self.patience(began));
            }
            let event = match deadline {
                None => self.next_event().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, self.next_event()).await {
                    Ok(event) => event,
                    Err(_) => return Ok(None),
                },
            };
            match event {
                Some(Ok(Event::Open)) => {}
                Some(Ok(Event::Message(message))) => {
                    let text = self.decoder.push(&message.data).map_err(|fault| match fault {
                        EventFault::Unusable => Fault::unusable("an event that is no answer"),
                        EventFault::Api(error) => self.gemini.in_stream(&error),
                    })?;
                    if !text.is_empty() {
                        return Ok(Some(text));
                    }
                }
                Some(Err(reqwest_eventsource::Error::Utf8(error)))
                    if error.utf8_error().error_len().is_some() =>
                {
                    return Err(Fault::unusable("an event that is not UTF-8"));
                }
                // The end of the body, a cut connection, half an event: what came so far decides.
                None | Some(Err(_)) => return Ok(None),
            }
        }
    }

    /// Until when to wait once a finish reason has come: well before the caller's own deadline for this text.
    fn patience(&self, began: Instant) -> Instant {
        let now = Instant::now();
        if self.answering {
            (now + AFTER_FINISH).min(began + self.gemini.gap / 10 * 9)
        } else {
            now + self.gemini.after_empty_finish
        }
    }

    pub(super) fn into_stream(mut self, model: String) -> DeltaStream {
        let stream = async_stream::try_stream! {
            if !self.first.is_empty() {
                yield Delta::Text(std::mem::take(&mut self.first));
                while let Some(text) = self.next_text().await.map_err(|fault| fault.error)? {
                    yield Delta::Text(text);
                }
            }
            let end = self.decoder.end(&model).ok_or(Error::Truncated)?;
            yield Delta::End(end);
        };
        stream.boxed()
    }
}
