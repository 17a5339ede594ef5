//! Writing one documentation root into a collection on a Qdrant server: passages that changed are replaced in place, those
//! that vanished are deleted last, so the collection can be searched all the while.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FieldType, Filter, GetPointsBuilder, Modifier, NamedVectors,
    PayloadIncludeSelector, PointId, PointStruct, RetrievedPoint, ScrollPointsBuilder,
    SparseVectorParamsBuilder, SparseVectorsConfigBuilder, UpdateCollectionBuilder, UpsertPointsBuilder,
    Vector as QdrantVector, VectorParamsBuilder, VectorsConfigBuilder, point_id,
};
use qdrant_client::{Qdrant, QdrantError};
use uuid::Uuid;

use super::lease::Lease;
use super::{OPEN_TIMEOUT, collection, connect, document, fault, json, settle_sparse, vector_of, within};
use crate::chat::Vector;
use crate::config::RemoteConfig;
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::payload::{FILE_KEY, HASH_KEY, LANGUAGE_KEY, Reading};
use crate::retrieval::{
    BM25, DENSE, Description, Error, Manifest, OFFLINE, OpenError, Point, Stored, StoredPoint, is_among,
};

/// Key of the collection's metadata under which Docent keeps its own.
pub(super) const METADATA_KEY: &str = "docent";
/// How long one write may take; a server that optimises meanwhile is slow.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at a write.
const ATTEMPTS: usize = 5;
/// Ids asked for at once when looking for passages that vanished.
const PAGE: u32 = 1_000;

/// A collection being written.
pub struct Writer {
    client: Qdrant,
    config: RemoteConfig,
    description: Description,
    manifest: Manifest,
    analyzer: Analyzer,
    /// Payload key and value of this root's passages.
    root: (&'static str, String),
    /// What was written, or left as it is, of this root.
    seen: HashSet<Uuid>,
    lease: Lease,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Writer {
    /// Connects, creates the collection if it is missing, and records in it what `manifest` says.
    ///
    /// # Errors
    ///
    /// That the server is not reachable, or what about the collection has to change.
    pub async fn begin(
        config: RemoteConfig,
        manifest: Manifest,
        analyzer: Analyzer,
        root: (&'static str, String),
    ) -> Result<Self, OpenError> {
        let client = connect(&config, WRITE_TIMEOUT)
            .map_err(|error| OpenError::Unusable(format!("QDRANT_URL: {error}")))?;
        let failed = || collection::open_error(&config);
        let exists =
            within(OPEN_TIMEOUT, client.collection_exists(&config.collection)).await.map_err(failed())?;
        if !exists {
            let create = new_collection(&config.collection, &manifest);
            within(WRITE_TIMEOUT, client.create_collection(create)).await.map_err(failed())?;
        }
        let description = collection::look(&client, &config, &Reading::default()).await?;
        check(&description, &manifest)?;
        let before = description.manifest.iter().flat_map(|before| before.languages.clone());
        let manifest =
            Manifest { languages: manifest.languages.into_iter().chain(before).collect(), ..manifest };
        let lease = Lease::take(&client, &config).await?;
        let seen = HashSet::new();
        let mut writer = Self { client, config, description, manifest, analyzer, root, seen, lease };
        match writer.prepare().await {
            Ok(()) => Ok(writer),
            Err(error) => {
                writer.lease.release().await;
                Err(error)
            }
        }
    }

    async fn prepare(&mut self) -> Result<(), OpenError> {
        let consequence = "passages get dense vectors only";
        settle_sparse(&self.client, &self.config, &mut self.description, consequence).await?;
        self.index_keys().await?;
        let failed = collection::open_error(&self.config);
        within(WRITE_TIMEOUT, self.record()).await.map_err(&failed)?;
        let info = within(OPEN_TIMEOUT, self.client.collection_info(&self.config.collection)).await;
        if collection::manifest(info.map_err(&failed)?.result.as_ref()).is_none() {
            tracing::warn!(
                "this Qdrant keeps no metadata of a collection (1.16 does): serve cannot see which model embedded it"
            );
        }
        Ok(())
    }

    /// What the collection holds under these ids.
    ///
    /// # Errors
    ///
    /// What kept the server from answering.
    pub async fn stored(&self, ids: &[Uuid]) -> Result<Stored, Error> {
        let ids: Vec<PointId> = ids.iter().map(|id| PointId::from(id.to_string())).collect();
        let request = GetPointsBuilder::new(&self.config.collection, ids).with_payload(true).with_vectors(true);
        let response = self.attempt(|| self.client.get_points(request.clone())).await?;
        let read = |point: RetrievedPoint| {
            let vectors = point.vectors?;
            let sparse = self.description.sparse_name.as_deref();
            let is_whole = sparse.is_none_or(|sparse| vectors.get_vector_by_name(sparse).is_some());
            let vector = vector_of(vectors, &self.description.vector_name)?;
            Some((uuid(point.id)?, StoredPoint { payload: json(point.payload), vector, is_whole }))
        };
        Ok(response.result.into_iter().filter_map(read).collect())
    }

    /// Writes passages of this root; `unchanged` ones are there already.
    ///
    /// # Errors
    ///
    /// What kept the server from taking them.
    pub async fn write(&mut self, points: Vec<Point>, unchanged: &[Uuid]) -> Result<(), Error> {
        self.seen.extend(points.iter().map(|point| point.id));
        let changed = points.into_iter().filter(|point| !unchanged.contains(&point.id));
        let points: Vec<PointStruct> = changed.map(|point| self.point(point)).collect();
        if points.is_empty() {
            return Ok(());
        }
        let request = UpsertPointsBuilder::new(&self.config.collection, points).wait(true);
        self.attempt(|| self.client.upsert_points(request.clone())).await.map(drop)
    }

    /// Deletes this root's passages that were not written, but for those of `kept_files` or of folders among them. Returns
    /// how many those are.
    ///
    /// # Errors
    ///
    /// What kept the server from answering.
    pub async fn finish(mut self, kept_files: &[String]) -> Result<usize, Error> {
        let deleted = self.delete_vanished(kept_files).await;
        let forgotten = if deleted.is_ok() { self.forget_languages().await } else { Ok(()) };
        self.lease.release().await;
        forgotten.and(deleted)
    }

    /// Lets another run write; what was written stays.
    pub async fn give_up(self) {
        self.lease.release().await;
    }

    /// Takes the languages out of the record that no passage has any more: each costs every question a search.
    async fn forget_languages(&mut self) -> Result<(), Error> {
        let mut left = BTreeSet::new();
        for tag in &self.manifest.languages {
            let condition = match tag.as_str() {
                "" => Condition::is_empty(LANGUAGE_KEY),
                tag => Condition::matches(LANGUAGE_KEY, tag.to_owned()),
            };
            let request =
                CountPointsBuilder::new(&self.config.collection).filter(Filter::must([condition])).exact(true);
            let counted = self.attempt(|| self.client.count(request.clone())).await?;
            if counted.result.is_some_and(|result| result.count > 0) {
                left.insert(tag.clone());
            }
        }
        if left == self.manifest.languages {
            return Ok(());
        }
        self.manifest.languages = left;
        self.attempt(|| self.record()).await
    }

    async fn delete_vanished(&self, kept_files: &[String]) -> Result<usize, Error> {
        let mut gone: Vec<PointId> = Vec::new();
        let mut offset = None;
        loop {
            let filter = Filter::must([Condition::matches(self.root.0, self.root.1.clone())]);
            let mut request = ScrollPointsBuilder::new(&self.config.collection).filter(filter).limit(PAGE);
            request = request
                .with_payload(PayloadIncludeSelector::from(vec![FILE_KEY.to_owned()]))
                .with_vectors(false);
            if let Some(offset) = offset.take() {
                request = request.offset::<PointId>(offset);
            }
            let page = self.attempt(|| self.client.scroll(request.clone())).await?;
            let is_gone = |point: &RetrievedPoint| {
                let file = point.payload.get(FILE_KEY).and_then(|file| file.as_str());
                !file.is_some_and(|file| is_among(file, kept_files))
                    && uuid(point.id.clone()).is_none_or(|id| !self.seen.contains(&id))
            };
            gone.extend(page.result.into_iter().filter(is_gone).filter_map(|point| point.id));
            match page.next_page_offset {
                Some(next) => offset = Some(next),
                None => break,
            }
        }
        for ids in gone.chunks(PAGE as usize) {
            let request = DeletePointsBuilder::new(&self.config.collection).points(ids.to_vec()).wait(true);
            self.attempt(|| self.client.delete_points(request.clone())).await?;
        }
        Ok(gone.len())
    }

    /// Makes an index per filter key.
    async fn index_keys(&self) -> Result<(), OpenError> {
        let failed = collection::open_error(&self.config);
        for key in self.manifest.filter_keys.iter().map(String::as_str).chain([self.root.0]) {
            if self.description.indexed_keys.iter().any(|known| known == key) {
                continue;
            }
            let create =
                CreateFieldIndexCollectionBuilder::new(&self.config.collection, key, FieldType::Keyword);
            within(WRITE_TIMEOUT, self.client.create_field_index(create.wait(true))).await.map_err(&failed)?;
        }
        Ok(())
    }

    /// Writes down what the collection is.
    async fn record(&self) -> Result<(), QdrantError> {
        let update = UpdateCollectionBuilder::new(&self.config.collection).metadata(metadata(&self.manifest));
        self.client.update_collection(update).await.map(drop)
    }

    fn point(&self, point: Point) -> PointStruct {
        let Point { id, vector, text, payload } = point;
        let vector = match vector {
            Vector::Dense(dense) => QdrantVector::new_dense(dense),
            Vector::Sparse(features) => {
                let (indices, values): (Vec<u32>, Vec<f32>) = features.into_iter().unzip();
                QdrantVector::new_sparse(indices, values)
            }
        };
        let mut vectors = NamedVectors::default().add_vector(self.description.vector_name.clone(), vector);
        if let Some(sparse) = &self.description.sparse_name {
            vectors = vectors.add_vector(sparse.clone(), QdrantVector::from(document(text, self.analyzer)));
        }
        let payload = qdrant_client::Payload::from(payload);
        PointStruct::new(id.to_string(), vectors, payload)
    }

    /// One call, tried again where that may help.
    async fn attempt<T, F>(&self, call: impl FnMut() -> F + Copy) -> Result<T, Error>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let attempt = || async {
            let mut call = call;
            within(WRITE_TIMEOUT, call()).await.map_err(|error| fault(&error))
        };
        let backoff = ExponentialBuilder::default().with_max_times(ATTEMPTS - 1).with_jitter();
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

fn new_collection(name: &str, manifest: &Manifest) -> CreateCollectionBuilder {
    let mut sparse = SparseVectorsConfigBuilder::default();
    let idf = SparseVectorParamsBuilder::default().modifier(Modifier::Idf);
    // Written down at once: a collection without dense vectors is not known for an index by anything else.
    let collection = CreateCollectionBuilder::new(name).metadata(metadata(manifest));
    if manifest.dimensions == 0 {
        sparse.add_named_vector_params(OFFLINE, idf);
        return collection.sparse_vectors_config(sparse);
    }
    let mut vectors = VectorsConfigBuilder::default();
    vectors
        .add_named_vector_params(DENSE, VectorParamsBuilder::new(manifest.dimensions as u64, Distance::Cosine));
    sparse.add_named_vector_params(BM25, idf);
    collection.vectors_config(vectors).sparse_vectors_config(sparse)
}

fn metadata(manifest: &Manifest) -> HashMap<String, serde_json::Value> {
    HashMap::from([(METADATA_KEY.to_owned(), serde_json::to_value(manifest).unwrap_or_default())])
}

/// Whether passages may be written into what is there.
fn check(description: &Description, wanted: &Manifest) -> Result<(), OpenError> {
    let place = &description.place;
    let unfit = match &description.manifest {
        Some(manifest) => {
            manifest.unfit(&wanted.model).map(|cause| format!("{cause} into a new QDRANT_COLLECTION_NAME"))
        }
        // A server before 1.16 keeps no manifest; its passages still show who wrote them.
        None if description.points > 0 && !description.payload_keys.iter().any(|key| key == HASH_KEY) => Some(
            "holds passages that Docent did not write: set QDRANT_COLLECTION_NAME to a new name".to_owned(),
        ),
        None => None,
    };
    let unfit = unfit.or_else(|| {
        let (there, made) = (description.dimensions, wanted.dimensions);
        (there != made).then(|| {
            format!("has vectors of {there} values, {made} are made: set QDRANT_COLLECTION_NAME to a new name")
        })
    });
    unfit.map_or(Ok(()), |cause| Err(OpenError::Unusable(format!("{place} {cause}"))))
}

fn uuid(id: Option<PointId>) -> Option<Uuid> {
    match id?.point_id_options? {
        point_id::PointIdOptions::Uuid(uuid) => Uuid::parse_str(&uuid).ok(),
        point_id::PointIdOptions::Num(_) => None,
    }
}
