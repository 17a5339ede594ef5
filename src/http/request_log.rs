//! Collects the facts about a request, and writes them as one line of the log.
//!
//! Everything that works for a request holds its [`RequestLog`]. The last holder drops it: at the end of the
//! body, on a failure, or because the reader has left. The drop writes the line and counts the request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, Method};

use crate::chat::{RequestId, Summary};
use crate::error::Error;
use crate::rag::StageTimes;
use crate::telemetry::metrics;
use crate::text::{clip, log_safe, millis};

/// Name of the header with a request's id, in requests and in responses.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken over from a caller, in bytes; a longer one is ignored.
const MAX_CALLER_ID: usize = 128;
/// Characters of a method that are logged; HTTP allows any word of any length.
const MAX_METHOD_CHARS: usize = 16;
/// Status of a request whose reader left before the response's head; nginx logs the same number.
const READER_LEFT: u16 = 499;

/// Collects the facts about one request, and logs them when dropped.
pub(crate) struct RequestLog {
    /// Docent's own id of the request.
    id: RequestId,
    /// The id that is sent and logged: the caller's, if that is fit for a log, else `id`. Never used as a key,
    /// because a caller can choose it.
    shown_id: Arc<str>,
    /// The times of the answer's stages.
    pub(super) times: Arc<StageTimes>,
    method: String,
    route: String,
    traceparent: Option<String>,
    /// A std lock: held for a field's assignment, never across an await. A panic cannot leave it half written.
    end: Mutex<End>,
}

/// Holds the facts about a request's end.
#[derive(Default)]
struct End {
    status: Option<u16>,
    failure: Option<Failure>,
    summary: Option<Summary>,
    /// True for a question, which ends with a summary, with a failure, or because its reader left.
    is_question: bool,
}

/// Describes a failure for the log.
struct Failure {
    code: &'static str,
    status: u16,
    cause: String,
}

impl RequestLog {
    /// Begins the log of a request that arrives now.
    pub(super) fn new(method: &Method, route: String, headers: &HeaderMap) -> Arc<Self> {
        let id = RequestId::random();
        Arc::new(Self {
            id,
            shown_id: read_caller_id(headers).map_or_else(|| id.to_string().into(), Arc::from),
            times: Arc::new(StageTimes::new(Instant::now())),
            method: clip(method.as_str(), MAX_METHOD_CHARS).to_owned(),
            route,
            traceparent: read_traceparent(headers),
            end: Mutex::default(),
        })
    }

    /// Returns the id that is sent and logged.
    pub(super) fn shown_id(&self) -> &str {
        &self.shown_id
    }

    /// Opens a span that adds the request's id to every line that is logged while the request is handled. The
    /// span has the highest level: a filter that dropped the span would leave warnings without an id.
    pub(super) fn span(&self) -> tracing::Span {
        tracing::error_span!("request", request_id = &*self.shown_id)
    }

    /// Notes that the request is a question, understood and admitted.
    pub(super) fn note_question(&self) {
        self.lock().is_question = true;
    }

    /// Notes the status of the head.
    pub(super) fn note_head(&self, status: u16) {
        self.lock().status = Some(status);
    }

    /// Notes the end of the answer.
    pub(super) fn note_answer(&self, summary: &Summary) {
        self.lock().summary = Some(summary.clone());
    }

    /// Notes a failure, before the head or after it.
    pub(super) fn note_failure(&self, error: &Error) {
        let public = error.public();
        let cause = log_safe(&error.to_string());
        self.lock().failure = Some(Failure { code: public.code, status: public.status, cause });
    }

    /// Returns Docent's own id, where the caller's is shown in its place.
    fn hidden_id(&self) -> Option<String> {
        let id = self.id.to_string();
        (*self.shown_id != *id).then_some(id)
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a request's line; a field that is `None` is left out.
macro_rules! line {
    ($level:ident, $log:expr, $end:expr, $outcome:literal, $($field:tt)*) => {{
        let log: &RequestLog = $log;
        let durations = log.times.durations();
        tracing::$level!(
            request_id = %log.shown_id, own_id = log.hidden_id().map(tracing::field::display),
            method = log.method, route = log.route, status = $end.status, $($field)*
            embed_ms = durations.embed.map(millis), retrieve_ms = durations.retrieve.map(millis),
            first_token_ms = durations.first_token.map(millis),
            total_ms = millis(log.times.started().elapsed()), traceparent = log.traceparent, $outcome
        )
    }};
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        let end = std::mem::take(&mut *self.lock());
        let code = end.failure.as_ref().map_or("none", |failure| failure.code);
        metrics::count_request(&self.route, end.status.unwrap_or(READER_LEFT), code);
        match (&end.failure, &end.summary) {
            (Some(Failure { code, status, cause }), _) => match status {
                500.. if *code == "overloaded" => line!(warn, self, end, "refused", code, cause,),
                500.. => line!(error, self, end, "failed", code, cause,),
                _ => line!(info, self, end, "refused", code, cause,),
            },
            (None, Some(summary)) => {
                let (answer, finish_reason) = (summary.status.as_str(), summary.finish_reason.as_str());
                let (cited, invalid_citations) = (summary.cited.len(), summary.invalid_citations);
                line!(info, self, end, "answered", answer, finish_reason, cited, invalid_citations,);
            }
            (None, None) if end.is_question => {
                let stage = self.times.current_stage();
                metrics::count_cancellation(stage);
                let stage = stage.as_str();
                line!(info, self, end, "the reader left", stage,);
            }
            (None, None) if end.status.is_none() => line!(info, self, end, "the reader left",),
            // At debug level, because probes ask all the time and every page of a site loads the widget.
            (None, None) => line!(debug, self, end, "served",),
        }
    }
}

/// Returns the caller's id if it is 1 to 128 letters, digits and `-_.`; anything else could forge a log line.
fn read_caller_id(headers: &HeaderMap) -> Option<&str> {
    let is_sane = |id: &&str| {
        (1..=MAX_CALLER_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    headers.get(REQUEST_ID)?.to_str().ok().filter(is_sane)
}

/// Returns the caller's trace, if the header holds one (W3C Trace Context: version, trace id, parent id and
/// flags, in lower-case hexadecimal).
fn read_traceparent(headers: &HeaderMap) -> Option<String> {
    let given = headers.get("traceparent")?.to_str().ok()?;
    let is_hexadecimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let parts: Vec<&str> = given.split('-').collect();
    let is_trace = parts.iter().map(|part| part.len()).eq([2, 32, 16, 2])
        && parts.iter().all(|part| part.bytes().all(is_hexadecimal));
    is_trace.then(|| given.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn log(name: &'static str, value: &str) -> Arc<RequestLog> {
        let headers = HeaderMap::from_iter([(
            axum::http::HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )]);
        RequestLog::new(&Method::GET, "/chat".to_owned(), &headers)
    }

    #[test]
    fn a_callers_id_is_shown_and_docents_own_stays_beside_it() {
        let given = log(REQUEST_ID, "from-nginx_1.2");
        assert_eq!(given.shown_id(), "from-nginx_1.2");
        assert_eq!(given.hidden_id(), Some(given.id.to_string()));
        for id in ["", "a b", "a/b", "ü", &"x".repeat(MAX_CALLER_ID + 1)] {
            let own = log(REQUEST_ID, id);
            assert_eq!((own.shown_id(), own.hidden_id()), (own.id.to_string().as_str(), None), "{id:?}");
        }
    }

    #[test]
    fn two_requests_with_the_same_callers_id_have_two_ids() {
        assert_ne!(log(REQUEST_ID, "same").id, log(REQUEST_ID, "same").id);
    }

    #[test]
    fn only_a_well_formed_trace_is_logged() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(log("traceparent", trace).traceparent.as_deref(), Some(trace));
        for wrong in ["", "00-1-2-01", &trace.to_uppercase(), &format!("{trace}-x")] {
            assert_eq!(log("traceparent", wrong).traceparent, None, "{wrong:?}");
        }
    }
}
