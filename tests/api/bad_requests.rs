//! Checks the problem that each wrong request gets, and that the problem names the wrong fields.

use serde_json::{Value, json};

use crate::support::app::spawn_demo;

#[tokio::test]
async fn every_wrong_request_gets_its_problem() {
    let app = spawn_demo().await;
    let chat = app.url("/chat");
    let post = || app.http.post(&chat).header("content-type", "application/json");
    let cases = [
        (post().body("{broken"), 400, "malformed_json"),
        (post().body("[]"), 422, "invalid_request"),
        (post().body(r#"{"query": ""}"#), 422, "invalid_request"),
        (post().body(vec![b' '; 1024 * 1024 + 1]), 413, "payload_too_large"),
        (post().header("accept", "text/html").body(r#"{"query": "x"}"#), 406, "not_acceptable"),
        (
            app.http.post(&chat).header("content-type", "text/plain").body(r#"{"query": "x"}"#),
            415,
            "unsupported_media_type",
        ),
        (app.http.post(&chat).body(r#"{"query": "x"}"#), 415, "unsupported_media_type"),
        (app.http.get(&chat), 405, "method_not_allowed"),
        (app.http.get(app.url("/nothing")), 404, "not_found"),
    ];
    for (request, status, code) in cases {
        let response = request.send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{code}");
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{code}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["retryable"], false);
        assert_eq!(problem["request_id"], id);
        assert_eq!(problem.get("errors").is_some(), code == "invalid_request");
    }
}

#[tokio::test]
async fn wrong_fields_are_named_and_their_values_are_not_repeated() {
    let app = spawn_demo().await;
    let body = json!({"query": "x", "history": [{"role": "hidden-value", "content": "y"}], "filter": {"owner": "me"}, "top_k": 0});
    let response = app.ask(&body).await;
    assert_eq!(response.status(), 422);
    let text = response.text().await.unwrap();
    let problem: Value = serde_json::from_str(&text).unwrap();
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["history[0].role", "filter.owner", "top_k"]);
    assert!(!text.contains("hidden-value"), "{text}");
}
