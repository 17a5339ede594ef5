//! A stage of an answer: its deadline, its figures, and a circuit breaker.
//!
//! A dependency that stalls holds the permit of each question until a deadline. After [`MISSES`] such failures in a row a
//! stage rests: for [`REST`] it fails at once, with the error of a missed deadline, which is what waiting would give. Then
//! one question tries; its success ends the rest, its failure begins another. Failures that come quickly hold no permit and
//! are passed on as they are: they never begin a rest, and show that the dependency is there.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::chat::StageName;
use crate::error::Error;
use crate::telemetry::metrics;
use crate::{provider, retrieval};

/// Slow failures in a row after which a stage rests.
const MISSES: u32 = 5;
/// How long it rests before one question tries.
const REST: Duration = Duration::from_secs(5);
/// A failure that took so long counts like a missed deadline: a connection that does not open, say.
const SLOW: Duration = Duration::from_secs(2);

/// The error of a missed deadline, which names its setting.
fn deadline_error(stage: StageName) -> Error {
    let provider = |setting: &str| provider::Error::Timeout(setting.to_owned());
    match stage {
        StageName::Embed => Error::Embedding(provider("EMBED_TIMEOUT")),
        StageName::Retrieve => Error::Retrieval(retrieval::Error::Timeout),
        StageName::Generate | StageName::Fallback => Error::Generation(provider("FIRST_TOKEN_TIMEOUT")),
    }
}

/// One stage, shared by all questions.
#[derive(Debug)]
pub(super) struct Stage {
    name: StageName,
    breaker: Mutex<Breaker>,
}

#[derive(Debug, Default)]
struct Breaker {
    /// Slow failures since the last answer.
    misses: u32,
    /// Until when it rests; past that, one question tries.
    until: Option<Instant>,
    /// Whether one does.
    trying: bool,
    /// Raised whenever a rest begins or ends: a failure of a question that was admitted before says nothing about now.
    epoch: u64,
}

impl Stage {
    pub(super) fn new(name: StageName) -> Self {
        Self { name, breaker: Mutex::default() }
    }

    /// Runs `work` within `limit` and the whole answer's `deadline`, and says how long it took.
    ///
    /// # Errors
    ///
    /// That of `work`, of a missed deadline, or that the stage rests.
    pub(super) async fn run<T>(
        &self,
        deadline: Instant,
        limit: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<(T, Duration), Error> {
        let attempt = self.admit().inspect_err(|_| metrics::count_upstream_error(self.name, "resting"))?;
        let began = Instant::now();
        let outcome = within(deadline, limit, deadline_error(self.name), work).await.flatten();
        let took = began.elapsed();
        // A question that came with too little time left says nothing about the stage.
        if !matches!(outcome, Err(Error::AnswerTimeout) if took < limit.min(SLOW)) {
            attempt.end(outcome.as_ref().err().is_some_and(|error| holds_up(error, took, limit)));
        }
        let outcome_label = outcome.as_ref().map_or_else(kind_of, |_| "ok");
        metrics::record_stage(self.name, outcome_label, took);
        outcome.map(|value| (value, took))
    }

    fn admit(&self) -> Result<Attempt<'_>, Error> {
        let mut breaker = self.lock();
        let tries = match breaker.until {
            None => false,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if breaker.trying || !left.is_zero() {
                    return Err(Error::Resting { stage: self.name.as_str(), retry_after: left.max(SLOW) });
                }
                breaker.trying = true;
                true
            }
        };
        Ok(Attempt { stage: self, tries, epoch: breaker.epoch, ended: false })
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One question's way through a stage. Dropped without an end, when its reader has left, it says nothing.
struct Attempt<'a> {
    stage: &'a Stage,
    tries: bool,
    epoch: u64,
    ended: bool,
}

impl Attempt<'_> {
    /// It has ended, by a failure that held it up or in any other way.
    fn end(mut self, held_up: bool) {
        self.ended = true;
        let stage = self.stage.name;
        let mut breaker = self.stage.lock();
        let epoch = breaker.epoch + 1;
        if !held_up {
            if breaker.until.is_some() {
                tracing::info!(stage = stage.as_str(), "answers again");
                metrics::set_circuit_open(stage, false);
                *breaker = Breaker { epoch, ..Breaker::default() };
            }
            breaker.misses = 0;
            return;
        }
        if self.epoch != breaker.epoch {
            return;
        }
        breaker.misses += 1;
        if breaker.misses >= MISSES {
            tracing::warn!(
                stage = stage.as_str(),
                rest_ms = REST.as_millis(),
                "keeps missing its deadline: failing at once for a while"
            );
            metrics::set_circuit_open(stage, true);
            // The question that tries afterwards is one miss away from the next rest.
            *breaker = Breaker { misses: MISSES - 1, until: Some(Instant::now() + REST), trying: false, epoch };
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut breaker = self.stage.lock();
        if self.tries && !self.ended && self.epoch == breaker.epoch {
            breaker.trying = false;
        }
    }
}

/// Runs work within its own `limit` (else it is `missed`) and the whole answer's `deadline`.
pub(super) async fn within<T>(
    deadline: Instant,
    limit: Duration,
    missed: Error,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    let outcome = timeout(limit.min(left), work).await;
    outcome.map_err(|_| if left < limit { Error::AnswerTimeout } else { missed })
}

/// Whether a failure held its question's permit for long, and not because a setting is wrong or the service asked to wait.
fn holds_up(error: &Error, took: Duration, limit: Duration) -> bool {
    use provider::Error as P;
    use retrieval::Error as R;
    let is_an_answer = matches!(
        error,
        Error::Embedding(P::Refused(_) | P::QuotaSpent(_) | P::Busy { .. })
            | Error::Generation(P::Refused(_) | P::QuotaSpent(_) | P::Busy { .. })
            | Error::Retrieval(R::Refused(_) | R::Busy { .. })
    );
    !is_an_answer && took >= limit.min(SLOW)
}

/// The kind of a failure, as it is counted.
pub(super) fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Embedding(error) | Error::Generation(error) => error.kind(),
        Error::Retrieval(error) => error.kind(),
        Error::AnswerTimeout => "timeout",
        Error::Resting { .. } => "resting",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const LIMIT: Duration = Duration::from_secs(10);

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    fn failed() -> Error {
        Error::Embedding(provider::Error::Failed("reset".to_owned()))
    }

    /// A stage that has missed so many deadlines.
    async fn missed(times: u32) -> Stage {
        let stage = Stage::new(StageName::Embed);
        for _ in 0..times {
            let outcome = stage.run(far(), Duration::from_millis(1), pending::<Result<(), Error>>()).await;
            assert!(matches!(outcome, Err(Error::Embedding(provider::Error::Timeout(_)))), "{outcome:?}");
        }
        stage
    }

    async fn answers(stage: &Stage) -> bool {
        match stage.run(far(), LIMIT, ready(Ok(()))).await {
            Ok(_) => true,
            Err(Error::Resting { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// Lets the rest pass.
    fn rested(stage: &Stage) {
        stage.lock().until = Some(Instant::now());
    }

    #[tokio::test]
    async fn a_stage_that_keeps_missing_its_deadline_rests_and_recovers_by_itself() {
        let stage = missed(MISSES).await;
        assert!(!answers(&stage).await);
        rested(&stage);
        assert!(answers(&stage).await);
        assert!(answers(&stage).await);
    }

    #[tokio::test]
    async fn an_answer_or_a_quick_failure_in_between_keeps_it_awake() {
        for outcome in [Ok(()), Err(failed())] {
            let stage = missed(MISSES - 1).await;
            let _ = stage.run(far(), LIMIT, ready(outcome)).await;
            let _ = stage.run(far(), Duration::from_millis(1), pending::<Result<(), Error>>()).await;
            assert!(answers(&stage).await);
        }
        let stage = Stage::new(StageName::Embed);
        for _ in 0..10 * MISSES {
            assert!(matches!(
                stage.run(far(), LIMIT, ready(Err::<(), _>(failed()))).await,
                Err(Error::Embedding(provider::Error::Failed(_)))
            ));
        }
    }

    #[tokio::test]
    async fn after_the_rest_one_question_tries_and_its_failure_begins_another() {
        let stage = missed(MISSES).await;
        rested(&stage);
        {
            let mut trial = std::pin::pin!(stage.run(far(), LIMIT, pending::<Result<(), Error>>()));
            assert!(futures::poll!(trial.as_mut()).is_pending());
            assert!(!answers(&stage).await, "a second question tries beside the first");
        }
        // Its reader has left, so that the next one may try.
        let outcome = stage.run(far(), Duration::from_millis(1), pending::<Result<(), Error>>()).await;
        assert!(matches!(outcome, Err(Error::Embedding(_))));
        assert!(!answers(&stage).await);
    }

    #[tokio::test]
    async fn what_failed_before_the_rest_does_not_begin_another() {
        let stage = Stage::new(StageName::Embed);
        let late: Vec<_> = (0..MISSES).map(|_| stage.admit().unwrap()).collect();
        for _ in 0..MISSES {
            stage.admit().unwrap().end(true);
        }
        rested(&stage);
        assert!(answers(&stage).await);
        for attempt in late {
            attempt.end(true);
        }
        assert!(answers(&stage).await);
    }

    #[test]
    fn only_what_holds_a_question_up_counts() {
        let hour = Duration::from_secs(3_600);
        let refused = Error::Generation(provider::Error::Refused("key".to_owned()));
        let busy = Error::Embedding(provider::Error::Busy { retry_after: None, cause: "429".to_owned() });
        assert!(!holds_up(&refused, hour, LIMIT) && !holds_up(&busy, hour, LIMIT));
        assert!(holds_up(&failed(), SLOW, LIMIT) && holds_up(&Error::AnswerTimeout, SLOW, LIMIT));
        assert!(!holds_up(&failed(), SLOW / 2, LIMIT) && !holds_up(&Error::AnswerTimeout, SLOW / 2, LIMIT));
    }
}
