//! Writes the passages of one documentation root into an index, embedding only the new ones.
//!
//! ```text
//! docs ─DocPage─▶ PagePassages ─batches─▶ Target (a collection on a server, or the embedded index)
//! ```

mod error;
mod progress;
mod record;
mod target;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::IndexConfig;
use crate::docs::{Docs, MAX_PASSAGE_TOKENS, PagePassage, Root, SkippedFile};
use crate::provider::{BatchLimits, Embedding, MAX_EMBEDDED_TOKENS};
use crate::text::estimate_tokens;
use target::{BatchCounts, Target};

pub use error::Error;
pub use progress::RunProgress;
pub use record::{passage_payload, passage_url};

const _: () = assert!(MAX_PASSAGE_TOKENS <= MAX_EMBEDDED_TOKENS, "the model would not read passages whole");

/// Counts the results of a run.
#[derive(Debug, Clone, Default)]
pub struct RunSummary {
    /// Pages that were read.
    pub pages: usize,
    /// Passages that the root has now.
    pub chunks: usize,
    /// Passages that this run embedded.
    pub embedded: usize,
    /// Passages whose vectors existed before.
    pub kept: usize,
    /// Passages that were deleted.
    pub deleted: usize,
    /// Files that could not be read, each with the reason.
    pub skipped: Vec<SkippedFile>,
    /// Duration of the run.
    pub elapsed: Duration,
}

impl RunSummary {
    fn add(&mut self, batch: BatchCounts) {
        self.chunks += batch.passages;
        self.embedded += batch.embedded;
        self.kept += batch.passages - batch.embedded;
    }
}

/// Names the pages that a run reads, and the index that it writes.
#[derive(Debug, Clone, Copy)]
pub struct IndexJob<'a> {
    /// Pages.
    pub docs: &'a Docs,
    /// Properties that the pages share.
    pub root: &'a Root,
    /// Index to write.
    pub index: &'a IndexConfig,
    /// Model that embeds the passages.
    pub embedding: &'a Embedding,
}

/// Indexes a documentation root. Ends early when `stop` is cancelled.
///
/// # Errors
///
/// Returns the failure that kept the run from finishing.
pub async fn run(
    job: IndexJob<'_>,
    progress: &mut RunProgress,
    stop: &CancellationToken,
) -> Result<RunSummary, Error> {
    let IndexJob { docs, root, index, embedding } = job;
    let began = Instant::now();
    let mut summary = survey(docs, root);
    if summary.pages == 0 {
        return Err(Error::NoPage(summary.skipped));
    }
    progress.begin(summary.chunks);
    let mut target = Target::begin(index, root, embedding, summary.chunks).await?;
    let written = run_unless_stopped(stop, write_pages(job, &mut target, &mut summary.skipped, progress)).await;
    progress.end();
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            target.abandon().await;
            return Err(error);
        }
    };
    // The index keeps the passages of a file or folder that cannot be read now: old passages are better than
    // none.
    let files = summary.skipped.iter().map(|skipped| skipped.file.clone());
    let unreadable: Vec<String> = files.filter(|file| docs.read_page(root, file).is_err()).collect();
    let deleted = target.finish(unreadable).await?;
    Ok(RunSummary {
        pages: summary.pages,
        skipped: summary.skipped,
        deleted,
        elapsed: began.elapsed(),
        ..written
    })
}

/// Writes the passages of every page that is not `skipped`, batch by batch. Adds to `skipped` the files that
/// can no longer be read.
async fn write_pages(
    job: IndexJob<'_>,
    target: &mut Target,
    skipped: &mut Vec<SkippedFile>,
    progress: &mut RunProgress,
) -> Result<RunSummary, Error> {
    let IndexJob { docs, root, embedding, .. } = job;
    let mut written = RunSummary::default();
    let mut batch = Batch::new(embedding.batch_limits());
    for file in docs.files_except(skipped) {
        let page = match docs.read_page(root, file) {
            Ok(page) => page,
            // The file has changed since the survey.
            Err(changed) => {
                skipped.push(changed);
                continue;
            }
        };
        for passage in page.map_or(Vec::new(), |page| page.passages(root)) {
            if let Some(full) = batch.push(passage) {
                written.add(target.write_batch(root, full, embedding).await?);
                progress.update(written.chunks, written.embedded);
            }
        }
    }
    written.add(target.write_batch(root, batch.passages, embedding).await?);
    Ok(written)
}

/// Collects passages up to the limits of one embedding call.
struct Batch {
    limits: BatchLimits,
    passages: Vec<PagePassage>,
    /// Estimated tokens of the passages.
    tokens: usize,
}

impl Batch {
    /// Creates an empty batch.
    fn new(limits: BatchLimits) -> Self {
        Self { limits, passages: Vec::new(), tokens: 0 }
    }

    /// Adds a passage. If the passage does not fit, returns the passages collected before and begins a new
    /// batch.
    fn push(&mut self, passage: PagePassage) -> Option<Vec<PagePassage>> {
        let more = estimate_tokens(&passage.embedded.text);
        let is_full =
            self.passages.len() == self.limits.max_items || self.tokens + more > self.limits.max_tokens;
        let full = is_full.then(|| std::mem::replace(self, Self::new(self.limits)).passages);
        self.tokens += more;
        self.passages.push(passage);
        full
    }
}

/// Runs a part of the work, unless the operator stops the run first. The next run can repeat the part.
async fn run_unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Stopped),
        done = work => done,
    }
}

/// Reads every page once, and counts pages and passages; a file that cannot be read, or whose page has the same
/// address as another file's page, is skipped.
pub fn survey(docs: &Docs, root: &Root) -> RunSummary {
    let mut summary = RunSummary::default();
    let mut addresses: HashMap<String, String> = HashMap::new();
    if let Docs::Folder(folder) = docs {
        summary.skipped.clone_from(&folder.skipped);
    }
    for file in docs.files() {
        match docs.read_page(root, file) {
            Ok(None) => {}
            Ok(Some(page)) => match addresses.get(&page.address) {
                Some(other) => {
                    let cause = format!("it has the address {}, as {other} does", page.address);
                    summary.skipped.push(SkippedFile { file: file.to_owned(), cause });
                }
                None => {
                    summary.pages += 1;
                    summary.chunks += page.chunks.len();
                    addresses.insert(page.address, file.to_owned());
                }
            },
            Err(skipped) => summary.skipped.push(skipped),
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::{DocPage, Folder, ROUTE_BASE};

    fn root() -> Root {
        Root { route_base: ROUTE_BASE.to_owned(), ..Root::default() }
    }

    #[test]
    fn a_batch_is_as_large_as_one_call_allows() {
        let limits = BatchLimits { max_items: 100, max_tokens: 24_000 };
        let sections: String = (0..=limits.max_items).map(|n| format!("## {n}\n\nx\n\n")).collect();
        let page = DocPage::read(&root(), "a.md", &sections, &|_| Ok(None)).unwrap().unwrap();
        let mut batch = Batch::new(limits);
        let full: Vec<_> =
            page.passages(&root()).into_iter().filter_map(|passage| batch.push(passage)).collect();
        assert_eq!((full.len(), full[0].len(), batch.passages.len()), (1, limits.max_items, 1));

        let mut long = page.passages(&root()).remove(0);
        long.embedded.text = "語".repeat(limits.max_tokens / 2);
        let mut batch = Batch::new(limits);
        assert!(batch.push(long.clone()).is_none() && batch.push(long.clone()).is_none());
        assert_eq!(batch.push(long).unwrap().len(), 2);
    }

    #[test]
    fn a_survey_counts_pages_and_skips_a_second_page_at_the_same_address() {
        let folder = tempfile::tempdir().unwrap();
        for (file, source) in
            [("a.md", "## A\n\nx\n\n## B\n\ny"), ("b.md", "---\nslug: /a\n---\nx"), ("c.mdx", "{")]
        {
            std::fs::write(folder.path().join(file), source).unwrap();
        }
        let docs = Docs::Folder(Folder::open(folder.path()).unwrap());
        let summary = survey(&docs, &root());
        assert_eq!((summary.pages, summary.chunks), (1, 2));
        let skipped: Vec<String> = summary.skipped.iter().map(ToString::to_string).collect();
        assert_eq!(skipped[0], "b.md: it has the address /docs/a, as a.md does");
        assert!(skipped[1].starts_with("c.mdx: it is not valid MDX"), "{skipped:?}");
    }
}
