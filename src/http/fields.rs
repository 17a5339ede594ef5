//! Reads JSON objects of requests field by field and collects every wrong field with its path, for every
//! protocol's request. The errors never repeat a value.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::chat::{Field, OutOfBounds, Question, QuestionParts};
use crate::error::{Error, FieldError};

/// JSON values of a body, names and lists among them; a body with more is refused before it is parsed, because
/// the parsed values may take a hundred times the body's size in memory. The largest question within the bounds
/// has fewer, as long as `FILTER_KEYS` names fewer than about 55 keys.
pub(super) const MAX_BODY_VALUES: usize = 2_000;
/// Characters of a key's name that an error repeats; the rest is cut off.
const MAX_KEY_CHARS: usize = 64;
/// Wrong fields that are reported; further ones are left out.
const MAX_ERRORS: usize = 32;

/// Parses a body as JSON.
///
/// # Errors
///
/// [`Error::MalformedJson`] for broken syntax, [`Error::InvalidRequest`] for a body of too many values.
fn parse_json(body: &[u8]) -> Result<Value, Error> {
    // The place alone: serde's own message may quote the body.
    let malformed = |error: serde_json::Error| {
        Error::MalformedJson(format!("line {} column {}", error.line(), error.column()))
    };
    if count_values(body) > MAX_BODY_VALUES {
        serde_json::from_slice::<IgnoredAny>(body).map_err(malformed)?;
        let message = format!("must have at most {MAX_BODY_VALUES} values");
        return Err(Error::InvalidRequest(vec![FieldError { field: String::new(), message }]));
    }
    serde_json::from_slice(body).map_err(malformed)
}

/// Counts at least as many JSON values as the body has: every value but the first follows one of these signs
/// outside a string.
fn count_values(body: &[u8]) -> usize {
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

/// Joins a path and the name of a key. The name comes from outside: it is cut and freed of control characters.
pub(super) fn join_path(parent: &str, name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_KEY_CHARS).collect();
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

/// Reports whether two paths name the same field, or one names a part of the other.
fn is_along(one: &str, other: &str) -> bool {
    let (around, inner) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    inner.strip_prefix(around).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Reads the question of a body. `read_parts` reads the parts of its JSON object, and `path` names a part as
/// the protocol does; `filter_keys` are the payload keys that a filter may use.
///
/// # Errors
///
/// [`Error::MalformedJson`] for broken syntax, [`Error::InvalidRequest`] for everything else.
pub(super) fn read_question(
    body: &[u8],
    filter_keys: &[String],
    read_parts: impl FnOnce(&Map<String, Value>, &mut Fields) -> QuestionParts,
    path: impl Fn(&Field) -> String,
) -> Result<Question, Error> {
    let body = parse_json(body)?;
    let mut fields = Fields::default();
    let Value::Object(object) = &body else {
        fields.add_error::<()>("", "the body must be a JSON object");
        return fields.finish(None);
    };
    match Question::new(read_parts(object, &mut fields), filter_keys) {
        Ok(question) => fields.finish(Some(question)),
        Err(broken) => {
            fields.add_bound_errors(broken, path);
            fields.finish(None)
        }
    }
}

/// Collects the wrong fields of one request.
#[derive(Default)]
pub(super) struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// Notes a wrong field, and returns a default to go on with.
    pub(super) fn add_error<T: Default>(&mut self, path: &str, message: &str) -> T {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(FieldError { field: path.to_owned(), message: message.to_owned() });
        }
        T::default()
    }

    /// Notes the bounds that the domain found broken, under the protocol's own paths. A field is left out if
    /// it, a field around it or a part of it has been noted: its value is a default.
    pub(super) fn add_bound_errors(&mut self, broken: Vec<OutOfBounds>, path: impl Fn(&Field) -> String) {
        for OutOfBounds { field, message } in broken {
            let path = path(&field);
            if !self.errors.iter().any(|error| is_along(&error.field, &path)) {
                self.add_error::<()>(&path, &message);
            }
        }
    }

    /// Notes every key of an object that is not one of `known`.
    pub(super) fn refuse_unknown(&mut self, object: &Map<String, Value>, parent: &str, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let message = format!("is not known here; known are {}", known.join(", "));
            self.add_error::<()>(&join_path(parent, key), &message);
        }
    }

    /// Reads a string that may be absent or null.
    pub(super) fn optional_string(&mut self, value: Option<&Value>, path: &str) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => self.add_error(path, "must be a string"),
        }
    }

    /// Reads a string that must be there.
    pub(super) fn required_string(&mut self, value: Option<&Value>, path: &str) -> String {
        match value {
            Some(Value::String(text)) => text.clone(),
            Some(_) => self.add_error(path, "must be a string"),
            None => self.add_error(path, "is required"),
        }
    }

    /// Reads an object that may be absent or null.
    pub(super) fn optional_object<'a>(
        &mut self,
        value: Option<&'a Value>,
        path: &str,
    ) -> Option<&'a Map<String, Value>> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(object)) => Some(object),
            Some(_) => self.add_error(path, "must be an object"),
        }
    }

    /// Returns the value that was read, unless a field is wrong.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`] with every wrong field.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Error> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(Error::InvalidRequest(self.errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_inside_strings_are_not_counted() {
        assert_eq!(count_values(br#"{"query": "a,b:[c{\"d,e\\", "top_k": 3}"#), 5);
    }

    #[test]
    fn a_field_that_is_wrong_already_is_noted_once_and_bounds_get_the_protocols_own_path() {
        let mut fields = Fields::default();
        fields.add_error::<()>("text", "must be a string");
        fields.add_error::<()>("messages[1]", "must be an object");
        let broken = |field| OutOfBounds { field, message: "must not be empty".to_owned() };
        let fields_out_of_bounds = [Field::Query, Field::Message(1), Field::Message(10), Field::TopK];
        fields.add_bound_errors(fields_out_of_bounds.map(broken).to_vec(), |field| match field {
            Field::Query => "text".to_owned(),
            Field::Message(index) => format!("messages[{index}].text"),
            other => other.to_string(),
        });
        let Err(Error::InvalidRequest(errors)) = fields.finish(Some(())) else {
            panic!("expected wrong fields")
        };
        let named: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(named, ["text", "messages[1]", "messages[10].text", "top_k"]);
    }

    #[test]
    fn a_key_from_outside_is_cut_and_freed_of_control_characters() {
        assert_eq!(join_path("filter", "a\nb"), "filter.ab");
        assert_eq!(join_path("", &"k".repeat(1_000)).len(), MAX_KEY_CHARS);
    }
}
