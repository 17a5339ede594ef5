//! What keeps one client, one day or one dead dependency from costing everybody else: rates, budgets, a second model,
//! stages that rest.

use serde_json::{Value, json};

use crate::binary::Binary;
use crate::fake_gemini::{FakeGemini, Reply, answer_of, error, finish, gate, text as said};
use crate::fake_qdrant::FakeQdrant;
use crate::helpers::{TestApp, eventually, production, spawn, spawn_app, text, within};
use crate::wire::{Fault, Wire};

async fn app(settings: &[(&str, &str)]) -> (TestApp, FakeGemini, FakeQdrant) {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    (spawn_app(&gemini, &qdrant, settings).await, gemini, qdrant)
}

/// Asks as a client whose proxies wrote this header; status, and seconds to wait.
async fn ask_through(app: &TestApp, forwarded: &str) -> (u16, Option<u64>) {
    let request = app.http.post(app.url("/chat")).header("x-forwarded-for", forwarded);
    let response = request.json(&json!({"query": "How?"})).send().await.unwrap();
    let wait = response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().parse().unwrap());
    (response.status().as_u16(), wait)
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back_and_others_are_served() {
    let (app, gemini, _qdrant) = app(&[("RATE_LIMIT", "2"), ("TRUSTED_PROXIES", "1")]).await;
    for _ in 0..2 {
        assert_eq!(ask_through(&app, "203.0.113.7").await.0, 200);
    }
    let (status, wait) = ask_through(&app, "203.0.113.7").await;
    assert_eq!(status, 429);
    assert!((1..=30).contains(&wait.unwrap()), "{wait:?}");
    assert_eq!(ask_through(&app, "198.51.100.1, 203.0.113.7").await.0, 429, "a spoofed entry changes nothing");
    assert_eq!(ask_through(&app, "203.0.113.8").await.0, 200);
    assert_eq!(ask_through(&app, "2001:db8::1").await.0, 200);
    assert_eq!(ask_through(&app, "2001:db8::2:1").await.0, 200);
    assert_eq!(ask_through(&app, "2001:db8:0:0:ffff::3").await.0, 429, "one network of 64 bits is one client");
    assert_eq!(gemini.sent(":embedContent").len(), 5, "a refused question costs nothing");
    let response = app.http.get(app.url("/health")).header("x-forwarded-for", "203.0.113.7");
    assert_eq!(response.send().await.unwrap().status(), 200, "only questions count");
    let problem = app.http.post(app.url("/chat")).header("x-forwarded-for", "203.0.113.7");
    let problem: Value = problem.json(&json!({"query": "How?"})).send().await.unwrap().json().await.unwrap();
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("rate_limited"), &json!(true)));
    assert!(problem["retry_after"].is_u64());
}

#[tokio::test]
async fn without_a_trusted_proxy_the_peer_is_the_client_and_the_operator_is_warned_once() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let settings = [("RATE_LIMIT", "3")];
    let server = Binary::serve(&gemini.url(), &qdrant.url(), &settings).await;
    let mut statuses = Vec::new();
    for number in 0..4 {
        let request = reqwest::Client::new().post(format!("{}/chat", server.url));
        let request = request.header("x-forwarded-for", format!("203.0.113.{number}"));
        statuses.push(request.json(&json!({"query": "How?"})).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    server.logged("\"status\":429", 1).await;
    let warnings = server.log().iter().filter(|line| line.contains("TRUSTED_PROXIES is 0")).count();
    assert_eq!(warnings, 1);
}

#[tokio::test]
async fn a_spent_budget_answers_with_the_sources_alone() {
    let sentence = "No more answers can be written today";
    let (app, gemini, _qdrant) = app(&[("DAILY_REQUESTS", "2")]).await;
    for _ in 0..2 {
        assert_eq!(app.ask_json("How?").await.1["status"], "answered");
    }
    let (status, answer) = app.ask_json("How?").await;
    assert_eq!(
        (status, &answer["status"], &answer["finish_reason"]),
        (200, &json!("search_only"), &json!("stop"))
    );
    assert!(answer["response"].as_str().unwrap().starts_with(sentence));
    assert_eq!(answer["sources"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&answer["model"], &answer["usage"], &answer["cited"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    let events = app.ask_stream("How?").await.events().await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["sources", "token", "done"]);
    assert!(text(&events).starts_with(sentence));
    assert_eq!(gemini.sent(":streamGenerateContent").len(), 2, "the model is not asked any more");
}

#[tokio::test]
async fn what_no_model_has_worked_on_costs_nothing_of_the_budget() {
    let (app, gemini, _qdrant) = app(&[("DAILY_REQUESTS", "1")]).await;
    for _ in 0..3 {
        gemini.on_generate(error(403, "PERMISSION_DENIED", json!([])));
        assert_eq!(app.ask_json("How?").await.1["code"], "generation_failed");
    }
    assert_eq!(app.ask_json("How?").await.1["status"], "answered");
    assert_eq!(app.ask_json("How?").await.1["status"], "search_only");
}

#[tokio::test]
async fn tokens_count_also_for_a_reader_who_leaves_before_the_end() {
    let (app, gemini, _qdrant) = app(&[("DAILY_TOKENS", "2000")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let mut stream = app.ask_stream("How?").await;
    stream.head().await;
    stream.event().await;
    chunks.send(said(&"word ".repeat(2_000))).unwrap();
    stream.event().await;
    assert_eq!(app.ask_json("How?").await.1["status"], "search_only", "what is being written counts already");
    drop(stream);
    within(gemini.all_closed()).await;
    assert_eq!(app.ask_json("How?").await.1["status"], "search_only");
}

#[tokio::test]
async fn the_second_model_answers_where_the_first_has_not_begun() {
    let busy = || error(429, "RESOURCE_EXHAUSTED", json!([{"retryDelay": "60s"}]));
    let gone = || error(404, "NOT_FOUND", json!([]));
    let settings = [("GENERATIVE_MODEL_FALLBACK", "gemini-other"), ("FIRST_TOKEN_TIMEOUT", "2s")];
    let (app, gemini, _qdrant) = app(&settings).await;
    for first in [busy(), gone(), Reply::Silence] {
        let before = gemini.sent(":streamGenerateContent").len();
        gemini.on_generate(first).on_generate(Reply::Chunks(vec![said_by_nobody("Hi"), finish_by_nobody()]));
        let (status, answer) = within(app.ask_json("How?")).await;
        assert_eq!(
            (status, &answer["response"], &answer["model"]),
            (200, &json!("Hi"), &json!("gemini-other"))
        );
        let asked: Vec<String> =
            gemini.sent(":streamGenerateContent")[before..].iter().map(|sent| sent.path.clone()).collect();
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked[0].contains("gemini-3.5-flash-lite:") && asked[1].contains("gemini-other:"), "{asked:?}");
        within(gemini.all_closed()).await;
    }
    gemini.on_generate(busy()).on_generate(gone());
    let (status, problem) = app.ask_json("How?").await;
    assert_eq!((status, &problem["code"]), (503, &json!("upstream_busy")), "the first model may answer later");
    gemini.on_generate(gone()).on_generate(busy());
    assert_eq!(app.ask_json("How?").await.1["code"], "upstream_busy");
    // After the first word there is no second model.
    let before = gemini.sent(":streamGenerateContent").len();
    gemini.on_generate(Reply::Chunks(vec![said("Hi")]));
    assert_eq!(app.ask_json("How?").await.1["code"], "answer_truncated");
    assert_eq!(gemini.sent(":streamGenerateContent").len(), before + 1);
}

/// An event with text that does not say which model wrote it.
fn said_by_nobody(text: &str) -> Vec<u8> {
    crate::fake_gemini::event(&json!({"candidates": [{"content": {"parts": [{"text": text}]}}]}))
}

fn finish_by_nobody() -> Vec<u8> {
    crate::fake_gemini::event(&json!({"candidates": [{"finishReason": "STOP"}]}))
}

#[tokio::test]
async fn a_second_model_that_does_not_exist_stops_the_start() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let fine = || Reply::Plain(200, "application/json", b"{}".to_vec());
    let message = "models/gemini-other is not found for API version v1beta";
    let missing = json!({"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}).to_string();
    gemini.on_look(fine()).on_look(fine()).on_look(Reply::Plain(404, "application/json", missing.into_bytes()));
    let vars = production(&gemini, &qdrant, &[("GENERATIVE_MODEL_FALLBACK", "gemini-other")]);
    let config = docent::config::Config::serve(&vars).unwrap();
    match within(docent::app::App::build(config)).await {
        Err(error) => assert!(error.to_string().starts_with("GENERATIVE_MODEL_FALLBACK is refused"), "{error}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn a_frozen_index_fails_fast_after_a_while_and_recovers_by_itself() {
    let (app, _gemini, qdrant) = app(&[("RETRIEVE_TIMEOUT", "300ms"), ("READY_INTERVAL", "1h")]).await;
    qdrant.change(|behaviour| behaviour.frozen = true);
    let asked = qdrant.batches().len();
    let crowd = futures::future::join_all((0..8).map(|_| app.ask_json("How?"))).await;
    assert!(crowd.iter().all(|(status, problem)| *status == 504 && problem["code"] == "upstream_timeout"));
    let asked_by_crowd = qdrant.batches().len() - asked;
    for _ in 0..3 {
        let response = app.ask(&json!({"query": "How?"})).await;
        assert_eq!(response.status(), 504);
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "upstream_timeout");
    }
    assert_eq!(qdrant.batches().len() - asked, asked_by_crowd, "it is not asked while it rests");
    assert_eq!(app.http.get(app.url("/health")).send().await.unwrap().status(), 200);
    qdrant.change(|behaviour| behaviour.frozen = false);
    eventually(async || app.ask_json("How?").await.0 == 200).await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_is_found_again() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let wire = Wire::to(&qdrant.url());
    let url = wire.url();
    let settings = [("QDRANT_URL", url.as_str()), ("RETRIEVE_TIMEOUT", "2s"), ("READY_INTERVAL", "1h")];
    let app = spawn(docent::config::Config::serve(&production(&gemini, &qdrant, &settings)).unwrap()).await;
    assert_eq!(app.ask_json("How?").await.0, 200);
    for fault in [Fault::Refuse, Fault::Stall, Fault::Reset] {
        wire.break_for("", fault).await;
        let (status, problem) = within(app.ask_json("How?")).await;
        assert!(status >= 500, "{fault:?}: {status} {problem}");
        wire.heal().await;
        let (status, answer) = within(app.ask_json("How?")).await;
        assert_eq!(status, 200, "{fault:?}: the first question after it: {answer}");
    }
}

#[tokio::test]
async fn an_embedding_that_is_kept_is_not_asked_for_again() {
    let (app, gemini, _qdrant) = app(&[("EMBED_CACHE", "10")]).await;
    for _ in 0..3 {
        assert_eq!(app.ask_json("How?").await.0, 200);
    }
    assert_eq!(gemini.sent(":embedContent").len(), 1);
    gemini.on_embed(error(500, "INTERNAL", json!([])));
    assert_eq!(app.ask_json("How else?").await.0, 200);
    assert_eq!(gemini.sent(":embedContent").len(), 3, "another question has another embedding");
}

#[tokio::test]
async fn metrics_count_what_happened_behind_their_token() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let settings = [
        ("METRICS_TOKEN", "open-sesame"),
        ("EMBED_CACHE", "10"),
        ("MAX_STREAMS", "7"),
        ("GENERATIVE_MODEL_FALLBACK", "gemini-other"),
    ];
    let server = Binary::serve(&gemini.url(), &qdrant.url(), &settings).await;
    let http = reqwest::Client::new();
    let metrics = async |token: &str| {
        let request = http.get(format!("{}/metrics", server.url)).header("authorization", token);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    for wrong in ["", "Bearer open-sesam", "Bearer open-sesame2", "open-sesame", "Basic open-sesame"] {
        let (status, body) = metrics(wrong).await;
        assert_eq!(status, 401, "{wrong}");
        assert!(body.contains("unauthorized") && !body.contains("docent_"), "{body}");
    }
    let ask = async |query: &str| {
        let request = http.post(format!("{}/chat", server.url)).json(&json!({ "query": query }));
        request.send().await.unwrap().status().as_u16()
    };
    gemini.on_embed(error(503, "UNAVAILABLE", json!([])));
    assert_eq!((ask("How?").await, ask("How?").await), (200, 200));
    gemini.on_generate(error(404, "NOT_FOUND", json!([]))).on_generate(answer_of(&["No citation."]));
    assert_eq!(ask("How?").await, 200);
    gemini.on_generate(Reply::Chunks(vec![said("Hi [9]"), finish("STOP")]));
    assert_eq!(ask("How?").await, 200);
    gemini.on_embed(error(403, "PERMISSION_DENIED", json!([])));
    assert_eq!(ask("Else?").await, 502);
    assert_eq!(http.get(format!("{}/{}", server.url, "no-such-path-1")).send().await.unwrap().status(), 404);
    gemini.on_generate(Reply::Silence);
    let leaving = http.post(format!("{}/chat", server.url)).json(&json!({"query": "How?"}));
    let leaving = tokio::spawn(leaving.send());
    eventually(async || gemini.open_streams() == 1).await;
    leaving.abort();
    server.logged("the reader left", 1).await;
    let (status, text) = metrics("Bearer open-sesame").await;
    assert_eq!(status, 200);
    for line in [
        "docent_requests_total{route=\"/chat\",status=\"200\",code=\"none\"} 4",
        "docent_requests_total{route=\"/chat\",status=\"502\",code=\"embedding_failed\"} 1",
        "docent_requests_total{route=\"/chat\",status=\"499\",code=\"none\"} 1",
        "docent_requests_total{route=\"(none)\",status=\"404\",code=\"not_found\"} 1",
        "docent_requests_total{route=\"/metrics\",status=\"401\",code=\"unauthorized\"} 5",
        "docent_answers_total{status=\"answered\",finish_reason=\"stop\"} 2",
        "docent_answers_total{status=\"uncited\",finish_reason=\"stop\"} 2",
        "docent_invalid_citations_total 1",
        "docent_tokens_total{kind=\"prompt\"} 28",
        "docent_tokens_total{kind=\"completion\"} 24",
        "docent_retries_total{stage=\"embed\"} 1",
        "docent_fallbacks_total 1",
        "docent_upstream_errors_total{stage=\"embed\",kind=\"refused\"} 1",
        "docent_upstream_errors_total{stage=\"generate\",kind=\"refused\"} 1",
        "docent_stage_duration_seconds_count{stage=\"fallback\",outcome=\"ok\"} 1",
        "docent_cancellations_total{stage=\"generate\"} 1",
        "docent_embedding_cache_hits_total 4",
        "docent_embedding_cache_misses_total 2",
        "docent_open_answers 0",
        "docent_open_answers_max 7",
        "docent_ready{dependency=\"qdrant\"} 1",
        "docent_stage_duration_seconds_count{stage=\"embed\",outcome=\"ok\"} 1",
        "docent_stage_duration_seconds_count{stage=\"retrieve\",outcome=\"ok\"} 5",
        "docent_first_token_seconds_count 4",
        "docent_answer_duration_seconds_count 4",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }
    assert!(
        !text.contains("no-such-path") && !text.contains("How?"),
        "a label holds what came from outside\n{text}"
    );
}
