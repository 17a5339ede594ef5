//! The body of `POST /chat`: from JSON to a [`Question`] that cannot be wrong, or to the names of all wrong fields.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::chat::{Filter, FilterValue, Message, Page, Question, Role};
use crate::error::{Error, FieldError};
use crate::limits::{
    DEFAULT_TOP_K, MAX_BODY_VALUES, MAX_FILTER_CHARS, MAX_FILTER_VALUES, MAX_HISTORY_MESSAGES,
    MAX_MESSAGE_CHARS, MAX_QUERY_CHARS, MAX_SELECTION_CHARS, MAX_TITLE_CHARS, MAX_TOP_K, MAX_URL_CHARS,
};

/// Characters of an unknown key's name that are repeated back.
const MAX_KEY_CHARS: usize = 64;
/// Wrong fields that are reported; a request with more is reported up to here.
const MAX_ERRORS: usize = 32;

/// Reads a request's body.
///
/// # Errors
///
/// [`Error::MalformedJson`] for broken syntax, [`Error::InvalidRequest`] for everything else.
pub(super) fn read(body: &[u8], filter_keys: &[String]) -> Result<Question, Error> {
    // The place alone: serde's own words may quote the body.
    let malformed = |error: serde_json::Error| {
        Error::MalformedJson(format!("line {} column {}", error.line(), error.column()))
    };
    if values(body) > MAX_BODY_VALUES {
        serde_json::from_slice::<IgnoredAny>(body).map_err(malformed)?;
        let message = format!("must have at most {MAX_BODY_VALUES} values");
        return Err(Error::InvalidRequest(vec![FieldError { field: String::new(), message }]));
    }
    let value: Value = serde_json::from_slice(body).map_err(malformed)?;
    let mut fields = Fields::default();
    let question = match &value {
        Value::Object(object) => Some(question(object, filter_keys, &mut fields)),
        _ => {
            fields.wrong::<()>("", "the body must be a JSON object");
            None
        }
    };
    match question {
        Some(question) if fields.errors.is_empty() => Ok(question),
        _ => Err(Error::InvalidRequest(fields.errors)),
    }
}

/// At least as many JSON values as the body has: each stands behind one of these signs, outside a string.
fn values(body: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in body {
        match (in_string, byte) {
            _ if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b',' | b':' | b'[' | b'{') => count += 1,
            _ => {}
        }
    }
    count
}

fn question(object: &Map<String, Value>, filter_keys: &[String], fields: &mut Fields) -> Question {
    fields.only(object, "", &["query", "history", "page", "filter", "top_k"]);
    Question {
        query: query(object.get("query"), fields),
        history: history(object.get("history"), fields),
        page: page(object.get("page"), fields),
        filter: filter(object.get("filter"), filter_keys, fields),
        top_k: top_k(object.get("top_k"), fields),
    }
}

fn query(value: Option<&Value>, fields: &mut Fields) -> String {
    let query = match value {
        Some(Value::String(query)) => query.trim(),
        Some(_) => return fields.wrong("query", "must be a string"),
        None => return fields.wrong("query", "is required"),
    };
    match query.chars().count() {
        1..=MAX_QUERY_CHARS => query.to_owned(),
        0 => fields.wrong("query", "must not be empty"),
        _ => fields.wrong("query", &at_most(MAX_QUERY_CHARS)),
    }
}

fn history(value: Option<&Value>, fields: &mut Fields) -> Vec<Message> {
    let items = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return fields.wrong("history", "must be a list of messages"),
    };
    if items.len() > MAX_HISTORY_MESSAGES {
        return fields.wrong("history", &format!("must have at most {MAX_HISTORY_MESSAGES} messages"));
    }
    let messages =
        items.iter().enumerate().map(|(index, item)| message(item, &format!("history[{index}]"), fields));
    messages.collect()
}

fn message(value: &Value, at: &str, fields: &mut Fields) -> Message {
    let nothing = Message { role: Role::User, content: String::new() };
    let Value::Object(object) = value else {
        fields.wrong::<()>(at, "must be an object with role and content");
        return nothing;
    };
    fields.only(object, at, &["role", "content"]);
    let role = match object.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            fields.wrong::<()>(&format!("{at}.role"), "must be \"user\" or \"assistant\"");
            Role::User
        }
    };
    let at = format!("{at}.content");
    let content = match object.get("content") {
        Some(Value::String(content)) if content.chars().count() <= MAX_MESSAGE_CHARS => content.clone(),
        Some(Value::String(_)) => fields.wrong(&at, &at_most(MAX_MESSAGE_CHARS)),
        _ => fields.wrong(&at, "must be a string"),
    };
    Message { role, content }
}

fn page(value: Option<&Value>, fields: &mut Fields) -> Page {
    let object = match value {
        None | Some(Value::Null) => return Page::default(),
        Some(Value::Object(object)) => object,
        Some(_) => return fields.wrong("page", "must be an object"),
    };
    fields.only(object, "page", &["url", "title", "selection"]);
    let mut part = |name: &str, max: usize| {
        let at = format!("page.{name}");
        match object.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.chars().count() > max => fields.wrong(&at, &at_most(max)),
            Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Some(_) => fields.wrong(&at, "must be a string"),
        }
    };
    Page {
        url: part("url", MAX_URL_CHARS),
        title: part("title", MAX_TITLE_CHARS),
        selection: part("selection", MAX_SELECTION_CHARS),
    }
}

fn filter(value: Option<&Value>, allowed: &[String], fields: &mut Fields) -> Filter {
    let object = match value {
        None | Some(Value::Null) => return Filter::new(),
        Some(Value::Object(object)) => object,
        Some(_) => return fields.wrong("filter", "must be an object"),
    };
    let mut filter = Filter::new();
    for (key, value) in object {
        let at = field("filter", key);
        if !allowed.iter().any(|allowed| allowed == key) {
            let message = match allowed {
                [] => "cannot be filtered by; this server allows no key".to_owned(),
                _ => format!("cannot be filtered by; this server allows {}", allowed.join(", ")),
            };
            fields.wrong::<()>(&at, &message);
            continue;
        }
        let values = match value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        if values.is_empty() || values.len() > MAX_FILTER_VALUES {
            fields.wrong::<()>(&at, &format!("must have 1 to {MAX_FILTER_VALUES} values"));
            continue;
        }
        let accepted: Vec<FilterValue> = values.iter().filter_map(filter_value).collect();
        if accepted.len() != values.len() {
            let message = format!(
                "must be a string of at most {MAX_FILTER_CHARS} characters, a number, a boolean, or a list of them"
            );
            fields.wrong::<()>(&at, &message);
        }
        filter.insert(key.clone(), accepted);
    }
    filter
}

fn filter_value(value: &Value) -> Option<FilterValue> {
    match value {
        Value::String(text) if text.chars().count() <= MAX_FILTER_CHARS => {
            Some(FilterValue::Text(text.clone()))
        }
        Value::Bool(truth) => Some(FilterValue::Bool(*truth)),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Some(FilterValue::Integer(integer)),
            None => number.as_f64().map(FilterValue::Float),
        },
        _ => None,
    }
}

fn top_k(value: Option<&Value>, fields: &mut Fields) -> usize {
    let number = match value {
        None | Some(Value::Null) => return DEFAULT_TOP_K,
        Some(value) => value.as_u64().and_then(|number| usize::try_from(number).ok()),
    };
    match number {
        Some(top_k @ 1..=MAX_TOP_K) => top_k,
        _ => fields.wrong("top_k", &format!("must be a whole number from 1 to {MAX_TOP_K}")),
    }
}

fn at_most(max: usize) -> String {
    format!("must have at most {max} characters")
}

/// A field's path; the name comes from outside, so it is cut and freed of control characters.
fn field(parent: &str, name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_KEY_CHARS).collect();
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

/// Collects what is wrong.
#[derive(Default)]
struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// Notes a wrong field, and gives a value to go on with.
    fn wrong<T: Default>(&mut self, field: &str, message: &str) -> T {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
        }
        T::default()
    }

    /// Notes every key that is not one of `known`.
    fn only(&mut self, object: &Map<String, Value>, parent: &str, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.wrong::<()>(
                &field(parent, key),
                &format!("is not known here; known are {}", known.join(", ")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Vec<String> {
        vec!["version".to_owned()]
    }

    fn wrong(body: &str) -> Vec<String> {
        match read(body.as_bytes(), &keys()) {
            Err(Error::InvalidRequest(errors)) => errors.into_iter().map(|error| error.field).collect(),
            other => panic!("{body} gave {other:?}"),
        }
    }

    #[test]
    fn a_body_of_very_many_values_is_refused_before_it_is_read() {
        let many = format!("{{\"query\": [{}1]}}", "{\"\":0},".repeat(MAX_BODY_VALUES));
        assert_eq!(wrong(&many), [""]);
        let text = r#"{"query": "a,b:[c{\"d,e\\", "top_k": 3}"#;
        assert_eq!(values(text.as_bytes()), 5, "what stands in a string is no value");
        let query = "a, b: [c] ".repeat(400);
        assert!(read(format!("{{\"query\": \"{}\"}}", query.trim()).as_bytes(), &keys()).is_ok());
    }

    #[test]
    fn a_whole_request_becomes_a_question() {
        let body = r#"{"query": "  How? ", "history": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}],
            "page": {"url": "/docs/x", "title": " ", "selection": "text"}, "filter": {"version": ["3.x", 3, 1.5, true]}, "top_k": 20}"#;
        let question = read(body.as_bytes(), &keys()).unwrap();
        assert_eq!(question.query, "How?");
        assert_eq!(question.history.len(), 2);
        assert_eq!(question.page.title, None);
        assert_eq!(question.page.selection.as_deref(), Some("text"));
        assert_eq!(question.filter["version"].len(), 4);
        assert_eq!(question.top_k, 20);
        assert_eq!(read(br#"{"query": "x", "page": null}"#, &keys()).unwrap().top_k, DEFAULT_TOP_K);
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
            (r#"{"query": "x", "top_k": 21}"#.to_owned(), vec!["top_k"]),
            (
                r#"{"query": "x", "history": [{"role": "system", "content": 1, "x": 0}, 7]}"#.to_owned(),
                vec!["history[0].x", "history[0].role", "history[0].content", "history[1]"],
            ),
            (format!(r#"{{"query": "x", "history": [{}]}}"#, vec!["{}"; 21].join(",")), vec!["history"]),
            (
                format!(r#"{{"query": "x", "page": {{"url": "{}"}}}}"#, long(MAX_URL_CHARS + 1)),
                vec!["page.url"],
            ),
            (r#"{"query": "x", "page": {"title": 1, "y": 2}}"#.to_owned(), vec!["page.y", "page.title"]),
            (r#"{"query": "x", "filter": {"secret": "a"}}"#.to_owned(), vec!["filter.secret"]),
            (r#"{"query": "x", "filter": {"version": {}}}"#.to_owned(), vec!["filter.version"]),
            (r#"{"query": "x", "filter": {"version": []}}"#.to_owned(), vec!["filter.version"]),
        ];
        for (body, expected) in cases {
            assert_eq!(wrong(&body), expected, "{body}");
        }
    }

    #[test]
    fn bounds_count_characters_and_the_last_allowed_one_passes() {
        let body = format!(r#"{{"query": "{}"}}"#, "ü".repeat(MAX_QUERY_CHARS));
        assert!(read(body.as_bytes(), &keys()).is_ok());
    }

    #[test]
    fn broken_syntax_is_told_apart_from_wrong_fields() {
        for body in [&b"{\"query\": "[..], b"", b"\xff", b"{} x"] {
            assert!(matches!(read(body, &keys()), Err(Error::MalformedJson(_))), "{body:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(read(deep.as_bytes(), &keys()), Err(Error::MalformedJson(_))));
    }

    proptest! {
        #[test]
        fn no_body_crashes_the_reader(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body, &keys());
        }

        #[test]
        fn a_message_never_repeats_a_value(value in "[a-z]{12}") {
            let body = format!(r#"{{"query": 1, "top_k": "{value}", "history": "{value}", "page": {{"url": ["{value}"]}}}}"#);
            let Err(Error::InvalidRequest(errors)) = read(body.as_bytes(), &keys()) else { panic!() };
            prop_assert!(errors.iter().all(|error| !error.message.contains(&value) && !error.field.contains(&value)));
        }
    }
}
