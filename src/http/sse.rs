//! The native stream: `sources`, `token`…, then `done` or `error`, as server-sent events.
//!
//! axum's `Sse` always ends a comment with a blank line, on which a widely used client delivers an empty message; so
//! the frames are written here, and a heartbeat is a comment line alone.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::observe::span;
use super::record::Record;
use crate::chat::{AnswerEvent, Source, Summary};
use crate::error::Error;
use crate::rag::AnswerStream;

/// A comment line, without a blank line after it.
const HEARTBEAT_FRAME: Bytes = Bytes::from_static(b": hb\n");

#[derive(Serialize)]
struct Sources<'a> {
    request_id: &'a str,
    sources: Vec<Source>,
}

#[derive(Serialize)]
struct Token {
    text: String,
}

#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    summary: Summary,
    request_id: &'a str,
}

/// A response whose body owns the answer and its permit: when either side is done with it, both go.
pub(super) fn respond(
    mut events: AnswerStream,
    record: Arc<Record>,
    permit: OwnedSemaphorePermit,
    heartbeat: Duration,
    expired: CancellationToken,
) -> Response {
    let frames = async_stream::stream! {
        let _permit = permit;
        let span = span(&record.id);
        loop {
            let (frame, last) = match next(&mut events, heartbeat, &expired).instrument(span.clone()).await {
                Step::Silence => (HEARTBEAT_FRAME, false),
                Step::Event(event) => encode(event, &record),
            };
            yield Ok::<_, Infallible>(frame);
            if last {
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

/// What the stream does next.
enum Step {
    /// The next event; an answer that ends without one has been broken by us.
    Event(Result<AnswerEvent, Error>),
    /// Nothing for a while.
    Silence,
}

async fn next(events: &mut AnswerStream, heartbeat: Duration, expired: &CancellationToken) -> Step {
    tokio::select! {
        biased;
        () = expired.cancelled() => Step::Event(Err(Error::Overloaded("the shutdown's grace is over"))),
        event = AssertUnwindSafe(events.next()).catch_unwind() => {
            let broken = |cause: &str| Err(Error::Internal(cause.to_owned()));
            Step::Event(match event {
                Ok(event) => event.unwrap_or_else(|| broken("an answer ended without its summary")),
                Err(_) => broken("an answer panicked"),
            })
        }
        () = tokio::time::sleep(heartbeat) => Step::Silence,
    }
}

/// The frame of an event, and whether it is the last one.
fn encode(event: Result<AnswerEvent, Error>, record: &Record) -> (Bytes, bool) {
    let request_id = &*record.id;
    match event {
        Ok(AnswerEvent::Sources(sources)) => (frame("sources", &Sources { request_id, sources }), false),
        Ok(AnswerEvent::Text(text)) => (frame("token", &Token { text }), false),
        Ok(AnswerEvent::Done(summary)) => {
            record.answered(&summary);
            (frame("done", &Done { summary, request_id }), true)
        }
        Err(error) => {
            record.failed(&error);
            (frame("error", &error.problem(request_id)), true)
        }
    }
}

/// One event on the wire. JSON escapes line breaks, so its data is one line.
fn frame(event: &str, data: &impl Serialize) -> Bytes {
    let mut frame = format!("event: {event}\ndata: ").into_bytes();
    if serde_json::to_writer(&mut frame, data).is_err() {
        // No type here can fail to serialise; an empty object keeps the frame well-formed.
        frame.extend_from_slice(b"{}");
    }
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_event_whatever_its_text_holds() {
        let token = Token { text: "a\n\nevent: done\r\ndata: x\u{2028}".to_owned() };
        let frame = frame("token", &token);
        let text = std::str::from_utf8(&frame).unwrap();
        assert_eq!(text.matches('\n').count(), 3, "{text:?}");
        assert!(!text.contains('\r'));
        assert!(text.starts_with("event: token\ndata: {\"text\":\"a\\n\\nevent"), "{text}");
    }
}
