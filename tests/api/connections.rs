//! Checks single connections: heads that are slow, too large or no HTTP, idle connections, and pipelined
//! requests.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{spawn_demo, spawn_demo_with};
use crate::support::wait::within;

#[tokio::test]
async fn a_head_that_never_comes_is_cut_off() {
    let app = spawn_demo_with(|config| config.http_limits.head_timeout = Duration::from_millis(200)).await;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    socket.write_all(b"POST /chat HTTP/1.1\r\nHost:").await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let app = spawn_demo_with(|config| config.http_limits.head_timeout = Duration::from_secs(1)).await;
    let mut idle = TcpStream::connect(&app.address).await.unwrap();
    let mut used = TcpStream::connect(&app.address).await.unwrap();
    used.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let (mut nothing, mut answer) = (Vec::new(), Vec::new());
    let (one, other) =
        tokio::join!(within(idle.read_to_end(&mut nothing)), within(used.read_to_end(&mut answer)));
    assert_eq!((one.unwrap(), nothing.len()), (0, 0));
    assert!(other.unwrap() > 0 && answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn two_requests_sent_at_once_are_answered_in_order() {
    let app = spawn_demo().await;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    let requests =
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    socket.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    within(socket.read_to_string(&mut answers)).await.unwrap();
    let (health, ready) = (answers.find("\"version\"").unwrap(), answers.find("\"qdrant\"").unwrap());
    assert!(health < ready, "{answers}");
}

#[tokio::test]
async fn a_head_beyond_its_bounds_is_refused_and_the_next_client_is_served() {
    let app = spawn_demo().await;
    let status = async |head: String| {
        let mut socket = TcpStream::connect(&app.address).await.unwrap();
        let _ = socket.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = within(socket.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let long = "x".repeat(512 * 1024);
    assert!(
        ["414", "431"].contains(&status(format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n")).await.as_str())
    );
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n")).await, "431");
    let many = "X-Many: y\r\n".repeat(200);
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")).await, "431");
    assert_eq!(status("NOT HTTP\r\n\r\n".to_owned()).await, "400");
    let two = "POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(status(two.to_owned()).await, "400");
    assert_eq!(app.get("/health").await.status(), 200);
}
