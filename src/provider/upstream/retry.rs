//! Repeats a failed call while another attempt can succeed and the caller still waits.
//!
//! A retry is one of three ways of trying again; see [the pipeline](crate::rag#trying-again).

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};

use super::{Fault, Retry};
use crate::chat::StageName;
use crate::provider::types::Error;
use crate::telemetry::metrics;

/// Attempts at one stage of an answer: a service may fail twice and then work.
const MAX_ATTEMPTS: usize = 3;
/// Pause before the second attempt; it doubles, with jitter on top.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// Attempts at embedding a batch of passages, for which no reader waits.
const BATCH_ATTEMPTS: usize = 12;
/// Longest pause between two attempts that Docent chooses; the service may ask for a longer one.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Time in which a batch may be tried again: a quota of requests or tokens per minute refills many times in
/// that time.
const BATCH_BUDGET: Duration = Duration::from_secs(15 * 60);
/// Name under which repeated calls with a batch are counted; they belong to no stage of an answer.
const BATCH_LABEL: &str = "index";

/// Plans the attempts at one stage.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Name under which repeated calls are counted and logged.
    label: &'static str,
    started: Instant,
    budget: Duration,
    attempts: usize,
    /// Number of faults so far that allowed one more attempt ([`Retry::Once`]).
    single_retries: AtomicU32,
}

impl Schedule {
    /// Plans a stage that begins now and may be tried again until `budget` has passed.
    pub(crate) fn new(stage: StageName, budget: Duration) -> Self {
        Self::with_label(stage.as_str(), MAX_ATTEMPTS, budget)
    }

    /// Plans the embedding of a batch of passages, which may wait for minutes.
    pub(crate) fn for_batch() -> Self {
        Self::with_label(BATCH_LABEL, BATCH_ATTEMPTS, BATCH_BUDGET)
    }

    fn with_label(label: &'static str, attempts: usize, budget: Duration) -> Self {
        Self { label, started: Instant::now(), budget, attempts, single_retries: AtomicU32::new(0) }
    }

    /// Runs `attempt` until it succeeds, another attempt cannot help, or the attempts or the budget are used
    /// up.
    ///
    /// # Errors
    ///
    /// Returns the error of the last attempt.
    pub(crate) async fn run<T, F, Fut>(&self, attempt: F) -> Result<T, Error>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_times(self.attempts - 1)
            .with_max_delay(MAX_DELAY)
            .with_jitter();
        attempt
            .retry(backoff)
            .adjust(|fault: &Fault, delay| self.pause(fault, delay))
            .notify(|fault: &Fault, delay| {
                metrics::count_retry(self.label);
                tracing::warn!(stage = self.label, cause = %fault.error, delay_ms = delay.as_millis(), "trying again");
            })
            .await
            .map_err(|fault| fault.error)
    }

    /// Returns the pause before the next attempt; `None` ends the attempts. `delay` is the pause of the
    /// backoff, `None` after the last attempt.
    fn pause(&self, fault: &Fault, delay: Option<Duration>) -> Option<Duration> {
        let delay = match fault.retry {
            Retry::No => None,
            Retry::Once if self.single_retries.fetch_add(1, Ordering::Relaxed) > 0 => None,
            Retry::Once => delay,
            Retry::After(wait) => delay.map(|delay| delay.max(wait.unwrap_or_default())),
        }?;
        (delay <= self.budget.saturating_sub(self.started.elapsed())).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(retry: Retry) -> Fault {
        Fault { error: Error::Truncated, retry }
    }

    #[test]
    fn a_wait_the_service_asked_for_is_kept_if_the_budget_has_room() {
        let schedule = Schedule::new(StageName::Embed, Duration::from_secs(5));
        let asked = |secs| fault(Retry::After(Some(Duration::from_secs(secs))));
        let delay = Some(FIRST_DELAY);
        assert_eq!(schedule.pause(&asked(2), delay), Some(Duration::from_secs(2)));
        assert_eq!(schedule.pause(&asked(6), delay), None);
        assert_eq!(schedule.pause(&asked(u64::MAX), delay), None);
        assert_eq!(schedule.pause(&asked(0), None), None, "attempts have run out");
    }

    #[test]
    fn a_call_that_may_be_repeated_once_is_not_repeated_twice() {
        let schedule = Schedule::new(StageName::Embed, Duration::from_secs(5));
        assert_eq!(schedule.pause(&fault(Retry::Once), Some(FIRST_DELAY)), Some(FIRST_DELAY));
        assert_eq!(schedule.pause(&fault(Retry::Once), Some(FIRST_DELAY)), None);
        assert_eq!(schedule.pause(&fault(Retry::No), Some(FIRST_DELAY)), None);
        let schedule = Schedule::new(StageName::Embed, Duration::from_secs(5));
        schedule.pause(&fault(Retry::After(None)), Some(FIRST_DELAY));
        assert_eq!(
            schedule.pause(&fault(Retry::Once), Some(FIRST_DELAY)),
            Some(FIRST_DELAY),
            "an earlier fault of another kind does not use it up"
        );
    }
}
