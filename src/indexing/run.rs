//! One run of indexing: the passages of one documentation root into an index, embedding only what is new.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::progress::Progress;
use super::{Docs, Entry, Root, Skipped};
use crate::chat::Vector;
use crate::config::IndexConfig;
use crate::provider::{self, Document, Embedding, MAX_BATCH_ITEMS, MAX_BATCH_TOKENS, estimated_tokens};
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::payload::{HASH_KEY, ROOT_KEY};
use crate::retrieval::{self, INDEX_VERSION, Manifest, OpenError, Point, RemoteWriter, StoredPoints};
#[cfg(feature = "embedded")]
use crate::retrieval::{BuildError, EmbeddedWriter};

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Pages that were read.
    pub pages: usize,
    /// Passages the root has now.
    pub chunks: usize,
    /// Passages that were embedded in this run.
    pub embedded: usize,
    /// Passages whose vectors were there already.
    pub kept: usize,
    /// Passages that are gone.
    pub deleted: usize,
    /// Files that could not be read, and why.
    pub skipped: Vec<Skipped>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a run did not finish. The index is as it was, or, on a server, as far as the run came; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index cannot be written with these settings.
    #[error("{0}")]
    Unusable(String),
    /// A dependency is not reachable.
    #[error("{0}")]
    Unreachable(String),
    /// There is nothing to index; what is in the index stays.
    #[error("no page can be indexed; the index is left as it is")]
    NoPage(Vec<Skipped>),
    /// The passages could not be embedded.
    #[error("the passages could not be embedded: {0}; what was embedded is kept, run it again to go on")]
    Embedding(#[from] provider::Error),
    /// The server did not take them.
    #[error("the index could not be written: {0}; run it again to go on")]
    Index(#[from] retrieval::Error),
    /// The embedded index could not be built.
    #[cfg(feature = "embedded")]
    #[error("{0}")]
    Build(#[from] BuildError),
    /// The operator stopped it.
    #[error("stopped; what Gemini embedded is kept, run it again to go on")]
    Stopped,
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unusable(sentence) => Self::Unusable(sentence),
            OpenError::Unreachable(sentence) => Self::Unreachable(sentence),
        }
    }
}

/// Where passages go.
enum Target {
    Remote(Box<RemoteWriter>),
    #[cfg(feature = "embedded")]
    Embedded(Box<EmbeddedWriter>),
}

/// What is indexed, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Where the pages come from.
    pub docs: &'a Docs,
    /// What they have in common.
    pub root: &'a Root,
    /// The index.
    pub index: &'a IndexConfig,
    /// Who embeds.
    pub embedding: &'a Embedding,
}

/// Indexes a documentation root; ends early when `stop` is cancelled.
///
/// # Errors
///
/// What kept the run from finishing.
pub async fn run(job: Job<'_>, progress: &mut Progress, stop: &CancellationToken) -> Result<Summary, Error> {
    let Job { docs, root, .. } = job;
    let began = Instant::now();
    let mut summary = survey(docs, root);
    if summary.pages == 0 {
        return Err(Error::NoPage(summary.skipped));
    }
    progress.begin(summary.chunks);
    let mut target = Target::begin(job, summary.chunks).await?;
    let written = unless_stopped(stop, write(job, &mut target, &mut summary.skipped, progress)).await;
    progress.end();
    let done = match written {
        Ok(done) => done,
        Err(error) => {
            target.give_up().await;
            return Err(error);
        }
    };
    // What a file or a folder that cannot be read now gave before is better than nothing.
    let files = summary.skipped.iter().map(|skipped| skipped.file.clone());
    let unreadable: Vec<String> = files.filter(|file| docs.page(root, file).is_err()).collect();
    let deleted = target.finish(unreadable).await?;
    Ok(Summary { pages: summary.pages, skipped: summary.skipped, deleted, elapsed: began.elapsed(), ..done })
}

/// Writes the passages of every page that is not `skipped`, a batch at a time.
async fn write(
    job: Job<'_>,
    target: &mut Target,
    skipped: &mut Vec<Skipped>,
    progress: &mut Progress,
) -> Result<Summary, Error> {
    let Job { docs, root, embedding, .. } = job;
    let mut done = Summary::default();
    let (mut batch, mut tokens) = (Vec::new(), 0);
    for file in docs.files_but(skipped) {
        let page = match docs.page(root, file) {
            Ok(page) => page,
            // It has changed since it was surveyed.
            Err(changed) => {
                skipped.push(changed);
                continue;
            }
        };
        for entry in page.map_or(Vec::new(), |page| page.entries(root)) {
            let more = estimated_tokens(&entry.text);
            if batch.len() == MAX_BATCH_ITEMS || tokens + more > MAX_BATCH_TOKENS {
                target.take(std::mem::take(&mut batch), embedding, &mut done).await?;
                progress.at(done.chunks, done.embedded);
                tokens = 0;
            }
            tokens += more;
            batch.push(entry);
        }
    }
    target.take(batch, embedding, &mut done).await?;
    Ok(done)
}

/// Does a part of a run, unless the operator stops it first. Whatever it was doing can be done again.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Stopped),
        done = work => done,
    }
}

/// Reads every page once, to know how much there is to do and what cannot be read.
pub fn survey(docs: &Docs, root: &Root) -> Summary {
    let mut summary = Summary::default();
    let mut addresses: HashMap<String, String> = HashMap::new();
    if let Docs::Folder(folder) = docs {
        summary.skipped.clone_from(&folder.skipped);
    }
    for file in docs.files() {
        match docs.page(root, file) {
            Ok(None) => {}
            Ok(Some(page)) => match addresses.get(&page.address) {
                Some(other) => {
                    let cause = format!("it has the address {}, as {other} does", page.address);
                    summary.skipped.push(Skipped { file: file.to_owned(), cause });
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

impl Target {
    async fn begin(job: Job<'_>, points: usize) -> Result<Self, Error> {
        let Job { root, embedding, .. } = job;
        let manifest = Manifest {
            index_version: INDEX_VERSION,
            model: embedding.model().to_owned(),
            dimensions: embedding.dimensions(),
            languages: [root.language.clone().unwrap_or_default()].into(),
            filter_keys: root.filter_keys.iter().cloned().collect(),
        };
        let analyzer = root.language.as_deref().map_or(Analyzer::ENGLISH, Analyzer::for_language);
        let own = (ROOT_KEY, root.route_base.clone());
        match job.index {
            IndexConfig::Remote(remote) => {
                let writer = RemoteWriter::begin(remote.clone(), manifest, analyzer, own).await?;
                Ok(Self::Remote(Box::new(writer)))
            }
            #[cfg(feature = "embedded")]
            IndexConfig::Embedded { data } => {
                Ok(Self::Embedded(Box::new(EmbeddedWriter::begin(data, manifest, analyzer, own, points)?)))
            }
            _ => {
                Err(Error::Unusable(format!("there is no index to write {points} passages to: set QDRANT_URL")))
            }
        }
    }

    /// Writes a batch, embedding what neither the index nor a run that was cut off has embedded.
    async fn take(
        &mut self,
        batch: Vec<Entry>,
        embedding: &Embedding,
        done: &mut Summary,
    ) -> Result<(), Error> {
        let ids: Vec<Uuid> = batch.iter().map(|entry| entry.id).collect();
        let stored = self.stored(&ids).await?;
        let (mut points, mut unchanged, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        for entry in batch {
            let hash = hash(&entry, embedding);
            let Entry { id, title, heading, text, mut payload } = entry;
            payload.insert(HASH_KEY.to_owned(), hash.to_string().into());
            let before = stored.get(&id).filter(|before| before.payload.get(HASH_KEY) == payload.get(HASH_KEY));
            let vector = match before {
                Some(before) => Some(before.vector.clone()),
                None => self.recall(hash)?.map(Vector::Dense),
            };
            if before.is_some_and(|before| before.is_complete && before.payload == payload) {
                unchanged.push(id);
            }
            if vector.is_none() {
                fresh.push(Fresh { place: points.len(), hash, title, heading, text: text.clone() });
            }
            let vector = vector.unwrap_or(Vector::Dense(Vec::new()));
            points.push(Point { id, vector, text, payload });
        }
        done.chunks += points.len();
        done.embedded += fresh.len();
        done.kept += points.len() - fresh.len();
        self.embed(fresh, &mut points, embedding).await?;
        match self {
            Self::Remote(remote) => remote.write(points, &unchanged).await?,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.write(points)?,
        }
        // The embedded engine is synchronous: whoever waits for a signal gets a turn here.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Embeds what is fresh and gives it to its points.
    async fn embed(
        &mut self,
        fresh: Vec<Fresh>,
        points: &mut [Point],
        embedding: &Embedding,
    ) -> Result<(), Error> {
        if fresh.is_empty() {
            return Ok(());
        }
        let documents: Vec<Document<'_>> = fresh.iter().map(Fresh::document).collect();
        let vectors = embedding.embed_batch(&documents, embedding.dimensions()).await?;
        // A sparse vector costs nothing to make again.
        let dense = fresh.iter().zip(&vectors).filter_map(|(one, vector)| match vector {
            Vector::Dense(dense) => Some((one.hash, dense.as_slice())),
            Vector::Sparse(_) => None,
        });
        self.remember(&dense.collect::<Vec<_>>())?;
        for (one, vector) in fresh.iter().zip(vectors) {
            if let Some(point) = points.get_mut(one.place) {
                point.vector = vector;
            }
        }
        Ok(())
    }

    async fn stored(&self, ids: &[Uuid]) -> Result<StoredPoints, Error> {
        match self {
            Self::Remote(remote) => Ok(remote.fetch_stored(ids).await?),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.fetch_stored(ids)?),
        }
    }

    /// A vector that a run which was cut off left; on a server those are in the index already.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(unused_variables, reason = "only the embedded index keeps them apart")
    )]
    fn recall(&mut self, hash: Uuid) -> Result<Option<Vec<f32>>, Error> {
        match self {
            Self::Remote(_) => Ok(None),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.interrupted_vector(hash)?),
        }
    }

    #[cfg_attr(
        not(feature = "embedded"),
        expect(unused_variables, reason = "only the embedded index keeps them apart")
    )]
    fn remember(&mut self, vectors: &[(Uuid, &[f32])]) -> Result<(), Error> {
        match self {
            Self::Remote(_) => Ok(()),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.journal(vectors)?),
        }
    }

    /// Ends without making what was written the index; on a server it is in it already.
    async fn give_up(self) {
        match self {
            Self::Remote(remote) => remote.abandon().await,
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => {}
        }
    }

    /// Makes what was written the index. Returns how many passages are gone.
    async fn finish(self, kept_files: Vec<String>) -> Result<usize, Error> {
        match self {
            Self::Remote(remote) => Ok(remote.finish(&kept_files).await?),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => {
                let finished = tokio::task::spawn_blocking(move || embedded.finish(&kept_files)).await;
                let panicked = |_| BuildError::Engine("it panicked".to_owned());
                Ok(finished.map_err(panicked)??)
            }
        }
    }
}

/// A passage to embed.
struct Fresh {
    /// Which of the batch's points it is.
    place: usize,
    /// What its vector is made of.
    hash: Uuid,
    title: String,
    heading: String,
    text: String,
}

impl Fresh {
    fn document(&self) -> Document<'_> {
        Document { title: &self.title, heading: &self.heading, text: &self.text }
    }
}

/// What a passage's vector is made of, as one value.
fn hash(entry: &Entry, embedding: &Embedding) -> Uuid {
    let Entry { title, heading, text, .. } = entry;
    let whole = format!("{}\n{}\n{title}\n{heading}\n{text}", embedding.model(), embedding.dimensions());
    Uuid::new_v5(&Uuid::NAMESPACE_OID, whole.as_bytes())
}
