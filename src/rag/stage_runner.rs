//! Runs a stage of an answer within its deadline and behind its circuit breaker, and records its metrics.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::circuit_breaker::{CircuitBreaker, SLOW_FAILURE, is_slow_failure};
use crate::chat::StageName;
use crate::error::Error;
use crate::telemetry::metrics;
use crate::{provider, retrieval};

/// Runs one stage; all questions share the runner.
#[derive(Debug)]
pub(super) struct StageRunner {
    name: StageName,
    breaker: CircuitBreaker,
}

impl StageRunner {
    /// Creates the runner of a stage.
    pub(super) fn new(name: StageName) -> Self {
        Self { name, breaker: CircuitBreaker::new(name) }
    }

    /// Runs `work` within `limit` and the whole answer's `deadline`, and returns its value and its duration.
    ///
    /// # Errors
    ///
    /// Returns the error of `work`, that of a missed deadline, or [`Error::CircuitOpen`].
    pub(super) async fn run<T>(
        &self,
        deadline: Instant,
        limit: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<(T, Duration), Error> {
        let admitted = self.breaker.admit();
        let attempt =
            admitted.inspect_err(|error| metrics::count_upstream_error(self.name, error_kind(error)))?;
        let began = Instant::now();
        let outcome = within_deadlines(deadline, limit, deadline_error(self.name), work).await.flatten();
        let took = began.elapsed();
        // A question that reached the stage with too little time left says nothing about the stage.
        if !matches!(outcome, Err(Error::AnswerTimeout) if took < limit.min(SLOW_FAILURE)) {
            attempt.finish(outcome.as_ref().err().is_some_and(|error| is_slow_failure(error, took, limit)));
        }
        metrics::record_stage(self.name, outcome.as_ref().map_or_else(error_kind, |_| "ok"), took);
        outcome.map(|value| (value, took))
    }
}

/// Runs `work` within its own `limit` and the whole answer's `deadline`; `missed` is the error for the limit.
///
/// # Errors
///
/// Returns `missed`, or [`Error::AnswerTimeout`] if the answer's deadline came first.
pub(super) async fn within_deadlines<T>(
    deadline: Instant,
    limit: Duration,
    missed: Error,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    let outcome = timeout(limit.min(left), work).await;
    outcome.map_err(|_| if left < limit { Error::AnswerTimeout } else { missed })
}

/// Returns the error of a stage that missed its own deadline; the error names the setting.
fn deadline_error(stage: StageName) -> Error {
    let provider = |setting: &str| provider::Error::Timeout(setting.to_owned());
    match stage {
        StageName::Embed => Error::Embedding(provider("EMBED_TIMEOUT")),
        StageName::Retrieve => Error::Retrieval(retrieval::Error::Timeout),
        StageName::Generate | StageName::Fallback => Error::Generation(provider("FIRST_TOKEN_TIMEOUT")),
    }
}

/// Returns the label under which the metrics count an error.
pub(super) fn error_kind(error: &Error) -> &'static str {
    match error {
        Error::Embedding(error) | Error::Generation(error) => error.kind(),
        Error::Retrieval(error) => error.kind(),
        Error::AnswerTimeout => "timeout",
        Error::CircuitOpen { .. } => "resting",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    use super::super::circuit_breaker::MAX_SLOW_FAILURES;

    const LIMIT: Duration = Duration::from_secs(10);
    /// Slow failures in a row that open a circuit.
    const MANY: u32 = MAX_SLOW_FAILURES;

    fn far_deadline() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    fn failed_error() -> Error {
        Error::Embedding(provider::Error::Failed("reset".to_owned()))
    }

    /// Returns a stage that has missed `times` deadlines.
    async fn stage_after_timeouts(times: u32) -> StageRunner {
        let stage = StageRunner::new(StageName::Embed);
        for _ in 0..times {
            let outcome =
                stage.run(far_deadline(), Duration::from_millis(1), pending::<Result<(), Error>>()).await;
            assert!(matches!(outcome, Err(Error::Embedding(provider::Error::Timeout(_)))), "{outcome:?}");
        }
        stage
    }

    async fn is_asked(stage: &StageRunner) -> bool {
        match stage.run(far_deadline(), LIMIT, ready(Ok(()))).await {
            Ok(_) => true,
            Err(Error::CircuitOpen { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_stage_that_keeps_missing_its_deadline_is_not_asked_and_recovers_by_itself() {
        let stage = stage_after_timeouts(MANY).await;
        assert!(!is_asked(&stage).await);
        stage.breaker.expire();
        assert!(is_asked(&stage).await);
        assert!(is_asked(&stage).await);
    }

    #[tokio::test]
    async fn an_answer_or_a_quick_failure_in_between_keeps_the_circuit_closed() {
        for outcome in [Ok(()), Err(failed_error())] {
            let stage = stage_after_timeouts(MANY - 1).await;
            let _ = stage.run(far_deadline(), LIMIT, ready(outcome)).await;
            let _ = stage.run(far_deadline(), Duration::from_millis(1), pending::<Result<(), Error>>()).await;
            assert!(is_asked(&stage).await);
        }
        let stage = StageRunner::new(StageName::Embed);
        for _ in 0..10 * MANY {
            assert!(matches!(
                stage.run(far_deadline(), LIMIT, ready(Err::<(), _>(failed_error()))).await,
                Err(Error::Embedding(provider::Error::Failed(_)))
            ));
        }
    }

    #[tokio::test]
    async fn one_question_probes_at_a_time_and_its_slow_failure_opens_the_circuit_again() {
        let stage = stage_after_timeouts(MANY).await;
        stage.breaker.expire();
        {
            let mut probe = std::pin::pin!(stage.run(far_deadline(), LIMIT, pending::<Result<(), Error>>()));
            assert!(futures::poll!(probe.as_mut()).is_pending());
            assert!(!is_asked(&stage).await, "a second question probes beside the first");
        }
        // The reader of the probe has left, so the next question may probe.
        let outcome = stage.run(far_deadline(), Duration::from_millis(1), pending::<Result<(), Error>>()).await;
        assert!(matches!(outcome, Err(Error::Embedding(_))));
        assert!(!is_asked(&stage).await);
    }

    #[tokio::test]
    async fn a_question_without_time_left_says_nothing_about_the_stage() {
        let stage = StageRunner::new(StageName::Embed);
        for _ in 0..2 * MANY {
            let outcome = stage.run(Instant::now(), LIMIT, pending::<Result<(), Error>>()).await;
            assert!(matches!(outcome, Err(Error::AnswerTimeout)), "{outcome:?}");
        }
        assert!(is_asked(&stage).await);
    }
}
