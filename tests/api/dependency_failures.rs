//! Checks the problem of a dependency that fails: whether to come back, and when.

use serde_json::{Value, json};

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::{DIMENSIONS, Reply, embedding, error};
use crate::support::wait::within;

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
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
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
async fn what_qdrant_says_becomes_the_status_of_the_contract() {
    use tonic::Code;
    let (app, _, qdrant) = spawn_with_fakes(&[]).await;
    for (code, status, problem, retryable) in [
        (Code::NotFound, 502, "retrieval_failed", false),
        (Code::Unauthenticated, 502, "retrieval_failed", false),
        (Code::Unavailable, 502, "retrieval_failed", true),
        (Code::Internal, 502, "retrieval_failed", true),
        (Code::ResourceExhausted, 503, "upstream_busy", true),
        (Code::DeadlineExceeded, 504, "upstream_timeout", true),
    ] {
        qdrant.change(|behaviour| behaviour.query_error = Some(code));
        let (got, body) = app.ask_json("How?").await;
        assert_eq!(
            (got, &body["code"], &body["retryable"]),
            (status, &json!(problem), &json!(retryable)),
            "{code:?}"
        );
        assert!(!body.to_string().contains("internal words"), "{body}");
    }
    qdrant.change(|behaviour| behaviour.query_error = None);
    assert_eq!(app.ask_json("How?").await.0, 200);
}

#[tokio::test]
async fn a_frozen_qdrant_is_given_up_on_at_its_deadline() {
    let (app, _, qdrant) = spawn_with_fakes(&[("RETRIEVE_TIMEOUT", "200ms")]).await;
    qdrant.change(|behaviour| behaviour.frozen = true);
    let (status, body) = within(app.ask_json("How?")).await;
    assert_eq!((status, &body["code"]), (504, &json!("upstream_timeout")));
}
