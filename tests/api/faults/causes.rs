//! Makes the causes of faults.

use std::time::Duration;

use serde_json::{Value, json};

use super::Cause;
use crate::support::fake_gemini::{Reply, event, gate, text_event};
use crate::support::fake_qdrant::Behaviour;
use crate::support::faulty_proxy::Fault;

/// Breaks the connection to the dependency of the stage.
pub(super) const fn connection(fault: Fault) -> Cause {
    Cause::Connection(fault)
}

/// Changes how Qdrant behaves.
pub(super) fn qdrant(change: fn(&mut Behaviour)) -> Cause {
    Cause::Qdrant(change)
}

/// Lets Gemini give these answers, in this order.
pub(super) fn replies(replies: impl IntoIterator<Item = Reply>) -> Cause {
    Cause::Replies(replies.into_iter().collect())
}

/// Lets Gemini give this answer to the first call and to both retries.
pub(super) fn thrice(reply: fn() -> Reply) -> Cause {
    replies([reply(), reply(), reply()])
}

/// Makes an answer of a status, a content type and a body.
pub(super) fn plain(status: u16, kind: &'static str, body: &str) -> Reply {
    Reply::Plain(status, kind, body.as_bytes().to_vec())
}

/// Makes an answer with a 200 and a body of JSON.
pub(super) fn ok(body: &str) -> Reply {
    plain(200, "application/json", body)
}

/// Makes the details of an error that names the time of a retry.
pub(super) fn retry_in(delay: &str) -> Value {
    json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}])
}

/// Makes the details of an error that names a quota per day.
pub(super) fn per_day() -> Value {
    json!([{"@type": "q", "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}])
}

/// Lets Gemini answer with a stream of these chunks.
pub(super) fn stream(chunks: impl IntoIterator<Item = Vec<u8>>) -> Cause {
    replies([Reply::Chunks(chunks.into_iter().collect())])
}

/// Lets Gemini answer with a stream of the text "Hi" and this chunk.
pub(super) fn after_hi(chunk: impl Into<Vec<u8>>) -> Cause {
    stream([text_event("Hi"), chunk.into()])
}

/// Makes an event of a stream that is an error.
pub(super) fn error_event(code: u16, status: &str) -> Vec<u8> {
    event(&error_object(code, status))
}

/// Makes an error as Google writes it.
pub(super) fn error_object(code: u16, status: &str) -> Value {
    json!({"error": {"code": code, "message": "internal words", "status": status}})
}

/// Makes an event with a finish reason and nothing else.
pub(super) fn finish_reason(reason: &str) -> Vec<u8> {
    event(&json!({"candidates": [{"finishReason": reason}]}))
}

/// Lets Gemini answer with a stream that never ends: `first`, then `again` for ever.
pub(super) fn for_ever(first: Vec<u8>, again: Vec<u8>) -> Cause {
    let (chunks, reply) = gate();
    chunks.send(first).unwrap();
    tokio::spawn(async move {
        while chunks.send(again.clone()).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    replies([reply])
}

/// Lets Gemini answer with the text "Hi" and then 16 MiB of `piece`, as fast as they are read.
pub(super) fn flood(piece: &str) -> Cause {
    let piece = piece.repeat(256 * 1024 / piece.len()).into_bytes();
    stream(std::iter::once(text_event("Hi")).chain(std::iter::repeat_n(piece, 64)))
}

/// Makes an event with token counts and no text.
pub(super) fn usage_only() -> Vec<u8> {
    event(&json!({"usageMetadata": {"promptTokenCount": 1}, "modelVersion": "gemini-test-1"}))
}

/// Lets Gemini answer with a stream of these chunks, which stays open.
pub(super) fn silence_after(chunks: Vec<Vec<u8>>) -> Cause {
    let (sender, reply) = gate();
    chunks.into_iter().for_each(|chunk| sender.send(chunk).unwrap());
    tokio::spawn(async move {
        sender.closed().await;
    });
    replies([reply])
}

/// Answers a request with a page.
pub(super) const HTML: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
