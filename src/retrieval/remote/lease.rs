//! Keeps two runs out of one collection: the run that writes leaves a note in the collection's metadata and renews it.
//! A run that was killed leaves a note that goes stale. A server before 1.16 keeps no metadata, and so no notes.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qdrant_client::Qdrant;
use qdrant_client::qdrant::UpdateCollectionBuilder;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{OPEN_TIMEOUT, collection, within};
use crate::config::RemoteConfig;
use crate::retrieval::OpenError;

/// Key of the collection's metadata with the note.
const KEY: &str = "docent_run";
/// How often the note is renewed.
const RENEWED: Duration = Duration::from_secs(15);
/// Age at which nobody renews it any more.
const STALE: Duration = Duration::from_secs(60);

/// Who this is: one process runs one run at a time.
static PROCESS: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// The right to write into a collection, until it is released or the process ends.
pub(super) struct Lease {
    client: Qdrant,
    collection: String,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// Takes the right to write, unless another run has it.
    ///
    /// # Errors
    ///
    /// That another run has it, or what the server said.
    pub(super) async fn take(client: &Qdrant, config: &RemoteConfig) -> Result<Self, OpenError> {
        refuse_other(client, config).await?;
        let failed = || collection::open_error(config);
        within(OPEN_TIMEOUT, note(client, &config.collection, now())).await.map_err(failed())?;
        // Of two that came at once, the later note stays.
        refuse_other(client, config).await?;
        let (renewer, name) = (client.clone(), config.collection.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWED).await;
                if let Err(error) = note(&renewer, &name, now()).await {
                    tracing::warn!(cause = %super::fault(&error), "the note that a run writes could not be renewed");
                }
            }
        });
        Ok(Self { client: client.clone(), collection: config.collection.clone(), renewing })
    }

    /// Gives it back; where the server cannot be told, the note goes stale.
    pub(super) async fn release(self) {
        self.renewing.abort();
        let update = UpdateCollectionBuilder::new(&self.collection).metadata(metadata(Value::Null));
        if let Err(error) = within(OPEN_TIMEOUT, self.client.update_collection(update)).await {
            tracing::warn!(cause = %super::fault(&error), "the note that a run writes could not be removed");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn refuse_other(client: &Qdrant, config: &RemoteConfig) -> Result<(), OpenError> {
    let info = within(OPEN_TIMEOUT, client.collection_info(&config.collection)).await;
    let info = info.map_err(collection::open_error(config))?.result;
    let note =
        info.and_then(|info| info.config?.metadata.get(KEY).cloned()).map(Value::from).unwrap_or_default();
    let age = now().saturating_sub(note["at"].as_u64().unwrap_or(0));
    let is_other = note["process"].as_str().is_some_and(|process| process != PROCESS.as_str());
    if !is_other || age >= STALE.as_secs() {
        return Ok(());
    }
    Err(OpenError::Unusable(format!(
        "another run is writing into {}: wait until it has ended, or for {} s if it was killed",
        collection::place(config),
        STALE.as_secs() - age
    )))
}

async fn note(client: &Qdrant, collection: &str, at: u64) -> Result<(), qdrant_client::QdrantError> {
    let note = json!({ "process": PROCESS.as_str(), "at": at });
    let update = UpdateCollectionBuilder::new(collection).metadata(metadata(note));
    client.update_collection(update).await.map(drop)
}

fn metadata(note: Value) -> HashMap<String, Value> {
    HashMap::from([(KEY.to_owned(), note)])
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
