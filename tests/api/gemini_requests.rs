//! Checks the requests to Gemini: the key in its header alone, the prompt, the parameters.

use serde_json::json;

use crate::support::app::spawn_with_fakes;
use crate::support::fake_gemini::DIMENSIONS;

#[tokio::test]
async fn the_key_is_sent_in_its_header_and_nowhere_else() {
    let (app, gemini, _) = spawn_with_fakes(&[]).await;
    app.ask_json("How?").await;
    let sent = gemini.all_requests();
    assert!(sent.iter().any(|sent| sent.method == "GET"), "the start looks the models up");
    for sent in sent {
        assert_eq!(sent.headers["x-goog-api-key"], "AIza-test-key");
        assert!(!sent.path.contains("AIza") && !sent.body.to_string().contains("AIza"));
        assert!(!sent.headers.contains_key("authorization"));
    }
    let embed = &gemini.requests_to(":embedContent")[0];
    assert!(embed.path.ends_with("/v1beta/models/gemini-embedding-001:embedContent"));
    assert_eq!(embed.body["taskType"], "RETRIEVAL_QUERY");
    assert_eq!(embed.body["outputDimensionality"], DIMENSIONS);
}

#[tokio::test]
async fn the_prompt_carries_history_page_selection_and_numbered_passages() {
    let (app, gemini, _) = spawn_with_fakes(&[("INSTRUCTIONS", "Be kind."), ("SITE_NAME", "Acme")]).await;
    let body = json!({
        "query": "And then?",
        "history": [{"role": "user", "content": "First?"}, {"role": "assistant", "content": "This."}],
        "page": {"url": "/docs/x", "title": "X", "selection": "marked words"},
        "top_k": 2,
    });
    assert_eq!(app.ask(&body).await.status(), 200);
    let sent = &gemini.requests_to(":streamGenerateContent")[0];
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
        gemini.requests_to(":embedContent")[0].body["content"]["parts"][0]["text"].as_str().unwrap().to_owned();
    assert!(embedded.contains("And then?") && embedded.contains("marked words"), "{embedded}");
}
