//! Keeps two runs out of one collection. The run that writes leaves a note in the collection's metadata and
//! renews it; a run that was killed leaves a note that goes stale. A server before 1.16 keeps no metadata, and
//! then two runs are not kept apart.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qdrant_client::qdrant::UpdateCollectionBuilder;
use qdrant_client::{Qdrant, QdrantError};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::collection;
use super::connection::{OPEN_TIMEOUT, open_error, with_deadline};
use super::wire::retrieval_error;
use crate::config::RemoteConfig;
use crate::retrieval::error::OpenError;

/// Key of the note in the collection's metadata.
const NOTE_KEY: &str = "docent_run";
/// Interval at which the note is renewed.
const RENEW_INTERVAL: Duration = Duration::from_secs(15);
/// Age at which a note no longer counts: its run has died.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Identity of this process, which runs one run at a time.
static PROCESS: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// Holds the right to write into a collection, until it is released or the process ends.
pub(super) struct Lease {
    client: Qdrant,
    collection: String,
    renewal: JoinHandle<()>,
}

impl Lease {
    /// Acquires the right to write, unless another run has it.
    ///
    /// # Errors
    ///
    /// Another run has the right, or the server failed.
    pub(super) async fn acquire(client: &Qdrant, config: &RemoteConfig) -> Result<Self, OpenError> {
        refuse_other_run(client, config).await?;
        let note = write_note(client, &config.collection, unix_seconds());
        with_deadline(OPEN_TIMEOUT, note).await.map_err(open_error(config))?;
        // If two runs began at once, the later note stays, and the run whose note was replaced is refused.
        refuse_other_run(client, config).await?;
        let (client, collection) = (client.clone(), config.collection.clone());
        let renewal = tokio::spawn(renew_note(client.clone(), collection.clone()));
        Ok(Self { client, collection, renewal })
    }

    /// Gives the right back. If the server does not remove the note, the note goes stale.
    pub(super) async fn release(self) {
        self.renewal.abort();
        let update = UpdateCollectionBuilder::new(&self.collection).metadata(note_metadata(Value::Null));
        if let Err(error) = with_deadline(OPEN_TIMEOUT, self.client.update_collection(update)).await {
            tracing::warn!(cause = %retrieval_error(&error), "the note that a run writes could not be removed");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Renews the note until the task is aborted.
async fn renew_note(client: Qdrant, collection: String) {
    loop {
        tokio::time::sleep(RENEW_INTERVAL).await;
        if let Err(error) = write_note(&client, &collection, unix_seconds()).await {
            tracing::warn!(cause = %retrieval_error(&error), "the note that a run writes could not be renewed");
        }
    }
}

async fn refuse_other_run(client: &Qdrant, config: &RemoteConfig) -> Result<(), OpenError> {
    let info = with_deadline(OPEN_TIMEOUT, client.collection_info(&config.collection)).await;
    let info = info.map_err(open_error(config))?.result;
    let note = info.and_then(|info| info.config?.metadata.get(NOTE_KEY).cloned());
    match foreign_lease_seconds(&note.map(Value::from).unwrap_or_default(), unix_seconds()) {
        None => Ok(()),
        Some(seconds) => Err(OpenError::Unusable(format!(
            "another run is writing into {}: wait until it has ended, or for {seconds} s if it was killed",
            collection::describe_place(config)
        ))),
    }
}

/// Returns the seconds after which the note of another process goes stale; `None` if the note is this process's
/// own, stale, or missing.
fn foreign_lease_seconds(note: &Value, now: u64) -> Option<u64> {
    let age = now.saturating_sub(note["at"].as_u64().unwrap_or(0));
    let is_foreign = note["process"].as_str().is_some_and(|process| process != PROCESS.as_str());
    (is_foreign && age < STALE_AFTER.as_secs()).then(|| STALE_AFTER.as_secs() - age)
}

/// Writes this process's note as of `at`, in seconds since 1970.
async fn write_note(client: &Qdrant, collection: &str, at: u64) -> Result<(), QdrantError> {
    let note = json!({ "process": PROCESS.as_str(), "at": at });
    let update = UpdateCollectionBuilder::new(collection).metadata(note_metadata(note));
    client.update_collection(update).await.map(drop)
}

fn note_metadata(note: Value) -> HashMap<String, Value> {
    HashMap::from([(NOTE_KEY.to_owned(), note)])
}

/// Returns the seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_note_of_another_process_counts_and_a_stale_one_does_not() {
        let foreign = json!({ "process": "another", "at": 1_000 });
        assert_eq!(foreign_lease_seconds(&foreign, 1_010), Some(50));
        assert_eq!(foreign_lease_seconds(&foreign, 1_060), None);
        assert_eq!(foreign_lease_seconds(&json!({ "process": PROCESS.as_str(), "at": 1_000 }), 1_010), None);
        assert_eq!(foreign_lease_seconds(&Value::Null, 1_010), None);
    }
}
