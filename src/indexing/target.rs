//! Writes passages to an index of either kind, embedding the new ones.

use uuid::Uuid;

use super::error::Error;
use super::record;
use crate::chat::Vector;
use crate::config::IndexConfig;
use crate::docs::{EmbeddedText, PagePassage, Root};
use crate::provider::{Document, Embedding};
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::payload::{HASH_KEY, ROOT_KEY};
#[cfg(feature = "embedded")]
use crate::retrieval::{BuildError, EmbeddedWriter};
use crate::retrieval::{INDEX_VERSION, Manifest, Point, RemoteWriter, StoredPoints};

/// Holds the writer of the index that a run fills.
pub(super) enum Target {
    Remote(Box<RemoteWriter>),
    #[cfg(feature = "embedded")]
    Embedded(Box<EmbeddedWriter>),
}

/// Counts the passages of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchCounts {
    /// Passages of the batch.
    pub(super) passages: usize,
    /// Passages of the batch that were embedded; the index or an interrupted run had the vectors of the others.
    pub(super) embedded: usize,
}

impl Target {
    /// Opens an index for writing about `points` passages of a root.
    pub(super) async fn begin(
        index: &IndexConfig,
        root: &Root,
        embedding: &Embedding,
        points: usize,
    ) -> Result<Self, Error> {
        let manifest = Manifest {
            index_version: INDEX_VERSION,
            model: embedding.model().to_owned(),
            dimensions: embedding.new_index_dimensions(),
            languages: [root.language.clone().unwrap_or_default()].into(),
            filter_keys: root.filter_keys.iter().cloned().collect(),
        };
        let analyzer = root.language.as_deref().map_or(Analyzer::ENGLISH, Analyzer::for_language);
        let own = (ROOT_KEY, root.route_base.clone());
        match index {
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

    /// Writes a batch. Embeds the passages whose vectors neither the index nor an interrupted run has.
    pub(super) async fn write_batch(
        &mut self,
        root: &Root,
        batch: Vec<PagePassage>,
        embedding: &Embedding,
    ) -> Result<BatchCounts, Error> {
        let ids: Vec<Uuid> = batch.iter().map(|passage| passage.id).collect();
        let stored = self.stored_points(&ids).await?;
        let (mut points, mut unchanged, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for passage in batch {
            let fingerprint = record::compute_fingerprint(
                &passage.embedded,
                embedding.model(),
                embedding.new_index_dimensions(),
            );
            let mut payload = record::passage_payload(root, &passage);
            record::add_fingerprint(&mut payload, fingerprint);
            let PagePassage { id, embedded, .. } = passage;
            let text = embedded.text.clone();
            let before = stored.get(&id).filter(|before| before.payload.get(HASH_KEY) == payload.get(HASH_KEY));
            let vector = match before {
                Some(before) => Some(before.vector.clone()),
                None => self.interrupted_vector(fingerprint)?.map(Vector::Dense),
            };
            if before.is_some_and(|before| before.is_complete && before.payload == payload) {
                unchanged.push(id);
            }
            if vector.is_none() {
                new.push(NewVector { position: points.len(), fingerprint, embedded });
            }
            let vector = vector.unwrap_or(Vector::Dense(Vec::new()));
            points.push(Point { id, vector, text, payload });
        }
        let counts = BatchCounts { passages: points.len(), embedded: new.len() };
        self.embed_new(new, &mut points, embedding).await?;
        match self {
            Self::Remote(remote) => remote.write(points, &unchanged).await?,
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => embedded.write(points)?,
        }
        // The embedded engine is synchronous: a task that waits for a signal gets its turn here.
        tokio::task::yield_now().await;
        Ok(counts)
    }

    /// Embeds passages, keeps the vectors for the next run, and puts them into their points.
    async fn embed_new(
        &mut self,
        new: Vec<NewVector>,
        points: &mut [Point],
        embedding: &Embedding,
    ) -> Result<(), Error> {
        if new.is_empty() {
            return Ok(());
        }
        let documents: Vec<Document<'_>> = new.iter().map(NewVector::document).collect();
        let vectors = embedding.embed_batch(&documents, embedding.new_index_dimensions()).await?;
        // A sparse vector costs nothing to make again.
        let dense = new.iter().zip(&vectors).filter_map(|(new, vector)| match vector {
            Vector::Dense(dense) => Some((new.fingerprint, dense.as_slice())),
            Vector::Sparse(_) => None,
        });
        self.journal_vectors(&dense.collect::<Vec<_>>())?;
        for (new, vector) in new.iter().zip(vectors) {
            if let Some(point) = points.get_mut(new.position) {
                point.vector = vector;
            }
        }
        Ok(())
    }

    /// Returns the points that the index has under these ids.
    async fn stored_points(&self, ids: &[Uuid]) -> Result<StoredPoints, Error> {
        match self {
            Self::Remote(remote) => Ok(remote.fetch_stored(ids).await?),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.fetch_stored(ids)?),
        }
    }

    /// Returns a vector that an interrupted run has left. On a server such vectors are in the collection
    /// already.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(unused_variables, reason = "only the embedded index keeps them apart")
    )]
    fn interrupted_vector(&mut self, fingerprint: Uuid) -> Result<Option<Vec<f32>>, Error> {
        match self {
            Self::Remote(_) => Ok(None),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.interrupted_vector(fingerprint)?),
        }
    }

    /// Keeps vectors for the next run, in case this one is interrupted. A server keeps them in the collection.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(unused_variables, reason = "only the embedded index keeps them apart")
    )]
    fn journal_vectors(&mut self, vectors: &[(Uuid, &[f32])]) -> Result<(), Error> {
        match self {
            Self::Remote(_) => Ok(()),
            #[cfg(feature = "embedded")]
            Self::Embedded(embedded) => Ok(embedded.journal_vectors(vectors)?),
        }
    }

    /// Ends without publishing. On a server, the passages written so far are in the collection already.
    pub(super) async fn abandon(self) {
        match self {
            Self::Remote(remote) => remote.abandon().await,
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => {}
        }
    }

    /// Publishes the written passages, and deletes the root's other passages except those of `kept_files`.
    /// Returns the number of deleted passages.
    pub(super) async fn finish(self, kept_files: Vec<String>) -> Result<usize, Error> {
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

/// Describes a passage of a batch that has no vector yet.
struct NewVector {
    /// Index of the passage's point in the batch.
    position: usize,
    /// Fingerprint of the vector.
    fingerprint: Uuid,
    embedded: EmbeddedText,
}

impl NewVector {
    fn document(&self) -> Document<'_> {
        let EmbeddedText { title, heading, text } = &self.embedded;
        Document { title, heading, text }
    }
}
