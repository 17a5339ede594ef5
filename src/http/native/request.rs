//! Reads the body of `POST /chat`: from JSON to a [`Question`], or to the names of all wrong fields.

use serde_json::{Map, Value};

use crate::chat::{
    Field, Filter, FilterValue, MAX_FILTER_VALUES, MAX_HISTORY_MESSAGES, Message, Page, Question,
    QuestionParts, Role, filter_value_bounds, history_bounds, top_k_bounds,
};
use crate::error::Error;
use crate::http::fields::{self, Fields, join_path};

/// Keys of a request, in their order.
const KEYS: [&str; 5] = ["query", "history", "page", "filter", "top_k"];
/// Keys of `page`, in their order.
const PAGE_KEYS: [&str; 3] = ["url", "title", "selection"];

/// Reads a request's body; `filter_keys` are the payload keys that a filter may use.
///
/// # Errors
///
/// [`Error::MalformedJson`] for broken syntax, [`Error::InvalidRequest`] for everything else.
pub(crate) fn read_question(body: &[u8], filter_keys: &[String]) -> Result<Question, Error> {
    let read_parts = |object: &Map<String, Value>, fields: &mut Fields| read_parts(object, filter_keys, fields);
    let read = fields::read_question(body, filter_keys, read_parts, native_path);
    read.map_err(|error| match error {
        Error::InvalidRequest(mut wrong) => {
            wrong.sort_by(|a, b| place_of(&a.field).cmp(&place_of(&b.field)));
            Error::InvalidRequest(wrong)
        }
        error => error,
    })
}

/// Returns the place of a field's path in the order of a request: what a client reads first comes first.
/// Unknown keys come before the fields beside them.
fn place_of(path: &str) -> (usize, usize, usize, &str) {
    let place =
        |names: &[&str], name: &str| names.iter().position(|known| *known == name).map_or(0, |at| at + 1);
    let (top, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
    let index = rest.strip_prefix('[').and_then(|rest| rest.split(']').next()?.parse().ok()).unwrap_or(0);
    let part = rest.strip_prefix('.').map_or(0, |part| place(&PAGE_KEYS, part));
    (place(&KEYS, top), index, part, if top == "filter" { rest } else { "" })
}

/// Returns the path of a field as this protocol writes it.
fn native_path(field: &Field) -> String {
    match field {
        Field::Filter(key) => join_path("filter", key),
        field => field.to_string(),
    }
}

/// Reads the parts of a question; a wrong one is noted and replaced by its default.
fn read_parts(object: &Map<String, Value>, filter_keys: &[String], fields: &mut Fields) -> QuestionParts {
    fields.refuse_unknown(object, "", &KEYS);
    QuestionParts {
        query: fields.required_string(object.get("query"), "query"),
        history: read_history(object.get("history"), fields),
        page: read_page(object.get("page"), fields),
        filter: read_filter(object.get("filter"), filter_keys, fields),
        top_k: read_top_k(object.get("top_k"), fields),
    }
}

fn read_history(value: Option<&Value>, fields: &mut Fields) -> Vec<Message> {
    let items = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return fields.add_error("history", "must be a list of messages"),
    };
    if items.len() > MAX_HISTORY_MESSAGES {
        return fields.add_error("history", &history_bounds());
    }
    let messages =
        items.iter().enumerate().map(|(index, item)| read_message(item, &format!("history[{index}]"), fields));
    messages.collect()
}

fn read_message(value: &Value, path: &str, fields: &mut Fields) -> Message {
    let Value::Object(object) = value else {
        fields.add_error::<()>(path, "must be an object with role and content");
        return Message { role: Role::User, content: String::new() };
    };
    fields.refuse_unknown(object, path, &["role", "content"]);
    let role = match object.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            fields.add_error::<()>(&format!("{path}.role"), "must be \"user\" or \"assistant\"");
            Role::User
        }
    };
    let content = match object.get("content") {
        Some(Value::String(content)) => content.clone(),
        _ => fields.add_error(&format!("{path}.content"), "must be a string"),
    };
    Message { role, content }
}

fn read_page(value: Option<&Value>, fields: &mut Fields) -> Page {
    let Some(object) = fields.optional_object(value, "page") else { return Page::default() };
    fields.refuse_unknown(object, "page", &PAGE_KEYS);
    let mut read = |name: &str| fields.optional_string(object.get(name), &format!("page.{name}"));
    Page { url: read("url"), title: read("title"), selection: read("selection") }
}

fn read_filter(value: Option<&Value>, allowed: &[String], fields: &mut Fields) -> Filter {
    let Some(object) = fields.optional_object(value, "filter") else { return Filter::new() };
    let mut filter = Filter::new();
    for (key, value) in object {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        let read: Vec<FilterValue> = values.iter().filter_map(read_filter_value).collect();
        // `Question::new` refuses a key that is not allowed, and a number of values out of bounds.
        let is_bounded = allowed.contains(key) && values.len() <= MAX_FILTER_VALUES;
        if is_bounded && read.len() != values.len() {
            fields.add_error::<()>(&join_path("filter", key), &filter_value_bounds());
        }
        filter.insert(key.clone(), read);
    }
    filter
}

fn read_filter_value(value: &Value) -> Option<FilterValue> {
    match value {
        Value::String(text) => Some(FilterValue::Text(text.clone())),
        Value::Bool(truth) => Some(FilterValue::Bool(*truth)),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Some(FilterValue::Integer(integer)),
            None => number.as_f64().map(FilterValue::Float),
        },
        _ => None,
    }
}

fn read_top_k(value: Option<&Value>, fields: &mut Fields) -> Option<usize> {
    match value {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
            Some(top_k) => Some(top_k),
            None => fields.add_error("top_k", &top_k_bounds()),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chat::{DEFAULT_TOP_K, MAX_PAGE_URL_CHARS, MAX_QUERY_CHARS};
    use crate::http::fields::MAX_BODY_VALUES;

    fn keys() -> Vec<String> {
        vec!["version".to_owned()]
    }

    fn wrong_fields(body: &str) -> Vec<String> {
        match read_question(body.as_bytes(), &keys()) {
            Err(Error::InvalidRequest(errors)) => errors.into_iter().map(|error| error.field).collect(),
            other => panic!("{body} gave {other:?}"),
        }
    }

    #[test]
    fn a_body_of_very_many_values_is_refused_before_it_is_read() {
        let many = format!("{{\"query\": [{}1]}}", "{\"\":0},".repeat(MAX_BODY_VALUES));
        assert_eq!(wrong_fields(&many), [""]);
        let query = "a, b: [c] ".repeat(400);
        assert!(read_question(format!("{{\"query\": \"{}\"}}", query.trim()).as_bytes(), &keys()).is_ok());
    }

    #[test]
    fn a_whole_request_becomes_a_question() {
        let body = r#"{"query": "  How? ", "history": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}],
            "page": {"url": "/docs/x", "title": " ", "selection": "text"}, "filter": {"version": ["3.x", 3, 1.5, true]}, "top_k": 20}"#;
        let question = read_question(body.as_bytes(), &keys()).unwrap();
        assert_eq!(question.query(), "How?");
        assert_eq!(question.history().len(), 2);
        assert_eq!(question.page().title, None);
        assert_eq!(question.page().selection.as_deref(), Some("text"));
        assert_eq!(question.filter()["version"].len(), 4);
        assert_eq!(question.top_k(), 20);
        assert_eq!(read_question(br#"{"query": "x", "page": null}"#, &keys()).unwrap().top_k(), DEFAULT_TOP_K);
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let long = |n: usize| "x".repeat(n);
        let cases = [
            ("[]".to_owned(), vec![""]),
            ("{}".to_owned(), vec!["query"]),
            (r#"{"query": " "}"#.to_owned(), vec!["query"]),
            (r#"{"query": 7}"#.to_owned(), vec!["query"]),
            (format!(r#"{{"query": "{}"}}"#, long(MAX_QUERY_CHARS + 1)), vec!["query"]),
            (r#"{"query": "x", "q": 1, "top_k": 0}"#.to_owned(), vec!["q", "top_k"]),
            (r#"{"query": "x", "top_k": 1.5}"#.to_owned(), vec!["top_k"]),
            (
                format!(
                    r#"{{"top_k": "a", "page": {{"selection": 1, "url": "{}", "y": 1}}, "q": 1, "query": " ",
                    "filter": {{"version": [], "b": 1}}, "history": [{{"role": "user", "content": "{}"}}, 7]}}"#,
                    long(MAX_PAGE_URL_CHARS + 1),
                    long(8_001),
                ),
                vec![
                    "q",
                    "query",
                    "history[0].content",
                    "history[1]",
                    "page.y",
                    "page.url",
                    "page.selection",
                    "filter.b",
                    "filter.version",
                    "top_k",
                ],
            ),
            (r#"{"query": "x", "top_k": 21}"#.to_owned(), vec!["top_k"]),
            (
                r#"{"query": "x", "history": [{"role": "system", "content": 1, "x": 0}, 7]}"#.to_owned(),
                vec!["history[0].x", "history[0].role", "history[0].content", "history[1]"],
            ),
            (format!(r#"{{"query": "x", "history": [{}]}}"#, vec!["{}"; 21].join(",")), vec!["history"]),
            (
                format!(r#"{{"query": "x", "page": {{"url": "{}"}}}}"#, long(MAX_PAGE_URL_CHARS + 1)),
                vec!["page.url"],
            ),
            (r#"{"query": "x", "page": {"title": 1, "y": 2}}"#.to_owned(), vec!["page.y", "page.title"]),
            (r#"{"query": "x", "filter": {"secret": "a"}}"#.to_owned(), vec!["filter.secret"]),
            (r#"{"query": "x", "filter": {"version": {}}}"#.to_owned(), vec!["filter.version"]),
            (r#"{"query": "x", "filter": {"version": []}}"#.to_owned(), vec!["filter.version"]),
        ];
        for (body, expected) in cases {
            assert_eq!(wrong_fields(&body), expected, "{body}");
        }
    }

    #[test]
    fn bounds_count_characters_and_the_last_allowed_one_passes() {
        let body = format!(r#"{{"query": "{}"}}"#, "ü".repeat(MAX_QUERY_CHARS));
        assert!(read_question(body.as_bytes(), &keys()).is_ok());
    }

    #[test]
    fn broken_syntax_is_told_apart_from_wrong_fields() {
        for body in [&b"{\"query\": "[..], b"", b"\xff", b"{} x"] {
            assert!(matches!(read_question(body, &keys()), Err(Error::MalformedJson(_))), "{body:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(read_question(deep.as_bytes(), &keys()), Err(Error::MalformedJson(_))));
    }

    proptest! {
        #[test]
        fn no_body_crashes_the_reader(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_question(&body, &keys());
        }

        #[test]
        fn a_message_never_repeats_a_value(value in "[a-z]{12}") {
            let body = format!(r#"{{"query": 1, "top_k": "{value}", "history": "{value}", "page": {{"url": ["{value}"]}}}}"#);
            let Err(Error::InvalidRequest(errors)) = read_question(body.as_bytes(), &keys()) else { panic!() };
            prop_assert!(errors.iter().all(|error| !error.message.contains(&value) && !error.field.contains(&value)));
        }
    }
}
