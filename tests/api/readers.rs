//! Readers who leave, stall, or send what they should not: nobody else notices, and nothing goes on without them.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fake_gemini::{FakeGemini, Reply, finish, gate, text as said};
use crate::fake_qdrant::FakeQdrant;
use crate::helpers::{TestApp, eventually, post, production, spawn, spawn_app, spawn_demo, text, within};
use crate::wire::Wire;

async fn app(settings: &[(&str, &str)]) -> (TestApp, FakeGemini, FakeQdrant) {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    (spawn_app(&gemini, &qdrant, settings).await, gemini, qdrant)
}

/// Deadlines so long that only a reader's leaving can end anything.
const NO_DEADLINES: &[(&str, &str)] = &[
    ("EMBED_TIMEOUT", "1h"),
    ("RETRIEVE_TIMEOUT", "1h"),
    ("FIRST_TOKEN_TIMEOUT", "1h"),
    ("GAP_TIMEOUT", "1h"),
    ("ANSWER_TIMEOUT", "1h"),
    ("WRITE_TIMEOUT", "1h"),
    ("READY_INTERVAL", "1h"),
];

/// Asks in a form, without reading the answer.
async fn ask(app: &TestApp, accept: &str) -> TcpStream {
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    let body = json!({"query": "How?"}).to_string();
    let request = post(body.len(), &format!("Accept: {accept}")) + &body;
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_reader_who_leaves_ends_the_work_at_every_stage_in_both_forms() {
    let (app, gemini, qdrant) = app(NO_DEADLINES).await;
    for accept in ["application/json", "text/event-stream"] {
        gemini.on_embed(Reply::Silence);
        let reader = ask(&app, accept).await;
        eventually(async || gemini.open_streams() == 1).await;
        drop(reader);
        within(gemini.all_closed()).await;

        qdrant.change(|behaviour| behaviour.frozen = true);
        let reader = ask(&app, accept).await;
        eventually(async || qdrant.searching() == 1).await;
        drop(reader);
        eventually(async || qdrant.searching() == 0).await;
        qdrant.change(|behaviour| behaviour.frozen = false);

        gemini.on_generate(Reply::Silence);
        let reader = ask(&app, accept).await;
        eventually(async || gemini.open_streams() == 1).await;
        drop(reader);
        within(gemini.all_closed()).await;

        let (chunks, reply) = gate();
        gemini.on_generate(reply);
        let reader = ask(&app, accept).await;
        eventually(async || gemini.open_streams() == 1).await;
        chunks.send(said("Hi")).unwrap();
        drop(reader);
        within(gemini.all_closed()).await;
        eventually(async || app.app.permits.taken() == 0).await;
    }
}

#[tokio::test]
async fn a_reader_who_takes_nothing_is_dropped_and_with_it_its_answer() {
    let (app, gemini, _qdrant) = app(&[("WRITE_TIMEOUT", "300ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let stream = app.open_narrow(&json!({"query": "How?"})).await;
    eventually(async || gemini.open_streams() == 1).await;
    // Each of these takes six bytes on the wire, so that the answer exceeds what sockets buffer.
    for _ in 0..40 {
        chunks.send(said(&"\u{1}".repeat(20_000))).unwrap();
    }
    // The gate stays open and the stream is never read: only the server can end this.
    within(gemini.all_closed()).await;
    assert_eq!(app.app.drain.requests.len(), 0);
    drop((stream, chunks));
}

#[tokio::test]
async fn a_head_or_a_body_that_never_comes_is_given_up_on() {
    let app = spawn_demo().await;
    let ending = async |sent: &str| {
        let mut socket = TcpStream::connect(&app.address).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(socket.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let body = format!("{}{{", post(9, "Connection: close"));
    let (head, body) = tokio::join!(ending("POST /chat HTTP/1.1\r\nHost:"), ending(&body));
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 400") && body.contains("malformed_json"), "{body}");
}

#[tokio::test]
async fn a_stray_byte_after_the_body_hides_no_leaving() {
    let (app, gemini, _qdrant) = app(NO_DEADLINES).await;
    // While nothing is written: during the embedding.
    gemini.on_embed(Reply::Silence);
    let mut stream = app.ask_stream("How?").await;
    stream.socket.write_all(b"\n").await.unwrap();
    eventually(async || gemini.open_streams() == 1).await;
    drop(stream);
    within(gemini.all_closed()).await;
    // While tokens arrive.
    let (chunks, mut stream) = app.held(&gemini).await;
    stream.socket.write_all(b"GET").await.unwrap();
    chunks.send(said("Hi")).unwrap();
    stream.event().await;
    drop(stream);
    within(gemini.all_closed()).await;
    eventually(async || app.app.permits.taken() == 0).await;
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
async fn a_slow_reader_holds_little_and_pushes_back_upstream() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 512;
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let wire = Wire::to(&gemini.url());
    let url = wire.url();
    let config = production(&gemini, &qdrant, &[("GOOGLE_GEMINI_BASE_URL", &url), ("WRITE_TIMEOUT", "1h")]);
    let app = spawn(docent::config::Config::serve(&config).unwrap()).await;
    // Thoughts cost a reader nothing and an answer has a bound, so only text with a long tail can go on for so long.
    let padded = json!({"candidates": [{"content": {"parts": [
        {"text": "\u{1}".repeat(1_500)}, {"text": "x".repeat(CHUNK), "thought": true}]}}]});
    let mut chunks = vec![crate::fake_gemini::event(&padded); CHUNKS];
    chunks.push(finish("STOP"));
    gemini.on_generate(Reply::Chunks(chunks));
    let stream = app.open_narrow(&json!({"query": "How?"})).await;
    eventually(async || gemini.open_streams() == 1).await;
    let settled = async {
        let mut before = u64::MAX;
        while wire.passed() != before {
            before = wire.passed();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        before
    };
    let taken = within(settled).await;
    assert!(taken > CHUNK as u64, "the answer has not begun");
    assert!(taken < (CHUNK * CHUNKS / 2) as u64, "{taken} bytes were taken for a reader who takes nothing");
    // It gets everything once it reads on.
    let events = within(stream.events()).await;
    assert_eq!(text(&events).len(), CHUNKS * 1_500);
    assert_eq!(events.last().unwrap().name, "done");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let app = spawn_demo().await;
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
    assert_eq!(app.http.get(app.url("/health")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_sends_too_much_without_waiting_still_reads_why() {
    let app = spawn_demo().await;
    for length in [1024 * 1024 + 1, 5 * 1024 * 1024] {
        let mut socket = TcpStream::connect(&app.address).await.unwrap();
        let head = post(length, "Connection: close");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![b' '; length]).await.unwrap();
        let mut answer = String::new();
        within(socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");
    }
}

#[tokio::test]
async fn a_full_server_still_tells_how_it_is() {
    let (app, gemini, _qdrant) = app(&[("MAX_STREAMS", "2")]).await;
    let (one, mut first) = app.held(&gemini).await;
    let (two, mut second) = app.held(&gemini).await;
    let asked = gemini.sent(":embedContent").len();
    for _ in 0..20 {
        assert_eq!(app.ask(&json!({"query": "x"})).await.status(), 503);
    }
    assert_eq!(gemini.sent(":embedContent").len(), asked, "a question that is shed costs nothing");
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(app.http.get(app.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    for (chunks, stream) in [(one, &mut first), (two, &mut second)] {
        chunks.send(said("Hi")).unwrap();
        chunks.send(finish("STOP")).unwrap();
        drop(chunks);
        assert_eq!(text(&stream.rest().await), "Hi");
    }
}

#[tokio::test]
async fn the_time_a_body_takes_counts() {
    let (app, gemini, _qdrant) = app(&[("ANSWER_TIMEOUT", "200ms")]).await;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    let body = json!({"query": "How?"}).to_string();
    socket.write_all(post(body.len(), "Connection: close").as_bytes()).await.unwrap();
    for byte in body.bytes() {
        socket.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    within(gemini.all_closed()).await;
}

#[tokio::test]
async fn bodies_that_do_not_come_fill_no_memory_and_make_room_when_they_are_given_up() {
    let app = spawn_demo().await;
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut socket = TcpStream::connect(&app.address).await.unwrap();
        socket.write_all(post(1024 * 1024, "Connection: close").as_bytes()).await.unwrap();
        slow.push(socket);
    }
    eventually(async || app.ask_json("How?").await.0 == 503).await;
    assert_eq!(app.ask_json("How?").await.1["code"], "overloaded");
    assert_eq!(app.http.get(app.url("/health")).send().await.unwrap().status(), 200);
    drop(slow);
    eventually(async || app.ask_json("How?").await.0 == 200).await;
}

#[tokio::test]
async fn who_is_refused_before_the_body_was_read_still_reads_why() {
    let (app, _gemini, _qdrant) = app(&[("RATE_LIMIT", "1")]).await;
    assert_eq!(app.ask_json("How?").await.0, 200);
    let length = 1024 * 1024;
    let mut socket = TcpStream::connect(&app.address).await.unwrap();
    socket.write_all(post(length, "Connection: close").as_bytes()).await.unwrap();
    for half in 0..2 {
        // A reader that is slow to send: by now, a server that closes without reading on has done so.
        tokio::time::sleep(Duration::from_millis(100)).await;
        socket.write_all(&vec![b' '; length / 2]).await.unwrap_or_else(|error| panic!("half {half}: {error}"));
    }
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
}
