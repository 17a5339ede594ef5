//! Computes the measures of an evaluation. No I/O.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::report::{ALL, Measures, StageLatency};
use crate::chat::{StageName, Status, Summary};

/// Holds the outcome of one question.
#[derive(Debug, Clone)]
pub(super) struct CaseOutcome {
    /// Result of the search; `None` for a question without gold.
    pub(super) retrieved: Option<Retrieved>,
    /// End of the answer; `None` for a question that failed.
    pub(super) summary: Option<Summary>,
}

/// Rates the search for one question by the gold that it found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Retrieved {
    /// Rank of the first passage that is gold, from 1; `None` if no passage is.
    pub(super) first: Option<usize>,
    /// Share of the gold that was found.
    recall: f64,
}

/// Compares the addresses of the passages with the gold ones; `None` for a question without gold. If a question
/// has more gold headings than `top_k`, finding `top_k` of them is a recall of 1.
pub(super) fn rate_retrieval(found: &[String], gold: &[String], top_k: usize) -> Option<Retrieved> {
    let is_gold = |found: &String| gold.iter().any(|gold| is_same_address(found, gold));
    let first = found.iter().position(is_gold).map(|at| at + 1);
    let hits = gold.iter().filter(|gold| found.iter().any(|found| is_same_address(found, gold))).count();
    let recall = hits as f64 / gold.len().clamp(1, top_k) as f64;
    (!gold.is_empty()).then_some(Retrieved { first, recall })
}

/// Normalises an address for comparisons: without the site, decoded, without a slash at the end of its path.
pub(super) fn normalise_address(url: &str) -> String {
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

/// Returns true if a normalised address is the gold one; the site's base path may stand before it.
fn is_same_address(found: &str, gold: &str) -> bool {
    found == gold || (gold.starts_with('/') && found.ends_with(gold))
}

/// Measures each kind of question, and all questions together.
pub(super) fn measure_kinds(outcomes: &[(&str, CaseOutcome)]) -> BTreeMap<String, Measures> {
    let mut kinds: BTreeMap<&str, Vec<&CaseOutcome>> = BTreeMap::new();
    for (kind, outcome) in outcomes {
        kinds.entry(kind).or_default().push(outcome);
        kinds.entry(ALL).or_default().push(outcome);
    }
    kinds.into_iter().map(|(kind, outcomes)| (kind.to_owned(), measure_outcomes(&outcomes))).collect()
}

fn measure_outcomes(outcomes: &[&CaseOutcome]) -> Measures {
    let answerable: Vec<Retrieved> = outcomes.iter().filter_map(|outcome| outcome.retrieved).collect();
    let mean = |value: fn(&Retrieved) -> f64| {
        let sum: f64 = answerable.iter().map(value).sum();
        (!answerable.is_empty()).then(|| round_to_thousandths(sum / answerable.len() as f64))
    };
    let summaries: Vec<&Summary> = outcomes.iter().filter_map(|outcome| outcome.summary.as_ref()).collect();
    let share = |status| {
        let count = summaries.iter().filter(|summary| summary.status == status).count();
        round_to_thousandths(count as f64 / outcomes.len().max(1) as f64)
    };
    Measures {
        questions: outcomes.len(),
        answerable: answerable.len(),
        recall: mean(|retrieved| retrieved.recall),
        hits: mean(|retrieved| f64::from(retrieved.first.is_some())),
        mrr: mean(|retrieved| retrieved.first.map_or(0.0, |rank| 1.0 / rank as f64)),
        answered: share(Status::Answered),
        uncited: share(Status::Uncited),
        not_in_docs: share(Status::NotInDocs),
        failed: outcomes.len() - summaries.len(),
        invalid_citations: summaries.iter().map(|summary| summary.invalid_citations).sum(),
    }
}

fn round_to_thousandths(share: f64) -> f64 {
    (share * 1_000.0).round() / 1_000.0
}

/// Computes median and 95th percentile of the stages; a stage that no answer went through is left out.
pub(super) fn measure_stages(outcomes: &[(&str, CaseOutcome)]) -> Vec<StageLatency> {
    let latency = |stage, time: fn(&Summary) -> Option<f64>| {
        let summaries = outcomes.iter().filter_map(|(_, outcome)| outcome.summary.as_ref());
        let mut times: Vec<f64> = summaries.filter_map(time).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get(((times.len().max(1) - 1) as f64 * share).round() as usize).copied();
        Some(StageLatency { stage, p50_ms: at(0.5)?, p95_ms: at(0.95)? })
    };
    let all = [
        latency(StageName::Embed.as_str(), |summary| Some(summary.timings.embed_ms)),
        latency(StageName::Retrieve.as_str(), |summary| Some(summary.timings.retrieve_ms)),
        latency("first token", |summary| summary.timings.first_token_ms),
        latency("total", |summary| Some(summary.timings.total_ms)),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_by_what_they_lead_to() {
        let is_same = |url, gold| is_same_address(&normalise_address(url), &normalise_address(gold));
        for (url, gold) in [
            ("https://x.example/base/docs/a/#%C3%BC", "/docs/a#ü"),
            ("/docs/", "/docs"),
            ("/docs/a%20b", "/docs/a b/"),
        ] {
            assert!(is_same(url, gold), "{url} {gold}");
        }
        assert!(!is_same("/docs/a#b", "/docs/a"));
        assert!(!is_same("/mydocs/a", "/docs/a"));
    }

    #[test]
    fn gold_is_rated_by_its_first_rank_and_its_share() {
        let addresses = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let found = addresses(&["/a", "/b", "/c"]);
        let rate = |gold: &[&str], top_k| rate_retrieval(&found, &addresses(gold), top_k);
        assert_eq!(rate(&["/b", "/x"], 6), Some(Retrieved { first: Some(2), recall: 0.5 }));
        assert_eq!(rate(&["/x"], 6), Some(Retrieved { first: None, recall: 0.0 }));
        assert_eq!(rate(&["/a", "/b", "/c", "/x"], 3), Some(Retrieved { first: Some(1), recall: 1.0 }));
        assert_eq!(rate(&[], 6), None);
    }

    #[test]
    fn the_measures_are_those_of_the_books() {
        let outcome =
            |first, recall| CaseOutcome { retrieved: Some(Retrieved { first, recall }), summary: None };
        let unanswerable = CaseOutcome { retrieved: None, summary: None };
        let outcomes = [outcome(Some(1), 1.0), outcome(Some(4), 0.5), outcome(None, 0.0), unanswerable.clone()];
        let measures = measure_outcomes(&outcomes.iter().collect::<Vec<_>>());
        assert_eq!((measures.questions, measures.answerable, measures.failed), (4, 3, 4));
        assert_eq!((measures.recall, measures.hits, measures.mrr), (Some(0.5), Some(0.667), Some(0.417)));
        assert_eq!(measure_outcomes(&[&unanswerable]).recall, None);
        assert_eq!(measure_stages(&[("plain", unanswerable)]), []);
    }

    #[test]
    fn every_question_counts_for_its_kind_and_for_all() {
        let outcome = CaseOutcome { retrieved: None, summary: None };
        let kinds = measure_kinds(&[("a", outcome.clone()), ("b", outcome.clone()), ("a", outcome)]);
        let counts: Vec<(&str, usize)> =
            kinds.iter().map(|(kind, measures)| (kind.as_str(), measures.questions)).collect();
        assert_eq!(counts, [("a", 2), (ALL, 3), ("b", 1)]);
    }
}
