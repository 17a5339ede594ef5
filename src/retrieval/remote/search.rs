//! Searches a collection on a Qdrant server. Docent adapts to the collection: at start, the vectors to search,
//! their size and the keys of the payloads are read from the collection.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use qdrant_client::qdrant::{
    Filter as QdrantFilter, Query, QueryBatchPoints, QueryBatchResponse, QueryPoints, QueryPointsBuilder,
    RetrievedPoint, ScrollPointsBuilder, VectorInput,
};
use qdrant_client::{Qdrant, QdrantError};
use tonic::Code;

use super::collection::{self, incompatibility};
use super::connection::{Connection, OPEN_TIMEOUT, connect_at_start, open_error, with_deadline};
use super::wire::{
    bm25_document, qdrant_filter, read_hit, read_payload, read_vector, retrieval_error, status_code,
    vector_input,
};
use crate::chat::Passage;
use crate::config::RemoteConfig;
use crate::retrieval::bm25::Analyzer;
use crate::retrieval::description::{Description, Manifest};
use crate::retrieval::error::{Error, OpenError};
use crate::retrieval::payload::PayloadReader;
use crate::retrieval::points::Sample;
use crate::retrieval::query::Search;
use crate::retrieval::results::fuse_and_select;

/// Searches a collection that was found compatible when it was opened.
pub struct Remote {
    connection: Connection,
    config: RemoteConfig,
    payload_reader: PayloadReader,
    timeout: Duration,
    /// The model that embeds questions; the collection's manifest must name the same one, where there is a
    /// manifest.
    model: String,
    description: Description,
    /// Language tags of the passages, as the collection's manifest listed them last. A std lock, because it is
    /// held for one clone or one assignment and never across an `await`. Poisoning is ignored: the list is
    /// replaced whole, so a panic cannot leave it half written.
    languages: RwLock<Vec<String>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Remote {
    /// Connects and inspects the collection, whose manifest must name `model`, where there is one. `timeout`
    /// bounds every later call except a search, which its caller bounds.
    ///
    /// # Errors
    ///
    /// The server is not reachable, or the collection or a setting has to change.
    pub async fn open(
        config: RemoteConfig,
        model: &str,
        payload_reader: PayloadReader,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let client = connect_at_start(&config, timeout)?;
        let mut description = collection::inspect(&client, &config, &payload_reader).await?;
        let manifest = description.manifest.as_ref();
        if let Some(cause) = incompatibility(manifest, &description.vector_name, model) {
            return Err(OpenError::Unusable(format!("{} {cause}", description.place)));
        }
        let languages = RwLock::new(list_languages(manifest));
        let consequence = "retrieval is dense only";
        collection::drop_sparse_without_bm25(&client, &config, &mut description, consequence).await?;
        let connection = Connection::new(client, config.clone(), timeout);
        let model = model.to_owned();
        Ok(Self { connection, config, payload_reader, timeout, model, description, languages })
    }

    /// Checks that the server answers and admits the key; the collection need not exist.
    ///
    /// # Errors
    ///
    /// The server is not reachable, or refuses.
    pub async fn check_reachable(config: &RemoteConfig) -> Result<(), OpenError> {
        let client = connect_at_start(config, OPEN_TIMEOUT)?;
        let exists = with_deadline(OPEN_TIMEOUT, client.collection_exists(&config.collection)).await;
        exists.map(drop).map_err(open_error(config))
    }

    /// Returns the description of the collection as it was when it was opened.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Checks that the collection would answer now. Returns its manifest, for [`Remote::refresh`].
    ///
    /// # Errors
    ///
    /// The cause that keeps the collection from answering; for example, another model has embedded the
    /// collection since.
    pub(in crate::retrieval) async fn ping(&self) -> Result<Option<Manifest>, Error> {
        let mut call = self.connection.start_call();
        let info = with_deadline(self.timeout, call.client.collection_info(&self.config.collection)).await;
        call.record_end(info.as_ref().err());
        let info = info.map_err(|error| retrieval_error(&error))?;
        let manifest = collection::read_manifest(info.result.as_ref());
        match incompatibility(manifest.as_ref(), &self.description.vector_name, &self.model) {
            Some(cause) => Err(Error::Refused(format!("{} {cause}", self.description.place))),
            None => Ok(manifest),
        }
    }

    /// Takes over the languages that the collection's manifest lists now.
    pub(in crate::retrieval) fn refresh(&self, manifest: Option<&Manifest>) {
        *self.languages.write().unwrap_or_else(PoisonError::into_inner) = list_languages(manifest);
    }

    /// Returns the best passages, best first.
    ///
    /// # Errors
    ///
    /// The cause that kept the server from answering.
    pub(in crate::retrieval) async fn search(&self, search: &Search) -> Result<Vec<Passage>, Error> {
        let mut call = self.connection.start_call();
        let (mut wanted, mut response) = self.query_batch(&call.client, search).await;
        // The caller bounds both attempts together.
        if missed_deadline(&response) {
            (wanted, response) = self.query_batch(&call.client, search).await;
        }
        call.record_end(None);
        let response = response.map_err(|error| retrieval_error(&error))?;
        if response.result.len() != wanted {
            return Err(Error::Failed(format!("{} results for {wanted} queries", response.result.len())));
        }
        let legs = response.result.into_iter().map(|leg| leg.result.into_iter().map(read_hit).collect());
        Ok(fuse_and_select(legs.collect(), &self.payload_reader, search.top_k))
    }

    /// Returns a few stored points with their vectors.
    ///
    /// # Errors
    ///
    /// The cause that kept the server from answering.
    pub(in crate::retrieval) async fn samples(&self, count: u32) -> Result<Vec<Sample>, Error> {
        let request = ScrollPointsBuilder::new(&self.config.collection)
            .limit(count)
            .with_payload(true)
            .with_vectors(true);
        let response = with_deadline(self.timeout, self.connection.start_call().client.scroll(request))
            .await
            .map_err(|error| retrieval_error(&error))?;
        let read = |point: RetrievedPoint| {
            let vector = read_vector(point.vectors?, &self.description.vector_name)?;
            let passage = self.payload_reader.read_passage(&read_payload(point.payload), 0.0)?;
            Some(Sample { title: passage.title, text: passage.text, vector })
        };
        Ok(response.result.into_iter().filter_map(read).collect())
    }

    /// Builds the legs of a search: the vector's, and where retrieval is hybrid, one per analyzer.
    fn leg_queries(&self, search: &Search) -> Vec<QueryPoints> {
        let filter = qdrant_filter(&search.filter);
        let leg = |input: VectorInput, name: &str| {
            let limit = search.hits_per_leg() as u64;
            leg_query(&self.config.collection, input, name, limit, filter.clone())
        };
        let mut queries = vec![leg(vector_input(&search.vector), &self.description.vector_name)];
        if let Some(sparse) = &self.description.sparse_name {
            let languages = self.languages.read().unwrap_or_else(PoisonError::into_inner).clone();
            for analyzer in Analyzer::for_search(&languages, &search.filter) {
                queries.push(leg(VectorInput::from(bm25_document(search.text.clone(), analyzer)), sparse));
            }
        }
        queries
    }

    /// Sends the legs of a search in one call. Returns their number and the server's response.
    async fn query_batch(
        &self,
        client: &Qdrant,
        search: &Search,
    ) -> (usize, Result<QueryBatchResponse, QdrantError>) {
        let query_points = self.leg_queries(search);
        let count = query_points.len();
        let batch = QueryBatchPoints {
            collection_name: self.config.collection.clone(),
            query_points,
            timeout: Some(self.timeout.as_secs().max(1)),
            ..Default::default()
        };
        (count, client.query_batch(batch).await)
    }
}

/// Reports whether a search failed because the server missed its deadline.
fn missed_deadline(response: &Result<QueryBatchResponse, QdrantError>) -> bool {
    response.as_ref().err().and_then(status_code) == Some(Code::DeadlineExceeded)
}

/// Builds the query of one leg; `name` is empty for a collection's only, nameless vector.
fn leg_query(
    collection: &str,
    input: VectorInput,
    name: &str,
    limit: u64,
    filter: Option<QdrantFilter>,
) -> QueryPoints {
    let mut query =
        QueryPointsBuilder::new(collection).query(Query::from(input)).limit(limit).with_payload(true);
    if !name.is_empty() {
        query = query.using(name);
    }
    if let Some(filter) = filter {
        query = query.filter(filter);
    }
    query.into()
}

fn list_languages(manifest: Option<&Manifest>) -> Vec<String> {
    manifest.map_or(Vec::new(), |manifest| manifest.languages.iter().cloned().collect())
}
