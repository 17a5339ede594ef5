//! Checks the permits for answers: a full server sheds, many answers stream at once, and no answer leaves
//! anything behind.

use serde_json::json;

use crate::support::app::{read_json, spawn_with_fakes};
use crate::support::fake_gemini::{finish_event, gate, text_event};
use crate::support::problem::assert_problem;
use crate::support::stream::joined_text;
use crate::support::wait::{eventually, within};

#[tokio::test]
async fn a_full_server_sheds_at_once_and_a_permit_lasts_as_long_as_its_stream() {
    let (app, gemini, _) = spawn_with_fakes(&[("MAX_STREAMS", "1")]).await;
    let (chunks, mut stream) = app.open_gated_stream(&gemini).await;
    let refused = app.ask(&json!({"query": "x"})).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused = read_json(refused).await;
    assert_problem(&refused, 503, "overloaded");
    assert_eq!(refused.1["retryable"], true);
    assert_eq!(app.get("/health").await.status(), 200);
    chunks.send(text_event("Hi")).unwrap();
    chunks.send(finish_event("STOP")).unwrap();
    drop(chunks);
    stream.remaining_events().await;
    eventually(async || app.ask(&json!({"query": "x"})).await.status() == 200).await;
}

#[tokio::test]
async fn a_full_server_still_answers_health_ready_and_metrics() {
    let (app, gemini, _) = spawn_with_fakes(&[("MAX_STREAMS", "2")]).await;
    let (one, mut first) = app.open_gated_stream(&gemini).await;
    let (two, mut second) = app.open_gated_stream(&gemini).await;
    let asked = gemini.requests_to(":embedContent").len();
    for _ in 0..20 {
        assert_eq!(app.ask(&json!({"query": "x"})).await.status(), 503);
    }
    assert_eq!(gemini.requests_to(":embedContent").len(), asked, "a question that is shed costs nothing");
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(app.get(path).await.status(), 200, "{path}");
    }
    for (chunks, stream) in [(one, &mut first), (two, &mut second)] {
        chunks.send(text_event("Hi")).unwrap();
        chunks.send(finish_event("STOP")).unwrap();
        drop(chunks);
        assert_eq!(joined_text(&stream.remaining_events().await), "Hi");
    }
}

#[tokio::test]
async fn hundreds_of_answers_stream_at_once() {
    const ANSWERS: usize = 300;
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let mut gates = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..ANSWERS {
        let (chunks, reply) = gate();
        gemini.on_generate(reply);
        gates.push(chunks);
        let mut stream = app.ask_stream("How?").await;
        stream.head().await;
        stream.event().await;
        streams.push(stream);
    }
    eventually(async || gemini.open_streams() == ANSWERS).await;
    for chunks in &gates {
        chunks.send(text_event("Hi")).unwrap();
        chunks.send(finish_event("STOP")).unwrap();
    }
    drop(gates);
    for stream in &mut streams {
        assert_eq!(joined_text(&stream.remaining_events().await), "Hi");
    }
}

#[tokio::test]
async fn a_crowd_that_comes_and_goes_gets_its_own_answers_and_leaves_no_permit_taken() {
    const READERS: usize = 200;
    let (app, gemini, _) = spawn_with_fakes(&[("MAX_STREAMS", "64")]).await;
    let visit = async |reader: usize| {
        let nonce = format!("nonce-{reader:08}");
        let query = format!("How? {nonce}");
        match reader % 4 {
            0 => {
                let (status, body) = app.ask_json(&query).await;
                let whole = status == 200 && body["response"] == format!("{nonce} [1].");
                assert!(whole || (status == 503 && body["code"] == "overloaded"), "{status} {body}");
            }
            1 => {
                let mut stream = app.ask_stream(&query).await;
                if stream.head().await.starts_with("http/1.1 200") {
                    assert_eq!(joined_text(&stream.remaining_events().await), format!("{nonce} [1]."));
                }
            }
            2 => drop(app.ask_stream(&query).await),
            _ => {
                let mut stream = app.ask_stream(&query).await;
                stream.head().await;
            }
        }
    };
    futures::future::join_all((0..READERS).map(visit)).await;
    within(gemini.wait_until_closed()).await;
    eventually(async || app.app.drain.requests.is_empty()).await;
    let permits: Vec<_> = (0..64).map(|_| app.app.permits.try_acquire()).collect();
    assert!(permits.iter().all(Option::is_some), "a permit is lost");
    drop(permits);
    assert_eq!(app.ask_json("How? nonce-abcdefgh").await.1["response"], "nonce-abcdefgh [1].");
}
