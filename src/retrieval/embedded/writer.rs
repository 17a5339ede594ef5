//! Writing one documentation root into the embedded index: a new generation with this root's passages as they are now and
//! every other root's as they were.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;

use qdrant_edge::{
    EdgeShard, PointId, PointStructPersisted, Record, ScrollRequest, VectorInternal, VectorStructInternal,
    WithPayloadInterface, WithVector,
};
use uuid::Uuid;

use super::build::{Build, point_id};
use super::generations::{self, BuildError};
use super::journal::Journal;
use super::private_copy;
use crate::chat::Vector;
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::payload::{FILE_KEY, LANGUAGE_KEY};
use crate::retrieval::{DENSE, Manifest, OFFLINE, Point, Stored, StoredPoint, is_among};

/// Points of other roots that are copied at once.
const COPIED: usize = 256;

/// A generation being written.
pub struct Writer {
    build: Build,
    /// The generation before, unless its vectors are of no use.
    old: Option<Old>,
    journal: Journal,
    /// Payload key and value of this root's passages.
    root: (&'static str, String),
    /// Name of the embedding.
    vector: &'static str,
    /// What was written of this root.
    seen: HashSet<Uuid>,
}

/// A private copy of the generation before. The shard closes before its folder goes.
struct Old {
    shard: EdgeShard,
    _folder: tempfile::TempDir,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("build", &self.build).finish_non_exhaustive()
    }
}

impl Writer {
    /// Begins a generation under `data` for about `points` points of the root that has this payload key and value.
    ///
    /// # Errors
    ///
    /// What keeps it from being built, among it that the other roots were embedded with another model.
    pub fn begin(
        data: &Path,
        manifest: Manifest,
        analyzer: Analyzer,
        root: (&'static str, String),
        points: usize,
    ) -> Result<Self, BuildError> {
        let mut keyed = manifest.clone();
        // What other roots are filtered by stays fast.
        keyed
            .filter_keys
            .extend(generations::current_manifest(data).into_iter().flat_map(|old| old.filter_keys));
        let build = Build::begin(data, keyed, analyzer, points)?;
        let old = Old::open(data, &manifest, &root)?;
        let journal = Journal::open(data, &manifest.model, manifest.dimensions)
            .map_err(|error| BuildError::Io(data.join("embedded.part"), error))?;
        let vector = if manifest.dimensions == 0 { OFFLINE } else { DENSE };
        Ok(Self { build, old, journal, root, vector, seen: HashSet::new() })
    }

    /// What the generation before holds under these ids.
    ///
    /// # Errors
    ///
    /// What the engine said.
    pub fn stored(&self, ids: &[Uuid]) -> Result<Stored, BuildError> {
        let Some(old) = &self.old else { return Ok(Stored::new()) };
        let points: Vec<PointId> = ids.iter().map(|id| point_id(*id)).collect();
        let payload = Some(WithPayloadInterface::Bool(true));
        let vectors = Some(WithVector::Selector(vec![self.vector.to_owned()]));
        let records = old.shard.retrieve(&points, payload, vectors).map_err(engine)?;
        let read = |record: Record| {
            let PointId::Uuid(id) = record.id else { return None };
            let payload = record.payload.map(|payload| payload.0).unwrap_or_default();
            let vector = embedding(record.vector?)?;
            Some((Uuid::from_bytes(*id.as_bytes()), StoredPoint { payload, vector, is_whole: true }))
        };
        Ok(records.into_iter().filter_map(read).collect())
    }

    /// The vector that an earlier run, which was cut off, made of what has this hash.
    ///
    /// # Errors
    ///
    /// That the journal cannot be read.
    pub fn recall(&mut self, hash: Uuid) -> Result<Option<Vec<f32>>, BuildError> {
        self.journal.get(hash).map_err(|error| BuildError::Io("embedded.part".into(), error))
    }

    /// Keeps fresh vectors by their hashes, in case this run is cut off.
    ///
    /// # Errors
    ///
    /// That the journal cannot be written.
    pub fn remember(&mut self, vectors: &[(Uuid, &[f32])]) -> Result<(), BuildError> {
        self.journal.keep(vectors).map_err(|error| BuildError::Io("embedded.part".into(), error))
    }

    /// Adds passages of this root.
    ///
    /// # Errors
    ///
    /// What the engine said, or that the disk has filled up.
    pub fn write(&mut self, points: Vec<Point>) -> Result<(), BuildError> {
        self.seen.extend(points.iter().map(|point| point.id));
        self.build.add(points)
    }

    /// Copies the other roots' passages, and those of this root that come from `kept_files` or from folders among them,
    /// and makes the generation the current one. Returns how many passages of this root are gone.
    ///
    /// # Errors
    ///
    /// What the engine or the file system said; the current generation is then the old one.
    pub fn finish(mut self, kept_files: &[String]) -> Result<usize, BuildError> {
        let mut deleted = 0;
        if let Some(old) = self.old.take() {
            let mut languages = BTreeSet::new();
            old.each(|records| {
                let unseen = records.into_iter().filter(|record| !self.has_seen(record));
                let (gone, others): (Vec<_>, Vec<_>) = unseen.partition(|record| {
                    is_of(record, &self.root)
                        && !text(record, FILE_KEY).is_some_and(|file| is_among(file, kept_files))
                });
                deleted += gone.len();
                languages.extend(
                    others.iter().map(|record| text(record, LANGUAGE_KEY).unwrap_or_default().to_owned()),
                );
                self.build.insert(others.into_iter().filter_map(persisted).collect())
            })?;
            self.build.add_languages(languages);
        }
        let (_, lock) = self.build.publish_locked()?;
        // While nobody else writes: another run may be about to open it.
        if let Err(cause) = self.journal.remove() {
            tracing::warn!(%cause, "what was embedded is in the index, and could not be removed beside it");
        }
        drop(lock);
        Ok(deleted)
    }

    fn has_seen(&self, record: &Record) -> bool {
        matches!(record.id, PointId::Uuid(id) if self.seen.contains(&Uuid::from_bytes(*id.as_bytes())))
    }
}

/// A text in a point's payload.
fn text<'a>(record: &'a Record, key: &str) -> Option<&'a str> {
    record.payload.as_ref()?.0.get(key)?.as_str()
}

fn is_of(record: &Record, (key, value): &(&'static str, String)) -> bool {
    text(record, key) == Some(value)
}

impl Old {
    /// A copy of the current generation; none where there is none. One that cannot be read is an error: the other roots'
    /// passages are in it.
    fn copy(data: &Path) -> Result<Option<(Self, Manifest)>, BuildError> {
        if generations::current(data).map_err(|error| BuildError::Io(data.to_owned(), error))?.is_none() {
            return Ok(None);
        }
        let unreadable = |cause: &dyn std::fmt::Display| BuildError::Unreadable {
            path: data.to_owned(),
            cause: cause.to_string(),
        };
        let (_, folder, manifest) = private_copy(data).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => BuildError::Io(data.to_owned(), error),
            _ => unreadable(&error),
        })?;
        let shard = EdgeShard::load(folder.path(), None).map_err(|error| unreadable(&error))?;
        Ok(Some((Self { shard, _folder: folder }, manifest)))
    }

    /// The current generation. One of another model is of no use; that is an error where it holds other roots, whose
    /// passages would be lost.
    fn open(data: &Path, wanted: &Manifest, root: &(&'static str, String)) -> Result<Option<Self>, BuildError> {
        let Some((old, manifest)) = Self::copy(data)? else { return Ok(None) };
        let unfit = manifest.unfit(&wanted.model);
        if unfit.is_none() && manifest.dimensions == wanted.dimensions {
            return Ok(Some(old));
        }
        let mut others = BTreeSet::new();
        old.each(|records| {
            let foreign = records.iter().filter(|record| !is_of(record, root));
            others.extend(foreign.filter_map(|record| text(record, root.0)).map(str::to_owned));
            Ok(())
        })?;
        if others.is_empty() {
            return Ok(None);
        }
        let others: Vec<String> = others.into_iter().collect();
        Err(BuildError::Unfit {
            path: data.to_owned(),
            cause: unfit.unwrap_or_else(|| "has vectors of another size".to_owned()),
            others: others.join(", "),
        })
    }

    /// Goes through all points, a batch at a time.
    fn each(&self, mut take: impl FnMut(Vec<Record>) -> Result<(), BuildError>) -> Result<(), BuildError> {
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(COPIED),
                with_vector: WithVector::Bool(true),
                ..ScrollRequest::default()
            };
            let (records, next) = self.shard.scroll(request).map_err(engine)?;
            take(records)?;
            match next {
                Some(next) => offset = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// A point as another generation stores it.
fn persisted(record: Record) -> Option<PointStructPersisted> {
    Some(PointStructPersisted { id: record.id, vector: record.vector?.into(), payload: record.payload })
}

/// The embedding among a point's vectors.
pub(super) fn embedding(vector: VectorStructInternal) -> Option<Vector> {
    let VectorStructInternal::Named(mut named) = vector else { return None };
    match named.remove(DENSE).or_else(|| named.remove(OFFLINE))? {
        VectorInternal::Dense(dense) => Some(Vector::Dense(dense)),
        VectorInternal::Sparse(sparse) => {
            Some(Vector::Sparse(sparse.indices.into_iter().zip(sparse.values).collect()))
        }
        VectorInternal::MultiDense(_) => None,
    }
}

fn engine(error: qdrant_edge::OperationError) -> BuildError {
    BuildError::Engine(error.to_string())
}
