//! How far an answer has come, for whoever must tell when nobody waits for it any more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::chat::{StageName, Timings};
use crate::text::millis;

/// The times of an answer so far. Shared by the answer and by who logs its end, however it comes.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    times: Mutex<Times>,
}

/// What each stage took, from the question's arrival for the first token; `None` while it has not ended.
#[derive(Debug, Default, Clone, Copy)]
pub struct Times {
    /// Embedding.
    pub embed: Option<Duration>,
    /// Searching.
    pub retrieve: Option<Duration>,
    /// From the arrival to the first visible text.
    pub first_token: Option<Duration>,
}

impl Progress {
    /// An answer whose question arrived at `started`.
    pub fn new(started: Instant) -> Self {
        Self { started, times: Mutex::default() }
    }

    /// When the question arrived.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What is known of the stages.
    pub fn times(&self) -> Times {
        *self.lock()
    }

    /// The times as a client gets them, the total up to now.
    pub fn timings(&self) -> Timings {
        let Times { embed, retrieve, first_token } = self.times();
        Timings {
            embed_ms: embed.map_or(0.0, millis),
            retrieve_ms: retrieve.map_or(0.0, millis),
            first_token_ms: first_token.map(millis),
            total_ms: millis(self.started.elapsed()),
        }
    }

    /// The stage it is in.
    pub fn stage(&self) -> StageName {
        match self.times() {
            Times { embed: None, .. } => StageName::Embed,
            Times { retrieve: None, .. } => StageName::Retrieve,
            _ => StageName::Generate,
        }
    }

    pub(super) fn embedded(&self, took: Duration) {
        self.lock().embed = Some(took);
    }

    pub(super) fn retrieved(&self, took: Duration) {
        self.lock().retrieve = Some(took);
    }

    /// The first visible text has come now, if none has before: how long after the question's arrival.
    pub(super) fn first_token(&self) -> Option<Duration> {
        let mut times = self.lock();
        if times.first_token.is_some() {
            return None;
        }
        times.first_token = Some(self.started.elapsed());
        times.first_token
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
