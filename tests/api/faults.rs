//! Checks the fault matrix: every fault of every stage's dependency ends in one clear way for the client.
//!
//! Each row runs twice, as JSON and as a stream, on a server of its own. Three things hold for each: there is one terminal
//! event; the upstream connection closes; the client's bytes hold no secret and no internal text.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::app::{post_head, production_vars, spawn};
use crate::support::fake_gemini::{
    DIMENSIONS, FakeGemini, Reply, embedding, error, event, finish_event, gate, text_event,
};
use crate::support::fake_qdrant::{Behaviour, FakeQdrant};
use crate::support::faulty_proxy::{Fault, FaultyProxy};
use crate::support::wait::{PATIENCE, within};

/// What must never reach a client: keys, upstream's words and addresses, and the names of what Docent is made of.
const SECRETS: &[&str] = &[
    "AIza",
    "qdrant-key",
    "internal words",
    "127.0.0.1",
    "tonic",
    "hyper",
    "reqwest",
    "os error",
    "src/",
    "panicked",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Embed,
    Retrieve,
    Generate,
}

/// How a fault is brought about.
enum Cause {
    /// By the wire.
    Wire(Fault),
    /// By what Gemini answers, in this order.
    Replies(Vec<Reply>),
    /// By how Qdrant behaves.
    Qdrant(fn(&mut Behaviour)),
}

/// A row: the stage, the fault, and what it ends in: the status of the JSON form, and its code or finish reason, which is
/// that of the last event too.
struct Row {
    stage: Stage,
    name: &'static str,
    cause: fn() -> Cause,
    status: u16,
    word: &'static str,
}

const fn row(stage: Stage, name: &'static str, cause: fn() -> Cause, status: u16, word: &'static str) -> Row {
    Row { stage, name, cause, status, word }
}

fn replies(replies: impl IntoIterator<Item = Reply>) -> Cause {
    Cause::Replies(replies.into_iter().collect())
}

fn thrice(reply: fn() -> Reply) -> Cause {
    replies([reply(), reply(), reply()])
}

fn plain(status: u16, kind: &'static str, body: &str) -> Reply {
    Reply::Plain(status, kind, body.as_bytes().to_vec())
}

fn ok(body: &str) -> Reply {
    plain(200, "application/json", body)
}

fn retry_in(delay: &str) -> Value {
    json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}])
}

fn per_day() -> Value {
    json!([{"@type": "q", "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}])
}

fn stream(chunks: impl IntoIterator<Item = Vec<u8>>) -> Cause {
    replies([Reply::Chunks(chunks.into_iter().collect())])
}

/// "Hi", and then this.
fn after_hi(chunk: impl Into<Vec<u8>>) -> Cause {
    stream([text_event("Hi"), chunk.into()])
}

/// An error object as one event, in the stream.
fn error_event(code: u16, status: &str) -> Vec<u8> {
    event(&error_object(code, status))
}

fn error_object(code: u16, status: &str) -> Value {
    json!({"error": {"code": code, "message": "internal words", "status": status}})
}

fn finished(reason: &str) -> Vec<u8> {
    event(&json!({"candidates": [{"finishReason": reason}]}))
}

/// A stream that never ends: `first`, then `again` for ever.
fn for_ever(first: Vec<u8>, again: Vec<u8>) -> Cause {
    let (chunks, reply) = gate();
    chunks.send(first).unwrap();
    tokio::spawn(async move {
        while chunks.send(again.clone()).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    replies([reply])
}

/// A stream that goes on as fast as it is taken.
fn flood(piece: &str) -> Cause {
    let piece = piece.repeat(256 * 1024 / piece.len()).into_bytes();
    stream(std::iter::once(text_event("Hi")).chain(std::iter::repeat_n(piece, 64)))
}

fn usage_only() -> Vec<u8> {
    event(&json!({"usageMetadata": {"promptTokenCount": 1}, "modelVersion": "gemini-test-1"}))
}

fn silence_after(chunks: Vec<Vec<u8>>) -> Cause {
    let (sender, reply) = gate();
    chunks.into_iter().for_each(|chunk| sender.send(chunk).unwrap());
    tokio::spawn(async move {
        sender.closed().await;
    });
    replies([reply])
}

const HTML: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";

use Stage::{Embed as E, Generate as G, Retrieve as R};

#[rustfmt::skip]
const MATRIX: &[Row] = &[
    row(E, "refused", || Cause::Wire(Fault::Refuse), 502, "embedding_failed"),
    row(E, "closed", || Cause::Wire(Fault::Close), 502, "embedding_failed"),
    row(E, "reset", || Cause::Wire(Fault::Reset), 502, "embedding_failed"),
    row(E, "stalled", || Cause::Wire(Fault::Stall), 504, "upstream_timeout"),
    row(E, "slow headers", || Cause::Wire(Fault::SlowHead), 504, "upstream_timeout"),
    row(E, "no HTTP", || Cause::Wire(Fault::Bytes(b"220 smtp.example ESMTP\r\n")), 502, "embedding_failed"),
    row(E, "half a body", || Cause::Wire(Fault::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"emb")), 502, "embedding_failed"),
    row(E, "400 bad key", || replies([error(400, "INVALID_ARGUMENT", json!([{"reason": "API_KEY_INVALID"}]))]), 502, "embedding_failed"),
    row(E, "401", || replies([error(401, "UNAUTHENTICATED", json!([]))]), 502, "embedding_failed"),
    row(E, "403", || replies([error(403, "PERMISSION_DENIED", json!([]))]), 502, "embedding_failed"),
    row(E, "404 model", || replies([error(404, "NOT_FOUND", json!([]))]), 502, "embedding_failed"),
    row(E, "a redirect", || replies([Reply::WithHeader(307, ("location", "http://127.0.0.1:9/"), vec![])]), 502, "embedding_failed"),
    row(E, "429 with RetryInfo", || replies([error(429, "RESOURCE_EXHAUSTED", retry_in("0.2s"))]), 200, "stop"),
    row(E, "429 with a long RetryInfo", || replies([error(429, "RESOURCE_EXHAUSTED", retry_in("53.01s"))]), 503, "upstream_busy"),
    row(E, "429 with Retry-After", || replies([Reply::WithHeader(429, ("retry-after", "30"), vec![])]), 503, "upstream_busy"),
    row(E, "429 per day", || replies([error(429, "RESOURCE_EXHAUSTED", per_day())]), 503, "upstream_busy"),
    row(E, "500 for good", || thrice(|| error(500, "INTERNAL", json!([]))), 502, "embedding_failed"),
    row(E, "503 twice, then fine", || replies([error(503, "UNAVAILABLE", json!([])), error(503, "UNAVAILABLE", json!([]))]), 200, "stop"),
    row(E, "503 for good", || thrice(|| error(503, "UNAVAILABLE", json!([]))), 503, "upstream_busy"),
    row(E, "504 twice", || replies([error(504, "DEADLINE_EXCEEDED", json!([])), error(504, "DEADLINE_EXCEEDED", json!([]))]), 504, "upstream_timeout"),
    row(E, "504 once", || replies([error(504, "DEADLINE_EXCEEDED", json!([]))]), 200, "stop"),
    row(E, "HTML with 200", || replies([plain(200, "text/html", "<html>")]), 502, "embedding_failed"),
    row(E, "204", || replies([plain(204, "application/json", "")]), 502, "embedding_failed"),
    row(E, "broken JSON", || replies([ok("{\"embedding\": {\"values\": [0.1,, 0.2]}}")]), 502, "embedding_failed"),
    row(E, "truncated JSON", || replies([ok("{\"embedding\": {\"val")]), 502, "embedding_failed"),
    row(E, "an empty body", || replies([ok("")]), 502, "embedding_failed"),
    row(E, "an empty object", || replies([ok("{}")]), 502, "embedding_failed"),
    row(E, "the wrong dimension", || replies([embedding(&json!([0.1, 0.2]))]), 502, "embedding_failed"),
    row(E, "NaN", || replies([ok("{\"embedding\": {\"values\": [NaN]}}")]), 502, "embedding_failed"),
    row(E, "null for a value", || replies([embedding(&json!(vec![Value::Null; DIMENSIONS]))]), 502, "embedding_failed"),
    row(E, "values beyond a float", || replies([ok(&format!("{{\"embedding\": {{\"values\": [{}]}}}}", vec!["1e39"; DIMENSIONS].join(",")))]), 502, "embedding_failed"),
    row(E, "zeros", || replies([embedding(&json!(vec![0.0; DIMENSIONS]))]), 502, "embedding_failed"),
    row(E, "a body beyond its bound", || replies([ok(&" ".repeat(5 * 1024 * 1024))]), 502, "embedding_failed"),

    row(R, "refused", || Cause::Wire(Fault::Refuse), 502, "retrieval_failed"),
    row(R, "closed", || Cause::Wire(Fault::Close), 502, "retrieval_failed"),
    row(R, "reset", || Cause::Wire(Fault::Reset), 502, "retrieval_failed"),
    row(R, "stalled", || Cause::Wire(Fault::Stall), 504, "upstream_timeout"),
    row(R, "slow headers", || Cause::Wire(Fault::SlowHead), 502, "retrieval_failed"),
    row(R, "HTML", || Cause::Wire(Fault::Bytes(HTML)), 502, "retrieval_failed"),
    row(R, "frozen", || Cause::Qdrant(|q| q.frozen = true), 504, "upstream_timeout"),
    row(R, "a wrong key", || Cause::Qdrant(|q| q.query_error = Some(Code::Unauthenticated)), 502, "retrieval_failed"),
    row(R, "forbidden", || Cause::Qdrant(|q| q.query_error = Some(Code::PermissionDenied)), 502, "retrieval_failed"),
    row(R, "no collection", || Cause::Qdrant(|q| q.query_error = Some(Code::NotFound)), 502, "retrieval_failed"),
    row(R, "the wrong dimension", || Cause::Qdrant(|q| q.query_error = Some(Code::InvalidArgument)), 502, "retrieval_failed"),
    row(R, "busy", || Cause::Qdrant(|q| q.query_error = Some(Code::ResourceExhausted)), 503, "upstream_busy"),
    row(R, "internal", || Cause::Qdrant(|q| q.query_error = Some(Code::Internal)), 502, "retrieval_failed"),
    row(R, "unavailable", || Cause::Qdrant(|q| q.query_error = Some(Code::Unavailable)), 502, "retrieval_failed"),
    row(R, "its own deadline", || Cause::Qdrant(|q| q.query_error = Some(Code::DeadlineExceeded)), 504, "upstream_timeout"),
    row(R, "no passages", || Cause::Qdrant(|q| q.points.clear()), 200, "stop"),
    row(R, "passages without text", || Cause::Qdrant(|q| q.points = vec![json!({"title": "T"}), json!({"text": 7})]), 200, "stop"),

    row(G, "refused", || Cause::Wire(Fault::Refuse), 502, "generation_failed"),
    row(G, "closed", || Cause::Wire(Fault::Close), 502, "generation_failed"),
    row(G, "reset", || Cause::Wire(Fault::Reset), 502, "generation_failed"),
    row(G, "stalled", || Cause::Wire(Fault::Stall), 504, "upstream_timeout"),
    row(G, "slow headers", || Cause::Wire(Fault::SlowHead), 504, "upstream_timeout"),
    row(G, "400 bad key", || replies([error(400, "INVALID_ARGUMENT", json!([]))]), 502, "generation_failed"),
    row(G, "403", || replies([error(403, "PERMISSION_DENIED", json!([]))]), 502, "generation_failed"),
    row(G, "404 model as an event stream", || replies([plain(404, "text/event-stream", &error_object(404, "NOT_FOUND").to_string())]), 502, "generation_failed"),
    row(G, "a redirect", || replies([Reply::WithHeader(307, ("location", "http://127.0.0.1:9/"), vec![])]), 502, "generation_failed"),
    row(G, "429 with RetryInfo", || replies([error(429, "RESOURCE_EXHAUSTED", retry_in("0.2s"))]), 200, "stop"),
    row(G, "429 with a long RetryInfo", || replies([error(429, "RESOURCE_EXHAUSTED", retry_in("60s"))]), 503, "upstream_busy"),
    row(G, "429 per day", || replies([error(429, "RESOURCE_EXHAUSTED", per_day())]), 503, "upstream_busy"),
    row(G, "500 for good", || thrice(|| error(500, "INTERNAL", json!([]))), 502, "generation_failed"),
    row(G, "503 twice, then fine", || replies([error(503, "UNAVAILABLE", json!([])), error(503, "UNAVAILABLE", json!([]))]), 200, "stop"),
    row(G, "503 for good", || thrice(|| error(503, "UNAVAILABLE", json!([]))), 503, "upstream_busy"),
    row(G, "504 twice", || replies([error(504, "DEADLINE_EXCEEDED", json!([])), error(504, "DEADLINE_EXCEEDED", json!([]))]), 504, "upstream_timeout"),
    row(G, "HTML with 200", || replies([plain(200, "text/html", "<html>")]), 502, "generation_failed"),
    row(G, "JSON with 200", || replies([ok("[]")]), 502, "generation_failed"),
    row(G, "a 200 without an event, twice", || replies([Reply::Chunks(vec![]), Reply::Chunks(vec![])]), 502, "answer_truncated"),
    row(G, "a 200 without an event, once", || stream([]), 200, "stop"),
    row(G, "an error as the first event", || stream([error_event(503, "UNAVAILABLE")]), 200, "stop"),
    row(G, "no finish reason", || stream([text_event("Hi")]), 502, "answer_truncated"),
    row(G, "half an event", || after_hi("data: {\"candidates\""), 502, "answer_truncated"),
    row(G, "half a character", || after_hi(b"data: \xe6"), 502, "answer_truncated"),
    row(G, "a cut", || replies([Reply::Cut(vec![text_event("Hi")])]), 502, "answer_truncated"),
    row(G, "a finish reason, then a cut", || replies([Reply::Cut(vec![text_event("Hi"), finish_event("STOP")])]), 200, "stop"),
    row(G, "a finish reason, then silence", || silence_after(vec![text_event("Hi"), finish_event("STOP")]), 200, "stop"),
    row(G, "text, then silence", || silence_after(vec![text_event("Hi")]), 504, "upstream_timeout"),
    row(G, "silence after the head", || silence_after(vec![]), 504, "upstream_timeout"),
    row(G, "usage for ever", || for_ever(usage_only(), usage_only()), 504, "upstream_timeout"),
    row(G, "text, then usage for ever", || for_ever(text_event("Hi"), usage_only()), 504, "upstream_timeout"),
    row(G, "comments for ever", || for_ever(text_event("Hi"), b": ping\n\n".to_vec()), 504, "upstream_timeout"),
    row(G, "error 503 after text", || after_hi(error_event(503, "UNAVAILABLE")), 503, "upstream_busy"),
    row(G, "error 429 after text", || after_hi(error_event(429, "RESOURCE_EXHAUSTED")), 503, "upstream_busy"),
    row(G, "error 500 after text", || after_hi(error_event(500, "INTERNAL")), 502, "generation_failed"),
    row(G, "error 400 after text", || after_hi(error_event(400, "INVALID_ARGUMENT")), 502, "generation_failed"),
    row(G, "error in an array", || after_hi(event(&json!([error_object(503, "UNAVAILABLE")]))), 503, "upstream_busy"),
    row(G, "error without data:", || after_hi(format!("{:#}\n\n", error_object(499, "CANCELLED"))), 502, "answer_truncated"),
    row(G, "two errors back to back", || after_hi([error_event(500, "INTERNAL"), error_event(503, "UNAVAILABLE")].concat()), 502, "generation_failed"),
    row(G, "not UTF-8", || after_hi(b"data: \xff\xff\n\n"), 502, "generation_failed"),
    row(G, "not JSON", || after_hi("data: <html>\r\n\r\n"), 502, "generation_failed"),
    row(G, "a bare string", || after_hi("data: \"x\"\r\n\r\n"), 502, "generation_failed"),
    row(G, "an array", || after_hi("data: [1]\r\n\r\n"), 502, "generation_failed"),
    row(G, "text of another type", || after_hi(event(&json!({"candidates": [{"content": {"parts": [{"text": 7}]}}]}))), 502, "generation_failed"),
    row(G, "[DONE]", || stream([text_event("Hi"), finish_event("STOP"), b"data: [DONE]\n\n".to_vec()]), 200, "stop"),
    row(G, "STOP in every event", || stream([text_event("Hi"), finished("STOP"), text_event(" there"), finished("STOP")]), 200, "stop"),
    row(G, "LF, and no space", || stream([b"data:{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]},\"finishReason\":\"STOP\"}]}\n\n".to_vec()]), 200, "stop"),
    row(G, "STOP without text, once", || stream([finish_event("STOP")]), 200, "stop"),
    row(G, "STOP without text, twice", || replies([Reply::Chunks(vec![finish_event("STOP")]), Reply::Chunks(vec![finish_event("STOP")])]), 502, "generation_failed"),
    row(G, "MAX_TOKENS without text", || stream([finished("MAX_TOKENS")]), 200, "max_tokens"),
    row(G, "SAFETY without content", || after_hi(finished("SAFETY")), 200, "safety"),
    row(G, "RECITATION", || after_hi(finished("RECITATION")), 200, "recitation"),
    row(G, "PROHIBITED_CONTENT", || stream([finished("PROHIBITED_CONTENT")]), 200, "blocked"),
    row(G, "an unknown reason", || after_hi(finished("NEW_REASON")), 200, "other"),
    row(G, "a blocked prompt", || stream([event(&json!({"promptFeedback": {"blockReason": "SAFETY"}}))]), 200, "blocked"),
    row(G, "an event beyond its bound", || flood("data: x\n"), 502, "generation_failed"),
    row(G, "a line beyond its bound", || flood("x"), 502, "generation_failed"),
    row(G, "comments beyond their bound", || flood(": x\n"), 502, "generation_failed"),
    row(G, "a long line", || stream([event(&json!({"candidates": [{"content": {"parts": [{"text": "x".repeat(3 << 20)}]}}]}))]), 200, "max_tokens"),
    row(G, "white space without end", || stream(std::iter::repeat_n(text_event(&" ".repeat(64 * 1024)), 20)), 502, "generation_failed"),
    row(G, "200,000 tiny events", || stream([text_event("x").repeat(200_000), finish_event("STOP")]), 200, "stop"),
];

/// The bytes of a response.
async fn exchange(address: &str, accept: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = json!({"query": "How?"}).to_string();
    let request = post_head(body.len(), &format!("Connection: close\r\nAccept: {accept}")) + &body;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The status, and the code or finish reason, of a whole response in either form.
fn outcome(response: &str) -> (u16, String) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let terminal = if head.contains("text/event-stream") {
        let frames: Vec<&str> = body.lines().filter(|line| line.starts_with("event: ")).collect();
        let ends = |frame: &&&str| ["event: done", "event: error"].contains(*frame);
        assert_eq!(frames[0], "event: sources", "{frames:?}");
        assert_eq!(frames.iter().filter(ends).count(), 1, "{frames:?}");
        assert!(ends(&frames.last().unwrap()), "{frames:?}");
        body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap()
    } else {
        body.lines().max_by_key(|line| line.len()).unwrap()
    };
    let terminal: Value = serde_json::from_str(terminal).unwrap();
    let word = terminal.get("finish_reason").or(terminal.get("code")).unwrap();
    (status, word.as_str().unwrap().to_owned())
}

/// One row in one form; how long its response took.
async fn run(row: &Row, accept: &str) -> Duration {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let (to_gemini, to_qdrant) = (FaultyProxy::start(&gemini.url()), FaultyProxy::start(&qdrant.url()));
    let (gemini_url, qdrant_url) = (to_gemini.url(), to_qdrant.url());
    let mut settings = vec![
        ("GOOGLE_GEMINI_BASE_URL", gemini_url.as_str()),
        ("QDRANT_URL", qdrant_url.as_str()),
        ("QDRANT_API_KEY", "qdrant-key"),
        ("READY_INTERVAL", "1h"),
        // For 200,000 events on a busy machine; a missed deadline has a short one of its own.
        ("ANSWER_TIMEOUT", "10m"),
    ];
    if row.word == "upstream_timeout" || row.name.contains("silence") {
        let deadlines: &[&str] = match row.stage {
            E => &["EMBED_TIMEOUT"],
            R => &["RETRIEVE_TIMEOUT"],
            G => &["FIRST_TOKEN_TIMEOUT", "GAP_TIMEOUT"],
        };
        settings.extend(deadlines.iter().map(|name| (*name, "700ms")));
    }
    let app =
        spawn(docent::config::Config::serve(&production_vars(&gemini, &qdrant, &settings)).unwrap()).await;
    let cause = (row.cause)();
    let broken =
        matches!(cause, Cause::Wire(_)).then_some(if row.stage == R { &to_qdrant } else { &to_gemini });
    let mut scripted = None;
    match (row.stage, cause) {
        (R, Cause::Wire(fault)) => to_qdrant.break_for("", fault).await,
        (E, Cause::Wire(Fault::Refuse)) => to_gemini.break_for("", Fault::Refuse).await,
        (E, Cause::Wire(fault)) => to_gemini.break_for(":embedContent", fault).await,
        (G, Cause::Wire(Fault::Refuse)) => to_gemini.break_for(":embedContent", Fault::Refuse).await,
        (G, Cause::Wire(fault)) => to_gemini.break_for(":streamGenerateContent", fault).await,
        (stage, Cause::Replies(replies)) => {
            scripted = Some(replies.len());
            for reply in replies {
                if stage == E {
                    gemini.on_embed(reply)
                } else {
                    gemini.on_generate(reply)
                };
            }
        }
        (_, Cause::Qdrant(change)) => qdrant.change(change),
    }
    let began = Instant::now();
    let exchanged = tokio::time::timeout(10 * PATIENCE, exchange(&app.address, accept)).await;
    let response =
        exchanged.unwrap_or_else(|_| panic!("{:?}, {}, {accept}: no end in sight", row.stage, row.name));
    let took = began.elapsed();
    let (status, word) = outcome(&response);
    let expected = if accept == "text/event-stream" && row.stage == G { 200 } else { row.status };
    assert_eq!((status, word.as_str()), (expected, row.word), "{:?}, {}, {accept}", row.stage, row.name);
    for secret in SECRETS {
        assert!(
            !response.contains(secret),
            "{:?}, {}, {accept}: {secret:?} in {response}",
            row.stage,
            row.name
        );
    }
    within(gemini.wait_until_closed()).await;
    if let Some(scripted) = scripted {
        let asked = gemini.sent(if row.stage == E { ":embedContent" } else { ":streamGenerateContent" }).len();
        let passed = row.status == 200 && asked == scripted + 1;
        assert!(asked == scripted || passed, "{:?}, {}, {accept}: asked {asked} times", row.stage, row.name);
    }
    // A connection on which an answer came whole may be kept for the next one; a broken one may not.
    let open = || app.app.permits.taken() + broken.map_or(0, FaultyProxy::open_connections);
    while open() > 0 {
        assert!(
            began.elapsed() < took + PATIENCE,
            "{:?}, {}, {accept}: something is still open",
            row.stage,
            row.name
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_stage_ends_in_one_clear_way() {
    let forms = ["application/json", "text/event-stream"];
    let cells = MATRIX.iter().flat_map(|row| forms.map(|form| (row, form)));
    let runs = futures::stream::iter(cells).map(async |(row, form)| (run(row, form).await, row, form));
    let mut times: Vec<_> = runs.buffer_unordered(8).collect().await;
    times.sort_by_key(|(took, ..)| std::cmp::Reverse(*took));
    for (took, row, form) in &times[..5] {
        println!("{took:>10.0?}  {:?}, {}, {form}", row.stage, row.name);
    }
    println!("{} faults in two forms", MATRIX.len());
}
