//! Checks which origins may read a response.

use serde_json::json;

use crate::support::app::{demo_config, spawn, spawn_with_fakes, test_vars};

#[tokio::test]
async fn only_allowed_origins_get_cors_headers() {
    let (app, ..) =
        spawn_with_fakes(&[("ALLOWED_ORIGINS", "https://docs.example, https://www.docs.example:8443")]).await;
    let ask = |origin: &'static str| {
        let request = app.http.post(app.url("/chat")).header("origin", origin).json(&json!({"query": "x"}));
        async move { request.send().await.unwrap() }
    };
    for origin in ["https://docs.example", "https://www.docs.example:8443"] {
        let response = ask(origin).await;
        assert_eq!(response.headers()["access-control-allow-origin"], origin);
        assert_eq!(response.headers()["access-control-expose-headers"], "x-request-id,retry-after");
        assert!(!response.headers().contains_key("access-control-allow-credentials"));
    }
    for origin in ["https://evil.example", "http://docs.example", "https://docs.example.evil.example", "null"] {
        let response = ask(origin).await;
        assert_eq!(response.status(), 200, "{origin} is served all the same");
        assert!(
            response.headers().keys().all(|name| !name.as_str().starts_with("access-control-")),
            "{origin}"
        );
    }
    let preflight = |origin: &'static str| {
        let request = app.http.request(reqwest::Method::OPTIONS, app.url("/chat"));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        async move { request.header("access-control-request-headers", "content-type").send().await.unwrap() }
    };
    let allowed = preflight("https://docs.example").await;
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://docs.example");
    assert!(allowed.headers()["access-control-allow-headers"].to_str().unwrap().contains("content-type"));
    assert!(allowed.headers().contains_key("x-request-id"));
    assert!(!preflight("https://evil.example").await.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn errors_can_be_read_across_origins_too() {
    let (app, ..) = spawn_with_fakes(&[("ALLOWED_ORIGINS", "*")]).await;
    let request = app.http.post(app.url("/chat")).header("origin", "https://any.example").json(&json!({}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn a_demo_admits_a_docusaurus_in_development() {
    let app = spawn(docent::config::Config::demo(&test_vars(&[]), demo_config(None)).unwrap()).await;
    let request = app.http.get(app.url("/ready")).header("origin", "http://localhost:3000");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:3000");
}
