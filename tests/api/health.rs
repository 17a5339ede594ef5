//! Checks `GET /health` and `GET /ready`.

use serde_json::{Value, json};

use crate::support::app::{read_json, spawn_demo, spawn_with_fakes};
use crate::support::fake_gemini::error;
use crate::support::wait::eventually;

#[tokio::test]
async fn health_is_always_200_and_says_the_version() {
    let app = spawn_demo().await;
    let response = app.get("/health").await;
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body, json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}));
}

#[tokio::test]
async fn ready_follows_the_dependencies_without_asking_them_per_call() {
    let (app, gemini, qdrant) = spawn_with_fakes(&[("READY_INTERVAL", "50ms")]).await;
    let ready = async || read_json(app.get("/ready").await).await;
    assert_eq!(ready().await, (200, json!({"status": "ready", "qdrant": "ok", "gemini": "ok"})));
    qdrant.change(|behaviour| behaviour.collections.clear());
    eventually(async || ready().await.0 == 503).await;
    assert_eq!(ready().await.1["qdrant"], "refused");
    qdrant.change(|behaviour| behaviour.collections = vec!["docs".to_owned()]);
    eventually(async || ready().await.0 == 200).await;
    for _ in 0..50 {
        gemini.on_model_lookup(error(503, "UNAVAILABLE", json!([])));
    }
    eventually(async || ready().await.1["gemini"] == "unreachable").await;
    let demo = spawn_demo().await;
    let body: Value = demo.get("/ready").await.json().await.unwrap();
    assert_eq!(body["gemini"], "offline");
}
