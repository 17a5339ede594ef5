//! Measures retrieval and answers with a file of questions whose answers are known.

mod cases;
mod metrics;
mod report;

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;

use crate::chat::{AnswerEvent, Source, Summary};
use crate::error::Error;
use crate::rag::{Rag, StageTimes};
use metrics::{CaseOutcome, measure_kinds, measure_stages, normalise_address, rate_retrieval};

pub use cases::{Case, parse_cases};
pub use report::{ALL, Measures, MissedQuestion, Report, StageLatency};

/// Kind of a question whose line names no kind.
const DEFAULT_KIND: &str = "question";

/// Asks every question, one after the other, and measures the answers; `top_k` is the number with which the
/// cases were parsed.
pub async fn run(rag: &Rag, cases: &[Case], top_k: usize) -> Report {
    let mut outcomes: Vec<(&str, CaseOutcome)> = Vec::new();
    let mut missed = Vec::new();
    for case in cases {
        let (sources, summary) = ask_question(rag, case).await;
        let found: Vec<String> = sources.iter().map(|source| normalise_address(&source.url)).collect();
        let gold: Vec<String> = case.gold.iter().map(|gold| normalise_address(gold)).collect();
        let retrieved = rate_retrieval(&found, &gold, top_k);
        if retrieved.is_some_and(|retrieved| retrieved.first.is_none()) {
            missed.push(MissedQuestion { question: case.question.query().to_owned(), gold, found });
        }
        let kind = case.kind.as_deref().unwrap_or(DEFAULT_KIND);
        outcomes.push((kind, CaseOutcome { retrieved, summary }));
    }
    Report { top_k, kinds: measure_kinds(&outcomes), stages: measure_stages(&outcomes), missed }
}

/// Asks one question as a reader would. Returns the sources, and the end of the answer unless the question
/// failed.
async fn ask_question(rag: &Rag, case: &Case) -> (Vec<Source>, Option<Summary>) {
    // The line number names the question, because the log never holds a question's text.
    let warn = |error: &Error| tracing::warn!(cause = %error, line = case.line, "a question failed");
    let grounded = match rag.ground(case.question.clone(), Arc::new(StageTimes::new(Instant::now()))).await {
        Ok(grounded) => grounded,
        Err(error) => {
            warn(&error);
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
            Err(error) => warn(&error),
        }
    }
    (sources, summary)
}
