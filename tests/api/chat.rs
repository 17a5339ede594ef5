//! Checks `POST /chat` in both of its forms: the order of events, the one JSON object, the marks of a refusal.

use serde_json::{Value, json};

use crate::support::app::{spawn_app, spawn_with_fakes};
use crate::support::fake_gemini::{FakeGemini, Reply, error, finish_event, gate, text_event, whole_answer};
use crate::support::fake_qdrant::{Behaviour, FakeQdrant};
use crate::support::problem::{assert_answer, assert_answer_status, assert_problem};
use crate::support::stream::{event_names, joined_text};

#[tokio::test]
async fn sources_come_first_then_tokens_then_done() {
    let (app, ..) = spawn_with_fakes(&[]).await;
    let mut stream = app.ask_stream("How?").await;
    let head = stream.head().await;
    for line in [
        "http/1.1 200 ok",
        "content-type: text/event-stream",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "transfer-encoding: chunked",
        "x-request-id: ",
    ] {
        assert!(head.contains(line), "no {line:?} in {head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
    let events = stream.remaining_events().await;
    assert_eq!(event_names(&events), ["sources", "token", "token", "done"]);
    let source = &events[0].data["sources"][0];
    assert_eq!(source["number"], 1);
    assert_eq!(source["title"], "Page 1");
    assert_eq!(source["section"], "Part");
    assert_eq!(source["url"], "https://docs.example/p1#part");
    assert_eq!(source["snippet"], "Passage 1 about things.");
    let done = &events[3].data;
    assert_eq!(done["status"], "answered");
    assert_eq!(done["cited"], json!([1]));
    assert_eq!(done["finish_reason"], "stop");
    assert_eq!(done["model"], "gemini-test-1");
    assert_eq!(done["usage"], json!({"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13}));
    assert_eq!(done["request_id"], events[0].data["request_id"]);
    assert!(
        done["timings"]["first_token_ms"].as_f64().unwrap() <= done["timings"]["total_ms"].as_f64().unwrap()
    );
    assert!(done.get("response").is_none() && done.get("sources").is_none());
}

#[tokio::test]
async fn json_is_the_same_answer_in_one_object() {
    let (app, ..) = spawn_with_fakes(&[]).await;
    let (status, answer) = app.ask_json("How?").await;
    let events = app.ask_stream("How?").await.all_events().await;
    assert_eq!(status, 200);
    assert_eq!(answer["response"], "Hello [1].");
    assert_eq!(answer["response"], joined_text(&events));
    assert_eq!(answer["sources"], events[0].data["sources"]);
    let mut done = events.last().unwrap().data.clone();
    for key in ["status", "cited", "finish_reason", "model", "usage"] {
        assert_eq!(answer[key], done[key].take(), "{key}");
    }
    let mut keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected =
        ["response", "sources", "status", "cited", "finish_reason", "model", "usage", "timings", "request_id"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn sources_are_on_the_wire_before_the_model_says_anything_and_tokens_before_it_ends() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let mut stream = app.ask_stream("How?").await;
    stream.head().await;
    assert_eq!(stream.event().await.name, "sources");
    chunks.send(text_event("First ")).unwrap();
    assert_eq!(stream.event().await.data["text"], "First ");
    chunks.send(text_event("second [")).unwrap();
    assert_eq!(stream.event().await.data["text"], "second ");
    chunks.send(text_event("9] third")).unwrap();
    assert_eq!(stream.event().await.data["text"], " third");
    chunks.send(finish_event("STOP")).unwrap();
    drop(chunks);
    let done = stream.event().await;
    assert_eq!(done.name, "done");
    assert_eq!(done.data["status"], "uncited");
    assert!(stream.next_event().await.is_none());
}

#[tokio::test]
async fn a_refusal_is_marked_and_its_mark_is_taken_out() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    gemini.on_generate(whole_answer(&["[NOT_", "IN_DOCS]", " The docs cover things [1]."]));
    let answer = app.ask_json("How?").await;
    assert_answer(&answer, "The docs cover things [1].");
    assert_answer_status(&answer, "not_in_docs");
    gemini.on_generate(whole_answer(&["\n[NOT_IN_DOCS]"]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(answer["status"], "not_in_docs");
    assert!(answer["response"].as_str().unwrap().starts_with("The documentation does not"));
}

#[tokio::test]
async fn a_question_without_passages_does_not_ask_the_model() {
    let gemini = FakeGemini::start().await;
    let qdrant = FakeQdrant::start_with(Behaviour { points: Vec::new(), ..Behaviour::default() }).await;
    let app = spawn_app(&gemini, &qdrant, &[]).await;
    let answer = app.ask_json("How?").await;
    assert_answer_status(&answer, "not_in_docs");
    let (_, answer) = answer;
    assert_eq!(answer["sources"], json!([]));
    assert_eq!(answer["finish_reason"], "stop");
    for key in ["model", "usage"] {
        assert_eq!(answer[key], Value::Null, "{key}");
    }
    assert_eq!(answer["timings"]["first_token_ms"], Value::Null);
    assert!(gemini.requests_to(":streamGenerateContent").is_empty());
    let events = app.ask_stream("How?").await.all_events().await;
    assert_eq!(event_names(&events), ["sources", "token", "done"]);
}

#[tokio::test]
async fn a_failed_generation_has_a_status_in_json_and_is_an_event_in_a_stream() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    gemini.on_generate(Reply::Chunks(vec![text_event("Half an ans")]));
    assert_problem(&app.ask_json("How?").await, 502, "answer_truncated");
    gemini.on_generate(error(429, "RESOURCE_EXHAUSTED", json!([{"retryDelay": "60s"}])));
    let last = app.ask_for_last_event("How?").await;
    assert_eq!(last.name, "error");
    assert_eq!(last.data["status"], 503);
    assert_eq!(last.data["retry_after"], 60);
    assert_eq!(last.data["retryable"], true);
    assert!(last.data["request_id"].is_string());
}
