//! Inspects a collection before it is searched or written: finds it, picks the vectors to search, and checks
//! that passages can be read from its payloads.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    CollectionInfo, Query, QueryPointsBuilder, ScrollPointsBuilder, VectorInput, VectorParams, vectors_config,
};
use qdrant_client::{Qdrant, QdrantError};
use tonic::Code;

use super::connection::{OPEN_TIMEOUT, open_error, with_deadline};
use super::wire::{bm25_document, read_payload, retrieval_error, status_code};
use crate::config::{OFFLINE_MODEL, RemoteConfig};
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::description::{Description, KEY_SAMPLE_POINTS, Manifest, OFFLINE_VECTOR};
use crate::retrieval::error::OpenError;
use crate::retrieval::payload::{self, Payload, PayloadReader};

/// Key of the collection's metadata under which Docent keeps its manifest.
const METADATA_KEY: &str = "docent";

/// Returns a description of the collection, with the vectors to search.
///
/// # Errors
///
/// The server is not reachable, or the collection or a setting has to change.
pub(super) async fn inspect(
    client: &Qdrant,
    config: &RemoteConfig,
    reader: &PayloadReader,
) -> Result<Description, OpenError> {
    let info = fetch_info(client, config).await?;
    let description = describe_collection(config, &info)?;
    let payloads = fetch_payloads(client, config).await?;
    let payload_keys = payload::key_paths(&payloads);
    if !payloads.is_empty() && payloads.iter().all(|payload| reader.read_passage(payload, 0.0).is_none()) {
        let tried = match &config.keys.text {
            Some(key) => format!("the payload key {key:?}"),
            None => "the usual payload keys".to_owned(),
        };
        return Err(OpenError::Unusable(format!(
            "{}: no text under {tried}; set PAYLOAD_TEXT_KEY to one of: {}",
            description.place,
            payload_keys.join(", ")
        )));
    }
    Ok(Description { payload_keys, ..description })
}

/// Returns the collection and its server in words.
pub(super) fn describe_place(config: &RemoteConfig) -> String {
    format!("collection {:?} at {}", config.collection, config.url)
}

/// Reads the manifest that Docent wrote into the collection's metadata; `None` where another indexer made the
/// collection, or where the server is older than 1.16 and keeps no metadata.
pub(super) fn read_manifest(info: Option<&CollectionInfo>) -> Option<Manifest> {
    let value = info?.config.as_ref()?.metadata.get(METADATA_KEY)?;
    serde_json::from_value(value.clone().into()).ok()
}

/// Returns the metadata that holds a manifest.
pub(super) fn manifest_metadata(manifest: &Manifest) -> HashMap<String, serde_json::Value> {
    HashMap::from([(METADATA_KEY.to_owned(), serde_json::to_value(manifest).unwrap_or_default())])
}

/// Returns the reason why a collection with this manifest and searched vector cannot be searched with `model`;
/// `None` if it can.
pub(super) fn incompatibility(manifest: Option<&Manifest>, vector_name: &str, model: &str) -> Option<String> {
    match (manifest, vector_name == OFFLINE_VECTOR, model == OFFLINE_MODEL) {
        (Some(manifest), _, _) => manifest.incompatibility(model),
        (None, true, false) => Some("was embedded offline: set EMBEDDING_MODEL=offline".to_owned()),
        (None, false, true) => {
            Some("was not embedded offline: set EMBEDDING_MODEL to the model that embedded it".to_owned())
        }
        (None, _, _) => None,
    }
}

/// Drops the sparse vector from the description where the server cannot compute BM25 by itself; the log says
/// so, with the `consequence`.
pub(super) async fn drop_sparse_without_bm25(
    client: &Qdrant,
    config: &RemoteConfig,
    description: &mut Description,
    consequence: &str,
) -> Result<(), OpenError> {
    let Some(sparse) = &description.sparse_name else { return Ok(()) };
    if !computes_bm25(client, config, sparse).await? {
        tracing::warn!(sparse, "this Qdrant does not compute BM25 (1.15 does): {consequence}");
        description.sparse_name = None;
    }
    Ok(())
}

/// Reports whether the server computes BM25 vectors by itself.
async fn computes_bm25(client: &Qdrant, config: &RemoteConfig, sparse: &str) -> Result<bool, OpenError> {
    let probe = bm25_document("documentation".to_owned(), Analyzer::ENGLISH);
    let query = QueryPointsBuilder::new(&config.collection).query(Query::from(VectorInput::from(probe)));
    match with_deadline(OPEN_TIMEOUT, client.query(query.using(sparse).limit(1))).await {
        Ok(_) => Ok(true),
        // A server without inference says Internal, an older one InvalidArgument.
        Err(error)
            if matches!(
                status_code(&error),
                Some(Code::Internal | Code::InvalidArgument | Code::Unimplemented)
            ) =>
        {
            tracing::debug!(cause = %retrieval_error(&error), "BM25 is refused");
            Ok(false)
        }
        Err(error) => Err(open_error(config)(error)),
    }
}

async fn fetch_info(client: &Qdrant, config: &RemoteConfig) -> Result<CollectionInfo, OpenError> {
    match with_deadline(OPEN_TIMEOUT, client.collection_info(&config.collection)).await {
        Ok(response) => response.result.ok_or_else(|| {
            OpenError::Unusable(format!("Qdrant at {}: sent no description of the collection", config.url))
        }),
        Err(error) if status_code(&error) == Some(Code::NotFound) => {
            Err(missing_collection(client, config).await.unwrap_or_else(open_error(config)))
        }
        Err(error) => Err(open_error(config)(error)),
    }
}

/// Returns the error for a missing collection, with the names of the collections that exist.
async fn missing_collection(client: &Qdrant, config: &RemoteConfig) -> Result<OpenError, QdrantError> {
    let response = with_deadline(OPEN_TIMEOUT, client.list_collections()).await?;
    let names: Vec<String> = response.collections.into_iter().map(|collection| collection.name).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Ok(OpenError::Unusable(format!(
        "Qdrant at {}: there is no collection {:?}; set QDRANT_COLLECTION_NAME to one that exists ({names})",
        config.url, config.collection
    )))
}

async fn fetch_payloads(client: &Qdrant, config: &RemoteConfig) -> Result<Vec<Payload>, OpenError> {
    let request = ScrollPointsBuilder::new(&config.collection).limit(KEY_SAMPLE_POINTS).with_payload(true);
    let response = with_deadline(OPEN_TIMEOUT, client.scroll(request)).await.map_err(open_error(config))?;
    Ok(response.result.into_iter().map(|point| read_payload(point.payload)).collect())
}

/// Describes a collection from the server's information; the keys of its payloads are still unknown.
fn describe_collection(config: &RemoteConfig, info: &CollectionInfo) -> Result<Description, OpenError> {
    let (dense, sparse) = (dense_vectors(info), sparse_vectors(info));
    let picked = pick_vectors(config, &dense, &sparse)?;
    Ok(Description {
        place: describe_place(config),
        points: info.points_count.unwrap_or(0),
        dense: dense.iter().map(|(name, params)| ((*name).to_owned(), params.size)).collect(),
        sparse,
        vector_name: picked.vector_name,
        dimensions: picked.dimensions,
        distance: picked.distance,
        sparse_name: picked.sparse_name,
        payload_keys: Vec::new(),
        indexed_keys: info.payload_schema.keys().cloned().collect(),
        manifest: read_manifest(Some(info)),
    })
}

/// Lists the dense vectors that one embedding can search, by name. A multivector (late interaction) is left
/// out.
fn dense_vectors(info: &CollectionInfo) -> Vec<(&str, &VectorParams)> {
    let params = info.config.as_ref().and_then(|config| config.params.as_ref());
    let vectors = params.and_then(|params| params.vectors_config.as_ref()?.config.as_ref());
    let mut dense: Vec<(&str, &VectorParams)> = match vectors {
        Some(vectors_config::Config::Params(only)) => vec![("", only)],
        Some(vectors_config::Config::ParamsMap(map)) => {
            map.map.iter().map(|(name, params)| (name.as_str(), params)).collect()
        }
        None => Vec::new(),
    };
    dense.retain(|(_, params)| params.multivector_config.is_none());
    dense.sort_by_key(|(name, _)| *name);
    dense
}

/// Lists the names of the sparse vectors.
fn sparse_vectors(info: &CollectionInfo) -> Vec<String> {
    let params = info.config.as_ref().and_then(|config| config.params.as_ref());
    let vectors = params.and_then(|params| params.sparse_vectors_config.as_ref());
    let mut names: Vec<String> = vectors.into_iter().flat_map(|sparse| sparse.map.keys().cloned()).collect();
    names.sort();
    names
}

/// Names the vectors that are searched.
#[derive(Debug, PartialEq)]
struct PickedVectors {
    vector_name: String,
    /// Size of the vector; 0 where it is sparse.
    dimensions: usize,
    distance: String,
    /// The sparse vector beside a dense one.
    sparse_name: Option<String>,
}

/// Picks the vectors to search. If a collection has only the sparse vector that Docent writes offline, that
/// vector is searched alone.
fn pick_vectors(
    config: &RemoteConfig,
    dense: &[(&str, &VectorParams)],
    sparse: &[String],
) -> Result<PickedVectors, OpenError> {
    if dense.is_empty() && sparse == [OFFLINE_VECTOR] {
        return Ok(PickedVectors {
            vector_name: OFFLINE_VECTOR.to_owned(),
            dimensions: 0,
            distance: "Dot with IDF".to_owned(),
            sparse_name: None,
        });
    }
    let collection = &config.collection;
    let names: Vec<&str> = dense.iter().map(|(name, _)| *name).collect();
    let wanted = config.vector_name.as_deref();
    let name = pick_vector("QDRANT_VECTOR_NAME", "dense", wanted, &names, collection)?;
    let Some((name, params)) = name.and_then(|name| dense.iter().find(|(other, _)| *other == name)) else {
        return Err(OpenError::Unusable(format!("collection {collection:?} has no dense vector to search")));
    };
    let sparse: Vec<&str> = sparse.iter().map(String::as_str).collect();
    let wanted = config.sparse_name.as_deref();
    let sparse_name = pick_vector("QDRANT_SPARSE_NAME", "sparse", wanted, &sparse, collection)?;
    Ok(PickedVectors {
        vector_name: (*name).to_owned(),
        dimensions: usize::try_from(params.size).unwrap_or(0),
        distance: params.distance().as_str_name().to_owned(),
        sparse_name: sparse_name.map(str::to_owned),
    })
}

/// Picks the vector that the setting names, or the only one; `None` if the collection has none. Several vectors
/// without a setting are an error, which stops the start.
fn pick_vector<'a>(
    setting: &str,
    kind: &str,
    wanted: Option<&'a str>,
    names: &[&'a str],
    collection: &str,
) -> Result<Option<&'a str>, OpenError> {
    let list = || names.join(", ");
    match (wanted, names) {
        (Some(wanted), names) if names.contains(&wanted) => Ok(Some(wanted)),
        (Some(wanted), _) => Err(OpenError::Unusable(format!(
            "collection {collection:?} has no {kind} vector {wanted:?}; set {setting} to one of: {}",
            list()
        ))),
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some(only)),
        (None, _) => Err(OpenError::Unusable(format!(
            "collection {collection:?} has several {kind} vectors; set {setting} to one of: {}",
            list()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::{
        CollectionConfig, CollectionParams, Distance, MultiVectorConfig, SparseVectorConfig,
        SparseVectorParams, VectorParamsMap, VectorsConfig,
    };

    use super::*;
    use crate::config::PayloadKeys;

    fn config(vector_name: Option<&str>, sparse_name: Option<&str>) -> RemoteConfig {
        RemoteConfig {
            url: "http://localhost:6334".to_owned(),
            api_key: None,
            collection: "docs".to_owned(),
            vector_name: vector_name.map(str::to_owned),
            sparse_name: sparse_name.map(str::to_owned),
            keys: PayloadKeys::default(),
        }
    }

    fn params(size: u64) -> VectorParams {
        VectorParams { size, distance: Distance::Cosine.into(), ..Default::default() }
    }

    fn info(vectors: vectors_config::Config, sparse: &[&str]) -> CollectionInfo {
        let map = sparse.iter().map(|name| ((*name).to_owned(), SparseVectorParams::default())).collect();
        let params = CollectionParams {
            vectors_config: Some(VectorsConfig { config: Some(vectors) }),
            sparse_vectors_config: Some(SparseVectorConfig { map }),
            ..Default::default()
        };
        let config = CollectionConfig { params: Some(params), ..Default::default() };
        CollectionInfo { config: Some(config), points_count: Some(7), ..Default::default() }
    }

    fn named(vectors: &[(&str, VectorParams)]) -> vectors_config::Config {
        let map = vectors.iter().map(|(name, params)| ((*name).to_owned(), *params)).collect();
        vectors_config::Config::ParamsMap(VectorParamsMap { map })
    }

    #[track_caller]
    fn refusal(config: &RemoteConfig, info: &CollectionInfo) -> String {
        match describe_collection(config, info) {
            Err(OpenError::Unusable(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_only_vector_without_a_name_is_searched_with_the_only_sparse_one() {
        let info = info(vectors_config::Config::Params(params(768)), &["words"]);
        let description = describe_collection(&config(None, None), &info).unwrap();
        assert_eq!((description.vector_name.as_str(), description.dimensions), ("", 768));
        assert_eq!(description.sparse_name.as_deref(), Some("words"));
        assert_eq!((description.points, description.distance.as_str()), (7, "Cosine"));
    }

    #[test]
    fn of_several_vectors_the_setting_picks_one_and_without_it_the_start_stops() {
        let info = info(named(&[("a", params(3)), ("b", params(4))]), &["x", "y"]);
        let description = describe_collection(&config(Some("b"), Some("y")), &info).unwrap();
        assert_eq!((description.vector_name.as_str(), description.dimensions), ("b", 4));
        assert_eq!(description.sparse_name.as_deref(), Some("y"));
        assert!(refusal(&config(None, Some("y")), &info).contains("set QDRANT_VECTOR_NAME to one of: a, b"));
        assert!(refusal(&config(Some("b"), None), &info).contains("set QDRANT_SPARSE_NAME to one of: x, y"));
        assert!(refusal(&config(Some("c"), None), &info).contains("has no dense vector \"c\""));
    }

    #[test]
    fn an_offline_collection_is_searched_by_its_sparse_vector_alone() {
        let description =
            describe_collection(&config(None, None), &info(named(&[]), &[OFFLINE_VECTOR])).unwrap();
        assert_eq!((description.vector_name.as_str(), description.dimensions), (OFFLINE_VECTOR, 0));
        assert_eq!(description.sparse_name, None);
    }

    #[test]
    fn a_multivector_is_never_searched() {
        let multivector_config = Some(MultiVectorConfig::default());
        let late = VectorParams { multivector_config, ..params(128) };
        let both =
            describe_collection(&config(None, None), &info(named(&[("a", params(3)), ("late", late)]), &[]))
                .unwrap();
        assert_eq!(both.vector_name, "a");
        let only = info(named(&[("late", late)]), &[]);
        assert!(refusal(&config(None, None), &only).contains("has no dense vector to search"));
    }

    #[test]
    fn a_manifest_is_read_back_from_the_metadata_that_holds_it() {
        let manifest = Manifest {
            index_version: crate::retrieval::description::INDEX_VERSION,
            model: "a".to_owned(),
            dimensions: 3,
            languages: ["de".to_owned()].into(),
            filter_keys: Default::default(),
        };
        let metadata = manifest_metadata(&manifest).into_iter().map(|(key, value)| (key, value.into()));
        let config = CollectionConfig { metadata: metadata.collect(), ..Default::default() };
        let info = CollectionInfo { config: Some(config), ..Default::default() };
        assert_eq!(read_manifest(Some(&info)), Some(manifest));
        assert_eq!(read_manifest(Some(&CollectionInfo::default())), None);
    }

    #[test]
    fn without_a_manifest_only_the_vector_tells_which_model_embedded_a_collection() {
        assert!(incompatibility(None, OFFLINE_VECTOR, "a-model").is_some());
        assert!(incompatibility(None, "dense", OFFLINE_MODEL).is_some());
        assert_eq!(incompatibility(None, OFFLINE_VECTOR, OFFLINE_MODEL), None);
        assert_eq!(incompatibility(None, "dense", "a-model"), None);
    }
}
