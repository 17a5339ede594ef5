//! Writes one documentation root into the embedded index: a new generation with this root's passages as they
//! are now, and every other root's as they were.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;

use qdrant_edge::{
    EdgeShard, PointId, PointStructPersisted, Record, ScrollRequest, WithPayloadInterface, WithVector,
};
use uuid::Uuid;

use super::build::Build;
use super::engine::{point_id, read_embedding, read_uuid};
use super::generations::{self, BuildError};
use super::journal::Journal;
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::description::{DENSE_VECTOR, Manifest, OFFLINE_VECTOR};
use crate::retrieval::payload::{FILE_KEY, LANGUAGE_KEY};
use crate::retrieval::points::{Point, StoredPoint, StoredPoints, is_at_or_below};

/// Points of other roots that are copied at once.
const COPY_BATCH: usize = 256;

/// Writes a new generation of the index for one documentation root.
pub struct EmbeddedWriter {
    build: Build,
    /// The generation before; `None` if its vectors cannot be used again.
    previous: Option<PreviousGeneration>,
    journal: Journal,
    /// Payload key and value of this root's passages.
    root: (&'static str, String),
    /// Name of the vector that holds the embedding.
    vector_name: &'static str,
    /// Ids of this root's passages that this run has written.
    current_ids: HashSet<Uuid>,
}

/// Holds a private copy of the generation before. The shard closes before its folder goes.
struct PreviousGeneration {
    shard: EdgeShard,
    _folder: tempfile::TempDir,
}

impl std::fmt::Debug for EmbeddedWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedWriter").field("build", &self.build).finish_non_exhaustive()
    }
}

impl EmbeddedWriter {
    /// Begins a generation under `data` for about `points` points of the root that has this payload key and
    /// value.
    ///
    /// # Errors
    ///
    /// The generation cannot be built; one cause is that another model embedded the other roots.
    pub fn begin(
        data: &Path,
        manifest: Manifest,
        analyzer: Analyzer,
        root: (&'static str, String),
        points: usize,
    ) -> Result<Self, BuildError> {
        let mut keyed = manifest.clone();
        // Filters by the keys of other roots stay fast.
        keyed
            .filter_keys
            .extend(generations::current_manifest(data).into_iter().flat_map(|old| old.filter_keys));
        let build = Build::begin(data, keyed, analyzer, points)?;
        let previous = PreviousGeneration::open(data, &manifest, &root)?;
        let journal = Journal::open(data, &manifest.model, manifest.dimensions)
            .map_err(|error| BuildError::Io(data.join("embedded.part"), error))?;
        let vector_name = if manifest.dimensions == 0 { OFFLINE_VECTOR } else { DENSE_VECTOR };
        Ok(Self { build, previous, journal, root, vector_name, current_ids: HashSet::new() })
    }

    /// Fetches the points that the generation before holds under `ids`.
    ///
    /// # Errors
    ///
    /// The engine failed.
    pub fn fetch_stored(&self, ids: &[Uuid]) -> Result<StoredPoints, BuildError> {
        let Some(previous) = &self.previous else { return Ok(StoredPoints::new()) };
        let points: Vec<PointId> = ids.iter().map(|id| point_id(*id)).collect();
        let payload = Some(WithPayloadInterface::Bool(true));
        let vectors = Some(WithVector::Selector(vec![self.vector_name.to_owned()]));
        let records = previous.shard.retrieve(&points, payload, vectors).map_err(engine_error)?;
        let read = |record: Record| {
            let payload = record.payload.map(|payload| payload.0).unwrap_or_default();
            let vector = read_embedding(record.vector?)?;
            Some((read_uuid(record.id)?, StoredPoint { payload, vector, is_complete: true }))
        };
        Ok(records.into_iter().filter_map(read).collect())
    }

    /// Returns the vector that an earlier, interrupted run made of the text with this hash; `None` where there
    /// is none.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn interrupted_vector(&mut self, hash: Uuid) -> Result<Option<Vec<f32>>, BuildError> {
        self.journal.read_vector(hash).map_err(|error| BuildError::Io("embedded.part".into(), error))
    }

    /// Writes new vectors to the journal by their hashes, in case this run is interrupted.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn journal_vectors(&mut self, vectors: &[(Uuid, &[f32])]) -> Result<(), BuildError> {
        self.journal.append(vectors).map_err(|error| BuildError::Io("embedded.part".into(), error))
    }

    /// Adds passages of this root.
    ///
    /// # Errors
    ///
    /// The engine failed, or the disk has filled up.
    pub fn write(&mut self, points: Vec<Point>) -> Result<(), BuildError> {
        self.current_ids.extend(points.iter().map(|point| point.id));
        self.build.add(points)
    }

    /// Copies the other roots' passages, and those of this root that come from `kept_files` or from folders
    /// among them, and makes the generation the current one. Returns the number of this root's passages that
    /// are deleted.
    ///
    /// # Errors
    ///
    /// The engine or the file system failed; the current generation is then the old one.
    pub fn finish(mut self, kept_files: &[String]) -> Result<usize, BuildError> {
        let mut deleted = 0;
        if let Some(previous) = self.previous.take() {
            let mut languages = BTreeSet::new();
            previous.for_each_batch(|records| {
                let replaced =
                    |record: &Record| read_uuid(record.id).is_some_and(|id| self.current_ids.contains(&id));
                let others = records.into_iter().filter(|record| !replaced(record));
                let (gone, others): (Vec<_>, Vec<_>) = others.partition(|record| {
                    is_of_root(record, &self.root)
                        && !payload_text(record, FILE_KEY).is_some_and(|file| is_at_or_below(file, kept_files))
                });
                deleted += gone.len();
                languages.extend(
                    others
                        .iter()
                        .map(|record| payload_text(record, LANGUAGE_KEY).unwrap_or_default().to_owned()),
                );
                self.build.insert(others.into_iter().filter_map(edge_point).collect())
            })?;
            self.build.add_languages(languages);
        }
        let (_, lock) = self.build.publish_locked()?;
        // The journal is removed under the lock, because another run may be about to open a journal.
        if let Err(cause) = self.journal.remove() {
            tracing::warn!(%cause, "what was embedded is in the index, and could not be removed beside it");
        }
        drop(lock);
        Ok(deleted)
    }
}

/// Returns a text in a point's payload.
fn payload_text<'a>(record: &'a Record, key: &str) -> Option<&'a str> {
    record.payload.as_ref()?.0.get(key)?.as_str()
}

/// Reports whether a point is of the root with this payload key and value.
fn is_of_root(record: &Record, (key, value): &(&'static str, String)) -> bool {
    payload_text(record, key) == Some(value)
}

impl PreviousGeneration {
    /// Copies the current generation, where there is one. A generation that cannot be read is an error, because
    /// it holds the other roots' passages.
    fn copy(data: &Path) -> Result<Option<(Self, Manifest)>, BuildError> {
        if generations::current_name(data).map_err(|error| BuildError::Io(data.to_owned(), error))?.is_none() {
            return Ok(None);
        }
        let unreadable = |cause: &dyn std::fmt::Display| BuildError::Unreadable {
            path: data.to_owned(),
            cause: cause.to_string(),
        };
        let (_, folder, manifest) =
            generations::make_private_copy(data).map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => BuildError::Io(data.to_owned(), error),
                _ => unreadable(&error),
            })?;
        let shard = EdgeShard::load(folder.path(), None).map_err(|error| unreadable(&error))?;
        Ok(Some((Self { shard, _folder: folder }, manifest)))
    }

    /// Opens the current generation. Returns `None` for a generation of another model, whose vectors cannot be
    /// used. If such a generation holds other roots, whose passages would be lost, that is an error.
    fn open(data: &Path, wanted: &Manifest, root: &(&'static str, String)) -> Result<Option<Self>, BuildError> {
        let Some((previous, manifest)) = Self::copy(data)? else { return Ok(None) };
        let cause = manifest.incompatibility(&wanted.model);
        if cause.is_none() && manifest.dimensions == wanted.dimensions {
            return Ok(Some(previous));
        }
        let mut others = BTreeSet::new();
        previous.for_each_batch(|records| {
            let foreign = records.iter().filter(|record| !is_of_root(record, root));
            others.extend(foreign.filter_map(|record| payload_text(record, root.0)).map(str::to_owned));
            Ok(())
        })?;
        if others.is_empty() {
            return Ok(None);
        }
        let others: Vec<String> = others.into_iter().collect();
        Err(BuildError::Incompatible {
            path: data.to_owned(),
            cause: cause.unwrap_or_else(|| "has vectors of another size".to_owned()),
            others: others.join(", "),
        })
    }

    /// Calls `visit` with all points, a batch at a time.
    fn for_each_batch(
        &self,
        mut visit: impl FnMut(Vec<Record>) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(COPY_BATCH),
                with_vector: WithVector::Bool(true),
                ..ScrollRequest::default()
            };
            let (records, next) = self.shard.scroll(request).map_err(engine_error)?;
            visit(records)?;
            match next {
                Some(next) => offset = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Returns a point in the form in which the engine stores it; `None` for a point without vectors.
fn edge_point(record: Record) -> Option<PointStructPersisted> {
    Some(PointStructPersisted { id: record.id, vector: record.vector?.into(), payload: record.payload })
}

fn engine_error(error: qdrant_edge::OperationError) -> BuildError {
    BuildError::Engine(error.to_string())
}
