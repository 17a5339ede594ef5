//! Moves the events of an answer to the reader, in the protocol of the route: as a stream, or joined into one
//! value.
//!
//! The pump alone counts answers and notes how a request ended, so that no protocol can forget either.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::admission::Admitted;
use super::encoder::Encoder;
use super::request_log::RequestLog;
use super::sse::HEARTBEAT_FRAME;
use crate::chat::{AnswerEvent, Question, Summary, WholeAnswer};
use crate::error::Error;
use crate::rag::AnswerStream;
use crate::telemetry::metrics;

/// Holds an answer that has been opened: its events, its permit, and the token that ends it early. Dropping the
/// value cancels the answer.
pub(crate) struct ActiveAnswer {
    events: AnswerStream,
    log: Arc<RequestLog>,
    heartbeat: Duration,
    /// Ends the answer with an error when a shutdown's grace is over.
    expired: CancellationToken,
    /// Counts as one open answer until the answer has ended.
    _permit: OwnedSemaphorePermit,
}

/// Takes a permit, grounds an admitted question, and opens its answer. The model is asked when the answer is
/// read.
///
/// # Errors
///
/// [`Error::Overloaded`] when every permit is taken or the shutdown's grace is over, and the failures of
/// embedding and retrieval.
pub(crate) async fn open(admitted: Admitted, question: Question) -> Result<ActiveAnswer, Error> {
    let (app, log) = admitted.into_parts();
    let permit = app.permits.try_acquire().ok_or(Error::Overloaded("every permit is taken"))?;
    log.note_question();
    let expired = app.drain.expired.clone();
    let grounded = run_until_expired(&expired, app.rag.ground(question, Arc::clone(&log.times))).await?;
    let heartbeat = app.limits.heartbeat;
    Ok(ActiveAnswer { events: app.rag.answer(grounded), log, heartbeat, expired, _permit: permit })
}

impl ActiveAnswer {
    /// Returns a response whose body owns the answer: a reader who leaves drops the body, and with it the
    /// answer.
    pub(crate) fn stream(mut self, mut encoder: Encoder) -> Response {
        let frames = async_stream::stream! {
            let span = self.log.span();
            loop {
                let step = self.next_step().instrument(span.clone()).await;
                let (frame, is_last) = encode_step(step, &mut encoder, &self.log);
                yield Ok::<_, Infallible>(frame);
                if is_last {
                    break;
                }
            }
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
            (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        (headers, Body::from_stream(frames)).into_response()
    }

    /// Joins the events of the answer, and returns the log of the request beside it, for its id.
    ///
    /// # Errors
    ///
    /// The answer's failure, which still has a status; the middleware notes it.
    pub(super) async fn collect(mut self) -> Result<(WholeAnswer, Arc<RequestLog>), Error> {
        let (mut response, mut sources) = (String::new(), Vec::new());
        let joining = async {
            while let Some(event) = self.events.next().await {
                match event? {
                    AnswerEvent::Sources(found) => sources = found,
                    AnswerEvent::Text(text) => response.push_str(&text),
                    AnswerEvent::Done(summary) => {
                        note_end(&summary, &self.log);
                        return Ok(summary);
                    }
                }
            }
            Err(missing_summary_error())
        };
        let summary = run_until_expired(&self.expired, joining).await?;
        Ok((WholeAnswer { response, sources, summary }, self.log))
    }

    /// Waits for the next step. An answer that ends without a summary, or panics, is a fault of Docent's own.
    async fn next_step(&mut self) -> Step {
        tokio::select! {
            biased;
            () = self.expired.cancelled() => Step::Event(Err(grace_over_error())),
            event = AssertUnwindSafe(self.events.next()).catch_unwind() => Step::Event(match event {
                Ok(event) => event.unwrap_or_else(|| Err(missing_summary_error())),
                Err(_) => Err(Error::Internal("an answer panicked".to_owned())),
            }),
            () = tokio::time::sleep(self.heartbeat) => Step::Silence,
        }
    }
}

/// Runs work until its end, or until a shutdown's grace is over.
///
/// # Errors
///
/// The work's failure, or [`Error::Overloaded`] at the end of the grace.
async fn run_until_expired<T>(
    expired: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        outcome = work => outcome,
        () = expired.cancelled() => Err(grace_over_error()),
    }
}

/// Names the next step of a stream.
enum Step {
    /// The next event, or the failure that ends the answer.
    Event(Result<AnswerEvent, Error>),
    /// No event came for the heartbeat's time.
    Silence,
}

/// Encodes a step, and notes the end of the answer. Returns the bytes, and true if they are the last.
fn encode_step(step: Step, encoder: &mut Encoder, log: &RequestLog) -> (Bytes, bool) {
    match step {
        Step::Silence => (HEARTBEAT_FRAME, false),
        Step::Event(Ok(event)) => {
            let is_last = match &event {
                AnswerEvent::Done(summary) => {
                    note_end(summary, log);
                    true
                }
                AnswerEvent::Sources(_) | AnswerEvent::Text(_) => false,
            };
            (encoder.push(&event, log.shown_id()), is_last)
        }
        Step::Event(Err(error)) => {
            log.note_failure(&error);
            (encoder.fail(&error, log.shown_id()), true)
        }
    }
}

/// Counts an answer that has ended, and notes it for the request's log line.
fn note_end(summary: &Summary, log: &RequestLog) {
    metrics::record_answer(summary);
    log.note_answer(summary);
}

fn missing_summary_error() -> Error {
    Error::Internal("an answer ended without its summary".to_owned())
}

fn grace_over_error() -> Error {
    Error::Overloaded("the shutdown's grace is over")
}
