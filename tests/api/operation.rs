//! What operators and browsers rely on: health and readiness, CORS, request ids, permits, cancellation, shutdown.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fake_gemini::{FakeGemini, Reply, error, finish, gate, text as said};
use crate::fake_qdrant::FakeQdrant;
use crate::helpers::{TestApp, demo, eventually, spawn, spawn_app, spawn_demo, text, vars, within};

async fn app(settings: &[(&str, &str)]) -> (TestApp, FakeGemini, FakeQdrant) {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    (spawn_app(&gemini, &qdrant, settings).await, gemini, qdrant)
}

#[tokio::test]
async fn health_is_always_200_and_says_the_version() {
    let app = spawn_demo().await;
    let response = app.http.get(app.url("/health")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body, json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}));
}

#[tokio::test]
async fn ready_follows_the_dependencies_without_asking_them_per_call() {
    let (app, gemini, qdrant) = app(&[("READY_INTERVAL", "50ms")]).await;
    let ready = async || {
        let response = app.http.get(app.url("/ready")).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    assert_eq!(ready().await, (200, json!({"status": "ready", "qdrant": "ok", "gemini": "ok"})));
    qdrant.change(|behaviour| behaviour.collections.clear());
    eventually(async || ready().await.0 == 503).await;
    assert_eq!(ready().await.1["qdrant"], "refused");
    qdrant.change(|behaviour| behaviour.collections = vec!["docs".to_owned()]);
    eventually(async || ready().await.0 == 200).await;
    for _ in 0..50 {
        gemini.on_look(error(503, "UNAVAILABLE", json!([])));
    }
    eventually(async || ready().await.1["gemini"] == "unreachable").await;
    let demo = spawn_demo().await;
    let body: Value = demo.http.get(demo.url("/ready")).send().await.unwrap().json().await.unwrap();
    assert_eq!(body["gemini"], "offline");
}

#[tokio::test]
async fn only_allowed_origins_get_cors_headers() {
    let (app, _gemini, _qdrant) =
        app(&[("ALLOWED_ORIGINS", "https://docs.example, https://www.docs.example:8443")]).await;
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
    let (app, _gemini, _qdrant) = app(&[("ALLOWED_ORIGINS", "*")]).await;
    let request = app.http.post(app.url("/chat")).header("origin", "https://any.example").json(&json!({}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn a_sane_request_id_is_taken_over_and_any_other_is_replaced() {
    let app = spawn_demo().await;
    let echoed = async |id: &str| {
        let response = app.http.get(app.url("/health")).header("x-request-id", id).send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(echoed("abc-1.2_3").await, "abc-1.2_3");
    for id in ["", "a b", "a\tb", "ü", "a;b", &"x".repeat(129)] {
        let made = echoed(id).await;
        assert!(made != id && made.len() == 36, "{id:?} became {made:?}");
    }
    let request = app.http.post(app.url("/chat")).header("x-request-id", "mine").json(&json!({"query": "x"}));
    assert_eq!(request.send().await.unwrap().json::<Value>().await.unwrap()["request_id"], "mine");
}

#[tokio::test]
async fn a_full_server_sheds_at_once_and_a_permit_lasts_as_long_as_its_stream() {
    let (app, gemini, _qdrant) = app(&[("MAX_STREAMS", "1")]).await;
    let (chunks, mut stream) = app.held(&gemini).await;
    let refused = app.ask(&json!({"query": "x"})).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("overloaded"), &json!(true)));
    assert_eq!(app.http.get(app.url("/health")).send().await.unwrap().status(), 200);
    chunks.send(said("Hi")).unwrap();
    chunks.send(finish("STOP")).unwrap();
    drop(chunks);
    stream.rest().await;
    eventually(async || app.ask(&json!({"query": "x"})).await.status() == 200).await;
}

#[tokio::test]
async fn hundreds_of_answers_stream_at_once() {
    const ANSWERS: usize = 300;
    let (app, gemini, _qdrant) = app(&[]).await;
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
        chunks.send(said("Hi")).unwrap();
        chunks.send(finish("STOP")).unwrap();
    }
    drop(gates);
    for stream in &mut streams {
        assert_eq!(text(&stream.rest().await), "Hi");
    }
}

#[tokio::test]
async fn a_crowd_that_comes_and_goes_gets_its_own_answers_and_leaves_nothing_behind() {
    const READERS: usize = 200;
    let (app, gemini, _qdrant) = app(&[("MAX_STREAMS", "64")]).await;
    let visit = async |reader: usize| {
        let nonce = format!("nonce-{reader:08}");
        let query = format!("How? {nonce}");
        match reader % 4 {
            0 => {
                let response = app.ask(&json!({ "query": query })).await;
                let (status, body) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
                let whole = status == 200 && body["response"] == format!("{nonce} [1].");
                assert!(whole || (status == 503 && body["code"] == "overloaded"), "{status} {body}");
            }
            1 => {
                let mut stream = app.ask_stream(&query).await;
                if stream.head().await.starts_with("http/1.1 200") {
                    assert_eq!(text(&stream.rest().await), format!("{nonce} [1]."));
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
    within(gemini.all_closed()).await;
    eventually(async || app.app.drain.requests.is_empty()).await;
    let permits: Vec<_> = (0..64).map(|_| app.app.permits.try_acquire()).collect();
    assert!(permits.iter().all(Option::is_some), "a permit is lost");
    drop(permits);
    assert_eq!(app.ask_json("How? nonce-abcdefgh").await.1["response"], "nonce-abcdefgh [1].");
}

#[tokio::test]
async fn a_shutdown_lets_open_answers_finish_and_takes_no_new_work() {
    let (app, gemini, _qdrant) = app(&[]).await;
    let (chunks, mut stream) = app.held(&gemini).await;
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
    chunks.send(said("Hi")).unwrap();
    chunks.send(finish("STOP")).unwrap();
    drop(chunks);
    let events = stream.rest().await;
    assert_eq!(events.last().unwrap().name, "done");
    app.stopped().await;
}

#[tokio::test]
async fn an_answer_that_outlives_the_grace_ends_with_an_error() {
    let (app, gemini, _qdrant) = app(&[("SHUTDOWN_GRACE", "200ms")]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    gemini.on_embed(crate::fake_gemini::embedding(&json!(vec![1.0; crate::fake_gemini::DIMENSIONS])));
    gemini.on_embed(Reply::Silence);
    let mut stream = app.ask_stream("How?").await;
    stream.head().await;
    stream.event().await;
    let request = app.http.post(app.url("/chat")).json(&json!({"query": "x"}));
    let json = tokio::spawn(async move { request.send().await.unwrap().status() });
    eventually(async || gemini.open_streams() == 2).await;
    app.stop();
    let events = within(stream.rest()).await;
    assert_eq!((events[0].name.as_str(), &events[0].data["code"]), ("error", &json!("overloaded")));
    assert_eq!(within(json).await.unwrap(), 503);
    app.stopped().await;
    within(gemini.all_closed()).await;
    drop(chunks);
}

#[tokio::test]
async fn silence_is_filled_with_a_comment_line_without_a_blank_line() {
    let (app, gemini, _qdrant) = app(&[]).await;
    let (chunks, mut stream) = app.held(&gemini).await;
    let heartbeat = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await;
    assert_eq!(heartbeat.expect("a heartbeat after 15 s").as_deref(), Some(": hb\n"));
    chunks.send(said("Hi")).unwrap();
    assert_eq!(stream.event().await.data["text"], "Hi");
}

#[tokio::test]
async fn pages_carry_a_strict_policy_and_no_inline_script() {
    let app = spawn_demo().await;
    for path in ["/", "/docs", "/docs/configure"] {
        let response = app.http.get(app.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let html = response.text().await.unwrap();
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "{path}");
        assert!(!html.contains("<script>"), "{path}");
    }
}

#[tokio::test]
async fn a_demo_admits_a_docusaurus_in_development() {
    let app = spawn(docent::config::Config::demo(&vars(&[]), demo(None)).unwrap()).await;
    let request = app.http.get(app.url("/ready")).header("origin", "http://localhost:3000");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:3000");
}
