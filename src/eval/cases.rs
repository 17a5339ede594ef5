//! Parses a file of questions, one JSON object a line. No I/O.

use serde::Deserialize;

use super::report::ALL;
use crate::chat::{Field, Message, OutOfBounds, Page, Question, QuestionParts, Role};

/// Holds one question of the file, and the headings that answer it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Number of the line, from 1.
    pub line: usize,
    /// Question, with the conversation before it and the page it is asked from.
    pub question: Question,
    /// Headings that answer the question, as `/docs/setup#install`; empty where the documentation does not
    /// answer it.
    pub gold: Vec<String>,
    /// Kind of question; each kind is measured on its own.
    pub kind: Option<String>,
}

/// Names the keys of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseLine {
    question: String,
    gold: Vec<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    history: Vec<MessageLine>,
    #[serde(default)]
    page: PageLine,
}

/// Names the keys of a message in `history`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageLine {
    #[serde(with = "RoleName")]
    role: Role,
    content: String,
}

/// Names the values of a message's `role`.
#[derive(Deserialize)]
#[serde(remote = "Role", rename_all = "lowercase")]
enum RoleName {
    User,
    Assistant,
}

/// Names the keys of `page`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PageLine {
    url: Option<String>,
    title: Option<String>,
    selection: Option<String>,
}

/// Parses a file of questions, each of which asks for `top_k` passages; empty lines are skipped.
///
/// # Errors
///
/// Returns the number and the fault of the first line that is no question or breaks a bound of questions, or
/// the sentence that the file holds no question.
pub fn parse_cases(text: &str, top_k: usize) -> Result<Vec<Case>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let cases: Vec<Case> =
        lines.map(|(number, line)| parse_case(number, line, top_k)).collect::<Result<_, _>>()?;
    if cases.is_empty() { Err("it holds no question".to_owned()) } else { Ok(cases) }
}

fn parse_case(line: usize, json: &str, top_k: usize) -> Result<Case, String> {
    let parsed: CaseLine = serde_json::from_str(json).map_err(|error| format!("line {line}: {error}"))?;
    let CaseLine { question, gold, kind, history, page } = parsed;
    if kind.as_deref() == Some(ALL) {
        return Err(format!("line {line}: the kind {ALL:?} stands for all questions: choose another"));
    }
    let message = |MessageLine { role, content }| Message { role, content };
    let PageLine { url, title, selection } = page;
    let parts = QuestionParts {
        query: question,
        history: history.into_iter().map(message).collect(),
        page: Page { url, title, selection },
        top_k: Some(top_k),
        ..QuestionParts::default()
    };
    let question = Question::new(parts, &[]);
    let question = question.map_err(|broken| format!("line {line}: {}", describe_bounds(&broken)))?;
    Ok(Case { line, question, gold, kind })
}

/// Names the broken bounds by the keys of a line, where `query` is called `question`.
fn describe_bounds(broken: &[OutOfBounds]) -> String {
    let sentence = |OutOfBounds { field, message }: &OutOfBounds| match field {
        Field::Query => format!("question {message}"),
        field => format!("{field} {message}"),
    };
    broken.iter().map(sentence).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Case>, String> {
        parse_cases(text, 6)
    }

    #[test]
    fn a_line_that_is_no_question_is_named() {
        let good = r#"{"question": "How?", "gold": ["/docs/a#b"], "kind": "plain", "history": [{"role": "user", "content": "x"}]}"#;
        assert_eq!(parse(&format!("{good}\n\n{good}\n")).unwrap().len(), 2);
        assert!(parse(&format!("{good}\n\n{{\"question\": 1}}")).unwrap_err().starts_with("line 3: "));
        assert!(parse(&good.replace("kind", "knd")).unwrap_err().contains("knd"));
        assert!(parse(&good.replace("plain", "all")).unwrap_err().contains("choose another"));
        assert!(parse("\n").unwrap_err().contains("no question"));
    }

    #[test]
    fn a_case_has_its_line_its_conversation_and_its_page() {
        let line = r#"{"question": "How?", "gold": [], "history": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "page": {"title": "T"}}"#;
        let case = parse(&format!("\n{line}")).unwrap().remove(0);
        let roles: Vec<Role> = case.question.history().iter().map(|message| message.role).collect();
        assert_eq!((case.line, roles), (2, vec![Role::User, Role::Assistant]));
        assert_eq!((case.question.query(), case.question.top_k()), ("How?", 6));
        assert_eq!(case.question.page().title.as_deref(), Some("T"));
        for (key, wrong) in
            [("\"user\"", "\"system\""), ("\"title\"", "\"titel\""), ("\"content\"", "\"text\"")]
        {
            assert!(parse(&line.replace(key, wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_question_beyond_the_bounds_is_refused_by_its_line() {
        let refused = parse(r#"{"question": " ", "gold": []}"#).unwrap_err();
        assert_eq!(refused, "line 1: question must not be empty");
        let refused = parse_cases(r#"{"question": "x", "gold": []}"#, 21).unwrap_err();
        assert!(refused.starts_with("line 1: top_k must be"), "{refused}");
    }
}
