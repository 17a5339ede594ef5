//! Runs `docent eval`, which measures retrieval and answers.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use super::args::{read_text, read_top_k};
use super::output::say;
use crate::app::App;
use crate::config::Config;
use crate::eval::{self, Measures, Report};
use crate::startup::StartError;

/// Asks the questions of a file and prints the report. Fails if a question failed.
pub(super) async fn run(matches: &ArgMatches, mut config: Config) -> Result<ExitCode, StartError> {
    let path = read_text(matches, "file").unwrap_or_default();
    let wrong = |cause: &dyn std::fmt::Display| StartError::Settings(format!("{path}: {cause}"));
    let cases = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    let top_k = read_top_k(matches)?;
    let cases = eval::parse_cases(&cases, top_k).map_err(|cause| wrong(&cause))?;
    // No reader waits for the words, so offline answers need no pause between them.
    config.offline_token_delay = Duration::ZERO;
    let app = App::build(config).await?;
    let report = eval::run(&app.rag, &cases, top_k).await;
    if matches.get_flag("json") {
        let json =
            serde_json::to_string_pretty(&report).map_err(|error| StartError::Other(error.to_string()))?;
        say!("{json}");
    } else {
        print_report(&report);
    }
    let failed = report.kinds.get(eval::ALL).is_some_and(|all| all.failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints a report as a table of the kinds, `all` last, and a table of the stages.
fn print_report(report: &Report) {
    let widest = report.kinds.keys().map(String::len).max().unwrap_or(0).max(12);
    let recall_title = format!("recall@{}", report.top_k);
    say!(
        "{:widest$}  {:>5}  {recall_title:>9}  {:>5}  {:>5}  {:>8}  {:>7}  {:>11}  {:>6}",
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
        print_measures(kind, row, widest);
    }
    let invalid: usize = all.iter().map(|(_, row)| row.invalid_citations).sum();
    say!("\ncitations that named no passage: {invalid}\n");
    say!("{:widest$}  {:>10}  {:>10}", "stage", "p50", "p95");
    for stage in &report.stages {
        say!("{:widest$}  {:>7.1} ms  {:>7.1} ms", stage.stage, stage.p50_ms, stage.p95_ms);
    }
}

/// Prints the row of one kind, whose name is padded to `width`.
fn print_measures(kind: &str, row: &Measures, width: usize) {
    let format_score = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    say!(
        "{kind:width$}  {:>5}  {:>9}  {:>5}  {:>5}  {:>7.0}%  {:>6.0}%  {:>10.0}%  {:>6}",
        row.questions,
        format_score(row.recall),
        format_score(row.hits),
        format_score(row.mrr),
        row.answered * 100.0,
        row.uncited * 100.0,
        row.not_in_docs * 100.0,
        row.failed
    );
}
