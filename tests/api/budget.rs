//! Checks the daily budget: the costs that count, and that a spent budget answers with the sources alone.

use serde_json::{Value, json};

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::{error, gate, text_event};
use crate::support::problem::{assert_answer_status, assert_problem};
use crate::support::stream::{event_names, joined_text};
use crate::support::wait::within;

#[tokio::test]
async fn a_spent_budget_answers_with_the_sources_alone() {
    let sentence = "No more answers can be written today";
    let (app, gemini, _) = spawn_with_fakes(&[("DAILY_REQUESTS", "2")]).await;
    for _ in 0..2 {
        assert_answer_status(&app.ask_json("How?").await, "answered");
    }
    let answer = app.ask_json("How?").await;
    assert_answer_status(&answer, "search_only");
    let (_, answer) = answer;
    assert_eq!(answer["finish_reason"], "stop");
    assert!(answer["response"].as_str().unwrap().starts_with(sentence));
    assert_eq!(answer["sources"].as_array().unwrap().len(), 3);
    assert_eq!(answer["model"], Value::Null);
    assert_eq!(answer["usage"], Value::Null);
    assert_eq!(answer["cited"], json!([]));
    let events = app.ask_stream("How?").await.all_events().await;
    assert_eq!(event_names(&events), ["sources", "token", "done"]);
    assert!(joined_text(&events).starts_with(sentence));
    assert_eq!(gemini.requests_to(":streamGenerateContent").len(), 2, "the model is not asked any more");
}

#[tokio::test]
async fn a_question_that_no_model_worked_on_costs_nothing_of_the_budget() {
    let (app, gemini, _) = spawn_with_fakes(&[("DAILY_REQUESTS", "1")]).await;
    for _ in 0..3 {
        gemini.on_generate(error(403, "PERMISSION_DENIED", json!([])));
        assert_problem(&app.ask_json("How?").await, 502, "generation_failed");
    }
    assert_answer_status(&app.ask_json("How?").await, "answered");
    assert_answer_status(&app.ask_json("How?").await, "search_only");
}

#[tokio::test]
async fn tokens_count_also_for_a_reader_who_leaves_before_the_end() {
    let (app, gemini, _) = spawn_with_fakes(&[("DAILY_TOKENS", "2000")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let mut stream = app.ask_stream("How?").await;
    stream.head().await;
    stream.event().await;
    chunks.send(text_event(&"word ".repeat(2_000))).unwrap();
    stream.event().await;
    assert_eq!(app.ask_json("How?").await.1["status"], "search_only", "what is being written counts already");
    drop(stream);
    within(gemini.wait_until_closed()).await;
    assert_answer_status(&app.ask_json("How?").await, "search_only");
}
