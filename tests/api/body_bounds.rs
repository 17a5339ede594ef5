//! Checks that a body is bounded in size and in time, and that a client whose body is refused can read the
//! reason.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{post_head, spawn_demo, spawn_demo_with, spawn_with_fakes};
use crate::support::problem::assert_problem;
use crate::support::wait::{eventually, within};

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let app = spawn_demo().await;
    let mut stream = app.open_stream(&json!({"query": "x"})).await;
    stream.head().await;
    stream.remaining_events().await;
    let mut socket = tokio::net::TcpStream::connect(&app.address).await.unwrap();
    let head = "POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    // The server may answer and close before it has read everything.
    for _ in 0..20 {
        if socket.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    within(tokio::io::AsyncReadExt::read_exact(&mut socket, &mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_client_that_sends_too_much_without_waiting_still_reads_why() {
    let app = spawn_demo().await;
    for length in [1024 * 1024 + 1, 5 * 1024 * 1024] {
        let mut socket = TcpStream::connect(&app.address).await.unwrap();
        let head = post_head(length, "Connection: close");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![b' '; length]).await.unwrap();
        let mut answer = String::new();
        within(socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_counts_as_cut_off() {
    let app = spawn_demo_with(|config| config.http_limits.body_timeout = Duration::from_millis(200)).await;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    let request = format!("{}{{", post_head(9, "Connection: close"));
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("malformed_json"), "{answer}");
}

#[tokio::test]
async fn the_time_a_body_takes_counts() {
    let (app, gemini, _) = spawn_with_fakes(&[("ANSWER_TIMEOUT", "200ms")]).await;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    let body = json!({"query": "How?"}).to_string();
    socket.write_all(post_head(body.len(), "Connection: close").as_bytes()).await.unwrap();
    for byte in body.bytes() {
        socket.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    within(gemini.wait_until_closed()).await;
}

#[tokio::test]
async fn bodies_that_do_not_come_fill_no_memory_and_make_room_when_they_end() {
    let app = spawn_demo().await;
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut socket = TcpStream::connect(&app.address).await.unwrap();
        socket.write_all(post_head(1024 * 1024, "Connection: close").as_bytes()).await.unwrap();
        slow.push(socket);
    }
    eventually(async || app.ask_json("How?").await.0 == 503).await;
    assert_problem(&app.ask_json("How?").await, 503, "overloaded");
    assert_eq!(app.get("/health").await.status(), 200);
    drop(slow);
    eventually(async || app.ask_json("How?").await.0 == 200).await;
}

#[tokio::test]
async fn a_client_refused_before_its_body_was_read_still_reads_why() {
    let (app, ..) = spawn_with_fakes(&[("RATE_LIMIT", "1")]).await;
    assert_eq!(app.ask_json("How?").await.0, 200);
    let length = 1024 * 1024;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    socket.write_all(post_head(length, "Connection: close").as_bytes()).await.unwrap();
    for half in 0..2 {
        // The client sends slowly: a server that closes without reading the rest has closed by now.
        tokio::time::sleep(Duration::from_millis(100)).await;
        socket.write_all(&vec![b' '; length / 2]).await.unwrap_or_else(|error| panic!("half {half}: {error}"));
    }
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
}
