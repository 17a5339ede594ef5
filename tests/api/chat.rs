//! `POST /chat` in both forms, and every way a request can be wrong.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::fake_gemini::{FakeGemini, answer_of, finish, gate, text as said};
use crate::fake_qdrant::{Behaviour, FakeQdrant};
use crate::helpers::{spawn_app, spawn_demo, text, within};

#[tokio::test]
async fn sources_come_first_then_tokens_then_done() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let app = spawn_app(&gemini, &qdrant, &[]).await;
    let mut stream = app.ask_stream("How?").await;
    let head = stream.head().await;
    for line in [
        "http/1.1 200 ok",
        "content-type: text/event-stream",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "transfer-encoding: chunked",
        "x-request-id: ",
    ] {
        assert!(head.contains(line), "no {line:?} in {head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
    let events = stream.rest().await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["sources", "token", "token", "done"]);
    let source = &events[0].data["sources"][0];
    assert_eq!(source["number"], 1);
    assert_eq!(source["title"], "Page 1");
    assert_eq!(source["section"], "Part");
    assert_eq!(source["url"], "https://docs.example/p1#part");
    assert_eq!(source["snippet"], "Passage 1 about things.");
    let done = &events[3].data;
    assert_eq!(done["status"], "answered");
    assert_eq!(done["cited"], json!([1]));
    assert_eq!(done["finish_reason"], "stop");
    assert_eq!(done["model"], "gemini-test-1");
    assert_eq!(done["usage"], json!({"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13}));
    assert_eq!(done["request_id"], events[0].data["request_id"]);
    assert!(
        done["timings"]["first_token_ms"].as_f64().unwrap() <= done["timings"]["total_ms"].as_f64().unwrap()
    );
    assert!(done.get("response").is_none() && done.get("sources").is_none());
}

#[tokio::test]
async fn json_is_the_same_answer_in_one_object() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let app = spawn_app(&gemini, &qdrant, &[]).await;
    let (status, answer) = app.ask_json("How?").await;
    let events = app.ask_stream("How?").await.events().await;
    assert_eq!(status, 200);
    assert_eq!(answer["response"], "Hello [1].");
    assert_eq!(answer["response"], text(&events));
    assert_eq!(answer["sources"], events[0].data["sources"]);
    let mut done = events.last().unwrap().data.clone();
    for key in ["status", "cited", "finish_reason", "model", "usage"] {
        assert_eq!(answer[key], done[key].take(), "{key}");
    }
    let mut keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected =
        ["response", "sources", "status", "cited", "finish_reason", "model", "usage", "timings", "request_id"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn sources_are_on_the_wire_before_the_model_says_anything_and_tokens_before_it_ends() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let app = spawn_app(&gemini, &qdrant, &[]).await;
    let (chunks, reply) = gate();
    gemini.on_generate(reply);
    let mut stream = app.ask_stream("How?").await;
    stream.head().await;
    assert_eq!(stream.event().await.name, "sources");
    chunks.send(said("First ")).unwrap();
    assert_eq!(stream.event().await.data["text"], "First ");
    chunks.send(said("second [")).unwrap();
    assert_eq!(stream.event().await.data["text"], "second ");
    chunks.send(said("9] third")).unwrap();
    assert_eq!(stream.event().await.data["text"], " third");
    chunks.send(finish("STOP")).unwrap();
    drop(chunks);
    let done = stream.event().await;
    assert_eq!((done.name.as_str(), &done.data["status"]), ("done", &json!("uncited")));
    assert!(stream.next_event().await.is_none());
}

#[tokio::test]
async fn a_refusal_is_marked_and_its_mark_is_taken_out() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let app = spawn_app(&gemini, &qdrant, &[]).await;
    gemini.on_generate(answer_of(&["[NOT_", "IN_DOCS]", " The docs cover things [1]."]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(
        (&answer["status"], &answer["response"]),
        (&json!("not_in_docs"), &json!("The docs cover things [1]."))
    );
    gemini.on_generate(answer_of(&["\n[NOT_IN_DOCS]"]));
    let (_, answer) = app.ask_json("How?").await;
    assert_eq!(answer["status"], "not_in_docs");
    assert!(answer["response"].as_str().unwrap().starts_with("The documentation does not"));
}

#[tokio::test]
async fn nothing_retrieved_means_that_the_model_is_not_asked() {
    let gemini = FakeGemini::start().await;
    let qdrant = FakeQdrant::with(Behaviour { points: Vec::new(), ..Behaviour::default() }).await;
    let app = spawn_app(&gemini, &qdrant, &[]).await;
    let (status, answer) = app.ask_json("How?").await;
    assert_eq!(status, 200);
    assert_eq!(answer["status"], "not_in_docs");
    assert_eq!(answer["sources"], json!([]));
    assert_eq!(answer["finish_reason"], "stop");
    for key in ["model", "usage"] {
        assert_eq!(answer[key], Value::Null, "{key}");
    }
    assert_eq!(answer["timings"]["first_token_ms"], Value::Null);
    assert!(gemini.sent(":streamGenerateContent").is_empty());
    let events = app.ask_stream("How?").await.events().await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["sources", "token", "done"]);
}

#[tokio::test]
async fn the_prompt_carries_history_page_selection_and_numbered_passages() {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    let app = spawn_app(&gemini, &qdrant, &[("INSTRUCTIONS", "Be kind."), ("SITE_NAME", "Acme")]).await;
    let body = json!({
        "query": "And then?",
        "history": [{"role": "user", "content": "First?"}, {"role": "assistant", "content": "This."}],
        "page": {"url": "/docs/x", "title": "X", "selection": "marked words"},
        "top_k": 2,
    });
    assert_eq!(app.ask(&body).await.status(), 200);
    let sent = &gemini.sent(":streamGenerateContent")[0];
    assert!(
        sent.path.ends_with("/v1beta/models/gemini-3.5-flash-lite:streamGenerateContent?alt=sse"),
        "{}",
        sent.path
    );
    let system = sent.body["systemInstruction"]["parts"][0]["text"].as_str().unwrap();
    assert!(system.contains("Acme") && system.ends_with("Be kind."), "{system}");
    let contents = sent.body["contents"].as_array().unwrap();
    let roles: Vec<&str> = contents.iter().map(|content| content["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "model", "user"]);
    let turn = contents[2]["parts"][0]["text"].as_str().unwrap();
    for part in [
        "<passage number=\"2\" title=\"Page 2\" section=\"Part\">",
        "marked words",
        "url=\"/docs/x\"",
        "And then?",
    ] {
        assert!(turn.contains(part), "no {part:?} in {turn}");
    }
    assert!(!turn.contains("number=\"3\""), "{turn}");
    let config = &sent.body["generationConfig"];
    for key in ["temperature", "topP", "topK", "thinkingConfig", "presencePenalty"] {
        assert!(config.get(key).is_none(), "{key} was sent: {config}");
    }
    let embedded =
        gemini.sent(":embedContent")[0].body["content"]["parts"][0]["text"].as_str().unwrap().to_owned();
    assert!(embedded.contains("And then?") && embedded.contains("marked words"), "{embedded}");
}

#[tokio::test]
async fn every_wrong_request_gets_its_problem() {
    let app = spawn_demo().await;
    let chat = app.url("/chat");
    let post = || app.http.post(&chat).header("content-type", "application/json");
    let cases = [
        (post().body("{broken"), 400, "malformed_json"),
        (post().body("[]"), 422, "invalid_request"),
        (post().body(r#"{"query": ""}"#), 422, "invalid_request"),
        (post().body(vec![b' '; 1024 * 1024 + 1]), 413, "payload_too_large"),
        (post().header("accept", "text/html").body(r#"{"query": "x"}"#), 406, "not_acceptable"),
        (
            app.http.post(&chat).header("content-type", "text/plain").body(r#"{"query": "x"}"#),
            415,
            "unsupported_media_type",
        ),
        (app.http.post(&chat).body(r#"{"query": "x"}"#), 415, "unsupported_media_type"),
        (app.http.get(&chat), 405, "method_not_allowed"),
        (app.http.get(app.url("/nothing")), 404, "not_found"),
    ];
    for (request, status, code) in cases {
        let response = request.send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{code}");
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{code}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["retryable"], false);
        assert_eq!(problem["request_id"], id);
        assert_eq!(problem.get("errors").is_some(), code == "invalid_request");
    }
}

#[tokio::test]
async fn wrong_fields_are_named_and_their_values_are_not_repeated() {
    let app = spawn_demo().await;
    let body = json!({"query": "x", "history": [{"role": "hidden-value", "content": "y"}], "filter": {"owner": "me"}, "top_k": 0});
    let response = app.ask(&body).await;
    assert_eq!(response.status(), 422);
    let text = response.text().await.unwrap();
    let problem: Value = serde_json::from_str(&text).unwrap();
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["history[0].role", "filter.owner", "top_k"]);
    assert!(!text.contains("hidden-value"), "{text}");
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let app = spawn_demo().await;
    let mut stream = app.open(&json!({"query": "x"})).await;
    stream.head().await;
    stream.rest().await;
    let mut socket = tokio::net::TcpStream::connect(&app.address).await.unwrap();
    let head = "POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    // The server may answer and close before it has taken everything.
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
async fn the_demo_answers_offline_and_says_when_the_handbook_does_not() {
    let app = spawn_demo().await;
    let (status, answer) = app.ask_json("How do I put the chat on my Docusaurus site?").await;
    assert_eq!(status, 200);
    assert_eq!(answer["status"], "answered", "{answer:#}");
    for key in ["model", "usage"] {
        assert_eq!(answer[key], Value::Null, "no model was asked, but {key} is set");
    }
    assert_eq!(answer["timings"]["first_token_ms"], Value::Null);
    let mut headings = 0;
    for cited in answer["cited"].as_array().unwrap() {
        let url = answer["sources"][cited.as_u64().unwrap() as usize - 1]["url"].as_str().unwrap();
        let (page, anchor) = url.split_once('#').unwrap_or((url, ""));
        let response = app.http.get(app.url(page)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
        let html = response.text().await.unwrap();
        assert!(anchor.is_empty() || html.contains(&format!("id=\"{anchor}\"")), "{url} leads to no heading");
        headings += usize::from(!anchor.is_empty());
    }
    assert!(headings > 0, "no citation leads to a heading");
    let (status, answer) = app.ask_json("What is the capital of France?").await;
    assert_eq!((status, &answer["status"]), (200, &json!("not_in_docs")));
    let response = answer["response"].as_str().unwrap();
    assert!(
        response.contains("does not seem to answer") && response.contains("The closest pages: "),
        "{response}"
    );
}

#[tokio::test]
async fn the_same_offline_question_gets_the_same_answer() {
    let app = spawn_demo().await;
    let (_, one) = app.ask_json("Which events does the stream have?").await;
    let (_, two) = app.ask_json("Which events does the stream have?").await;
    assert_eq!((&one["response"], &one["sources"]), (&two["response"], &two["sources"]));
}
