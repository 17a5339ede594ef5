//! Checks how the events of Gemini become an answer: thoughts, early finish reasons, bounds, any split on the wire.

use std::time::Duration;

use serde_json::json;

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::{Reply, event, finish_event, gate, text_event};
use crate::support::stream::text;
use crate::support::wait::within;
use proptest::prelude::*;

#[tokio::test]
async fn a_byte_order_mark_costs_nothing() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let mut first = "\u{feff}".as_bytes().to_vec();
    first.extend(text_event("Hi"));
    gemini.on_generate(Reply::Chunks(vec![first, finish_event("STOP")]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!((&answer["response"], &answer["finish_reason"]), (&json!("Hi"), &json!("stop")));
    assert_eq!(gemini.sent(":streamGenerateContent").len(), 1);
}

#[tokio::test]
async fn a_finish_reason_that_comes_too_early_loses_no_words() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let early = |text: &str| {
        event(&json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}))
    };
    chunks.send(early("One ")).unwrap();
    let slow = tokio::spawn(async move {
        for piece in ["two ", "three [1]."] {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            chunks.send(early(piece)).unwrap();
        }
    });
    let (status, answer) = within(app.ask_json("How?")).await;
    assert_eq!((status, &answer["response"]), (200, &json!("One two three [1].")));
    assert_eq!(gemini.sent(":streamGenerateContent").len(), 1);
    slow.await.unwrap();
}

#[tokio::test]
async fn thoughts_are_never_relayed_and_a_large_event_is_read() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let thought = json!({"candidates": [{"content": {"parts": [{"text": "secret plan", "thought": true}]}}]});
    let large = json!({"candidates": [{"content": {"parts": [
        {"text": "Hi", "thoughtSignature": "A".repeat(2 * 1024 * 1024)}, {"text": " there [1]"}]}}]});
    gemini.on_generate(Reply::Chunks(vec![event(&thought), event(&large), finish_event("STOP")]));
    let (status, answer) = app.ask_json("How?").await;
    assert_eq!((status, &answer["response"]), (200, &json!("Hi there [1]")));
}

#[tokio::test]
async fn an_answer_beyond_its_bound_is_cut_there_and_the_model_is_let_go() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    for _ in 0..20 {
        chunks.send(text_event(&"word ".repeat(20_000))).unwrap();
    }
    let (status, answer) = within(app.ask_json("How?")).await;
    assert_eq!((status, &answer["finish_reason"]), (200, &json!("max_tokens")));
    assert_eq!(answer["response"].as_str().unwrap().len(), 1024 * 1024);
    within(gemini.wait_until_closed()).await;
}

/// Real frames, cut into network writes at any byte.
#[test]
fn any_split_on_the_wire_gives_the_same_answer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (app, gemini, _) = runtime.block_on(spawn_with_fakes(&[]));
    let wire = [text_event("Grüße, 世界 [1]"), text_event("🦀 `a[9]` [9]"), finish_event("STOP")].concat();
    let cuts = prop::collection::vec(0..wire.len(), 0..16);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let outcome = runner.run(&cuts, |mut cuts| {
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        gemini
            .on_generate(Reply::Chunks(cuts.windows(2).map(|pair| wire[pair[0]..pair[1]].to_vec()).collect()));
        let events = runtime.block_on(async { app.ask_stream("How?").await.all_events().await });
        prop_assert_eq!(text(&events), "Grüße, 世界 [1]🦀 `a[9]` ");
        Ok(())
    });
    outcome.unwrap();
}
