//! Checks the deadlines of each stage and of the whole answer.

use std::time::Duration;

use serde_json::json;

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::{Reply, event, finish_event, gate, text_event};
use crate::support::problem::assert_problem;
use crate::support::wait::within;

#[tokio::test]
async fn silence_ends_with_a_timeout_at_each_deadline() {
    let settings = [("EMBED_TIMEOUT", "200ms"), ("FIRST_TOKEN_TIMEOUT", "200ms"), ("GAP_TIMEOUT", "200ms")];
    let (app, gemini, _) = spawn_with_fakes(&settings).await;
    gemini.on_embed(Reply::Silence);
    assert_problem(&app.ask_json("How?").await, 504, "upstream_timeout");
    gemini.on_generate(Reply::Silence);
    assert_eq!(app.ask_for_last_event("How?").await.outcome(), "upstream_timeout");
    // Usage without text is no progress.
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    chunks.send(text_event("Hi")).unwrap();
    let trickle = tokio::spawn(async move {
        while chunks.send(event(&json!({"usageMetadata": {"promptTokenCount": 1}}))).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(within(app.ask_for_last_event("How?")).await.outcome(), "upstream_timeout");
    within(trickle).await.unwrap();
    within(gemini.wait_until_closed()).await;
}

#[tokio::test]
async fn a_finish_reason_and_then_silence_is_done() {
    let (app, gemini, _) = spawn_with_fakes(&[("GAP_TIMEOUT", "400ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    chunks.send(text_event("Hi")).unwrap();
    chunks.send(finish_event("STOP")).unwrap();
    assert_eq!(within(app.ask_for_last_event("How?")).await.outcome(), "stop");
    drop(chunks);
}

#[tokio::test]
async fn the_whole_answer_has_a_deadline_whatever_trickles_in() {
    let (app, gemini, _) = spawn_with_fakes(&[("ANSWER_TIMEOUT", "500ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let trickle = tokio::spawn(async move {
        while chunks.send(text_event("x")).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(within(app.ask_for_last_event("How?")).await.outcome(), "upstream_timeout");
    within(trickle).await.unwrap();
}
