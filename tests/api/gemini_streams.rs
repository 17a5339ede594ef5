//! Checks how the events of Gemini become an answer: thoughts, early finish reasons, bounds, any split on the
//! wire.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::{Reply, event, finish_event, gate, text_event};
use crate::support::problem::assert_answer;
use crate::support::stream::joined_text;
use crate::support::wait::within;

#[tokio::test]
async fn a_byte_order_mark_costs_nothing() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let mut first = "\u{feff}".as_bytes().to_vec();
    first.extend(text_event("Hi"));
    gemini.on_generate(Reply::Chunks(vec![first, finish_event("STOP")]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(answer["response"], "Hi");
    assert_eq!(answer["finish_reason"], "stop");
    assert_eq!(gemini.requests_to(":streamGenerateContent").len(), 1);
}

#[tokio::test]
async fn a_finish_reason_that_comes_too_early_loses_no_words() {
    // After a finish reason without text, the wait would be a quarter of this; after text the wait is far
    // longer.
    let (app, gemini, _) = spawn_with_fakes(&[("FIRST_TOKEN_TIMEOUT", "2s")]).await;
    let (chunks, mut stream) = app.open_gated_stream(&gemini).await;
    let early = |text: &str| {
        event(&json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}))
    };
    for piece in ["One ", "two ", "three "] {
        chunks.send(early(piece)).unwrap();
        assert_eq!(stream.event().await.data["text"], piece);
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    chunks.send(early("[1].")).unwrap();
    drop(chunks);
    let events = stream.remaining_events().await;
    assert_eq!(joined_text(&events), "[1].");
    assert_eq!(events.last().unwrap().outcome(), "stop");
    assert_eq!(gemini.requests_to(":streamGenerateContent").len(), 1);
}

#[tokio::test]
async fn thoughts_are_never_relayed_and_a_large_event_is_read() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let thought = json!({"candidates": [{"content": {"parts": [{"text": "secret plan", "thought": true}]}}]});
    let large = json!({"candidates": [{"content": {"parts": [
        {"text": "Hi", "thoughtSignature": "A".repeat(2 * 1024 * 1024)}, {"text": " there [1]"}]}}]});
    gemini.on_generate(Reply::Chunks(vec![event(&thought), event(&large), finish_event("STOP")]));
    assert_answer(&app.ask_json("How?").await, "Hi there [1]");
}

#[tokio::test]
async fn an_answer_beyond_its_bound_is_cut_there_and_the_call_is_closed() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    for _ in 0..20 {
        chunks.send(text_event(&"word ".repeat(20_000))).unwrap();
    }
    let (status, answer) = within(app.ask_json("How?")).await;
    assert_eq!(status, 200);
    assert_eq!(answer["finish_reason"], "max_tokens");
    assert_eq!(answer["response"].as_str().unwrap().len(), 1024 * 1024);
    within(gemini.wait_until_closed()).await;
}

/// Cuts real frames into network writes at any byte.
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
        prop_assert_eq!(joined_text(&events), "Grüße, 世界 [1]🦀 `a[9]` ");
        Ok(())
    });
    outcome.unwrap();
}
