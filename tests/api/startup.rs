//! Checks the faults that stop the start, each with its sentence, and the faults that do not.

use docent::app::App;
use docent::config::Config;
use docent::startup::StartError;
use serde_json::{Value, json};

use crate::support::app::{production_vars, spawn_app};
use crate::support::fake_gemini::{DIMENSIONS, FakeGemini, Reply, error};
use crate::support::fake_qdrant::{Behaviour, FakeQdrant};
use crate::support::faulty_proxy::{Fault, FaultyProxy};
use crate::support::wait::{PATIENCE, eventually, within};

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
            gemini.on_model_lookup(reply);
        }
        let config = Config::serve(&production_vars(&gemini, &qdrant, &[])).unwrap();
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
        gemini.on_model_lookup(reply);
        let app = spawn_app(&gemini, &qdrant, &[]).await;
        assert_eq!(app.ask_json("How?").await.0, 200);
    }
}

/// Returns the sentence with which the server refuses to start.
async fn start_refusal(behaviour: Behaviour, settings: &[(&str, &str)]) -> String {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start_with(behaviour).await);
    let config = Config::serve(&production_vars(&gemini, &qdrant, settings)).unwrap();
    match within(App::build(config)).await {
        Err(StartError::Settings(sentence)) => sentence,
        other => panic!("expected wrong settings, got {other:?}"),
    }
}

/// Holds a collection, settings, and the parts of the sentence that refuses them.
type Refused = (Behaviour, &'static [(&'static str, &'static str)], &'static [&'static str]);

#[tokio::test]
async fn a_collection_that_cannot_work_stops_the_start_with_advice() {
    let named =
        |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), DIMENSIONS as u64)).collect::<Vec<_>>();
    let cases: [Refused; 7] = [
        (
            Behaviour { collections: vec!["other".into(), "more".into()], ..Behaviour::default() },
            &[],
            &["\"docs\"", "QDRANT_COLLECTION_NAME", "other, more"],
        ),
        (Behaviour { dense: named(&["a", "b"]), ..Behaviour::default() }, &[], &["QDRANT_VECTOR_NAME", "a, b"]),
        (
            Behaviour { dense: named(&["a", "b"]), ..Behaviour::default() },
            &[("QDRANT_VECTOR_NAME", "c")],
            &["\"c\"", "QDRANT_VECTOR_NAME", "a, b"],
        ),
        (
            Behaviour { sparse: vec!["s".into(), "t".into()], ..Behaviour::default() },
            &[],
            &["QDRANT_SPARSE_NAME", "s, t"],
        ),
        (
            Behaviour { dense: vec![(String::new(), 64)], ..Behaviour::default() },
            &[],
            &["64", "EMBEDDING_MODEL"],
        ),
        (Behaviour { dense: Vec::new(), ..Behaviour::default() }, &[], &["no dense vector"]),
        (
            Behaviour { points: vec![json!({"raw": "x", "doc": {"y": "z"}})], ..Behaviour::default() },
            &[],
            &["PAYLOAD_TEXT_KEY", "doc.y, raw"],
        ),
    ];
    for (behaviour, settings, parts) in cases {
        let sentence = start_refusal(behaviour, settings).await;
        for part in parts {
            assert!(sentence.contains(part), "no {part:?} in: {sentence}");
        }
    }
}

#[tokio::test]
async fn a_server_that_comes_up_during_the_start_is_found() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let proxy = FaultyProxy::start(&qdrant.url());
    proxy.break_for("", Fault::Close).await;
    let url = proxy.url();
    let mut config = Config::serve(&production_vars(&gemini, &qdrant, &[("QDRANT_URL", &url)])).unwrap();
    config.start_patience = 10 * PATIENCE;
    let building = tokio::spawn(App::build(config));
    eventually(async || proxy.open_connections() + proxy.closed_connections() > 0).await;
    assert!(!building.is_finished(), "the start has not waited for Qdrant");
    proxy.heal().await;
    within(building).await.unwrap().unwrap();
}
