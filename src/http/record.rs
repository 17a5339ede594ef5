//! What is known of a request, and its one line in the log.
//!
//! Everything that works for a request holds its [`Record`]; whoever lets go of it last, at the end of the body, on a
//! failure, or because the reader has left, thereby writes the line and counts the request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, Method};
use uuid::Uuid;

use crate::chat::Summary;
use crate::error::Error;
use crate::rag::Progress;
use crate::telemetry::metrics;
use crate::text::{clip, log_safe, millis};

/// Name of the header that carries the id in and out.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken over from a caller.
const MAX_REQUEST_ID: usize = 128;
/// Characters of a method that are logged; HTTP allows any word of any length.
const MAX_METHOD_CHARS: usize = 16;
/// The status under which a request counts whose reader left before its head; nginx logs the same number.
const READER_LEFT: u16 = 499;
/// Routes that tell how the server is: asked all the time, also while it drains.
pub(super) const PROBES: &[&str] = &["/health", "/ready", "/metrics"];

/// A request under way.
pub(super) struct Record {
    /// Its id: its caller's, if that is fit for a log, else one of ours.
    pub(super) id: Arc<str>,
    /// How far its answer has come.
    pub(super) progress: Arc<Progress>,
    method: String,
    route: String,
    traceparent: Option<String>,
    end: Mutex<End>,
}

/// How a request ends, as far as that is known.
#[derive(Default)]
struct End {
    status: Option<u16>,
    failure: Option<(&'static str, u16, String)>,
    summary: Option<Summary>,
    /// Whether it is a question, which ends with a summary, a failure or its reader's leaving.
    is_question: bool,
}

impl Record {
    /// A request that arrives now.
    pub(super) fn new(method: &Method, route: String, headers: &HeaderMap) -> Arc<Self> {
        Arc::new(Self {
            id: request_id(headers),
            progress: Arc::new(Progress::new(Instant::now())),
            method: clip(method.as_str(), MAX_METHOD_CHARS).to_owned(),
            route,
            traceparent: traceparent(headers),
            end: Mutex::default(),
        })
    }

    /// It is a question that was understood and admitted.
    pub(super) fn is_question(&self) {
        self.end().is_question = true;
    }

    /// Its head is made.
    pub(super) fn head(&self, status: u16) {
        self.end().status = Some(status);
    }

    /// Its answer has come to its end.
    pub(super) fn answered(&self, summary: &Summary) {
        metrics::answer(summary);
        self.end().summary = Some(summary.clone());
    }

    /// It has failed, before its head or after it.
    pub(super) fn failed(&self, error: &Error) {
        let public = error.public();
        self.end().failure = Some((public.code, public.status, log_safe(&error.to_string())));
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a request's line; what is `None` is left out of it.
macro_rules! line {
    ($level:ident, $record:expr, $end:expr, $outcome:literal, $($field:tt)*) => {{
        let record: &Record = $record;
        let times = record.progress.times();
        tracing::$level!(
            request_id = %record.id, method = record.method, route = record.route, status = $end.status,
            $($field)*
            embed_ms = times.embed.map(millis), retrieve_ms = times.retrieve.map(millis),
            first_token_ms = times.first_token.map(millis),
            total_ms = millis(record.progress.started().elapsed()), traceparent = record.traceparent, $outcome
        )
    }};
}

impl Drop for Record {
    fn drop(&mut self) {
        let end = std::mem::take(&mut *self.end());
        let code = end.failure.as_ref().map_or("none", |(code, ..)| code);
        metrics::request(&self.route, end.status.unwrap_or(READER_LEFT), code);
        match (&end.failure, &end.summary) {
            (Some((code, 500.., cause)), _) if *code == "overloaded" => {
                line!(warn, self, end, "refused", code, cause,);
            }
            (Some((code, 500.., cause)), _) => line!(error, self, end, "failed", code, cause,),
            (Some((code, _, cause)), _) => line!(info, self, end, "refused", code, cause,),
            (None, Some(summary)) => {
                let (answer, finish_reason) = (summary.status.name(), summary.finish_reason.name());
                let (cited, invalid_citations) = (summary.cited.len(), summary.invalid_citations);
                line!(info, self, end, "answered", answer, finish_reason, cited, invalid_citations,);
            }
            (None, None) if end.is_question => {
                let stage = self.progress.stage();
                metrics::cancellation(stage);
                line!(info, self, end, "the reader left", stage,);
            }
            (None, None) if end.status.is_none() => line!(info, self, end, "the reader left",),
            // Probes ask all the time, and every page of a site asks for the widget.
            (None, None) => line!(debug, self, end, "served",),
        }
    }
}

/// The caller's id if it is 1 to 128 letters, digits and `-_.`; anything else could forge a log line.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let sane = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match given.filter(sane) {
        Some(id) => id.into(),
        None => Uuid::new_v4().to_string().into(),
    }
}

/// The caller's trace, if it is one (W3C Trace Context: version, trace id, parent id and flags, in lower-case hexadecimal).
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let given = headers.get("traceparent")?.to_str().ok()?;
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let parts: Vec<&str> = given.split('-').collect();
    let is_one = parts.iter().map(|part| part.len()).eq([2, 32, 16, 2])
        && parts.iter().all(|part| part.bytes().all(hexadecimal));
    is_one.then(|| given.to_owned())
}
