//! When a request may be sent again, and when it is too late for that.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};

use super::transport;
use crate::provider::Error;
use crate::telemetry::metrics;

/// Attempts of one stage: a service that fails twice and then works is not a failure.
const MAX_ATTEMPTS: usize = 3;
/// Pause before the second attempt; it doubles, with jitter on top.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// Attempts at a batch of passages, for which nobody waits.
const PATIENT_ATTEMPTS: usize = 12;
/// Longest pause between them that Docent chooses; the service may ask for a longer one.
const PATIENT_DELAY: Duration = Duration::from_secs(60);
/// How long a batch may be tried again: a quota of requests or tokens per minute refills many times.
const PATIENT_BUDGET: Duration = Duration::from_secs(15 * 60);

/// A failed attempt, and whether another can succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) error: Error,
    pub(super) retry: Retry,
}

/// Whether another attempt can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It cannot.
    No,
    /// One more.
    Once,
    /// As often as the schedule allows, and never sooner than the service itself asked for.
    After(Option<Duration>),
}

impl Fault {
    pub(super) fn refused(cause: String) -> Self {
        Self { error: Error::Refused(cause), retry: Retry::No }
    }

    pub(super) fn unusable(cause: &str) -> Self {
        Self { error: Error::Failed(cause.to_owned()), retry: Retry::No }
    }

    pub(super) fn transport(error: &reqwest::Error) -> Self {
        Self { error: Error::Failed(transport(error)), retry: Retry::After(None) }
    }
}

/// The attempts of one stage.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Under which name a repeated call counts.
    stage: &'static str,
    started: Instant,
    budget: Duration,
    attempts: usize,
    /// Faults after which one more attempt is allowed.
    once: AtomicU32,
}

impl Schedule {
    /// A stage that begins now and may be tried again until `budget` has passed.
    pub(super) fn new(stage: &'static str, budget: Duration) -> Self {
        Self { stage, started: Instant::now(), budget, attempts: MAX_ATTEMPTS, once: AtomicU32::new(0) }
    }

    /// A batch of passages: it may wait for minutes.
    pub(super) fn patient() -> Self {
        Self { attempts: PATIENT_ATTEMPTS, ..Self::new("index", PATIENT_BUDGET) }
    }

    /// Runs `attempt` until it succeeds, cannot, or the budget is spent.
    ///
    /// # Errors
    ///
    /// The last attempt's.
    pub(super) async fn run<T, F, Fut>(&self, attempt: F) -> Result<T, Error>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_times(self.attempts - 1)
            .with_max_delay(PATIENT_DELAY)
            .with_jitter();
        attempt
            .retry(backoff)
            .adjust(|fault: &Fault, delay| self.delay(fault, delay))
            .notify(|fault: &Fault, delay| {
                metrics::count_retry(self.stage);
                tracing::warn!(stage = self.stage, cause = %fault.error, delay_ms = delay.as_millis(), "trying again");
            })
            .await
            .map_err(|fault| fault.error)
    }

    /// How long to wait after `fault`; `None` to give up. `delay` is the backoff's, `None` when attempts ran out.
    fn delay(&self, fault: &Fault, delay: Option<Duration>) -> Option<Duration> {
        let delay = match fault.retry {
            Retry::No => None,
            Retry::Once if self.once.fetch_add(1, Ordering::Relaxed) > 0 => None,
            Retry::Once => delay,
            Retry::After(asked) => delay.map(|delay| delay.max(asked.unwrap_or_default())),
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
        let schedule = Schedule::new("embed", Duration::from_secs(5));
        let asked = |secs| fault(Retry::After(Some(Duration::from_secs(secs))));
        let delay = Some(FIRST_DELAY);
        assert_eq!(schedule.delay(&asked(2), delay), Some(Duration::from_secs(2)));
        assert_eq!(schedule.delay(&asked(6), delay), None);
        assert_eq!(schedule.delay(&asked(u64::MAX), delay), None);
        assert_eq!(schedule.delay(&asked(0), None), None, "attempts have run out");
    }

    #[test]
    fn what_may_be_tried_once_is_not_tried_twice() {
        let schedule = Schedule::new("embed", Duration::from_secs(5));
        assert_eq!(schedule.delay(&fault(Retry::Once), Some(FIRST_DELAY)), Some(FIRST_DELAY));
        assert_eq!(schedule.delay(&fault(Retry::Once), Some(FIRST_DELAY)), None);
        assert_eq!(schedule.delay(&fault(Retry::No), Some(FIRST_DELAY)), None);
        let schedule = Schedule::new("embed", Duration::from_secs(5));
        schedule.delay(&fault(Retry::After(None)), Some(FIRST_DELAY));
        assert_eq!(
            schedule.delay(&fault(Retry::Once), Some(FIRST_DELAY)),
            Some(FIRST_DELAY),
            "an earlier fault of another kind does not use it up"
        );
    }
}
