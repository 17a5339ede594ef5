//! Whether questions can be answered now, as a look at the dependencies in the background sees it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::App;
use crate::provider::Reach;
use crate::retrieval::Error;
use crate::telemetry::metrics;

/// How often what is counted is tidied up.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);

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

impl State {
    /// Whether it stands in no question's way.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Ok | Self::Offline)
    }
}

/// What the background check last saw.
#[derive(Debug)]
pub struct Seen(Mutex<Readiness>);

impl Seen {
    /// What it is at the start.
    pub(super) fn new(readiness: Readiness) -> Self {
        Self(Mutex::new(readiness))
    }

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
        self.qdrant.is_fine() && self.gemini.is_fine()
    }
}

impl App {
    /// Looks at the dependencies now and then, for `/ready`; an embedded index swaps to a new generation here.
    /// Never returns.
    pub async fn watch(&self) {
        loop {
            let seen = self.look().await;
            let before = self.readiness.swap(seen);
            if before != seen {
                tracing::info!(?before, now = ?seen, "readiness changed");
            }
            tokio::time::sleep(self.limits.ready_interval).await;
        }
    }

    /// Keeps memory small: measurements are packed, and clients that have not asked for a while are forgotten. Never returns.
    pub async fn tidy(&self) {
        loop {
            tokio::time::sleep(TIDY_INTERVAL).await;
            metrics::upkeep();
            self.rate_limit.drop_idle_clients();
        }
    }

    async fn look(&self) -> Readiness {
        let qdrant = match self.rag.index.ping().await {
            Ok(manifest) => {
                self.rag.index.refresh(manifest.as_ref()).await;
                State::Ok
            }
            Err(error) => {
                tracing::warn!(cause = %error, "the index does not answer");
                if matches!(error, Error::Refused(_)) { State::Refused } else { State::Unreachable }
            }
        };
        let provider = &self.rag.provider;
        let gemini = match (provider.generation.service(), provider.probe().await) {
            (None, _) => State::Offline,
            (Some(_), Reach::Ok) => State::Ok,
            (Some(service), Reach::Refused(cause)) => {
                tracing::warn!(cause, "{} refuses", service.name);
                State::Refused
            }
            (Some(service), Reach::Failing(cause) | Reach::Unreachable(cause)) => {
                tracing::warn!(cause, "{} does not answer", service.name);
                State::Unreachable
            }
        };
        Readiness { qdrant, gemini }
    }
}
