//! Checks that a reader who leaves or stops reading ends the work for its answer, at every stage.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::app::{TestApp, post_head, spawn_with_fakes};
use crate::support::fake_gemini::{Reply, gate, text_event};
use crate::support::wait::{eventually, within};

/// Deadlines so long that only a reader who leaves can end an answer.
const NO_DEADLINES: &[(&str, &str)] = &[
    ("EMBED_TIMEOUT", "1h"),
    ("RETRIEVE_TIMEOUT", "1h"),
    ("FIRST_TOKEN_TIMEOUT", "1h"),
    ("GAP_TIMEOUT", "1h"),
    ("ANSWER_TIMEOUT", "1h"),
    ("WRITE_TIMEOUT", "1h"),
    ("READY_INTERVAL", "1h"),
];

/// Sends a question for a form of answer, without reading the answer.
async fn send_question(app: &TestApp, accept: &str) -> TcpStream {
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    let body = json!({"query": "How?"}).to_string();
    let request = post_head(body.len(), &format!("Accept: {accept}")) + &body;
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_reader_who_leaves_ends_the_work_at_every_stage_in_both_forms() {
    let (app, gemini, qdrant) = spawn_with_fakes(NO_DEADLINES).await;
    for accept in ["application/json", "text/event-stream"] {
        gemini.on_embed(Reply::Silence);
        let reader = send_question(&app, accept).await;
        eventually(async || gemini.open_streams() == 1).await;
        drop(reader);
        within(gemini.wait_until_closed()).await;

        qdrant.change(|behaviour| behaviour.frozen = true);
        let reader = send_question(&app, accept).await;
        eventually(async || qdrant.open_searches() == 1).await;
        drop(reader);
        eventually(async || qdrant.open_searches() == 0).await;
        qdrant.change(|behaviour| behaviour.frozen = false);

        gemini.on_generate(Reply::Silence);
        let reader = send_question(&app, accept).await;
        eventually(async || gemini.open_streams() == 1).await;
        drop(reader);
        within(gemini.wait_until_closed()).await;

        let (chunks, reply) = gate();
        gemini.on_generate(reply);
        let reader = send_question(&app, accept).await;
        eventually(async || gemini.open_streams() == 1).await;
        chunks.send(text_event("Hi")).unwrap();
        drop(reader);
        within(gemini.wait_until_closed()).await;
        eventually(async || app.app.permits.taken() == 0).await;
    }
}

#[tokio::test]
async fn a_reader_who_reads_nothing_is_dropped_together_with_its_answer() {
    let (app, gemini, _) = spawn_with_fakes(&[("WRITE_TIMEOUT", "300ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let stream = app.open_narrow_stream(&json!({"query": "How?"})).await;
    eventually(async || gemini.open_streams() == 1).await;
    // Each of these characters takes six bytes on the wire, so that the answer exceeds the buffers of the
    // sockets.
    for _ in 0..40 {
        chunks.send(text_event(&"\u{1}".repeat(20_000))).unwrap();
    }
    // The gate stays open and the stream is never read: only the server can end this.
    within(gemini.wait_until_closed()).await;
    assert_eq!(app.app.drain.requests.len(), 0);
    drop((stream, chunks));
}

#[tokio::test]
async fn a_stray_byte_after_the_body_does_not_hide_that_a_reader_leaves() {
    let (app, gemini, _) = spawn_with_fakes(NO_DEADLINES).await;
    // While nothing is written: during the embedding.
    gemini.on_embed(Reply::Silence);
    let mut stream = app.ask_stream("How?").await;
    stream.socket.write_all(b"\n").await.unwrap();
    eventually(async || gemini.open_streams() == 1).await;
    drop(stream);
    within(gemini.wait_until_closed()).await;
    // While tokens arrive.
    let (chunks, mut stream) = app.open_gated_stream(&gemini).await;
    stream.socket.write_all(b"GET").await.unwrap();
    chunks.send(text_event("Hi")).unwrap();
    stream.event().await;
    drop(stream);
    within(gemini.wait_until_closed()).await;
    eventually(async || app.app.permits.taken() == 0).await;
}
