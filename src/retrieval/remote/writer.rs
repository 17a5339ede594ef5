//! Writes one documentation root into a collection on a Qdrant server. Passages that changed are replaced in
//! place, and those that vanished are deleted last, so the collection can be searched all the while.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FieldType, Filter, GetPointsBuilder, Modifier, NamedVectors,
    PayloadIncludeSelector, PointId, PointStruct, RetrievedPoint, ScrollPointsBuilder,
    SparseVectorParamsBuilder, SparseVectorsConfigBuilder, UpdateCollectionBuilder, UpsertPointsBuilder,
    Vector as QdrantVector, VectorParamsBuilder, VectorsConfigBuilder,
};
use qdrant_client::{Qdrant, QdrantError};
use uuid::Uuid;

use super::collection::{self, manifest_metadata};
use super::connection::{OPEN_TIMEOUT, connect_at_start, open_error, with_deadline};
use super::lease::Lease;
use super::wire::{bm25_document, qdrant_vector, read_payload, read_uuid, read_vector, retrieval_error};
use crate::config::RemoteConfig;
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::description::{BM25_VECTOR, DENSE_VECTOR, Description, Manifest, OFFLINE_VECTOR};
use crate::retrieval::error::{Error, OpenError};
use crate::retrieval::payload::{FILE_KEY, HASH_KEY, LANGUAGE_KEY, PayloadReader};
use crate::retrieval::points::{Point, StoredPoint, StoredPoints, is_at_or_below};

/// Longest time of one write; a server that optimises meanwhile is slow.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at a call; after the last one the run fails.
const MAX_ATTEMPTS: usize = 5;
/// Ids that are fetched or deleted at once.
const PAGE_POINTS: u32 = 1_000;

/// Writes one documentation root into a collection, holding the collection's lease.
pub struct RemoteWriter {
    client: Qdrant,
    config: RemoteConfig,
    description: Description,
    manifest: Manifest,
    analyzer: Analyzer,
    /// Payload key and value of this root's passages.
    root: (&'static str, String),
    /// Ids of this root's passages that this run has written, or left as they are.
    current_ids: HashSet<Uuid>,
    lease: Lease,
}

impl std::fmt::Debug for RemoteWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteWriter").field("description", &self.description).finish_non_exhaustive()
    }
}

impl RemoteWriter {
    /// Connects, creates the collection if it is missing, and writes `manifest` into its metadata.
    ///
    /// # Errors
    ///
    /// The server is not reachable, another run writes into the collection, or the collection has to change.
    pub async fn begin(
        config: RemoteConfig,
        manifest: Manifest,
        analyzer: Analyzer,
        root: (&'static str, String),
    ) -> Result<Self, OpenError> {
        let client = connect_at_start(&config, WRITE_TIMEOUT)?;
        create_if_missing(&client, &config, &manifest).await?;
        let description = collection::inspect(&client, &config, &PayloadReader::default()).await?;
        require_compatible(&description, &manifest)?;
        let before = description.manifest.iter().flat_map(|before| before.languages.clone());
        let manifest =
            Manifest { languages: manifest.languages.into_iter().chain(before).collect(), ..manifest };
        let lease = Lease::acquire(&client, &config).await?;
        let current_ids = HashSet::new();
        let mut writer = Self { client, config, description, manifest, analyzer, root, current_ids, lease };
        match writer.prepare_collection().await {
            Ok(()) => Ok(writer),
            Err(error) => {
                writer.lease.release().await;
                Err(error)
            }
        }
    }

    /// Prepares the collection: its sparse vector, its filter indexes and its manifest.
    async fn prepare_collection(&mut self) -> Result<(), OpenError> {
        let consequence = "passages get dense vectors only";
        collection::drop_sparse_without_bm25(&self.client, &self.config, &mut self.description, consequence)
            .await?;
        self.create_filter_indexes().await?;
        let failed = open_error(&self.config);
        with_deadline(WRITE_TIMEOUT, self.write_manifest()).await.map_err(&failed)?;
        let info = with_deadline(OPEN_TIMEOUT, self.client.collection_info(&self.config.collection)).await;
        if collection::read_manifest(info.map_err(&failed)?.result.as_ref()).is_none() {
            tracing::warn!(
                "this Qdrant keeps no metadata of a collection (1.16 does): serve cannot see which model embedded it"
            );
        }
        Ok(())
    }

    /// Fetches the points that the collection holds under `ids`.
    ///
    /// # Errors
    ///
    /// The cause that kept the server from answering.
    pub async fn fetch_stored(&self, ids: &[Uuid]) -> Result<StoredPoints, Error> {
        let ids: Vec<PointId> = ids.iter().map(|id| PointId::from(id.to_string())).collect();
        let request = GetPointsBuilder::new(&self.config.collection, ids).with_payload(true).with_vectors(true);
        let response = self.with_retry(|| self.client.get_points(request.clone())).await?;
        let read = |point: RetrievedPoint| {
            let vectors = point.vectors?;
            let sparse = self.description.sparse_name.as_deref();
            let is_complete = sparse.is_none_or(|sparse| vectors.get_vector_by_name(sparse).is_some());
            let vector = read_vector(vectors, &self.description.vector_name)?;
            let payload = read_payload(point.payload);
            Some((read_uuid(point.id?)?, StoredPoint { payload, vector, is_complete }))
        };
        Ok(response.result.into_iter().filter_map(read).collect())
    }

    /// Writes passages of this root; those with `unchanged` ids are there already and are only counted as
    /// current.
    ///
    /// # Errors
    ///
    /// The cause that kept the server from storing them.
    pub async fn write(&mut self, points: Vec<Point>, unchanged: &[Uuid]) -> Result<(), Error> {
        self.current_ids.extend(points.iter().map(|point| point.id));
        let changed = points.into_iter().filter(|point| !unchanged.contains(&point.id));
        let points: Vec<PointStruct> = changed.map(|point| self.qdrant_point(point)).collect();
        if points.is_empty() {
            return Ok(());
        }
        let request = UpsertPointsBuilder::new(&self.config.collection, points).wait(true);
        self.with_retry(|| self.client.upsert_points(request.clone())).await.map(drop)
    }

    /// Deletes this root's passages that were not written, except passages of `kept_files` or of folders among
    /// them. Returns the number of deleted passages.
    ///
    /// # Errors
    ///
    /// The cause that kept the server from answering.
    pub async fn finish(mut self, kept_files: &[String]) -> Result<usize, Error> {
        let deleted = self.delete_vanished(kept_files).await;
        let forgotten = if deleted.is_ok() { self.forget_languages().await } else { Ok(()) };
        self.lease.release().await;
        forgotten.and(deleted)
    }

    /// Abandons the run and lets another one write; the passages written so far stay.
    pub async fn abandon(self) {
        self.lease.release().await;
    }

    /// Removes from the manifest the languages that no passage has any more: each costs every question a
    /// search.
    async fn forget_languages(&mut self) -> Result<(), Error> {
        let mut left = BTreeSet::new();
        for tag in &self.manifest.languages {
            let condition = match tag.as_str() {
                "" => Condition::is_empty(LANGUAGE_KEY),
                tag => Condition::matches(LANGUAGE_KEY, tag.to_owned()),
            };
            let request =
                CountPointsBuilder::new(&self.config.collection).filter(Filter::must([condition])).exact(true);
            let counted = self.with_retry(|| self.client.count(request.clone())).await?;
            if counted.result.is_some_and(|result| result.count > 0) {
                left.insert(tag.clone());
            }
        }
        if left == self.manifest.languages {
            return Ok(());
        }
        self.manifest.languages = left;
        self.with_retry(|| self.write_manifest()).await
    }

    async fn delete_vanished(&self, kept_files: &[String]) -> Result<usize, Error> {
        let vanished = self.find_vanished(kept_files).await?;
        for ids in vanished.chunks(PAGE_POINTS as usize) {
            let request = DeletePointsBuilder::new(&self.config.collection).points(ids.to_vec()).wait(true);
            self.with_retry(|| self.client.delete_points(request.clone())).await?;
        }
        Ok(vanished.len())
    }

    /// Returns the ids of this root's points that were not written and whose file is not kept.
    async fn find_vanished(&self, kept_files: &[String]) -> Result<Vec<PointId>, Error> {
        let is_vanished = |point: &RetrievedPoint| {
            let file = point.payload.get(FILE_KEY).and_then(|file| file.as_str());
            let id = point.id.clone().and_then(read_uuid);
            !file.is_some_and(|file| is_at_or_below(file, kept_files))
                && id.is_none_or(|id| !self.current_ids.contains(&id))
        };
        let mut vanished: Vec<PointId> = Vec::new();
        let mut offset: Option<PointId> = None;
        loop {
            let filter = Filter::must([Condition::matches(self.root.0, self.root.1.clone())]);
            let mut request = ScrollPointsBuilder::new(&self.config.collection)
                .filter(filter)
                .limit(PAGE_POINTS)
                .with_payload(PayloadIncludeSelector::from(vec![FILE_KEY.to_owned()]))
                .with_vectors(false);
            if let Some(offset) = offset.take() {
                request = request.offset(offset);
            }
            let page = self.with_retry(|| self.client.scroll(request.clone())).await?;
            vanished.extend(page.result.into_iter().filter(is_vanished).filter_map(|point| point.id));
            match page.next_page_offset {
                Some(next) => offset = Some(next),
                None => return Ok(vanished),
            }
        }
    }

    /// Creates the missing indexes: one for each filter key, and one for the key of the root.
    async fn create_filter_indexes(&self) -> Result<(), OpenError> {
        let failed = open_error(&self.config);
        for key in self.manifest.filter_keys.iter().map(String::as_str).chain([self.root.0]) {
            if self.description.indexed_keys.iter().any(|indexed| indexed == key) {
                continue;
            }
            let create =
                CreateFieldIndexCollectionBuilder::new(&self.config.collection, key, FieldType::Keyword);
            let created = self.client.create_field_index(create.wait(true));
            with_deadline(WRITE_TIMEOUT, created).await.map_err(&failed)?;
        }
        Ok(())
    }

    async fn write_manifest(&self) -> Result<(), QdrantError> {
        let metadata = manifest_metadata(&self.manifest);
        let update = UpdateCollectionBuilder::new(&self.config.collection).metadata(metadata);
        self.client.update_collection(update).await.map(drop)
    }

    fn qdrant_point(&self, point: Point) -> PointStruct {
        let Point { id, vector, text, payload } = point;
        let vector_name = self.description.vector_name.clone();
        let mut vectors = NamedVectors::default().add_vector(vector_name, qdrant_vector(vector));
        if let Some(sparse) = &self.description.sparse_name {
            let words = QdrantVector::from(bm25_document(text, self.analyzer));
            vectors = vectors.add_vector(sparse.clone(), words);
        }
        PointStruct::new(id.to_string(), vectors, qdrant_client::Payload::from(payload))
    }

    /// Makes one call, and retries it with backoff unless the server refuses it.
    async fn with_retry<T, F>(&self, call: impl FnMut() -> F + Copy) -> Result<T, Error>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let attempt = || async {
            let mut call = call;
            with_deadline(WRITE_TIMEOUT, call()).await.map_err(|error| retrieval_error(&error))
        };
        let backoff = ExponentialBuilder::default().with_max_times(MAX_ATTEMPTS - 1).with_jitter();
        attempt
            .retry(backoff)
            .when(|error| !matches!(error, Error::Refused(_)))
            .adjust(|error, delay| match error {
                Error::Busy { retry_after: Some(asked), .. } => delay.map(|delay| delay.max(*asked)),
                _ => delay,
            })
            .notify(|cause, delay| tracing::warn!(%cause, delay_ms = delay.as_millis(), "trying again"))
            .await
    }
}

async fn create_if_missing(
    client: &Qdrant,
    config: &RemoteConfig,
    manifest: &Manifest,
) -> Result<(), OpenError> {
    let failed = open_error(config);
    if with_deadline(OPEN_TIMEOUT, client.collection_exists(&config.collection)).await.map_err(&failed)? {
        return Ok(());
    }
    let create = client.create_collection(new_collection(&config.collection, manifest));
    with_deadline(WRITE_TIMEOUT, create).await.map(drop).map_err(&failed)
}

fn new_collection(name: &str, manifest: &Manifest) -> CreateCollectionBuilder {
    let mut sparse = SparseVectorsConfigBuilder::default();
    let idf = SparseVectorParamsBuilder::default().modifier(Modifier::Idf);
    // The manifest is written with the creation, because nothing else marks a collection without dense vectors
    // as an index.
    let collection = CreateCollectionBuilder::new(name).metadata(manifest_metadata(manifest));
    if manifest.dimensions == 0 {
        sparse.add_named_vector_params(OFFLINE_VECTOR, idf);
        return collection.sparse_vectors_config(sparse);
    }
    let mut vectors = VectorsConfigBuilder::default();
    let dense = VectorParamsBuilder::new(manifest.dimensions as u64, Distance::Cosine);
    vectors.add_named_vector_params(DENSE_VECTOR, dense);
    sparse.add_named_vector_params(BM25_VECTOR, idf);
    collection.vectors_config(vectors).sparse_vectors_config(sparse)
}

/// Checks that passages of the `wanted` manifest may be written into the collection that is there.
fn require_compatible(description: &Description, wanted: &Manifest) -> Result<(), OpenError> {
    let place = &description.place;
    let cause = match &description.manifest {
        Some(manifest) => manifest
            .incompatibility(&wanted.model)
            .map(|cause| format!("{cause} into a new QDRANT_COLLECTION_NAME")),
        // A server before 1.16 keeps no manifest; its passages still show who wrote them.
        None if description.points > 0 && !description.payload_keys.iter().any(|key| key == HASH_KEY) => Some(
            "holds passages that Docent did not write: set QDRANT_COLLECTION_NAME to a new name".to_owned(),
        ),
        None => None,
    };
    let cause = cause.or_else(|| {
        let (there, made) = (description.dimensions, wanted.dimensions);
        (there != made).then(|| {
            format!("has vectors of {there} values, {made} are made: set QDRANT_COLLECTION_NAME to a new name")
        })
    });
    cause.map_or(Ok(()), |cause| Err(OpenError::Unusable(format!("{place} {cause}"))))
}
