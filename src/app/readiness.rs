//! Checks whether questions can be answered now, and keeps the result of the last check.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::provider::Reach;
use crate::rag::Rag;
use crate::retrieval::Error;

/// Holds the state of each dependency, as `/ready` shows it. The names of the fields are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// State of the index, remote or embedded.
    pub qdrant: DependencyState,
    /// State of the model that writes answers.
    pub gemini: DependencyState,
}

/// Names the state of a dependency at the last check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyState {
    /// The dependency answers.
    Ok,
    /// No dependency is needed: the offline provider writes.
    Offline,
    /// The dependency does not answer.
    Unreachable,
    /// The dependency refuses the key, a model or the collection.
    Refused,
}

impl DependencyState {
    /// Returns true if the dependency lets questions be answered.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ok | Self::Offline)
    }
}

impl Readiness {
    /// Returns true if questions can be answered.
    pub fn is_ready(self) -> bool {
        self.qdrant.is_usable() && self.gemini.is_usable()
    }
}

/// Keeps the result of the last check.
///
/// A lock of the standard library is enough: it is held for one copy, never across an await, and a panic cannot
/// leave a copy half written.
#[derive(Debug)]
pub struct LastReadiness(Mutex<Readiness>);

impl LastReadiness {
    /// Creates the value with the state at the start.
    pub(super) fn new(readiness: Readiness) -> Self {
        Self(Mutex::new(readiness))
    }

    /// Returns the last result.
    pub fn get(&self) -> Readiness {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the last result and returns it.
    pub(super) fn replace(&self, now: Readiness) -> Readiness {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// Checks if both dependencies answer. An embedded index picks up a new generation here.
pub(super) async fn check_dependencies(rag: &Rag) -> Readiness {
    Readiness { qdrant: check_index(rag).await, gemini: check_model(rag).await }
}

async fn check_index(rag: &Rag) -> DependencyState {
    match rag.index.ping().await {
        Ok(manifest) => {
            rag.index.refresh(manifest.as_ref()).await;
            DependencyState::Ok
        }
        Err(error) => {
            tracing::warn!(cause = %error, "the index does not answer");
            match error {
                Error::Refused(_) => DependencyState::Refused,
                _ => DependencyState::Unreachable,
            }
        }
    }
}

async fn check_model(rag: &Rag) -> DependencyState {
    let Some(service) = rag.provider.generation.service() else { return DependencyState::Offline };
    match rag.provider.probe().await {
        Reach::Ok => DependencyState::Ok,
        Reach::Refused(cause) => {
            tracing::warn!(cause, "{} refuses", service.name);
            DependencyState::Refused
        }
        Reach::Failing(cause) | Reach::Unreachable(cause) => {
            tracing::warn!(cause, "{} does not answer", service.name);
            DependencyState::Unreachable
        }
    }
}
