//! A look at the collection before it is searched: whether it is there, which of its vectors to search, and whether
//! passages can be read from its payload.

use qdrant_client::qdrant::{CollectionInfo, ScrollPointsBuilder, vectors_config};
use qdrant_client::{Qdrant, QdrantError};
use tonic::Code;

use super::writer::METADATA_KEY;
use super::{OPEN_TIMEOUT, code, fault, json, within};
use crate::config::RemoteConfig;
use crate::retrieval::payload::{self, Payload, Reading};
use crate::retrieval::{Description, Error, Manifest, OFFLINE, OpenError, SAMPLE_POINTS};

/// What the collection holds and what of it is searched.
///
/// # Errors
///
/// That the server is not reachable, or what about the collection has to change.
pub(super) async fn look(
    client: &Qdrant,
    config: &RemoteConfig,
    reading: &Reading,
) -> Result<Description, OpenError> {
    let info = read_collection(client, config).await?;
    let mut description = describe(config, &info)?;
    let payloads = scroll_payloads(client, config).await?;
    let keys = payload::keys(&payloads);
    if !payloads.is_empty() && payloads.iter().all(|payload| reading.passage(payload, 0.0).is_none()) {
        let tried = match &config.keys.text {
            Some(key) => format!("the payload key {key:?}"),
            None => "the usual payload keys".to_owned(),
        };
        return Err(OpenError::Unusable(format!(
            "{}: no text under {tried}; set PAYLOAD_TEXT_KEY to one of: {}",
            description.place,
            keys.join(", ")
        )));
    }
    description.payload_keys = keys;
    Ok(description)
}

async fn read_collection(client: &Qdrant, config: &RemoteConfig) -> Result<CollectionInfo, OpenError> {
    let unusable = |cause: &str| OpenError::Unusable(format!("Qdrant at {}: {cause}", config.url));
    let call = client.collection_info(&config.collection);
    match within(OPEN_TIMEOUT, call).await {
        Ok(response) => response.result.ok_or_else(|| unusable("sent no description of the collection")),
        Err(error) if code(&error) == Some(Code::NotFound) => {
            let there = within(OPEN_TIMEOUT, client.list_collections()).await.map_err(open_error(config))?;
            let names: Vec<String> = there.collections.into_iter().map(|collection| collection.name).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let wanted = &config.collection;
            Err(unusable(&format!(
                "there is no collection {wanted:?}; set QDRANT_COLLECTION_NAME to one that exists ({names})"
            )))
        }
        Err(error) => Err(open_error(config)(error)),
    }
}

pub(super) fn open_error(config: &RemoteConfig) -> impl Fn(QdrantError) -> OpenError {
    |error| match fault(&error) {
        Error::Refused(cause) => OpenError::Unusable(format!(
            "Qdrant at {} refuses: {cause}; check QDRANT_URL, QDRANT_API_KEY and QDRANT_COLLECTION_NAME",
            config.url
        )),
        other => {
            OpenError::Unreachable(format!("Qdrant at {} is out of reach: {other}; see QDRANT_URL", config.url))
        }
    }
}

async fn scroll_payloads(client: &Qdrant, config: &RemoteConfig) -> Result<Vec<Payload>, OpenError> {
    let request = ScrollPointsBuilder::new(&config.collection).limit(SAMPLE_POINTS).with_payload(true);
    let response = within(OPEN_TIMEOUT, client.scroll(request)).await.map_err(open_error(config))?;
    Ok(response.result.into_iter().map(|point| json(point.payload)).collect())
}

/// Chooses the vectors to search.
fn describe(config: &RemoteConfig, info: &CollectionInfo) -> Result<Description, OpenError> {
    let params = info.config.as_ref().and_then(|config| config.params.as_ref());
    let all = match params.and_then(|params| params.vectors_config.as_ref()).and_then(|c| c.config.as_ref()) {
        Some(vectors_config::Config::Params(single)) => vec![(String::new(), single)],
        Some(vectors_config::Config::ParamsMap(map)) => map.map.iter().map(|(n, p)| (n.clone(), p)).collect(),
        None => Vec::new(),
    };
    // A multivector (late interaction) cannot be searched with one embedding.
    let mut dense: Vec<_> = all.into_iter().filter(|(_, params)| params.multivector_config.is_none()).collect();
    dense.sort_by(|a, b| a.0.cmp(&b.0));
    let mut sparse: Vec<String> = info
        .config
        .iter()
        .filter_map(|config| config.params.as_ref()?.sparse_vectors_config.as_ref())
        .flat_map(|sparse| sparse.map.keys().cloned())
        .collect();
    sparse.sort();
    let offline = Description {
        place: place(config),
        points: info.points_count.unwrap_or(0),
        dense: dense.iter().map(|(name, params)| (name.clone(), params.size)).collect(),
        sparse: sparse.clone(),
        vector_name: OFFLINE.to_owned(),
        dimensions: 0,
        distance: "Dot with IDF".to_owned(),
        sparse_name: None,
        payload_keys: Vec::new(),
        indexed_keys: info.payload_schema.keys().cloned().collect(),
        manifest: manifest(Some(info)),
    };
    if dense.is_empty() && sparse == [OFFLINE] {
        return Ok(offline);
    }
    let names: Vec<&str> = dense.iter().map(|(name, _)| name.as_str()).collect();
    let chosen =
        choose("QDRANT_VECTOR_NAME", "dense", config.vector_name.as_deref(), &names, &config.collection)?;
    let Some((name, params)) = chosen.and_then(|chosen| dense.iter().find(|(name, _)| name == chosen)) else {
        return Err(OpenError::Unusable(format!(
            "collection {:?} has no dense vector to search",
            config.collection
        )));
    };
    let sparse_names: Vec<&str> = sparse.iter().map(String::as_str).collect();
    let sparse_name = choose(
        "QDRANT_SPARSE_NAME",
        "sparse",
        config.sparse_name.as_deref(),
        &sparse_names,
        &config.collection,
    )?
    .map(str::to_owned);
    Ok(Description {
        vector_name: name.clone(),
        dimensions: usize::try_from(params.size).unwrap_or(0),
        distance: params.distance().as_str_name().to_owned(),
        sparse_name,
        ..offline
    })
}

pub(super) fn place(config: &RemoteConfig) -> String {
    format!("collection {:?} at {}", config.collection, config.url)
}

/// What Docent wrote into the collection's metadata, if it made the collection.
pub(super) fn manifest(info: Option<&CollectionInfo>) -> Option<Manifest> {
    let value = info?.config.as_ref()?.metadata.get(METADATA_KEY)?;
    serde_json::from_value(value.clone().into()).ok()
}

/// The vector the setting names, the only one, or none; several without a setting stop the start.
fn choose<'a>(
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
