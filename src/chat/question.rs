//! Holds a reader's question and every bound on its parts.

use std::collections::BTreeMap;
use std::fmt;

use crate::text::Redacted;

/// Characters of a question; a longer one is refused.
pub const MAX_QUERY_CHARS: usize = 4_000;
/// Messages of history; more are refused.
pub const MAX_HISTORY_MESSAGES: usize = 20;
/// Characters of one message of history; a longer one is refused.
pub const MAX_MESSAGE_CHARS: usize = 8_000;
/// Characters of a selection; a longer one is refused.
pub const MAX_SELECTION_CHARS: usize = 4_000;
/// Characters of a page title; a longer one is refused.
pub const MAX_PAGE_TITLE_CHARS: usize = 300;
/// Characters of a page's address; a longer one is refused.
pub const MAX_PAGE_URL_CHARS: usize = 2_000;
/// Passages one question may ask for; more are refused.
pub const MAX_TOP_K: usize = 20;
/// Passages a question gets when it names no number.
pub const DEFAULT_TOP_K: usize = 6;
/// Values of one filter key; more are refused.
pub const MAX_FILTER_VALUES: usize = 32;
/// Characters of one filter value; a longer one is refused.
pub const MAX_FILTER_CHARS: usize = 200;

/// Holds a reader's question, which is within every bound of this file: [`Question::new`] is the only way to
/// make one.
#[derive(Clone, PartialEq)]
pub struct Question(QuestionParts);

/// Holds the parts of a question that nobody has checked yet.
#[derive(Clone, Default, PartialEq)]
pub struct QuestionParts {
    /// The reader's words; 1 to 4,000 characters after trimming.
    pub query: String,
    /// The conversation so far, oldest first; at most 20 messages.
    pub history: Vec<Message>,
    /// The page the reader is on.
    pub page: Page,
    /// Values a passage must carry under a payload key, if it carries that key at all.
    pub filter: Filter,
    /// Number of passages to retrieve, 1 to 20; `None` for [`DEFAULT_TOP_K`].
    pub top_k: Option<usize>,
}

/// Names a part of a question that broke a bound, and the bound. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfBounds {
    /// The part.
    pub field: Field,
    /// The bound, as the end of a sentence that begins with the part: "must have at most 20 messages".
    pub message: String,
}

/// Names a part of a question. `Display` writes its path in the native protocol; another protocol maps it to
/// its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `query`
    Query,
    /// `history`
    History,
    /// `history[n].content`, from 0
    Message(usize),
    /// `page.url`
    PageUrl,
    /// `page.title`
    PageTitle,
    /// `page.selection`
    PageSelection,
    /// `filter` and a payload key
    Filter(String),
    /// `top_k`
    TopK,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query => f.write_str("query"),
            Self::History => f.write_str("history"),
            Self::Message(index) => write!(f, "history[{index}].content"),
            Self::PageUrl => f.write_str("page.url"),
            Self::PageTitle => f.write_str("page.title"),
            Self::PageSelection => f.write_str("page.selection"),
            Self::Filter(key) => write!(f, "filter.{key}"),
            Self::TopK => f.write_str("top_k"),
        }
    }
}

impl Question {
    /// Checks every bound; `filter_keys` are the payload keys the operator allows in a filter. The query and
    /// the parts of the page are trimmed, and an empty part of the page counts as absent.
    ///
    /// # Errors
    ///
    /// Every part that broke a bound, in the order of [`QuestionParts`].
    pub fn new(parts: QuestionParts, filter_keys: &[String]) -> Result<Self, Vec<OutOfBounds>> {
        let QuestionParts { query, history, page, filter, top_k } = parts;
        let query = query.trim().to_owned();
        let mut checks = Checks::default();
        checks.check_length(&query, MAX_QUERY_CHARS, || Field::Query);
        if query.is_empty() {
            checks.fail(Field::Query, "must not be empty".to_owned());
        }
        if history.len() > MAX_HISTORY_MESSAGES {
            checks.fail(Field::History, history_bounds());
        }
        for (index, message) in history.iter().take(MAX_HISTORY_MESSAGES).enumerate() {
            checks.check_length(&message.content, MAX_MESSAGE_CHARS, || Field::Message(index));
        }
        let page = checks.check_page(page);
        for (key, values) in &filter {
            checks.check_filter(key, values, filter_keys);
        }
        if top_k.is_some_and(|top_k| !(1..=MAX_TOP_K).contains(&top_k)) {
            checks.fail(Field::TopK, top_k_bounds());
        }
        match checks.0 {
            broken if broken.is_empty() => Ok(Self(QuestionParts { query, history, page, filter, top_k })),
            broken => Err(broken),
        }
    }

    /// Returns the reader's words: 1 to 4,000 characters, trimmed.
    pub fn query(&self) -> &str {
        &self.0.query
    }

    /// Returns the conversation so far, oldest first.
    pub fn history(&self) -> &[Message] {
        &self.0.history
    }

    /// Returns the page the reader is on.
    pub fn page(&self) -> &Page {
        &self.0.page
    }

    /// Returns the values a passage must carry under a payload key, if it carries that key at all.
    pub fn filter(&self) -> &Filter {
        &self.0.filter
    }

    /// Returns the number of passages to retrieve, 1 to 20.
    pub fn top_k(&self) -> usize {
        self.0.top_k.unwrap_or(DEFAULT_TOP_K)
    }
}

impl fmt::Debug for Question {
    /// Writes sizes only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for QuestionParts {
    /// Writes sizes only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("query", &Redacted(&self.query))
            .field("history", &self.history)
            .field("page", &self.page)
            .field("filter", &self.filter.keys())
            .field("top_k", &self.top_k)
            .finish()
    }
}

/// Collects the bounds that a question breaks.
#[derive(Default)]
struct Checks(Vec<OutOfBounds>);

impl Checks {
    fn fail(&mut self, field: Field, message: String) {
        self.0.push(OutOfBounds { field, message });
    }

    fn check_length(&mut self, text: &str, max: usize, field: impl FnOnce() -> Field) {
        if text.chars().nth(max).is_some() {
            self.fail(field(), format!("must have at most {max} characters"));
        }
    }

    fn check_page(&mut self, page: Page) -> Page {
        let mut check = |part: Option<String>, max, field| {
            let part = part?;
            self.check_length(&part, max, || field);
            Some(part.trim().to_owned()).filter(|part| !part.is_empty())
        };
        Page {
            url: check(page.url, MAX_PAGE_URL_CHARS, Field::PageUrl),
            title: check(page.title, MAX_PAGE_TITLE_CHARS, Field::PageTitle),
            selection: check(page.selection, MAX_SELECTION_CHARS, Field::PageSelection),
        }
    }

    fn check_filter(&mut self, key: &str, values: &[FilterValue], allowed: &[String]) {
        let is_short = |value: &FilterValue| match value {
            FilterValue::Text(text) => text.chars().nth(MAX_FILTER_CHARS).is_none(),
            FilterValue::Integer(_) | FilterValue::Float(_) | FilterValue::Bool(_) => true,
        };
        let broken = match allowed {
            [] => Some("cannot be filtered by; this server allows no key".to_owned()),
            _ if !allowed.iter().any(|allowed| allowed == key) => {
                Some(format!("cannot be filtered by; this server allows {}", allowed.join(", ")))
            }
            _ if values.is_empty() || values.len() > MAX_FILTER_VALUES => {
                Some(format!("must have 1 to {MAX_FILTER_VALUES} values"))
            }
            _ => (!values.iter().all(is_short)).then(filter_value_bounds),
        };
        if let Some(message) = broken {
            self.fail(Field::Filter(key.to_owned()), message);
        }
    }
}

/// Returns the bound of a history, as the end of a sentence.
pub fn history_bounds() -> String {
    format!("must have at most {MAX_HISTORY_MESSAGES} messages")
}

/// Returns the bounds of a filter's value, as the end of a sentence.
pub fn filter_value_bounds() -> String {
    format!("must be a string of at most {MAX_FILTER_CHARS} characters, a number, a boolean, or a list of them")
}

/// Returns the bounds of `top_k`, as the end of a sentence.
pub fn top_k_bounds() -> String {
    format!("must be a whole number from 1 to {MAX_TOP_K}")
}

/// Holds one turn of the conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The speaker.
    pub role: Role,
    /// The speaker's words; at most 8,000 characters.
    pub content: String,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, content } = self;
        f.debug_struct("Message").field("role", role).field("content", &Redacted(content)).finish()
    }
}

/// Names the speaker of a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The reader.
    User,
    /// Docent.
    Assistant,
}

/// Describes the page the reader asks from; each part is optional.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Address; at most 2,000 characters.
    pub url: Option<String>,
    /// Title; at most 300 characters.
    pub title: Option<String>,
    /// Text the reader marked on the page; at most 4,000 characters.
    pub selection: Option<String>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("url", &self.url.as_deref().map(Redacted))
            .field("title", &self.title.as_deref().map(Redacted))
            .field("selection", &self.selection.as_deref().map(Redacted))
            .finish()
    }
}

/// Maps a payload key to its accepted values. A passage passes with any of them, and also without the key.
pub type Filter = BTreeMap<String, Vec<FilterValue>>;

/// Holds one accepted value of a [`Filter`].
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// A keyword; at most 200 characters.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<String> {
        vec!["version".to_owned()]
    }

    fn parts() -> QuestionParts {
        QuestionParts { query: " How? ".to_owned(), ..QuestionParts::default() }
    }

    fn broken_fields(parts: QuestionParts) -> Vec<String> {
        let broken = Question::new(parts, &keys()).unwrap_err();
        broken.into_iter().map(|broken| broken.field.to_string()).collect()
    }

    #[test]
    fn a_question_within_its_bounds_is_trimmed_and_gets_the_default_number_of_passages() {
        let page = Page { title: Some(" ".to_owned()), url: Some(" /docs ".to_owned()), selection: None };
        let question = Question::new(QuestionParts { page, ..parts() }, &[]).unwrap();
        assert_eq!((question.query(), question.top_k()), ("How?", DEFAULT_TOP_K));
        assert_eq!((question.page().title.as_deref(), question.page().url.as_deref()), (None, Some("/docs")));
    }

    #[test]
    fn every_broken_bound_is_named_by_the_path_of_its_field() {
        let long = |chars: usize| "ü".repeat(chars + 1);
        let message = |chars| Message { role: Role::User, content: long(chars) };
        let page = Page {
            url: Some(long(MAX_PAGE_URL_CHARS)),
            title: Some(long(MAX_PAGE_TITLE_CHARS)),
            selection: Some(long(MAX_SELECTION_CHARS)),
        };
        let text = FilterValue::Text(long(MAX_FILTER_CHARS));
        let filter = Filter::from([("secret".to_owned(), vec![]), ("version".to_owned(), vec![text])]);
        let history = vec![message(0), message(MAX_MESSAGE_CHARS)];
        let all = QuestionParts { query: long(MAX_QUERY_CHARS), history, page, filter, top_k: Some(0) };
        let expected =
            "query history[1].content page.url page.title page.selection filter.secret filter.version top_k";
        assert_eq!(broken_fields(all).join(" "), expected);
        assert_eq!(broken_fields(QuestionParts { query: " \n".to_owned(), ..parts() }), ["query"]);
        assert_eq!(
            broken_fields(QuestionParts { history: vec![message(0); MAX_HISTORY_MESSAGES + 1], ..parts() }),
            ["history"]
        );
        assert_eq!(broken_fields(QuestionParts { top_k: Some(MAX_TOP_K + 1), ..parts() }), ["top_k"]);
    }

    #[test]
    fn the_last_allowed_value_passes() {
        let longest = QuestionParts { query: "ü".repeat(MAX_QUERY_CHARS), top_k: Some(MAX_TOP_K), ..parts() };
        assert!(Question::new(longest, &[]).is_ok());
    }

    #[test]
    fn no_debug_output_shows_a_readers_words() {
        let history = vec![Message { role: Role::User, content: "hush".to_owned() }];
        let page = Page { selection: Some("hush".to_owned()), ..Page::default() };
        let filter = Filter::from([("version".to_owned(), vec![FilterValue::Text("hush".to_owned())])]);
        let parts = QuestionParts { query: "hush".to_owned(), history, page, filter, top_k: None };
        let shown = format!("{:?}", Question::new(parts, &keys()).unwrap());
        assert!(!shown.contains("hush") && shown.contains("4 characters"), "{shown}");
    }
}
