//! Measuring retrieval and answers with a file of questions whose answers are known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::chat::{
    AnswerEvent, DEFAULT_TOP_K, Field, Message, OutOfBounds, Page, Question, QuestionParts, Role, Source,
    Status, Summary,
};
use crate::error::Error;
use crate::rag::{Rag, StageTimes};

/// Name of the row over all questions.
pub const ALL: &str = "all";

/// One question, as a line of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is asked.
    pub question: String,
    /// The headings that answer it, as `/docs/setup#install`; none where the documentation does not.
    pub gold: Vec<String>,
    /// What kind of question it is; kinds are measured apart.
    #[serde(default)]
    pub kind: Option<String>,
    /// The conversation before it.
    #[serde(default)]
    pub history: Vec<Turn>,
    /// Where it is asked.
    #[serde(default)]
    pub page: PageOf,
}

/// One turn of a conversation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    role: Speaker,
    content: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    User,
    Assistant,
}

/// Where a question is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageOf {
    url: Option<String>,
    title: Option<String>,
    selection: Option<String>,
}

/// Reads a file of questions.
///
/// # Errors
///
/// The first line that is no question, or whose question breaks a bound, by its number.
pub fn read(text: &str) -> Result<Vec<Case>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let cases: Result<Vec<Case>, String> = lines
        .map(|(number, line)| {
            let case: Case =
                serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))?;
            question_of(&case, DEFAULT_TOP_K).map_err(|broken| format!("line {}: {broken}", number + 1))?;
            Ok(case)
        })
        .collect();
    let cases = cases?;
    if let Some(case) = cases.iter().find(|case| case.kind.as_deref() == Some(ALL)) {
        return Err(format!(
            "{:?} has the kind {ALL:?}, which stands for all questions: choose another",
            case.question
        ));
    }
    match cases {
        cases if cases.is_empty() => Err("it holds no question".to_owned()),
        cases => Ok(cases),
    }
}

/// What came of one question.
#[derive(Debug, Clone)]
struct Outcome {
    /// `None` where the question has no gold.
    retrieved: Option<Retrieved>,
    /// `None` where the question failed.
    summary: Option<Summary>,
}

/// How much of a question's gold was found.
#[derive(Debug, Clone, Copy)]
struct Retrieved {
    /// Rank of the first passage that is gold, from 1.
    first: Option<usize>,
    /// Share of the gold that was found.
    recall: f64,
}

/// The measures of one kind of question.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measures {
    /// Questions.
    pub questions: usize,
    /// Questions that have gold; recall, hits and MRR are over these.
    pub answerable: usize,
    /// Mean share of a question's gold headings among its passages; null where no question has gold.
    pub recall: Option<f64>,
    /// Share of questions with at least one gold heading among their passages; null where no question has gold.
    pub hits: Option<f64>,
    /// Mean reciprocal rank of the first gold heading; null where no question has gold.
    pub mrr: Option<f64>,
    /// Share of answers that cite.
    pub answered: f64,
    /// Share of answers that cite nothing.
    pub uncited: f64,
    /// Share of answers that say the documentation does not say.
    pub not_in_docs: f64,
    /// Questions that ended in an error.
    pub failed: usize,
    /// Citations that named no passage, which no reader saw.
    pub invalid_citations: usize,
}

/// How long a stage took, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// The stage.
    pub stage: &'static str,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
}

/// What a file of questions measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Passages per question.
    pub top_k: usize,
    /// Measures by kind; `all` is over all of them.
    pub kinds: BTreeMap<String, Measures>,
    /// How long the stages took.
    pub stages: Vec<Stage>,
    /// Questions whose gold was not among their passages.
    pub missed: Vec<Missed>,
}

/// A question whose gold was not found.
#[derive(Debug, Clone, Serialize)]
pub struct Missed {
    /// What was asked.
    pub question: String,
    /// What should have been found.
    pub gold: Vec<String>,
    /// What was found.
    pub found: Vec<String>,
}

/// Asks every question, one after the other.
pub async fn run(rag: &Rag, cases: &[Case], top_k: usize) -> Report {
    let mut outcomes: Vec<(&str, Outcome)> = Vec::new();
    let mut missed = Vec::new();
    for case in cases {
        let (sources, summary) = ask(rag, case, top_k).await;
        let found: Vec<String> = sources.iter().map(|source| heading(&source.url)).collect();
        let gold: Vec<String> = case.gold.iter().map(|gold| heading(gold)).collect();
        let is_gold = |found: &String| gold.iter().any(|gold| same(found, gold));
        let first = found.iter().position(is_gold).map(|at| at + 1);
        let hits = gold.iter().filter(|gold| found.iter().any(|found| same(found, gold))).count();
        if first.is_none() && !gold.is_empty() {
            missed.push(Missed { question: case.question.clone(), gold: gold.clone(), found });
        }
        let recall = hits as f64 / gold.len().clamp(1, top_k) as f64;
        let kind = case.kind.as_deref().unwrap_or("question");
        let retrieved = (!gold.is_empty()).then_some(Retrieved { first, recall });
        outcomes.push((kind, Outcome { retrieved, summary }));
    }
    let mut kinds: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for (kind, outcome) in &outcomes {
        kinds.entry((*kind).to_owned()).or_default().push(outcome);
        kinds.entry(ALL.to_owned()).or_default().push(outcome);
    }
    let stages =
        stages(&outcomes.iter().filter_map(|(_, outcome)| outcome.summary.as_ref()).collect::<Vec<_>>());
    let kinds = kinds.into_iter().map(|(kind, outcomes)| (kind, measure(&outcomes))).collect();
    Report { top_k, kinds, stages, missed }
}

/// Makes the question of a case, within the bounds that a reader's question has.
fn question_of(case: &Case, top_k: usize) -> Result<Question, String> {
    let turn = |turn: &Turn| Message {
        role: match turn.role {
            Speaker::User => Role::User,
            Speaker::Assistant => Role::Assistant,
        },
        content: turn.content.clone(),
    };
    let PageOf { url, title, selection } = case.page.clone();
    let parts = QuestionParts {
        query: case.question.clone(),
        history: case.history.iter().map(turn).collect(),
        page: Page { url, title, selection },
        top_k: Some(top_k),
        ..QuestionParts::default()
    };
    let name = |OutOfBounds { field, message }: OutOfBounds| match field {
        Field::Query => format!("question {message}"),
        field => format!("{field} {message}"),
    };
    Question::new(parts, &[]).map_err(|broken| broken.into_iter().map(name).collect::<Vec<_>>().join("; "))
}

/// Asks one question as a reader would.
async fn ask(rag: &Rag, case: &Case, top_k: usize) -> (Vec<Source>, Option<Summary>) {
    let Ok(question) = question_of(case, top_k) else { return (Vec::new(), None) };
    let failed = |error: &Error| tracing::warn!(cause = %error, question = case.question, "a question failed");
    let grounded = match rag.ground(question, Arc::new(StageTimes::new(Instant::now()))).await {
        Ok(grounded) => grounded,
        Err(error) => {
            failed(&error);
            return (Vec::new(), None);
        }
    };
    let mut answer = rag.answer(grounded);
    let (mut sources, mut summary) = (Vec::new(), None);
    while let Some(event) = answer.next().await {
        match event {
            Ok(AnswerEvent::Sources(found)) => sources = found,
            Ok(AnswerEvent::Done(done)) => summary = Some(done),
            Ok(AnswerEvent::Text(_)) => {}
            Err(error) => failed(&error),
        }
    }
    (sources, summary)
}

/// An address as it is compared: without the site, readable, without a slash at the end of its path.
fn heading(url: &str) -> String {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    };
    let plain = percent_decode_str(path).decode_utf8_lossy().into_owned();
    match plain.split_once('#') {
        Some((path, anchor)) => format!("{}#{anchor}", path.trim_end_matches('/')),
        None => plain.trim_end_matches('/').to_owned(),
    }
}

/// Whether an address is the gold one; a site's own base path may stand before it.
fn same(found: &str, gold: &str) -> bool {
    found == gold || (gold.starts_with('/') && found.ends_with(gold))
}

fn measure(outcomes: &[&Outcome]) -> Measures {
    let answerable: Vec<Retrieved> = outcomes.iter().filter_map(|outcome| outcome.retrieved).collect();
    let over = |value: fn(&Retrieved) -> f64| {
        let sum: f64 = answerable.iter().map(value).sum();
        (!answerable.is_empty()).then(|| rounded(sum / answerable.len() as f64))
    };
    let summaries: Vec<&Summary> = outcomes.iter().filter_map(|outcome| outcome.summary.as_ref()).collect();
    let share = |status| {
        let count = summaries.iter().filter(|summary| summary.status == status).count();
        rounded(count as f64 / outcomes.len().max(1) as f64)
    };
    Measures {
        questions: outcomes.len(),
        answerable: answerable.len(),
        recall: over(|retrieved| retrieved.recall),
        hits: over(|retrieved| f64::from(retrieved.first.is_some())),
        mrr: over(|retrieved| retrieved.first.map_or(0.0, |rank| 1.0 / rank as f64)),
        answered: share(Status::Answered),
        uncited: share(Status::Uncited),
        not_in_docs: share(Status::NotInDocs),
        failed: outcomes.len() - summaries.len(),
        invalid_citations: summaries.iter().map(|summary| summary.invalid_citations).sum(),
    }
}

fn rounded(share: f64) -> f64 {
    (share * 1_000.0).round() / 1_000.0
}

fn stages(summaries: &[&Summary]) -> Vec<Stage> {
    let stage = |stage, time: fn(&Summary) -> Option<f64>| {
        let mut times: Vec<f64> = summaries.iter().filter_map(|summary| time(summary)).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get(((times.len().max(1) - 1) as f64 * share).round() as usize).copied();
        Some(Stage { stage, p50_ms: at(0.5)?, p95_ms: at(0.95)? })
    };
    let all = [
        stage("embed", |summary| Some(summary.timings.embed_ms)),
        stage("retrieve", |summary| Some(summary.timings.retrieve_ms)),
        stage("first token", |summary| summary.timings.first_token_ms),
        stage("total", |summary| Some(summary.timings.total_ms)),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_question_is_named() {
        let good = r#"{"question": "How?", "gold": ["/docs/a#b"], "kind": "plain", "history": [{"role": "user", "content": "x"}]}"#;
        assert_eq!(read(&format!("{good}\n\n{good}\n")).unwrap().len(), 2);
        assert!(read(&format!("{good}\n\n{{\"question\": 1}}")).unwrap_err().starts_with("line 3: "));
        assert!(read(&good.replace("kind", "knd")).unwrap_err().contains("knd"));
        assert!(read(&good.replace("plain", "all")).unwrap_err().contains("choose another"));
        assert!(read("\n").unwrap_err().contains("no question"));
    }

    #[test]
    fn addresses_are_compared_by_what_they_lead_to() {
        for (url, gold) in [
            ("https://x.example/base/docs/a/#%C3%BC", "/docs/a#ü"),
            ("/docs/", "/docs"),
            ("/docs/a%20b", "/docs/a b/"),
        ] {
            assert!(same(&heading(url), &heading(gold)), "{url} {gold}");
        }
        assert!(!same(&heading("/docs/a#b"), &heading("/docs/a")));
        assert!(!same(&heading("/mydocs/a"), &heading("/docs/a")));
    }

    #[test]
    fn the_measures_are_those_of_the_books() {
        let outcome = |first, recall| Outcome { retrieved: Some(Retrieved { first, recall }), summary: None };
        let unanswerable = Outcome { retrieved: None, summary: None };
        let outcomes = [outcome(Some(1), 1.0), outcome(Some(4), 0.5), outcome(None, 0.0), unanswerable.clone()];
        let measures = measure(&outcomes.iter().collect::<Vec<_>>());
        assert_eq!((measures.questions, measures.answerable, measures.failed), (4, 3, 4));
        assert_eq!((measures.recall, measures.hits, measures.mrr), (Some(0.5), Some(0.667), Some(0.417)));
        assert_eq!(measure(&[&unanswerable]).recall, None);
    }
}
