//! Holds everything a request needs, built from a [`Config`] by one function that the commands and the tests
//! share.

mod open;
mod readiness;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{AllowedOrigins, Config, HttpLimits, IndexConfig};
use crate::docs::site::DemoSite;
use crate::limits::{AnswerPermits, BodyBytes, RateLimit};
use crate::rag::Rag;
use crate::startup::{Patience, StartError, build_provider, check_dimensions, reach_provider};
use crate::telemetry::metrics;

use open::{OpenedIndex, open_index};

use readiness::check_dependencies;

pub use readiness::{DependencyState, LastReadiness, Readiness};

/// Pause between two clean-ups of the counters.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);

/// Holds the state of the running server.
#[derive(Debug)]
pub struct App {
    /// Pipeline from question to answer.
    pub rag: Rag,
    /// Bounds of clients and connections.
    pub limits: HttpLimits,
    /// Permits of the answers that may be open at once.
    pub permits: AnswerPermits,
    /// Room for the bodies that are being read.
    pub body_bytes: BodyBytes,
    /// Counts of each client's questions.
    pub rate_limit: RateLimit,
    /// Token that `/metrics` asks for; `None` lets anybody read the metrics.
    pub metrics_token: Option<SecretString>,
    /// State of the dependencies at the last background check.
    pub readiness: LastReadiness,
    /// Origins whose pages may call.
    pub allowed_origins: AllowedOrigins,
    /// Pages that the demo serves; `None` for an index that is no demo's.
    pub site: Option<DemoSite>,
    /// Progress of a shutdown.
    pub drain: Drain,
    /// Folder of the demo's index, which is deleted with the state.
    _folder: Option<tempfile::TempDir>,
}

/// Holds the stages of a shutdown.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Cancelled when the server stops taking new work.
    pub begun: CancellationToken,
    /// Cancelled once the grace is over: answers that are still open end with an error.
    pub expired: CancellationToken,
    /// Tracks open requests, the bodies of their responses included.
    pub requests: TaskTracker,
}

impl App {
    /// Reaches the dependencies, waiting for as long as `config.start_patience`, and builds the state.
    ///
    /// # Errors
    ///
    /// Returns an error if a dependency stays out of reach or cannot work with these settings.
    pub async fn build(config: Config) -> Result<Arc<Self>, StartError> {
        metrics::init();
        let patience = Patience::starting_now(config.start_patience);
        let provider = build_provider(&config)?;
        // A demo starts without the network: a model that cannot be reached shows in its first answer.
        if !matches!(config.index, IndexConfig::Demo(_)) {
            reach_provider(&provider, patience).await?;
        }
        let readiness = Readiness {
            qdrant: DependencyState::Ok,
            gemini: if provider.generation.service().is_some() {
                DependencyState::Ok
            } else {
                DependencyState::Offline
            },
        };
        let OpenedIndex { index, site, folder } = open_index(&config, &provider.embedding, patience).await?;
        check_dimensions(&provider.embedding, &index)?;
        for trouble in index.description().filter_key_warnings(&config.site.filter_keys) {
            tracing::warn!("{trouble}");
        }
        Ok(Arc::new(Self {
            permits: AnswerPermits::new(config.http_limits.max_streams),
            readiness: LastReadiness::new(readiness),
            allowed_origins: config.allowed_origins,
            site,
            drain: Drain::default(),
            body_bytes: BodyBytes::default(),
            rate_limit: RateLimit::new(config.http_limits.rate_limit),
            metrics_token: config.metrics_token,
            rag: Rag::new(provider, index, config.site, config.rag_limits),
            limits: config.http_limits,
            _folder: folder,
        }))
    }

    /// Checks the dependencies at every `READY_INTERVAL`, for `/ready`, and picks up a new generation of an
    /// embedded index. Never returns.
    pub async fn watch_dependencies(&self) {
        loop {
            let now = check_dependencies(&self.rag).await;
            let before = self.readiness.replace(now);
            if before != now {
                tracing::info!(?before, ?now, "readiness changed");
            }
            tokio::time::sleep(self.limits.ready_interval).await;
        }
    }

    /// Keeps memory small: folds the measurements of the metrics, and drops the counts of clients without
    /// recent questions. Never returns.
    pub async fn tidy_counters(&self) {
        loop {
            tokio::time::sleep(TIDY_INTERVAL).await;
            metrics::upkeep();
            self.rate_limit.drop_idle_clients();
        }
    }
}
