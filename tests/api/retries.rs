//! Checks which failures are tried again, how often and when.

use std::time::Duration;

use serde_json::json;

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::{Reply, error, event, finish_event, gate, text_event};
use crate::support::problem::assert_answer;

#[tokio::test]
async fn a_call_that_fails_twice_and_then_works_is_no_failure() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    for _ in 0..2 {
        gemini.on_embed(error(503, "UNAVAILABLE", json!([])));
        gemini.on_generate(error(503, "UNAVAILABLE", json!([])));
    }
    assert_answer(&app.ask_json("How?").await, "Hello [1].");
    assert_eq!(gemini.requests_to(":embedContent").len(), 3);
    assert_eq!(gemini.requests_to(":streamGenerateContent").len(), 3);
}

#[tokio::test]
async fn a_retry_waits_as_long_as_gemini_asks() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    gemini.on_embed(error(429, "RESOURCE_EXHAUSTED", json!([{"retryDelay": "0.9s"}])));
    let began = std::time::Instant::now();
    let (status, _) = app.ask_json("How?").await;
    assert_eq!(status, 200);
    assert!(began.elapsed() >= Duration::from_millis(900), "asked again after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_fault_before_the_first_token_is_retried_once() {
    let object = json!({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}});
    let first = [
        ("STOP without text", Reply::Chunks(vec![finish_event("STOP")])),
        ("a 200 without an event", Reply::Chunks(Vec::new())),
        ("an error as the first event", Reply::Chunks(vec![event(&object)])),
    ];
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let (held_open, reply) = gate();
    held_open.send(finish_event("STOP")).unwrap();
    let first = first.into_iter().chain([("STOP without text on an open connection", reply)]);
    for (name, reply) in first {
        let before = gemini.requests_to(":streamGenerateContent").len();
        gemini.on_generate(reply);
        assert_eq!(app.ask_for_last_event("How?").await.outcome(), "stop", "{name}");
        assert_eq!(gemini.requests_to(":streamGenerateContent").len(), before + 2, "{name}");
    }
    gemini
        .on_generate(Reply::Chunks(vec![finish_event("STOP")]))
        .on_generate(Reply::Chunks(vec![finish_event("STOP")]));
    assert_eq!(app.ask_for_last_event("How?").await.outcome(), "generation_failed");
}

#[tokio::test]
async fn white_space_alone_is_no_answer() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    gemini.on_generate(Reply::Chunks(vec![text_event("\n"), text_event(" "), finish_event("STOP")]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(answer["response"], "Hello [1].", "Gemini was not asked once more");
}
