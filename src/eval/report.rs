//! Names the measures of an evaluation, as `docent eval --json` prints them.

use std::collections::BTreeMap;

use serde::Serialize;

/// Name of the row over all questions.
pub const ALL: &str = "all";

/// Holds the measures of one kind of question.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measures {
    /// Number of questions.
    pub questions: usize,
    /// Number of questions that have gold; recall, hits and MRR are over these.
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
    /// Share of answers that say the documentation does not answer.
    pub not_in_docs: f64,
    /// Number of questions that ended in an error.
    pub failed: usize,
    /// Number of citations that named no passage; readers did not see these.
    pub invalid_citations: usize,
}

/// Holds the latency of a stage, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageLatency {
    /// Name of the stage.
    pub stage: &'static str,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
}

/// Holds the results of one evaluation.
#[derive(Clone, Serialize)]
pub struct Report {
    /// Number of passages per question.
    pub top_k: usize,
    /// Measures by kind; `all` is over all questions.
    pub kinds: BTreeMap<String, Measures>,
    /// Durations of the stages that were timed.
    pub stages: Vec<StageLatency>,
    /// Questions of which no gold heading was found.
    pub missed: Vec<MissedQuestion>,
}

/// Names a question of which no gold heading was found.
#[derive(Clone, Serialize)]
pub struct MissedQuestion {
    /// Question.
    pub question: String,
    /// Headings that answer the question.
    pub gold: Vec<String>,
    /// Headings that were found instead.
    pub found: Vec<String>,
}
