//! Checks when the second model answers, and that a second model that does not exist stops the start.

use docent::app::App;
use docent::config::Config;
use serde_json::json;

use crate::support::app::{production_vars, spawn_with_fakes};
use crate::support::fake_gemini::{FakeGemini, Reply, error, text_event};
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::problem::{assert_answer, assert_problem};
use crate::support::wait::within;

#[tokio::test]
async fn the_second_model_answers_if_the_first_has_not_begun() {
    let busy = || error(429, "RESOURCE_EXHAUSTED", json!([{"retryDelay": "60s"}]));
    let gone = || error(404, "NOT_FOUND", json!([]));
    let settings = [("GENERATIVE_MODEL_FALLBACK", "gemini-other"), ("FIRST_TOKEN_TIMEOUT", "2s")];
    let (app, gemini, _) = spawn_with_fakes(&settings).await;
    for first in [busy(), gone(), Reply::Silence] {
        let before = gemini.requests_to(":streamGenerateContent").len();
        gemini
            .on_generate(first)
            .on_generate(Reply::Chunks(vec![text_without_model("Hi"), finish_without_model()]));
        let answer = within(app.ask_json("How?")).await;
        assert_answer(&answer, "Hi");
        assert_eq!(answer.1["model"], "gemini-other");
        let asked: Vec<String> = gemini.requests_to(":streamGenerateContent")[before..]
            .iter()
            .map(|sent| sent.path.clone())
            .collect();
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked[0].contains("gemini-3.5-flash-lite:") && asked[1].contains("gemini-other:"), "{asked:?}");
        within(gemini.wait_until_closed()).await;
    }
    gemini.on_generate(busy()).on_generate(gone());
    // The first model may answer later.
    assert_problem(&app.ask_json("How?").await, 503, "upstream_busy");
    gemini.on_generate(gone()).on_generate(busy());
    assert_problem(&app.ask_json("How?").await, 503, "upstream_busy");
    // After the first word there is no second model.
    let before = gemini.requests_to(":streamGenerateContent").len();
    gemini.on_generate(Reply::Chunks(vec![text_event("Hi")]));
    assert_problem(&app.ask_json("How?").await, 502, "answer_truncated");
    assert_eq!(gemini.requests_to(":streamGenerateContent").len(), before + 1);
}

/// Makes an event with text that does not name the model.
fn text_without_model(text: &str) -> Vec<u8> {
    crate::support::fake_gemini::event(&json!({"candidates": [{"content": {"parts": [{"text": text}]}}]}))
}

/// Makes the last event of an answer that does not name the model.
fn finish_without_model() -> Vec<u8> {
    crate::support::fake_gemini::event(&json!({"candidates": [{"finishReason": "STOP"}]}))
}

#[tokio::test]
async fn a_second_model_that_does_not_exist_stops_the_start() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let fine = || Reply::Plain(200, "application/json", b"{}".to_vec());
    let message = "models/gemini-other is not found for API version v1beta";
    let missing = json!({"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}).to_string();
    gemini.on_model_lookup(fine()).on_model_lookup(fine()).on_model_lookup(Reply::Plain(
        404,
        "application/json",
        missing.into_bytes(),
    ));
    let vars = production_vars(&gemini, &qdrant, &[("GENERATIVE_MODEL_FALLBACK", "gemini-other")]);
    let config = Config::serve(&vars).unwrap();
    match within(App::build(config)).await {
        Err(error) => assert!(error.to_string().starts_with("GENERATIVE_MODEL_FALLBACK is refused"), "{error}"),
        Ok(_) => panic!("it started"),
    }
}
