//! Checks the one log line of each request: its fields, its ids, and that nothing from outside forges a line.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::spawn_demo;
use crate::support::binary::Binary;
use crate::support::fake_gemini::{FakeGemini, Reply, error, event, whole_answer};
use crate::support::fake_qdrant::{Behaviour, FakeQdrant};
use crate::support::wait::{eventually, within};

/// Starts the binary, which logs in a format.
async fn start_logging(format: &str) -> (Binary, FakeGemini, FakeQdrant) {
    let gemini = FakeGemini::start().await;
    let qdrant = FakeQdrant::start_with(Behaviour::default()).await;
    let server = Binary::serve(&gemini.url(), &qdrant.url(), &[("LOG_FORMAT", format)]).await;
    (server, gemini, qdrant)
}

/// Sends requests with hostile texts, also from the dependencies; returns the lines that were logged meanwhile.
async fn send_hostile_requests(server: &Binary, gemini: &FakeGemini, qdrant: &FakeQdrant) -> Vec<String> {
    let before = server.log_lines().len();
    let forged = "x\r\n2026-01-01T00:00:00Z  INFO forged: line\u{1b}[31m AIza-secret \u{2028}\u{202e} y";
    let failure = json!({"error": {"code": 500, "message": forged, "status": forged}}).to_string();
    let ask = async |id: &str| {
        let request = reqwest::Client::new().post(format!("{}/chat", server.url)).header("x-request-id", id);
        let request = request.header("traceparent", "00-forged\t-x-01").header("user-agent", "forged \t");
        let body = json!({"query": format!("marker-question {forged}"), "page": {"title": forged}});
        request.json(&body).send().await.unwrap().status().as_u16()
    };
    for _ in 0..3 {
        gemini.on_embed(Reply::Plain(500, "application/json", failure.clone().into_bytes()));
    }
    assert_eq!(ask("one").await, 502);
    gemini.on_generate(Reply::Chunks(vec![event(&serde_json::from_str(&failure).unwrap())]));
    gemini.on_generate(error(400, "INVALID_ARGUMENT", json!([])));
    assert_eq!(ask("two").await, 502);
    qdrant.change(|behaviour| behaviour.query_error = Some(tonic::Code::Internal));
    assert_eq!(ask("three").await, 502);
    qdrant.change(|behaviour| behaviour.query_error = None);
    gemini.on_generate(whole_answer(&["marker-answer \r\nforged [1]"]));
    assert_eq!(ask("four").await, 200);
    let unknown = json!({"query": "x", "a\r\nforged\u{1b}\u{2028}\u{202e}": 1});
    let request = reqwest::Client::new().post(format!("{}/chat", server.url)).json(&unknown);
    assert_eq!(request.send().await.unwrap().status(), 422);
    let widget = reqwest::get(format!("{}/widget.js", server.url)).await.unwrap();
    assert_eq!(widget.status(), 200); // The widget has no line: every page of a site asks for it.
    let address = server.url.trim_start_matches("http://");
    for first in ["GET /%0d%0aforged%1b[31m?a=forged HTTP/1.1", "FORGED /x HTTP/1.1"] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!("{first}\r\nHost: forged\r\nX-Request-Id: a;forged\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within(socket.read_to_end(&mut answer)).await.unwrap();
    }
    reqwest::Client::new()
        .post(format!("{}/chat", server.url))
        .header("x-request-id", "last")
        .send()
        .await
        .unwrap();
    eventually(async || server.log_lines().iter().any(|line| line.contains("last"))).await;
    server.log_lines()[before..].to_vec()
}

#[tokio::test]
async fn no_text_from_outside_makes_a_log_line_or_puts_a_secret_into_one() {
    for format in ["json", "pretty"] {
        let (server, gemini, qdrant) = start_logging(format).await;
        let lines = send_hostile_requests(&server, &gemini, &qdrant).await;
        for line in &lines {
            let stamp =
                if format == "json" { line.starts_with("{\"timestamp\":") } else { line.starts_with("20") };
            assert!(stamp && !line.starts_with("2026-01-01"), "{format}: a forged line: {line:?}");
            assert!(
                !line.chars().any(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)),
                "{format}: {line:?}"
            );
            for secret in ["AIza-secret", "qdrant-secret", "marker-question", "marker-answer", "Passage 1"] {
                assert!(!line.contains(secret), "{format}: {secret} in {line}");
            }
        }
        let ended =
            |line: &&String| ["failed", "refused", "answered", "served"].iter().any(|end| line.contains(end));
        let requests = lines.iter().filter(ended).filter(|line| line.contains("total_ms")).count();
        assert_eq!(requests, 8, "{format}: one line for each request\n{}", lines.join("\n"));
        let id = if format == "json" { "\"request_id\":\"four\"" } else { " request_id=four " };
        assert!(lines.iter().any(|line| line.contains(id)), "{format}: no line of four\n{}", lines.join("\n"));
    }
}

#[tokio::test]
async fn the_line_of_a_request_has_its_stages_and_its_trace_and_retries_have_its_id() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (server, gemini, _qdrant) = start_logging("json").await;
    gemini.on_embed(error(503, "UNAVAILABLE", json!([]))).on_generate(error(503, "UNAVAILABLE", json!([])));
    let request = reqwest::Client::new().post(format!("{}/chat", server.url)).header("x-request-id", "mine");
    let request = request.header("accept", "text/event-stream").header("traceparent", trace);
    request.json(&json!({"query": "How?"})).send().await.unwrap().text().await.unwrap();
    let line = server.wait_for_log("\"message\":\"answered\"", 1).await.remove(0);
    for (field, value) in [
        ("request_id", json!("mine")),
        ("method", json!("POST")),
        ("route", json!("/chat")),
        ("status", json!(200)),
        ("answer", json!("answered")),
        ("finish_reason", json!("stop")),
        ("cited", json!(1)),
        ("traceparent", json!(trace)),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    let ms = |field: &str| line[field].as_f64().unwrap_or_else(|| panic!("no {field} in {line}"));
    assert!(ms("embed_ms") > 0.0 && ms("retrieve_ms") > 0.0 && ms("first_token_ms") <= ms("total_ms"));
    let own_id = line["own_id"].as_str().unwrap_or_default();
    assert!(own_id.len() == 36 && own_id != "mine", "Docent's own id stands beside the caller's: {line}");
    let retries = server.wait_for_log("trying again", 2).await;
    let of: Vec<(&Value, &Value)> =
        retries.iter().map(|line| (&line["span"]["request_id"], &line["stage"])).collect();
    assert_eq!(of, [(&json!("mine"), &json!("embed")), (&json!("mine"), &json!("generate"))]);
    let with_id = server.log_events().into_iter().filter(|line| line["request_id"] == "mine").count();
    assert_eq!(with_id, 1, "one line for each request");
}

#[tokio::test]
async fn a_sane_request_id_is_echoed_and_any_other_is_replaced() {
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
