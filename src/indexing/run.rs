//! One run of indexing: the passages of one documentation root into an index, embedding only what is new.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::progress::Progress;
use super::{Docs, Entry, HASH_KEY, ROOT_KEY, Root, Skipped};
use crate::chat::Vector;
use crate::config::IndexConfig;
use crate::provider::{self, Embedding, MAX_BATCH_ITEMS, MAX_BATCH_TOKENS, estimated_tokens};
use crate::retrieval::bm25::Analyzer;
#[cfg(feature = "embedded")]
use crate::retrieval::embedded::{self, BuildError};
use crate::retrieval::{self, INDEX_VERSION, Manifest, OpenError, Point, Stored, remote};

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
    #[error("stopped; what was embedded is kept, run it again to go on")]
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
    Remote(Box<remote::Writer>),
    #[cfg(feature = "embedded")]
    Embedded(Box<embedded::Writer>),
}

/// Indexes a documentation root; ends early when `stop` is cancelled.
///
/// # Errors
///
/// What kept the run from finishing.
pub async fn run(
    docs: &Docs,
    root: &Root,
    index: &IndexConfig,
    embedding: &Embedding,
    progress: &mut Progress,
    stop: &CancellationToken,
) -> Result<Summary, Error> {
    let began = Instant::now();
    let summary = survey(docs, root);
    if summary.pages == 0 {
        return Err(Error::NoPage(summary.skipped));
    }
    progress.begin(summary.chunks);
    let mut target = Target::begin(index, root, embedding, summary.chunks).await?;
    let mut batch: Vec<Entry> = Vec::new();
    let mut tokens = 0;
    let entries = docs.pages(root, &summary.skipped).flat_map(|page| page.entries(root));
    let mut done = Summary::default();
    for entry in entries {
        let more = estimated_tokens(&entry.text);
        if batch.len() == MAX_BATCH_ITEMS || tokens + more > MAX_BATCH_TOKENS {
            unless_stopped(stop, target.take(std::mem::take(&mut batch), embedding, &mut done)).await?;
            progress.at(done.chunks);
            tokens = 0;
        }
        tokens += more;
        batch.push(entry);
    }
    unless_stopped(stop, target.take(batch, embedding, &mut done)).await?;
    progress.end();
    // What a file or a folder that cannot be read now gave before is better than nothing.
    let files = summary.skipped.iter().map(|skipped| skipped.file.clone());
    let unreadable: Vec<String> = files.filter(|file| docs.page(root, file).is_err()).collect();
    let deleted = unless_stopped(stop, target.finish(&unreadable)).await?;
    Ok(Summary { pages: summary.pages, skipped: summary.skipped, deleted, elapsed: began.elapsed(), ..done })
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
    async fn begin(
        index: &IndexConfig,
        root: &Root,
        embedding: &Embedding,
        points: usize,
    ) -> Result<Self, Error> {
        let manifest = Manifest {
            index_version: INDEX_VERSION,
            model: embedding.model().to_owned(),
            dimensions: embedding.dimensions(),
            languages: root.language.iter().cloned().collect(),
            filter_keys: root.filter_keys.iter().cloned().collect(),
        };
        let analyzer = root.language.as_deref().map_or(Analyzer::ENGLISH, Analyzer::of);
        let own = (ROOT_KEY, root.route_base.clone());
        match index {
            IndexConfig::Remote(remote) => {
                let writer = remote::Writer::begin(remote.clone(), manifest, analyzer, own).await?;
                Ok(Self::Remote(Box::new(writer)))
            }
            #[cfg(feature = "embedded")]
            IndexConfig::Embedded { data } => {
                Ok(Self::Embedded(Box::new(embedded::Writer::begin(data, manifest, analyzer, own, points)?)))
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
        let mut stored = self.stored(&ids).await?;
        let (mut points, mut unchanged, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        for entry in batch {
            let hash = hash(&entry, embedding);
            let mut payload = entry.payload.clone();
            payload.insert(HASH_KEY.to_owned(), hash.to_string().into());
            let vector = match stored.remove(&entry.id) {
                Some((before, vector)) if before.get(HASH_KEY) == payload.get(HASH_KEY) => {
                    if before == payload {
                        unchanged.push(entry.id);
                    }
                    Some(vector)
                }
                _ => self.recall(hash)?.map(Vector::Dense),
            };
            if vector.is_none() {
                fresh.push((points.len(), hash, entry.title.clone(), entry.text.clone()));
            }
            let vector = vector.unwrap_or(Vector::Dense(Vec::new()));
            points.push(Point { id: entry.id, vector, text: entry.text, payload });
        }
        if !fresh.is_empty() {
            let texts: Vec<(&str, &str)> =
                fresh.iter().map(|(_, _, title, text)| (title.as_str(), text.as_str())).collect();
            let vectors = embedding.embed_batch(&texts, embedding.dimensions()).await?;
            let pairs = fresh.iter().map(|(_, hash, ..)| *hash).zip(&vectors);
            // A sparse vector costs nothing to make again.
            let dense = pairs.filter_map(|(hash, vector)| match vector {
                Vector::Dense(dense) => Some((hash, dense.as_slice())),
                Vector::Sparse(_) => None,
            });
            self.remember(&dense.collect::<Vec<_>>())?;
            for ((place, ..), vector) in fresh.iter().zip(vectors) {
                if let Some(point) = points.get_mut(*place) {
                    point.vector = vector;
                }
            }
        }
        done.chunks += points.len();
        done.embedded += fresh.len();
        done.kept += points.len() - fresh.len();
        match self {
            Self::Remote(remote) => Ok(remote.write(points, &unchanged).await?),
            // The engine is synchronous; nothing else happens in this process meanwhile.
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.write(points)?),
        }
    }

    async fn stored(&self, ids: &[Uuid]) -> Result<Stored, Error> {
        match self {
            Self::Remote(remote) => Ok(remote.stored(ids).await?),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.stored(ids)?),
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
            Self::Embedded(embedded) => Ok(embedded.recall(hash)?),
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
            Self::Embedded(embedded) => Ok(embedded.remember(vectors)?),
        }
    }

    async fn finish(self, kept_files: &[String]) -> Result<usize, Error> {
        match self {
            Self::Remote(remote) => Ok(remote.finish(kept_files).await?),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.finish(kept_files)?),
        }
    }
}

/// What a passage's vector is made of, as one value.
fn hash(entry: &Entry, embedding: &Embedding) -> Uuid {
    let whole = format!("{}\n{}\n{}\n{}", embedding.model(), embedding.dimensions(), entry.title, entry.text);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, whole.as_bytes())
}
