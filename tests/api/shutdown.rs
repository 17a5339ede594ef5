//! Checks that a server which is asked to stop finishes its open answers within the grace, and takes no new
//! work.

#[cfg(feature = "embedded")]
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::spawn_with_fakes;
#[cfg(feature = "embedded")]
use crate::support::binary::Binary;
use crate::support::fake_gemini::{DIMENSIONS, Reply, embedding, finish_event, gate, text_event};
use crate::support::wait::{eventually, within};

#[tokio::test]
async fn a_shutdown_lets_open_answers_finish_and_takes_no_new_work() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    let (chunks, mut stream) = app.open_gated_stream(&gemini).await;
    let mut idle = TcpStream::connect(&app.address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut buffer = [0; 4096];
    within(idle.read(&mut buffer)).await.unwrap();
    app.stop();
    eventually(async || TcpStream::connect(&app.address).await.is_err()).await;
    idle.write_all(b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let count = within(idle.read(&mut buffer)).await.unwrap();
    let answer = String::from_utf8_lossy(&buffer[..count]).to_lowercase();
    assert!(answer.starts_with("http/1.1 503") && answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("\"code\":\"overloaded\""), "{answer}");
    chunks.send(text_event("Hi")).unwrap();
    chunks.send(finish_event("STOP")).unwrap();
    drop(chunks);
    let events = stream.remaining_events().await;
    assert_eq!(events.last().unwrap().name, "done");
    app.wait_until_stopped().await;
}

#[tokio::test]
async fn an_answer_that_outlives_the_grace_ends_with_an_error() {
    let (app, gemini, _) = spawn_with_fakes(&[("SHUTDOWN_GRACE", "200ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    gemini.on_embed(embedding(&json!(vec![1.0; DIMENSIONS])));
    gemini.on_embed(Reply::Silence);
    let mut stream = app.ask_stream("How?").await;
    stream.head().await;
    stream.event().await;
    let request = app.http.post(app.url("/chat")).json(&json!({"query": "x"}));
    let json = tokio::spawn(async move { request.send().await.unwrap().status() });
    eventually(async || gemini.open_streams() == 2).await;
    app.stop();
    let events = within(stream.remaining_events()).await;
    assert_eq!(events[0].name, "error");
    assert_eq!(events[0].outcome(), "overloaded");
    assert_eq!(within(json).await.unwrap(), 503);
    app.wait_until_stopped().await;
    within(gemini.wait_until_closed()).await;
    drop(chunks);
}

#[cfg(feature = "embedded")]
#[tokio::test]
async fn the_demo_needs_nothing_listens_and_stops_on_sigterm() {
    let mut demo = Binary::start(&["demo"], &[]).await;
    assert!(
        demo.log_lines().iter().any(|line| line.contains("offline demo")),
        "the log does not say that it is offline"
    );
    assert_eq!(reqwest::get(format!("{}/health", demo.url)).await.unwrap().status(), 200);
    demo.terminate().await;
    assert_eq!(within(demo.child.wait()).await.unwrap().code(), Some(0));
}

#[cfg(feature = "embedded")]
#[tokio::test]
async fn a_second_signal_does_not_wait_for_open_answers() {
    let mut demo =
        Binary::start(&["demo", "--offline-token-delay-ms", "10000", "--shutdown-grace", "1h"], &[]).await;
    let request =
        reqwest::Client::new().post(format!("{}/chat", demo.url)).header("accept", "text/event-stream");
    let answer = request.json(&serde_json::json!({"query": "How do I change the port?"})).send().await.unwrap();
    demo.terminate().await;
    while reqwest::get(format!("{}/health", demo.url)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(demo.child.try_wait().unwrap().is_none(), "an answer is open, so the first signal waits");
    demo.terminate().await;
    assert_eq!(within(demo.child.wait()).await.unwrap().code(), Some(0));
    drop(answer);
}
