//! Everything a request needs, built from a [`Config`] by one function that `main` and the tests share.

mod open;
mod readiness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{AllowedOrigins, Config, HttpLimits, IndexConfig};
use crate::docs::site::DemoSite;
use crate::indexing;
use crate::limits::{AnswerPermits, BodyBytes, RateLimit};
use crate::provider::gemini::{Gemini, Reach};
use crate::provider::{Embedding, Generation, Offline, Provider};
use crate::rag::Rag;
#[cfg(feature = "embedded")]
use crate::retrieval::embedded::BuildError;
use crate::retrieval::{Index, OpenError, Remote};
use crate::telemetry::metrics;

use open::{Opened, open_index};

pub use readiness::{Readiness, Seen, State};

/// Pause between two looks at it.
const START_PAUSE: Duration = Duration::from_secs(1);

/// What is said where Gemini never answered at all.
const NO_GEMINI: &str = "Gemini does not answer; see GOOGLE_GEMINI_BASE_URL";

/// What is said where Qdrant never answered at all.
const NO_QDRANT: &str = "Qdrant does not answer; see QDRANT_URL";

/// The running server's state.
#[derive(Debug)]
pub struct App {
    /// The pipeline from question to answer.
    pub rag: Rag,
    /// Bounds of clients and connections.
    pub limits: HttpLimits,
    /// How many answers may be open at once.
    pub permits: AnswerPermits,
    /// How many bodies may be read at once.
    pub bodies: BodyBytes,
    /// How often one client may ask.
    pub rate_limit: RateLimit,
    /// What `/metrics` asks for; `None` asks for nothing.
    pub metrics_token: Option<SecretString>,
    /// What the background check last saw.
    pub readiness: Seen,
    /// Origins whose pages may call.
    pub allowed_origins: AllowedOrigins,
    /// The documentation as the demo serves it; nothing elsewhere.
    pub site: Option<DemoSite>,
    /// Whether and how far the server is shutting down.
    pub drain: Drain,
    /// Holds the demo's index while it is open.
    _folder: Option<tempfile::TempDir>,
}

/// The stages of a shutdown.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// No new work is taken.
    pub begun: CancellationToken,
    /// The grace is over: what is still open ends with an error.
    pub expired: CancellationToken,
    /// One token per open request, the body of its response included.
    pub requests: TaskTracker,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting, or what it points at, has to change.
    #[error("{0}")]
    Settings(String),
    /// A dependency is not reachable.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
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

impl App {
    /// Reaches the dependencies, waiting up to 30 s for them, and builds the state.
    ///
    /// # Errors
    ///
    /// A dependency that stays out of reach, or one that cannot work with these settings.
    pub async fn build(config: Config) -> Result<Arc<Self>, StartError> {
        metrics::init();
        let patience = Patience::from_now(config.start_patience);
        let gemini = gemini(&config)?;
        let is_demo = matches!(config.index, IndexConfig::Demo(_));
        if let (Some(gemini), false) = (&gemini, is_demo) {
            patiently(patience, NO_GEMINI, || reached(gemini, gemini.reach_all())).await?;
        }
        let embedding = embedding_of(gemini.as_ref().filter(|_| !is_demo));
        let fallback = gemini.as_ref().and_then(Gemini::fallback).map(Generation::Gemini);
        let generation = match gemini {
            Some(gemini) => Generation::Gemini(gemini),
            None => Generation::Offline(Offline { token_delay: config.offline_token_delay }),
        };
        let readiness = Readiness {
            qdrant: State::Ok,
            gemini: if config.gemini.is_some() { State::Ok } else { State::Offline },
        };
        let Opened { index, site, folder } = open_index(&config, &embedding, patience).await?;
        check_size(&embedding, &index)?;
        for trouble in index.description().filter_key_warnings(&config.site.filter_keys) {
            tracing::warn!("{trouble}");
        }
        Ok(Arc::new(Self {
            permits: AnswerPermits::new(config.http_limits.max_streams),
            readiness: Seen::new(readiness),
            allowed_origins: config.allowed_origins,
            site,
            drain: Drain::default(),
            bodies: BodyBytes::default(),
            rate_limit: RateLimit::new(config.http_limits.rate_limit),
            metrics_token: config.metrics_token,
            rag: Rag::new(Provider { embedding, generation, fallback }, index, config.site, config.rag_limits),
            limits: config.http_limits,
            _folder: folder,
        }))
    }
}

fn gemini(config: &Config) -> Result<Option<Gemini>, StartError> {
    let client =
        config.gemini.as_ref().map(|gemini| Gemini::new(gemini.clone(), &config.provider_limits)).transpose();
    client.map_err(|error| StartError::Other(format!("no HTTPS client: {error}")))
}

/// Waits up to 30 s for the server that holds the index, if a server does.
///
/// # Errors
///
/// That it stays out of reach, or refuses the key.
pub async fn reach_index(config: &Config) -> Result<(), StartError> {
    let IndexConfig::Remote(remote) = &config.index else { return Ok(()) };
    let patience = Patience::from_now(config.start_patience);
    let reach = || async { Remote::check_reachable(remote).await.map_err(StartError::from) };
    patiently(patience, NO_QDRANT, reach).await
}

/// Who embeds what is indexed; waits up to 30 s for Gemini.
///
/// # Errors
///
/// That Gemini stays out of reach, or refuses the key or the model.
pub async fn embedding(config: &Config) -> Result<Embedding, StartError> {
    let patience = Patience::from_now(config.start_patience);
    let embedding = embedding_of(gemini(config)?.as_ref());
    if let Embedding::Gemini(gemini) = &embedding {
        patiently(patience, NO_GEMINI, || reached(gemini, gemini.reach_to_embed())).await?;
    }
    Ok(embedding)
}

/// Gemini, unless there is none or the operator wants passages and questions embedded offline.
fn embedding_of(gemini: Option<&Gemini>) -> Embedding {
    match gemini.filter(|gemini| gemini.embedding_model().is_some()) {
        Some(gemini) => Embedding::Gemini(gemini.clone()),
        None => Embedding::Offline,
    }
}

/// Whether Gemini can be reached: a connection that opens is enough to start, whatever comes over it but a refusal.
async fn reached(gemini: &Gemini, reach: impl Future<Output = Reach>) -> Result<(), StartError> {
    match reach.await {
        Reach::Ok => Ok(()),
        Reach::Refused(sentence) => Err(StartError::Settings(sentence)),
        Reach::Failing(cause) => {
            tracing::warn!(cause, "Gemini is there, but does not answer as it should");
            Ok(())
        }
        Reach::Unreachable(cause) => {
            let place = gemini.base_url();
            Err(StartError::Unreachable(format!(
                "Gemini at {place} is out of reach: {cause}; see GOOGLE_GEMINI_BASE_URL"
            )))
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

/// A collection whose vectors a model cannot make stops the start.
fn check_size(embedding: &Embedding, index: &Index) -> Result<(), StartError> {
    let (model, size) = (embedding.model(), index.dimensions());
    // What every gemini-embedding model makes; another model's range is its own affair.
    let fits = !model.starts_with("gemini-embedding") || (128..=3_072).contains(&size);
    if fits {
        return Ok(());
    }
    Err(StartError::Settings(format!(
        "{}: its vectors have {size} values, {model} makes 128 to 3072; set EMBEDDING_MODEL to the model that \
        indexed it, QDRANT_VECTOR_NAME to another vector, or index it again",
        index.description().place
    )))
}

/// Bounds how long a start waits for its dependencies, all together.
#[derive(Debug, Clone, Copy)]
struct Patience {
    total: Duration,
    until: Instant,
}

impl Patience {
    fn from_now(total: Duration) -> Self {
        Self { total, until: Instant::now() + total }
    }
}

/// Tries until it works, cannot, or `patience` has run out; `what` is the sentence where nothing ever answered.
async fn patiently<T, F, Fut>(patience: Patience, what: &str, mut attempt: F) -> Result<T, StartError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StartError>>,
{
    let mut told = String::new();
    loop {
        let left = patience.until.saturating_duration_since(Instant::now());
        let attempted = tokio::time::timeout(left.max(START_PAUSE), attempt()).await;
        let silent =
            |_| Err(StartError::Unreachable(if told.is_empty() { what.to_owned() } else { told.clone() }));
        match attempted.unwrap_or_else(silent) {
            Err(StartError::Unreachable(cause)) if Instant::now() + START_PAUSE < patience.until => {
                if told != cause {
                    tracing::warn!(cause, "trying again until {} s after the start", patience.total.as_secs());
                    told = cause;
                }
                tokio::time::sleep(START_PAUSE).await;
            }
            result => return result,
        }
    }
}
