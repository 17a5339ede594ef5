//! `docent index`: a folder of pages into the index that `serve` searches.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;

use super::{language, route_base, stop_signals, text};
use crate::config::{Config, Vars};
use crate::docs::{Docs, Folder, Root, SkippedFile};
use crate::indexing::{self, IndexJob, RunProgress};
use crate::startup::{StartError, reach_embedding, reach_index};

/// Some files could not be read.
const EXIT_SKIPPED: u8 = 2;

/// Indexes, and says what was done.
pub(super) async fn index(matches: &ArgMatches, config: Config) -> Result<ExitCode, StartError> {
    let docs = docs(matches)?;
    let root = Root {
        route_base: route_base(matches)?,
        site: config.site.url.clone(),
        version: text(matches, "version-label"),
        language: language(matches)?,
        filter_keys: config.site.filter_keys.clone(),
    };
    let (stop, stop_now) = stop_signals();
    let embedding = tokio::select! {
        embedding = async {
            reach_index(&config).await?;
            reach_embedding(&config).await
        } => embedding?,
        () = stop.cancelled() => return Err(indexing::Error::Stopped.into()),
    };
    let mut progress = RunProgress::on_stderr();
    let run = indexing::run(
        IndexJob { docs: &docs, root: &root, index: &config.index, embedding: &embedding },
        &mut progress,
        &stop,
    );
    let summary = tokio::select! {
        summary = run => summary,
        () = stop_now.cancelled() => Err(indexing::Error::Stopped),
    };
    let summary = match summary {
        Err(indexing::Error::NoPage(skipped)) => {
            name(&skipped);
            return Err(indexing::Error::NoPage(skipped).into());
        }
        summary => summary?,
    };
    name(&summary.skipped);
    say!(
        "{} pages, {} passages: {} embedded, {} kept, {} deleted, in {:.1} s",
        summary.pages,
        summary.chunks,
        summary.embedded,
        summary.kept,
        summary.deleted,
        summary.elapsed.as_secs_f64()
    );
    Ok(code(&summary.skipped))
}

/// Prints where every section would be, one address a line.
pub(super) fn dry_run(matches: &ArgMatches, vars: &Vars) -> Result<ExitCode, StartError> {
    let docs = docs(matches)?;
    let site = Config::site(vars)?.url;
    let root = Root { route_base: route_base(matches)?, site, ..Root::default() };
    let skipped = indexing::survey(&docs, &root).skipped;
    let (mut out, mut last) = (std::io::stdout().lock(), String::new());
    for page in docs.pages(&root, &skipped) {
        for passage in page.passages(&root) {
            let address = indexing::passage_url(&root, &passage);
            if address != last {
                // Whoever reads this may have seen enough.
                if writeln!(out, "{address}").is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
                last = address;
            }
        }
    }
    name(&skipped);
    Ok(code(&skipped))
}

fn docs(matches: &ArgMatches) -> Result<Docs, StartError> {
    let folder = text(matches, "folder").unwrap_or_default();
    Folder::open(Path::new(&folder)).map(Docs::Folder).map_err(StartError::Settings)
}

fn name(skipped: &[SkippedFile]) {
    for skipped in skipped {
        eprintln!("skipped {skipped}");
    }
}

fn code(skipped: &[SkippedFile]) -> ExitCode {
    if skipped.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_SKIPPED) }
}
