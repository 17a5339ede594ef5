//! Checks `GET /metrics`: its token, its counts and its labels.

use serde_json::json;

use crate::support::binary::Binary;
use crate::support::fake_gemini::{FakeGemini, Reply, error, finish_event, text_event, whole_answer};
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::wait::eventually;

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
    gemini.on_generate(error(404, "NOT_FOUND", json!([]))).on_generate(whole_answer(&["No citation."]));
    assert_eq!(ask("How?").await, 200);
    gemini.on_generate(Reply::Chunks(vec![text_event("Hi [9]"), finish_event("STOP")]));
    assert_eq!(ask("How?").await, 200);
    gemini.on_embed(error(403, "PERMISSION_DENIED", json!([])));
    assert_eq!(ask("Else?").await, 502);
    assert_eq!(http.get(format!("{}/{}", server.url, "no-such-path-1")).send().await.unwrap().status(), 404);
    gemini.on_generate(Reply::Silence);
    let leaving = http.post(format!("{}/chat", server.url)).json(&json!({"query": "How?"}));
    let leaving = tokio::spawn(leaving.send());
    eventually(async || gemini.open_streams() == 1).await;
    leaving.abort();
    server.wait_for_log("the reader left", 1).await;
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

#[tokio::test]
async fn each_file_counts_under_its_own_route_and_unknown_ones_under_none() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let server = Binary::serve(&gemini.url(), &qdrant.url(), &[]).await;
    let get =
        async |path: &str| reqwest::get(format!("{}{path}", server.url)).await.unwrap().text().await.unwrap();
    for path in ["/widget.js", "/widget/chat.js", "/widget/nonce-1.js"] {
        get(path).await;
    }
    let counts = get("/metrics").await;
    for route in ["/widget.js", "/widget/chat.js", "(none)"] {
        assert!(counts.contains(&format!("route=\"{route}\"")), "no {route} in {counts}");
    }
    assert!(!counts.contains("nonce-1"), "{counts}");
}
