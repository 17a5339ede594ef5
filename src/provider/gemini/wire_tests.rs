//! Tests the wire format: every shape that an event, an error and a request can have.

use super::*;
use crate::chat::{Message, Usage};
use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use proptest::prelude::*;

fn chunk(text: &str) -> String {
    json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]}).to_string()
}

fn decode(events: &[String]) -> (Vec<Result<String, EventFault>>, Option<Finish>) {
    let mut decoder = Decoder::default();
    let texts = events.iter().map(|event| decoder.push(event)).collect();
    (texts, decoder.finish("configured"))
}

/// Returns the visible text of one event.
fn visible(event: Value) -> String {
    Decoder::default().push(&event.to_string()).unwrap()
}

fn finish(events: &[Value]) -> Option<Finish> {
    let mut decoder = Decoder::default();
    for event in events {
        decoder.push(&event.to_string()).unwrap();
    }
    decoder.finish("configured")
}

#[test]
fn only_visible_text_comes_out() {
    let content = |parts: Value| json!({"candidates": [{"content": {"parts": parts}}]});
    assert_eq!(visible(content(json!([{"text": "a"}, {"text": "b"}]))), "ab");
    assert_eq!(visible(content(json!([{"text": "thinking", "thought": true}, {"text": "a"}]))), "a");
    assert_eq!(visible(content(json!([{"text": "", "thoughtSignature": "AAAA"}, {"inlineData": {}}]))), "");
    assert_eq!(visible(content(json!(null))), "");
    assert_eq!(visible(json!({"candidates": [{"content": {"role": "model"}}]})), "");
    assert_eq!(visible(json!({"candidates": [{"finishReason": "SAFETY"}]})), "");
    assert_eq!(visible(json!({"candidates": []})), "");
    assert_eq!(visible(json!({"candidates": [{"index": 1, "content": {"parts": [{"text": "other"}]}}]})), "");
    assert_eq!(visible(json!({"usageMetadata": {"promptTokenCount": 1}})), "");
    assert_eq!(visible(json!({"promptFeedback": {}, "unknown": [1]})), "");
}

#[test]
fn text_comes_before_its_finish_reason_and_may_follow_an_early_one() {
    let event = |text: &str, reason: &str| {
        json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": reason}]}).to_string()
    };
    let (texts, end) = decode(&[event("a", "STOP"), event("b", "STOP"), event("c", "MAX_TOKENS")]);
    assert_eq!(texts, [Ok("a".to_owned()), Ok("b".to_owned()), Ok("c".to_owned())]);
    assert_eq!(end.unwrap().finish_reason, FinishReason::MaxTokens);
}

#[test]
fn every_finish_reason_has_its_place_and_none_means_cut() {
    let finished = |reason: &str| {
        finish(&[json!({"candidates": [{"finishReason": reason}]})]).map(|end| end.finish_reason)
    };
    for (reason, expected) in [
        ("STOP", Some(FinishReason::Stop)),
        ("MAX_TOKENS", Some(FinishReason::MaxTokens)),
        ("SAFETY", Some(FinishReason::Safety)),
        ("RECITATION", Some(FinishReason::Recitation)),
        ("PROHIBITED_CONTENT", Some(FinishReason::Blocked)),
        ("BLOCKLIST", Some(FinishReason::Blocked)),
        ("SPII", Some(FinishReason::Blocked)),
        ("OTHER", Some(FinishReason::Other)),
        ("LANGUAGE", Some(FinishReason::Other)),
        ("MALFORMED_RESPONSE", Some(FinishReason::Other)),
        ("INVENTED_TOMORROW", Some(FinishReason::Other)),
        ("FINISH_REASON_UNSPECIFIED", None),
    ] {
        assert_eq!(finished(reason), expected, "{reason}");
    }
    let blocked = finish(&[json!({"promptFeedback": {"blockReason": "INVENTED_TOMORROW"}})]);
    assert_eq!(blocked.unwrap().finish_reason, FinishReason::Blocked);
}

#[test]
fn usage_is_cumulative_and_counts_thoughts() {
    let usage = |candidates: u64| json!({"promptTokenCount": 5, "candidatesTokenCount": candidates, "thoughtsTokenCount": 3, "totalTokenCount": 99});
    let end = finish(&[
        json!({"usageMetadata": usage(1), "modelVersion": "m-1"}),
        json!({"usageMetadata": usage(4), "candidates": [{"finishReason": "STOP"}]}),
        json!({"modelVersion": ""}),
        json!({"modelVersion": 3, "usageMetadata": "odd"}),
    ]);
    let end = end.unwrap();
    assert_eq!(end.usage, Some(Usage { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }));
    assert_eq!(end.model.as_deref(), Some("m-1"));
}

#[test]
fn the_configured_model_stands_in_and_unknown_usage_is_none() {
    let end = finish(&[json!({"candidates": [{"finishReason": "STOP"}]})]).unwrap();
    assert_eq!((end.model.as_deref(), end.usage), (Some("configured"), None));
}

#[test]
fn an_event_that_is_no_answer_is_a_fault_and_done_is_not() {
    for event in ["\"text\"", "[1]", "7", "null", "{\"candidates\": 7}", "{\"candidates\"", "<html>"] {
        assert_eq!(Decoder::default().push(event), Err(EventFault::Unusable), "{event}");
    }
    assert_eq!(Decoder::default().push("[DONE]"), Ok(String::new()));
}

#[test]
fn an_error_inside_the_stream_is_read_in_every_form() {
    let error = json!({"error": {"code": 503, "message": "high demand", "status": "UNAVAILABLE"}});
    for event in
        [error.clone(), json!([error]), json!({"error": {"message": "high demand", "status": "UNAVAILABLE"}})]
    {
        let Err(EventFault::Api(fault)) = Decoder::default().push(&event.to_string()) else {
            panic!("{event}")
        };
        assert_eq!((fault.code, fault.message.as_str()), (503, "UNAVAILABLE high demand"));
    }
}

#[test]
fn an_error_body_says_how_long_to_wait_and_when_waiting_is_no_use() {
    let error = |message: &str, details: Value| {
        ApiError::from_value(&json!({"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}})).unwrap()
    };
    for (delay, expected) in [
        ("53s", Some(Duration::from_secs(53))),
        ("0.42s", Some(Duration::from_millis(420))),
        ("900ms", Some(Duration::from_millis(900))),
        ("-1s", None),
        ("soon", None),
        ("infs", None),
    ] {
        let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]);
        assert_eq!(error("", details).retry_after, expected, "{delay}");
    }
    let quota = |id: &str| json!([{"violations": [{"quotaId": id}]}]);
    assert!(error("", quota("GenerateRequestsPerDayPerProject-FreeTier")).quota_spent);
    assert!(!error("", quota("GenerateRequestsPerMinutePerProject")).quota_spent);
    assert!(error("Quota exceeded, limit: 0", json!([])).quota_spent);
}

#[test]
fn requests_carry_the_task_as_each_model_wants_it() {
    let document = Task::Document { title: "T", heading: "" };
    let old = embed_request("gemini-embedding-001", "x", document, 768);
    assert_eq!(
        old,
        json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "x"}]},
            "taskType": "RETRIEVAL_DOCUMENT", "title": "T", "outputDimensionality": 768})
    );
    assert_eq!(embed_request("gemini-embedding-001", "x", Task::Query, 768)["taskType"], "RETRIEVAL_QUERY");
    let new = |task| embed_request("gemini-embedding-2", "x", task, 768);
    assert_eq!(new(Task::Query)["content"]["parts"][0]["text"], "task: search result | query: x");
    assert_eq!(new(document)["content"]["parts"][0]["text"], "title: T | text: x");
    assert_eq!(
        new(Task::Document { title: "", heading: "" })["content"]["parts"][0]["text"],
        "title: none | text: x"
    );
    assert!(new(Task::Query).get("taskType").is_none());
}

#[test]
fn thinking_is_sent_as_each_model_takes_it_and_not_at_all_when_unset() {
    let prompt = Prompt {
        system: "s".into(),
        messages: vec![Message { role: Role::User, content: "q".into() }],
        question: "q".into(),
        passages: Vec::new(),
    };
    let sent = |model: &str, thinking: Option<Thinking>| {
        generate_request(model, &prompt, thinking.as_ref())["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(sent("gemini-3.5-flash-lite", None), Value::Null);
    assert_eq!(sent("gemini-2.5-flash", Some(Thinking::Off)), json!({"thinkingBudget": 0}));
    assert_eq!(sent("gemini-3.5-flash-lite", Some(Thinking::Off)), json!({"thinkingLevel": "minimal"}));
    assert_eq!(sent("gemini-3.8-flash", Some(Thinking::Level("low".into()))), json!({"thinkingLevel": "low"}));
    assert_eq!(sent("gemini-2.5-flash", Some(Thinking::Budget(512))), json!({"thinkingBudget": 512}));
}

/// Generates streams as Gemini and servers in front of it send them.
fn wire() -> impl Strategy<Value = (Vec<u8>, Vec<String>)> {
    let text =
        prop::sample::select(vec!["Hello", "ünï", "日本語", "🦀🦀", "a\nb", "\"quoted\"", "", "data: x"]);
    let end = prop::sample::select(vec!["\r\n\r\n", "\n\n"]);
    let lead = prop::sample::select(vec!["data: ", "data:"]);
    prop::collection::vec((text, end, lead), 0..12).prop_map(|events| {
        let wire: String =
            events.iter().map(|(text, end, lead)| format!("{lead}{}{end}", chunk(text))).collect();
        (wire.into_bytes(), events.into_iter().map(|(text, ..)| text.to_owned()).collect())
    })
}

fn read(pieces: Vec<Vec<u8>>) -> Vec<Result<String, EventFault>> {
    let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let mut decoder = Decoder::default();
    futures::executor::block_on(
        pieces.eventsource().map(|event| decoder.push(&event.expect("a readable event").data)).collect(),
    )
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_events((wire, texts) in wire(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        places.extend([0, wire.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|pair| wire[pair[0]..pair[1]].to_vec()).collect();
        let expected: Vec<Result<String, EventFault>> = texts.into_iter().map(Ok).collect();
        prop_assert_eq!(read(pieces), expected);
    }

    #[test]
    fn no_event_crashes_the_decoder(event in "\\PC{0,200}") {
        let _ = Decoder::default().push(&event);
    }
}
