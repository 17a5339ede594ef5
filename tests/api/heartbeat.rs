//! Checks that a silent stream is kept open with comment lines.

use std::time::Duration;

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::text_event;

#[tokio::test]
async fn silence_is_filled_with_a_comment_line_without_a_blank_line() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let (chunks, mut stream) = app.open_gated_stream(&gemini).await;
    let heartbeat = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await;
    assert_eq!(heartbeat.expect("a heartbeat after 15 s").as_deref(), Some(": hb\n"));
    chunks.send(text_event("Hi")).unwrap();
    assert_eq!(stream.event().await.data["text"], "Hi");
}
