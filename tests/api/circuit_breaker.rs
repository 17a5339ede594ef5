//! Checks that a dead dependency fails fast after a while, and that a dependency which comes back is used
//! again.

use serde_json::json;

use crate::support::app::{production_vars, read_json, spawn, spawn_with_fakes};
use crate::support::fake_gemini::FakeGemini;
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::faulty_proxy::{Fault, FaultyProxy};
use crate::support::problem::assert_problem;
use crate::support::wait::{eventually, within};

#[tokio::test]
async fn a_frozen_index_fails_fast_after_a_while_and_recovers_by_itself() {
    let (app, _, qdrant) = spawn_with_fakes(&[("RETRIEVE_TIMEOUT", "300ms"), ("READY_INTERVAL", "1h")]).await;
    qdrant.change(|behaviour| behaviour.frozen = true);
    let asked = qdrant.batches().len();
    let crowd = futures::future::join_all((0..8).map(|_| app.ask_json("How?"))).await;
    for answer in &crowd {
        assert_problem(answer, 504, "upstream_timeout");
    }
    let asked_by_crowd = qdrant.batches().len() - asked;
    for _ in 0..3 {
        let response = app.ask(&json!({"query": "How?"})).await;
        assert!(response.headers().contains_key("retry-after"));
        assert_problem(&read_json(response).await, 504, "upstream_timeout");
    }
    assert_eq!(qdrant.batches().len() - asked, asked_by_crowd, "the index is asked while the circuit is open");
    assert_eq!(app.get("/health").await.status(), 200);
    qdrant.change(|behaviour| behaviour.frozen = false);
    eventually(async || app.ask_json("How?").await.0 == 200).await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_is_found_again() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let proxy = FaultyProxy::start(&qdrant.url());
    let url = proxy.url();
    let settings = [("QDRANT_URL", url.as_str()), ("RETRIEVE_TIMEOUT", "2s"), ("READY_INTERVAL", "1h")];
    let app =
        spawn(docent::config::Config::serve(&production_vars(&gemini, &qdrant, &settings)).unwrap()).await;
    assert_eq!(app.ask_json("How?").await.0, 200);
    for fault in [Fault::Refuse, Fault::Stall, Fault::Reset] {
        proxy.break_for("", fault).await;
        let (status, problem) = within(app.ask_json("How?")).await;
        assert!(status >= 500, "{fault:?}: {status} {problem}");
        proxy.heal().await;
        let (status, answer) = within(app.ask_json("How?")).await;
        assert_eq!(status, 200, "{fault:?}: the first question after it: {answer}");
    }
}
