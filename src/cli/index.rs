//! Runs `docent index`, which writes a folder of pages into the index that `serve` searches.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;

use super::args::{read_language, read_route_base, read_text};
use super::output::say;
use super::signals::watch_stop_signals;
use crate::config::{Config, Vars};
use crate::docs::{Docs, Folder, Root, SkippedFile};
use crate::indexing::{self, IndexJob, RunProgress};
use crate::provider::Embedding;
use crate::startup::{StartError, reach_embedding, reach_index};

/// Exit code of a run that skipped files.
const EXIT_SKIPPED: u8 = 2;

/// Indexes a folder, and prints a summary.
pub(super) async fn run(matches: &ArgMatches, config: Config) -> Result<ExitCode, StartError> {
    let docs = open_docs(matches)?;
    let root = Root {
        route_base: read_route_base(matches)?,
        site: config.site.url.clone(),
        version: read_text(matches, "version-label"),
        language: read_language(matches)?,
        filter_keys: config.site.filter_keys.clone(),
    };
    let (stop, stop_now) = watch_stop_signals();
    let embedding = tokio::select! {
        embedding = reach_dependencies(&config) => embedding?,
        () = stop.cancelled() => return Err(indexing::Error::Stopped.into()),
    };
    let job = IndexJob { docs: &docs, root: &root, index: &config.index, embedding: &embedding };
    let mut progress = RunProgress::on_stderr();
    let summary = tokio::select! {
        summary = indexing::run(job, &mut progress, &stop) => summary,
        () = stop_now.cancelled() => Err(indexing::Error::Stopped),
    };
    let summary = summary.inspect_err(|error| {
        if let indexing::Error::NoPage(skipped) = error {
            print_skipped(skipped);
        }
    })?;
    print_skipped(&summary.skipped);
    say!(
        "{} pages, {} passages: {} embedded, {} kept, {} deleted, in {:.1} s",
        summary.pages,
        summary.chunks,
        summary.embedded,
        summary.kept,
        summary.deleted,
        summary.elapsed.as_secs_f64()
    );
    Ok(exit_code_for_skipped(&summary.skipped))
}

/// Waits for the index and the provider, and returns the model that embeds.
async fn reach_dependencies(config: &Config) -> Result<Embedding, StartError> {
    reach_index(config).await?;
    reach_embedding(config).await
}

/// Prints the address of every section, one per line, and writes no index.
pub(super) fn dry_run(matches: &ArgMatches, vars: &Vars) -> Result<ExitCode, StartError> {
    let docs = open_docs(matches)?;
    let site = Config::site(vars)?.url;
    let root = Root { route_base: read_route_base(matches)?, site, ..Root::default() };
    let skipped = indexing::survey(&docs, &root).skipped;
    let (mut out, mut last) = (std::io::stdout().lock(), String::new());
    for page in docs.pages(&root, &skipped) {
        for passage in page.passages(&root) {
            let address = indexing::passage_url(&root, &passage);
            if address != last {
                // A closed pipe is no error: its reader may have seen enough.
                if writeln!(out, "{address}").is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
                last = address;
            }
        }
    }
    print_skipped(&skipped);
    Ok(exit_code_for_skipped(&skipped))
}

fn open_docs(matches: &ArgMatches) -> Result<Docs, StartError> {
    let folder = read_text(matches, "folder").unwrap_or_default();
    Folder::open(Path::new(&folder)).map(Docs::Folder).map_err(StartError::Settings)
}

fn print_skipped(skipped: &[SkippedFile]) {
    for skipped in skipped {
        eprintln!("skipped {skipped}");
    }
}

fn exit_code_for_skipped(skipped: &[SkippedFile]) -> ExitCode {
    if skipped.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_SKIPPED) }
}
