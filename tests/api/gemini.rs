//! Gemini's misbehaviours, one by one, and what a client gets for each.

use std::time::Duration;

use docent::app::{App, StartError};
use docent::config::Config;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fake_gemini::{DIMENSIONS, FakeGemini, Reply, embedding, error, event, finish, gate, text as said};
use crate::fake_qdrant::FakeQdrant;
use crate::helpers::{Event, TestApp, production, spawn_app, text, within};

async fn app(settings: &[(&str, &str)]) -> (TestApp, FakeGemini) {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    (spawn_app(&gemini, &qdrant, settings).await, gemini)
}

/// The last event of a stream, which must be its only terminal one.
async fn ending(app: &TestApp) -> Event {
    let mut events = app.ask_stream("How?").await.events().await;
    assert_eq!(events[0].name, "sources");
    let terminal = |event: &Event| event.name == "done" || event.name == "error";
    assert_eq!(events.iter().filter(|event| terminal(event)).count(), 1, "{events:?}");
    events.pop().unwrap()
}

/// The end of a stream, in one word.
fn outcome(event: &Event) -> String {
    let key = if event.name == "done" { "finish_reason" } else { "code" };
    event.data[key].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_key_is_sent_in_its_header_and_nowhere_else() {
    let (app, gemini) = app(&[]).await;
    app.ask_json("How?").await;
    let sent = gemini.all_sent();
    assert!(sent.iter().any(|sent| sent.method == "GET"), "the start looks the models up");
    for sent in sent {
        assert_eq!(sent.headers["x-goog-api-key"], "AIza-test-key");
        assert!(!sent.path.contains("AIza") && !sent.body.to_string().contains("AIza"));
        assert!(!sent.headers.contains_key("authorization"));
    }
    let embed = &gemini.sent(":embedContent")[0];
    assert!(embed.path.ends_with("/v1beta/models/gemini-embedding-001:embedContent"));
    assert_eq!(embed.body["taskType"], "RETRIEVAL_QUERY");
    assert_eq!(embed.body["outputDimensionality"], DIMENSIONS);
}

#[tokio::test]
async fn an_embedding_that_fails_has_a_status_in_both_forms() {
    let per_day = json!([{"@type": "q", "violations": [{"quotaId": "RequestsPerDayPerProject"}]}]);
    let retry = |delay: &str| json!([{"@type": "r", "retryDelay": delay}]);
    let html = || Reply::Plain(200, "text/html", b"<html>".to_vec());
    let json = |body: &str| Reply::Plain(200, "application/json", body.as_bytes().to_vec());
    let thrice = |reply: fn() -> Reply| vec![reply(), reply(), reply()];
    let cases = vec![
        (vec![error(400, "INVALID_ARGUMENT", json!([]))], 502, "embedding_failed", false, None),
        (vec![error(401, "UNAUTHENTICATED", json!([]))], 502, "embedding_failed", false, None),
        (vec![error(403, "PERMISSION_DENIED", json!([]))], 502, "embedding_failed", false, None),
        (vec![error(404, "NOT_FOUND", json!([]))], 502, "embedding_failed", false, None),
        (
            vec![Reply::WithHeader(307, ("location", "http://127.0.0.1:9/"), vec![])],
            502,
            "embedding_failed",
            false,
            None,
        ),
        (thrice(|| error(500, "INTERNAL", json!([]))), 502, "embedding_failed", true, None),
        (thrice(|| error(503, "UNAVAILABLE", json!([]))), 503, "upstream_busy", true, None),
        (vec![error(429, "RESOURCE_EXHAUSTED", retry("53.01s"))], 503, "upstream_busy", true, Some("54")),
        (
            vec![Reply::WithHeader(429, ("retry-after", "30"), b"slow down".to_vec())],
            503,
            "upstream_busy",
            true,
            Some("30"),
        ),
        (vec![error(429, "RESOURCE_EXHAUSTED", per_day)], 503, "upstream_busy", false, None),
        (
            vec![error(504, "DEADLINE_EXCEEDED", json!([])), error(504, "DEADLINE_EXCEEDED", json!([]))],
            504,
            "upstream_timeout",
            true,
            None,
        ),
        (vec![html()], 502, "embedding_failed", true, None),
        (vec![Reply::Plain(204, "application/json", Vec::new())], 502, "embedding_failed", true, None),
        (vec![json("{\"embedding\": {\"val")], 502, "embedding_failed", true, None),
        (vec![json("")], 502, "embedding_failed", true, None),
        (vec![embedding(&json!([0.1, 0.2]))], 502, "embedding_failed", true, None),
        (vec![embedding(&json!(vec![0.0; DIMENSIONS]))], 502, "embedding_failed", true, None),
        (vec![embedding(&json!(vec![Value::Null; DIMENSIONS]))], 502, "embedding_failed", true, None),
    ];
    let (app, gemini) = app(&[]).await;
    for (index, (replies, status, code, retryable, wait)) in cases.into_iter().enumerate() {
        for reply in replies {
            gemini.on_embed(reply);
        }
        let response = app.ask(&json!({"query": "How?"})).await;
        assert_eq!(response.status(), status, "case {index}, {code}");
        let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header.as_deref(), wait, "case {index}");
        let body = response.text().await.unwrap();
        assert!(!body.contains("internal words") && !body.contains("AIza"), "{body}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&problem["code"], &problem["retryable"]),
            (&json!(code), &json!(retryable)),
            "case {index}"
        );
        assert_eq!(
            problem["retry_after"].as_u64().map(|wait| wait.to_string()).as_deref(),
            wait,
            "case {index}"
        );
    }
    gemini.on_embed(error(403, "PERMISSION_DENIED", json!([])));
    let mut stream = app.ask_stream("How?").await;
    let head = stream.head().await;
    assert!(head.starts_with("http/1.1 502") && head.contains("application/problem+json"), "{head}");
}

#[tokio::test]
async fn what_fails_twice_and_then_works_is_no_failure() {
    let (app, gemini) = app(&[]).await;
    for _ in 0..2 {
        gemini.on_embed(error(503, "UNAVAILABLE", json!([])));
        gemini.on_generate(error(503, "UNAVAILABLE", json!([])));
    }
    let (status, answer) = app.ask_json("How?").await;
    assert_eq!((status, &answer["response"]), (200, &json!("Hello [1].")));
    assert_eq!((gemini.sent(":embedContent").len(), gemini.sent(":streamGenerateContent").len()), (3, 3));
}

#[tokio::test]
async fn a_wait_the_service_asks_for_is_kept() {
    let (app, gemini) = app(&[]).await;
    gemini.on_embed(error(429, "RESOURCE_EXHAUSTED", json!([{"retryDelay": "0.9s"}])));
    let began = std::time::Instant::now();
    let (status, _) = app.ask_json("How?").await;
    assert_eq!(status, 200);
    assert!(began.elapsed() >= Duration::from_millis(900), "asked again after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_byte_order_mark_costs_nothing() {
    let (app, gemini) = app(&[]).await;
    let mut first = "\u{feff}".as_bytes().to_vec();
    first.extend(said("Hi"));
    gemini.on_generate(Reply::Chunks(vec![first, finish("STOP")]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!((&answer["response"], &answer["finish_reason"]), (&json!("Hi"), &json!("stop")));
    assert_eq!(gemini.sent(":streamGenerateContent").len(), 1);
}

#[tokio::test]
async fn what_may_pass_before_the_first_token_is_asked_once_more() {
    let object = json!({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}});
    let first = [
        ("STOP without text", Reply::Chunks(vec![finish("STOP")])),
        ("a 200 without an event", Reply::Chunks(Vec::new())),
        ("an error as the first event", Reply::Chunks(vec![event(&object)])),
    ];
    let (app, gemini) = app(&[]).await;
    let (held_open, reply) = gate();
    held_open.send(finish("STOP")).unwrap();
    let first = first.into_iter().chain([("STOP without text on an open connection", reply)]);
    for (name, reply) in first {
        let before = gemini.sent(":streamGenerateContent").len();
        gemini.on_generate(reply);
        assert_eq!(outcome(&ending(&app).await), "stop", "{name}");
        assert_eq!(gemini.sent(":streamGenerateContent").len(), before + 2, "{name}");
    }
    gemini.on_generate(Reply::Chunks(vec![finish("STOP")])).on_generate(Reply::Chunks(vec![finish("STOP")]));
    assert_eq!(outcome(&ending(&app).await), "generation_failed");
}

#[tokio::test]
async fn a_failed_generation_has_a_status_in_json_and_is_an_event_in_a_stream() {
    let (app, gemini) = app(&[]).await;
    gemini.on_generate(Reply::Chunks(vec![said("Half an ans")]));
    let (status, problem) = app.ask_json("How?").await;
    assert_eq!((status, &problem["code"], &problem["status"]), (502, &json!("answer_truncated"), &json!(502)));
    gemini.on_generate(error(429, "RESOURCE_EXHAUSTED", json!([{"retryDelay": "60s"}])));
    let last = ending(&app).await;
    assert_eq!(last.name, "error");
    assert_eq!((&last.data["status"], &last.data["retry_after"]), (&json!(503), &json!(60)));
    assert_eq!(last.data["retryable"], true);
    assert!(last.data["request_id"].is_string());
}

#[tokio::test]
async fn silence_is_given_up_on_at_each_deadline() {
    let settings = [("EMBED_TIMEOUT", "200ms"), ("FIRST_TOKEN_TIMEOUT", "200ms"), ("GAP_TIMEOUT", "200ms")];
    let (app, gemini) = app(&settings).await;
    gemini.on_embed(Reply::Silence);
    let (status, problem) = app.ask_json("How?").await;
    assert_eq!((status, &problem["code"]), (504, &json!("upstream_timeout")));
    gemini.on_generate(Reply::Silence);
    assert_eq!(outcome(&ending(&app).await), "upstream_timeout");
    // Usage without text is no progress.
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    chunks.send(said("Hi")).unwrap();
    let trickle = tokio::spawn(async move {
        while chunks.send(event(&json!({"usageMetadata": {"promptTokenCount": 1}}))).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(outcome(&within(ending(&app)).await), "upstream_timeout");
    within(trickle).await.unwrap();
    within(gemini.all_closed()).await;
}

#[tokio::test]
async fn a_finish_reason_and_then_silence_is_done() {
    let (app, gemini) = app(&[("GAP_TIMEOUT", "400ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    chunks.send(said("Hi")).unwrap();
    chunks.send(finish("STOP")).unwrap();
    assert_eq!(outcome(&within(ending(&app)).await), "stop");
    drop(chunks);
}

#[tokio::test]
async fn a_finish_reason_that_comes_too_early_loses_no_words() {
    let (app, gemini) = app(&[]).await;
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
async fn white_space_alone_is_no_answer() {
    let (app, gemini) = app(&[]).await;
    gemini.on_generate(Reply::Chunks(vec![said("\n"), said(" "), finish("STOP")]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(answer["response"], "Hello [1].", "it was not asked once more");
}

#[tokio::test]
async fn the_whole_answer_has_a_deadline_whatever_trickles_in() {
    let (app, gemini) = app(&[("ANSWER_TIMEOUT", "500ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let trickle = tokio::spawn(async move {
        while chunks.send(said("x")).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(outcome(&within(ending(&app)).await), "upstream_timeout");
    within(trickle).await.unwrap();
}

#[tokio::test]
async fn thoughts_are_never_relayed_and_a_large_event_is_read() {
    let (app, gemini) = app(&[]).await;
    let thought = json!({"candidates": [{"content": {"parts": [{"text": "secret plan", "thought": true}]}}]});
    let large = json!({"candidates": [{"content": {"parts": [
        {"text": "Hi", "thoughtSignature": "A".repeat(2 * 1024 * 1024)}, {"text": " there [1]"}]}}]});
    gemini.on_generate(Reply::Chunks(vec![event(&thought), event(&large), finish("STOP")]));
    let (status, answer) = app.ask_json("How?").await;
    assert_eq!((status, &answer["response"]), (200, &json!("Hi there [1]")));
}

#[tokio::test]
async fn an_answer_beyond_its_bound_is_cut_there_and_the_model_is_let_go() {
    let (app, gemini) = app(&[]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    for _ in 0..20 {
        chunks.send(said(&"word ".repeat(20_000))).unwrap();
    }
    let (status, answer) = within(app.ask_json("How?")).await;
    assert_eq!((status, &answer["finish_reason"]), (200, &json!("max_tokens")));
    assert_eq!(answer["response"].as_str().unwrap().len(), 1024 * 1024);
    within(gemini.all_closed()).await;
}

#[tokio::test]
async fn a_refused_key_or_model_stops_the_start_by_the_name_of_its_setting() {
    let look =
        |status: u16, body: Value| Reply::Plain(status, "application/json", body.to_string().into_bytes());
    let no_key = json!({"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}});
    let no_model = |model: &str| {
        let message = format!("Model is not found: models/{model} for api version v1beta");
        look(404, json!({"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}))
    };
    for (replies, setting) in [
        (vec![look(400, no_key)], "GEMINI_API_KEY"),
        (vec![no_model("gemini-embedding-001")], "EMBEDDING_MODEL"),
        (vec![look(200, json!({})), no_model("gemini-3.5-flash-lite")], "GENERATIVE_MODEL"),
    ] {
        let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
        for reply in replies {
            gemini.on_look(reply);
        }
        let config = Config::serve(&production(&gemini, &qdrant, &[])).unwrap();
        match within(App::build(config)).await {
            Err(StartError::Settings(sentence)) => assert!(sentence.starts_with(setting), "{sentence}"),
            other => panic!("{setting}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_gemini_that_is_busy_or_offers_no_models_route_does_not_stop_the_start() {
    let json = |status: u16, body: &str| Reply::Plain(status, "application/json", body.as_bytes().to_vec());
    for reply in [
        error(503, "UNAVAILABLE", json!([])),
        Reply::Plain(404, "text/plain", b"not here".to_vec()),
        json(404, r#"{"error": "not found"}"#),
        error(404, "NOT_FOUND", json!([])),
        json(404, r#"{"error": {"message": "Invalid URL", "type": "invalid_request_error"}}"#),
        json(401, r#"{"error": {"message": "no such route"}}"#),
    ] {
        let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
        gemini.on_look(reply);
        let app = spawn_app(&gemini, &qdrant, &[]).await;
        assert_eq!(app.ask_json("How?").await.0, 200);
    }
}

/// Real frames, cut into network writes at any byte.
#[test]
fn any_split_on_the_wire_gives_the_same_answer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (app, gemini) = runtime.block_on(app(&[]));
    let wire = [said("Grüße, 世界 [1]"), said("🦀 `a[9]` [9]"), finish("STOP")].concat();
    let cuts = prop::collection::vec(0..wire.len(), 0..16);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let outcome = runner.run(&cuts, |mut cuts| {
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        gemini
            .on_generate(Reply::Chunks(cuts.windows(2).map(|pair| wire[pair[0]..pair[1]].to_vec()).collect()));
        let events = runtime.block_on(async { app.ask_stream("How?").await.events().await });
        prop_assert_eq!(text(&events), "Grüße, 世界 [1]🦀 `a[9]` ");
        Ok(())
    });
    outcome.unwrap();
}
