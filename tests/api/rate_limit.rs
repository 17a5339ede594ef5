//! Checks the rate limit of each client, behind proxies and without.

use serde_json::json;

use crate::support::app::{TestApp, read_json, spawn_with_fakes};
use crate::support::binary::Binary;
use crate::support::fake_gemini::FakeGemini;
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::problem::assert_problem;

/// Asks as a client whose proxies wrote this header; returns the status, and the seconds to wait.
async fn ask_through(app: &TestApp, forwarded: &str) -> (u16, Option<u64>) {
    let request = app.http.post(app.url("/chat")).header("x-forwarded-for", forwarded);
    let response = request.json(&json!({"query": "How?"})).send().await.unwrap();
    let wait = response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().parse().unwrap());
    (response.status().as_u16(), wait)
}

#[tokio::test]
async fn a_client_that_asks_too_often_learns_when_to_come_back_and_others_are_served() {
    let (app, gemini, _) = spawn_with_fakes(&[("RATE_LIMIT", "2"), ("TRUSTED_PROXIES", "1")]).await;
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
    assert_eq!(gemini.requests_to(":embedContent").len(), 5, "a refused question costs nothing");
    let response = app.http.get(app.url("/health")).header("x-forwarded-for", "203.0.113.7");
    assert_eq!(response.send().await.unwrap().status(), 200, "only questions count");
    let problem = app.http.post(app.url("/chat")).header("x-forwarded-for", "203.0.113.7");
    let problem = read_json(problem.json(&json!({"query": "How?"})).send().await.unwrap()).await;
    assert_problem(&problem, 429, "rate_limited");
    assert_eq!(problem.1["retryable"], true);
    assert!(problem.1["retry_after"].is_u64());
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
    server.wait_for_log("\"status\":429", 1).await;
    let warnings = server.log_lines().iter().filter(|line| line.contains("TRUSTED_PROXIES is 0")).count();
    assert_eq!(warnings, 1);
}
