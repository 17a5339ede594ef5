//! Checks that a slow reader slows the model down instead of filling memory.

use serde_json::json;

use crate::support::app::{production_vars, spawn};
use crate::support::fake_gemini::{FakeGemini, Reply, finish_event};
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::faulty_proxy::FaultyProxy;
use crate::support::stream::joined_text;
use crate::support::wait::{eventually, within};

#[tokio::test]
async fn a_slow_reader_holds_little_and_pushes_back_upstream() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 512;
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let proxy = FaultyProxy::start(&gemini.url());
    let url = proxy.url();
    let config =
        production_vars(&gemini, &qdrant, &[("GOOGLE_GEMINI_BASE_URL", &url), ("WRITE_TIMEOUT", "1h")]);
    let app = spawn(docent::config::Config::serve(&config).unwrap()).await;
    // An answer is bounded, and thoughts are not sent on. So each event has a little text, which the reader
    // must take, and a long thought, which makes the stream of the model long.
    let padded = json!({"candidates": [{"content": {"parts": [
        {"text": "\u{1}".repeat(1_500)}, {"text": "x".repeat(CHUNK), "thought": true}]}}]});
    let mut chunks = vec![crate::support::fake_gemini::event(&padded); CHUNKS];
    chunks.push(finish_event("STOP"));
    gemini.on_generate(Reply::Chunks(chunks));
    let stream = app.open_narrow_stream(&json!({"query": "How?"})).await;
    eventually(async || gemini.open_streams() == 1).await;
    // All tasks share the one thread of this test, so each of them has had many turns after so many requests.
    let settled = async {
        let mut before = u64::MAX;
        while proxy.passed_bytes() != before {
            before = proxy.passed_bytes();
            for _ in 0..200 {
                app.get("/health").await;
            }
        }
        before
    };
    let taken = within(settled).await;
    assert!(taken > CHUNK as u64, "the answer has not begun");
    assert!(taken < (CHUNK * CHUNKS / 2) as u64, "{taken} bytes were taken for a reader who takes nothing");
    // The reader gets everything once it reads on.
    let events = within(stream.all_events()).await;
    assert_eq!(joined_text(&events).len(), CHUNKS * 1_500);
    assert_eq!(events.last().unwrap().name, "done");
}
