//! Everything a request needs, built from a [`Config`] by one function that `main` and the tests share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{AllowedOrigins, Config, IndexConfig};
use crate::indexing;
use crate::limits::Permits;
use crate::provider::gemini::{Gemini, Reach};
use crate::provider::{Embedding, Generation, Offline, Provider};
use crate::rag::Rag;
use crate::retrieval::payload::Reading;
use crate::retrieval::{Index, OpenError, Remote};

/// How long dependencies may be unreachable at the start, all together.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at it.
const START_PAUSE: Duration = Duration::from_secs(1);

/// The running server's state.
#[derive(Debug)]
pub struct App {
    /// The pipeline from question to answer.
    pub rag: Rag,
    /// How many answers may be open at once.
    pub permits: Permits,
    /// What the background check last saw.
    pub readiness: Seen,
    /// Origins whose pages may call.
    pub allowed_origins: AllowedOrigins,
    /// The handbook's pages; empty outside the demo.
    pub pages: Vec<indexing::HandbookPage>,
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

/// The state of each dependency, as `/ready` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The index, remote or embedded.
    pub qdrant: State,
    /// Gemini, or `offline`.
    pub gemini: State,
}

/// How a dependency was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It answers.
    Ok,
    /// None is needed: the offline provider writes.
    Offline,
    /// It does not answer.
    Unreachable,
    /// It refuses the key, a model or the collection.
    Refused,
}

/// What the background check last saw.
#[derive(Debug)]
pub struct Seen(Mutex<Readiness>);

impl Seen {
    /// What it is now.
    pub fn get(&self) -> Readiness {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces it and returns what it was.
    fn swap(&self, now: Readiness) -> Readiness {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

impl Readiness {
    /// Whether questions can be answered now.
    pub fn is_ready(self) -> bool {
        let fine = |state| matches!(state, State::Ok | State::Offline);
        fine(self.qdrant) && fine(self.gemini)
    }
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
        let until = Instant::now() + START_PATIENCE;
        let gemini = match &config.gemini {
            Some(gemini) => {
                let client = Gemini::new(gemini.clone(), &config.limits);
                Some(client.map_err(|error| StartError::Other(format!("no HTTPS client: {error}")))?)
            }
            None => None,
        };
        let is_demo = matches!(config.index, IndexConfig::Handbook);
        if let (Some(gemini), false) = (&gemini, is_demo) {
            patiently(until, "Gemini does not answer; see GOOGLE_GEMINI_BASE_URL", || reach(gemini)).await?;
        }
        let embedding = match &gemini {
            Some(gemini) if !is_demo => Embedding::Gemini(gemini.clone()),
            _ => Embedding::Offline,
        };
        let generation = match gemini {
            Some(gemini) => Generation::Gemini(gemini),
            None => Generation::Offline(Offline { token_delay: config.offline_token_delay }),
        };
        let readiness = Readiness {
            qdrant: State::Ok,
            gemini: if config.gemini.is_some() { State::Ok } else { State::Offline },
        };
        let (index, folder) = open_index(&config, &embedding, until).await?;
        check_size(&embedding, &index)?;
        Ok(Arc::new(Self {
            permits: Permits::new(config.limits.max_streams),
            readiness: Seen(Mutex::new(readiness)),
            allowed_origins: config.allowed_origins,
            pages: if is_demo { indexing::handbook_pages() } else { Vec::new() },
            drain: Drain::default(),
            rag: Rag {
                provider: Provider { embedding, generation },
                index,
                site: config.site,
                limits: config.limits,
            },
            _folder: folder,
        }))
    }

    /// Looks at the dependencies now and then, for `/ready`; an embedded index swaps to a new generation here.
    /// Never returns.
    pub async fn watch(&self) {
        loop {
            let seen = self.look().await;
            let before = self.readiness.swap(seen);
            if before != seen {
                tracing::info!(?before, now = ?seen, "readiness changed");
            }
            tokio::time::sleep(self.rag.limits.ready_interval).await;
        }
    }

    async fn look(&self) -> Readiness {
        use crate::retrieval::Error;
        let qdrant = match self.rag.index.ping().await {
            Ok(()) => State::Ok,
            Err(error) => {
                tracing::warn!(cause = %error, "the index does not answer");
                if matches!(error, Error::Refused(_)) { State::Refused } else { State::Unreachable }
            }
        };
        let gemini = match &self.rag.provider.generation {
            Generation::Offline(_) => State::Offline,
            Generation::Gemini(gemini) => match gemini.reach().await {
                Reach::Ok => State::Ok,
                Reach::Refused(cause) => {
                    tracing::warn!(cause, "Gemini refuses");
                    State::Refused
                }
                Reach::Failing(cause) | Reach::Unreachable(cause) => {
                    tracing::warn!(cause, "Gemini does not answer");
                    State::Unreachable
                }
            },
        };
        Readiness { qdrant, gemini }
    }
}

/// Whether Gemini can be reached: a connection that opens is enough to start, whatever comes over it but a refusal.
async fn reach(gemini: &Gemini) -> Result<(), StartError> {
    match gemini.reach().await {
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

async fn open_index(
    config: &Config,
    embedding: &Embedding,
    until: Instant,
) -> Result<(Index, Option<tempfile::TempDir>), StartError> {
    let site = config.site.url.clone();
    match &config.index {
        IndexConfig::Remote(remote) => {
            let reading = Reading { keys: remote.keys.clone(), site };
            let timeout = config.limits.retrieve_timeout;
            let open = || async {
                Remote::open(remote.clone(), reading.clone(), timeout).await.map_err(StartError::from)
            };
            let remote = patiently(until, "Qdrant does not answer; see QDRANT_URL", open).await?;
            if remote.description().points == 0 {
                tracing::warn!(
                    "{} is empty: every answer will be that nothing was found",
                    remote.description().place
                );
            }
            Ok((Index::Remote(remote), None))
        }
        IndexConfig::Embedded { data } => embedded::open(data, embedding, site).await,
        IndexConfig::Handbook => embedded::handbook(embedding, site).await,
    }
}

#[cfg(feature = "embedded")]
mod embedded {
    use std::path::Path;

    use url::Url;

    use super::{Embedding, Index, Reading, StartError, indexing};
    use crate::retrieval::Embedded;

    pub(super) async fn open(
        data: &Path,
        embedding: &Embedding,
        site: Option<Url>,
    ) -> Result<(Index, Option<tempfile::TempDir>), StartError> {
        let reading = Reading { site, ..Reading::default() };
        let index = Embedded::open(data, embedding.model(), reading).await?;
        Ok((Index::Embedded(index), None))
    }

    pub(super) async fn handbook(
        embedding: &Embedding,
        site: Option<Url>,
    ) -> Result<(Index, Option<tempfile::TempDir>), StartError> {
        let other = |error: &dyn std::fmt::Display| StartError::Other(format!("the demo's index: {error}"));
        let folder =
            tempfile::Builder::new().prefix("docent-demo-").tempdir().map_err(|error| other(&error))?;
        let points = indexing::build_handbook(folder.path()).await.map_err(|error| other(&error))?;
        tracing::info!(points, "the handbook is indexed");
        let (index, _) = open(folder.path(), embedding, site).await?;
        Ok((index, Some(folder)))
    }
}

#[cfg(not(feature = "embedded"))]
mod embedded {
    use std::path::Path;

    use url::Url;

    use super::{Embedding, Index, StartError};

    const MISSING: &str = "this build has no embedded index: set QDRANT_URL, or build with default features";

    pub(super) async fn open(
        _data: &Path,
        _embedding: &Embedding,
        _site: Option<Url>,
    ) -> Result<(Index, Option<tempfile::TempDir>), StartError> {
        std::future::ready(Err(StartError::Settings(MISSING.to_owned()))).await
    }

    pub(super) async fn handbook(
        embedding: &Embedding,
        site: Option<Url>,
    ) -> Result<(Index, Option<tempfile::TempDir>), StartError> {
        open(Path::new(""), embedding, site).await
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

/// Tries until it works, cannot, or `until` has come; `what` is the sentence where nothing ever answered.
async fn patiently<T, F, Fut>(until: Instant, what: &str, mut attempt: F) -> Result<T, StartError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StartError>>,
{
    let mut told = String::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let attempted = tokio::time::timeout(left.max(START_PAUSE), attempt()).await;
        let silent =
            |_| Err(StartError::Unreachable(if told.is_empty() { what.to_owned() } else { told.clone() }));
        match attempted.unwrap_or_else(silent) {
            Err(StartError::Unreachable(cause)) if Instant::now() + START_PAUSE < until => {
                if told != cause {
                    tracing::warn!(cause, "trying again until {} s after the start", START_PATIENCE.as_secs());
                    told = cause;
                }
                tokio::time::sleep(START_PAUSE).await;
            }
            result => return result,
        }
    }
}
