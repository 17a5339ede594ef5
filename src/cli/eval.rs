//! `docent eval`: measures what is found and how it is answered.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use super::text;
use crate::app::App;
use crate::chat::MAX_TOP_K;
use crate::config::Config;
use crate::eval::{self, Report};
use crate::startup::StartError;

/// Asks the questions and prints the report.
pub(super) async fn eval(matches: &ArgMatches, mut config: Config) -> Result<ExitCode, StartError> {
    let path = text(matches, "file").unwrap_or_default();
    let wrong = |cause: &dyn std::fmt::Display| StartError::Settings(format!("{path}: {cause}"));
    let cases = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    let cases = eval::read(&cases).map_err(|cause| wrong(&cause))?;
    let top_k = text(matches, "top-k").and_then(|k| k.parse().ok()).filter(|k| (1..=MAX_TOP_K).contains(k));
    let top_k = top_k
        .ok_or_else(|| StartError::Settings(format!("--top-k must be a whole number, 1 to {MAX_TOP_K}")))?;
    config.offline_token_delay = Duration::ZERO;
    let app = App::build(config).await?;
    let report = eval::run(&app.rag, &cases, top_k).await;
    if matches.get_flag("json") {
        let json =
            serde_json::to_string_pretty(&report).map_err(|error| StartError::Other(error.to_string()))?;
        say!("{json}");
    } else {
        print(&report);
    }
    let failed = report.kinds.get(eval::ALL).is_some_and(|all| all.failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(report: &Report) {
    let widest = report.kinds.keys().map(String::len).max().unwrap_or(0).max(12);
    let found = format!("recall@{}", report.top_k);
    say!(
        "{:widest$}  {:>5}  {found:>9}  {:>5}  {:>5}  {:>8}  {:>7}  {:>11}  {:>6}",
        "kind",
        "n",
        "hits",
        "MRR",
        "answered",
        "uncited",
        "not in docs",
        "failed"
    );
    let (all, kinds): (Vec<_>, Vec<_>) = report.kinds.iter().partition(|(kind, _)| *kind == eval::ALL);
    for (kind, row) in kinds.into_iter().chain(all.clone()) {
        let of_answerable = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        say!(
            "{kind:widest$}  {:>5}  {:>9}  {:>5}  {:>5}  {:>7.0}%  {:>6.0}%  {:>10.0}%  {:>6}",
            row.questions,
            of_answerable(row.recall),
            of_answerable(row.hits),
            of_answerable(row.mrr),
            row.answered * 100.0,
            row.uncited * 100.0,
            row.not_in_docs * 100.0,
            row.failed
        );
    }
    let invalid: usize = all.iter().map(|(_, row)| row.invalid_citations).sum();
    say!("\ncitations that named no passage: {invalid}\n");
    say!("{:widest$}  {:>10}  {:>10}", "stage", "p50", "p95");
    for stage in &report.stages {
        say!("{:widest$}  {:>7.1} ms  {:>7.1} ms", stage.stage, stage.p50_ms, stage.p95_ms);
    }
}
