//! Checks that a silent stream is kept open with comment lines.

use std::time::{Duration, Instant};

use docent::config::Config;

use crate::support::app::{production_vars, spawn};
use crate::support::fake_gemini::{FakeGemini, text_event};
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::wait::within;

#[tokio::test]
async fn silence_is_filled_with_a_comment_line_without_a_blank_line() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let mut config = Config::serve(&production_vars(&gemini, &qdrant, &[])).unwrap();
    assert_eq!(config.http_limits.heartbeat, Duration::from_secs(15));
    config.http_limits.heartbeat = Duration::from_millis(300);
    let app = spawn(config).await;
    let began = Instant::now();
    let (chunks, mut stream) = app.open_gated_stream(&gemini).await;
    assert_eq!(within(stream.chunk()).await.as_deref(), Some(": hb\n"));
    assert!(began.elapsed() >= Duration::from_millis(300), "a heartbeat after {:?}", began.elapsed());
    chunks.send(text_event("Hi")).unwrap();
    assert_eq!(stream.event().await.data["text"], "Hi");
}
