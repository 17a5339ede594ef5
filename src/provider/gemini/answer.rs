//! One answer under way: its events, read as far as there is text, and as a stream from there on.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Response, header};
use tokio::time::Instant;

use super::Gemini;
use super::events::{Broken, Events};
use super::retry::{Fault, Retry};
use super::wire::{Decoder, EventFault};
use crate::chat::FinishReason;
use crate::limits::MAX_ANSWER_BYTES;
use crate::provider::{Delta, DeltaStream, Error};

/// Once a finish reason has come after text, how long to wait for more of it or the end of the body: then it is done.
/// Some proxies send `STOP` with every event, so it is no sign by itself.
const AFTER_FINISH: Duration = Duration::from_secs(5);
/// The same where no text has come: then it may be asked once more, which takes time too.
pub(super) const AFTER_EMPTY_FINISH: Duration = Duration::from_secs(1);

/// An answer under way. Dropping it closes the connection.
pub(super) struct Answer {
    events: Events,
    decoder: Decoder,
    first: String,
    /// Whether `first` is the beginning of an answer.
    answering: bool,
    gemini: Gemini,
}

impl Answer {
    /// The answer that comes as the body of a 200.
    ///
    /// # Errors
    ///
    /// That the body is no event stream.
    pub(super) fn new(gemini: Gemini, response: Response) -> Result<Self, Fault> {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind: Option<mime::Mime> = kind.and_then(|kind| kind.parse().ok());
        if kind.is_none_or(|kind| kind.essence_str() != mime::TEXT_EVENT_STREAM) {
            return Err(Fault::unusable("a 200 that is no event stream"));
        }
        let events = Events::new(response.bytes_stream());
        Ok(Self { events, decoder: Decoder::default(), first: String::new(), answering: false, gemini })
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
            if self.first.len() > MAX_ANSWER_BYTES {
                return Err(Fault::unusable("white space without end"));
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
                        EventFault::Api(error) => self.gemini.in_stream(&error),
                    })?;
                    if !text.is_empty() {
                        return Ok(Some(text));
                    }
                }
                // The end of the body, a cut connection, half an event: what came so far decides.
                None | Some(Err(Broken::Connection)) => return Ok(None),
                Some(Err(broken)) => return Err(Fault::unusable(&broken.to_string())),
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
