//! Waits at the start until the dependencies are reachable, and names the reason if a start fails.

use std::time::{Duration, Instant};

use crate::config::{Config, IndexConfig};
use crate::indexing;
use crate::provider::{Embedding, Provider, Reach, Service};
#[cfg(feature = "embedded")]
use crate::retrieval::embedded::BuildError;
use crate::retrieval::{Index, OpenError, Remote};

/// Pause between two attempts to reach a dependency, and the shortest time for one attempt.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Sentence for a Qdrant server that has never answered.
pub(crate) const NO_QDRANT: &str = "Qdrant does not answer; see QDRANT_URL";

/// Names the reason why a server or a run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting, or the thing that the setting names, has to change.
    #[error("{0}")]
    Settings(String),
    /// A dependency is not reachable.
    #[error("{0}")]
    Unreachable(String),
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unusable(sentence) => Self::Settings(sentence),
            OpenError::Unreachable(sentence) => Self::Unreachable(sentence),
        }
    }
}

impl From<indexing::Error> for StartError {
    fn from(error: indexing::Error) -> Self {
        let sentence = error.to_string();
        match error {
            indexing::Error::Unusable(_) | indexing::Error::NoPage(_) => Self::Settings(sentence),
            indexing::Error::Unreachable(_) => Self::Unreachable(sentence),
            #[cfg(feature = "embedded")]
            indexing::Error::Build(BuildError::Incompatible { .. } | BuildError::Unusable { .. }) => {
                Self::Settings(sentence)
            }
            _ => Self::Other(sentence),
        }
    }
}

/// Bounds the time that a start waits for its dependencies, all together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    total: Duration,
    until: Instant,
}

impl Patience {
    /// Begins a wait of at most `total`.
    pub(crate) fn starting_now(total: Duration) -> Self {
        Self { total, until: Instant::now() + total }
    }

    /// Repeats `attempt` until it succeeds, fails for good, or the time is over. `silence` is the sentence for
    /// a dependency that has never answered.
    ///
    /// # Errors
    ///
    /// Returns the error of the last attempt.
    pub(crate) async fn repeat<T, F, Fut>(self, silence: &str, mut attempt: F) -> Result<T, StartError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StartError>>,
    {
        let mut logged = String::new();
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            let attempted = tokio::time::timeout(left.max(ATTEMPT_PAUSE), attempt()).await;
            let silent = |_| {
                let cause = if logged.is_empty() { silence } else { &logged };
                Err(StartError::Unreachable(cause.to_owned()))
            };
            match attempted.unwrap_or_else(silent) {
                Err(StartError::Unreachable(cause)) if Instant::now() + ATTEMPT_PAUSE < self.until => {
                    if logged != cause {
                        tracing::warn!(cause, "trying again until {} s after the start", self.total.as_secs());
                        logged = cause;
                    }
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                }
                result => return result,
            }
        }
    }
}

/// Builds the provider that the settings select; nothing is sent yet.
///
/// # Errors
///
/// Returns an error if the TLS roots of this machine cannot be read.
pub(crate) fn build_provider(config: &Config) -> Result<Provider, StartError> {
    let provider = Provider::new(&config.provider, config.offline_token_delay, &config.provider_limits);
    provider.map_err(|error| StartError::Other(format!("no HTTPS client: {error}")))
}

/// Waits for the service that embeds and writes, if there is one.
///
/// # Errors
///
/// Returns an error if the service stays out of reach, or refuses the key or a model.
pub(crate) async fn reach_provider(provider: &Provider, patience: Patience) -> Result<(), StartError> {
    match provider.generation.service() {
        Some(service) => reach_service(service, patience, || provider.probe_all()).await,
        None => Ok(()),
    }
}

/// Builds the embedding of an indexing run, and waits for the service behind the embedding, for as long as
/// `config.start_patience`.
///
/// # Errors
///
/// Returns an error if the service stays out of reach, or refuses the key or the model.
pub async fn reach_embedding(config: &Config) -> Result<Embedding, StartError> {
    let patience = Patience::starting_now(config.start_patience);
    let embedding = build_provider(config)?.embedding;
    if let Some(service) = embedding.service() {
        reach_service(service, patience, || embedding.probe()).await?;
    }
    Ok(embedding)
}

/// Waits for the Qdrant server that holds the index, for as long as `config.start_patience`; returns at once
/// for an embedded index.
///
/// # Errors
///
/// Returns an error if the server stays out of reach, or refuses the key.
pub async fn reach_index(config: &Config) -> Result<(), StartError> {
    let IndexConfig::Remote(remote) = &config.index else { return Ok(()) };
    let patience = Patience::starting_now(config.start_patience);
    patience
        .repeat(NO_QDRANT, || async { Remote::check_reachable(remote).await.map_err(StartError::from) })
        .await
}

/// Refuses a collection whose vectors the model cannot make.
///
/// # Errors
///
/// Returns an error that names the settings to change.
pub(crate) fn check_dimensions(embedding: &Embedding, index: &Index) -> Result<(), StartError> {
    let (model, size) = (embedding.model(), index.dimensions());
    let Some(range) = embedding.dimension_range().filter(|range| !range.contains(&size)) else { return Ok(()) };
    Err(StartError::Settings(format!(
        "{}: its vectors have {size} values, {model} makes {} to {}; set EMBEDDING_MODEL to the model that \
        indexed it, QDRANT_VECTOR_NAME to another vector, or index it again",
        index.description().place,
        range.start(),
        range.end(),
    )))
}

/// Waits until a connection to a service opens. A refusal stops the start; any other failure of a service that
/// can be reached does not.
async fn reach_service<F, Fut>(service: Service<'_>, patience: Patience, probe: F) -> Result<(), StartError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Reach>,
{
    let Service { name, address, setting } = service;
    let attempt = || async {
        match probe().await {
            Reach::Ok => Ok(()),
            Reach::Refused(sentence) => Err(StartError::Settings(sentence)),
            Reach::Failing(cause) => {
                tracing::warn!(cause, "{name} is there, but does not answer as it should");
                Ok(())
            }
            Reach::Unreachable(cause) => Err(StartError::Unreachable(format!(
                "{name} at {address} is out of reach: {cause}; see {setting}"
            ))),
        }
    };
    patience.repeat(&format!("{name} does not answer; see {setting}"), attempt).await
}
