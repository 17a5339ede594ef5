//! Times the stages of a request, so that a request whose reader disconnected can still be logged.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::chat::{StageName, Timings};
use crate::text::millis;

/// Collects the times of one request. The answer writes them; the request's log line reads them, however the
/// answer ends.
#[derive(Debug)]
pub struct StageTimes {
    started: Instant,
    durations: Mutex<StageDurations>,
}

/// Holds the durations of the stages that have ended; `None` for the others.
#[derive(Debug, Default, Clone, Copy)]
pub struct StageDurations {
    /// Time to embed the question.
    pub embed: Option<Duration>,
    /// Time to search the index.
    pub retrieve: Option<Duration>,
    /// Time from the question's arrival to the first visible text.
    pub first_token: Option<Duration>,
}

impl StageTimes {
    /// Starts to time a request that arrived at `started`.
    pub fn new(started: Instant) -> Self {
        Self { started, durations: Mutex::default() }
    }

    /// Returns when the request arrived.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Returns the durations of the stages so far.
    pub fn durations(&self) -> StageDurations {
        *self.lock()
    }

    /// Returns the times as a client gets them; the total is the time up to now.
    pub fn timings(&self) -> Timings {
        let StageDurations { embed, retrieve, first_token } = self.durations();
        Timings {
            embed_ms: embed.map_or(0.0, millis),
            retrieve_ms: retrieve.map_or(0.0, millis),
            first_token_ms: first_token.map(millis),
            total_ms: millis(self.started.elapsed()),
        }
    }

    /// Returns the stage that has not ended yet. Both models count as `generate`: for the reader the answer is
    /// one stage.
    pub fn current_stage(&self) -> StageName {
        match self.durations() {
            StageDurations { embed: None, .. } => StageName::Embed,
            StageDurations { retrieve: None, .. } => StageName::Retrieve,
            _ => StageName::Generate,
        }
    }

    pub(super) fn record_embed(&self, took: Duration) {
        self.lock().embed = Some(took);
    }

    pub(super) fn record_retrieve(&self, took: Duration) {
        self.lock().retrieve = Some(took);
    }

    /// Records that visible text has arrived, and returns the time since the question's arrival; `None` if text
    /// had arrived before.
    pub(super) fn record_first_token(&self) -> Option<Duration> {
        let mut durations = self.lock();
        if durations.first_token.is_some() {
            return None;
        }
        durations.first_token = Some(self.started.elapsed());
        durations.first_token
    }

    /// Locks the durations. A panic under the lock leaves durations that are whole, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, StageDurations> {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_from_stage_to_stage_and_its_first_token_comes_once() {
        let times = StageTimes::new(Instant::now());
        assert_eq!(times.current_stage(), StageName::Embed);
        times.record_embed(Duration::from_millis(7));
        assert_eq!(times.current_stage(), StageName::Retrieve);
        times.record_retrieve(Duration::from_millis(3));
        assert_eq!(times.current_stage(), StageName::Generate);
        assert!(times.timings().first_token_ms.is_none());
        assert!(times.record_first_token().is_some() && times.record_first_token().is_none());
        let Timings { embed_ms, retrieve_ms, first_token_ms, .. } = times.timings();
        assert_eq!((embed_ms, retrieve_ms, first_token_ms.is_some()), (7.0, 3.0, true));
    }
}
