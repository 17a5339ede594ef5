//! Stops asking a stage that keeps missing its deadline.
//!
//! A dependency that stalls holds the permit of each question until a deadline. Its circuit breaker is *closed*
//! while the stage is asked. After [`MAX_SLOW_FAILURES`] slow failures in a row the breaker *opens*: for
//! [`OPEN_FOR`] every question fails at once, with the error of a missed deadline, which is what waiting would
//! give. Then the breaker is *half-open*: one question probes the stage; success closes the breaker, a slow
//! failure opens it again. Quick failures hold no permit and are passed on as they are: they never open the
//! breaker, and they prove that the dependency is there.
//!
//! A question's result may come long after the breaker has changed its state. Each opening and closing
//! therefore raises a generation counter, and a slow failure of an attempt from an earlier generation is
//! ignored.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::chat::StageName;
use crate::error::Error;
use crate::telemetry::metrics;
use crate::{provider, retrieval};

/// Slow failures in a row that open the breaker.
pub(super) const MAX_SLOW_FAILURES: u32 = 5;
/// Time that the breaker stays open before one question probes the stage.
const OPEN_FOR: Duration = Duration::from_secs(5);
/// Duration from which a failure counts as slow even before its deadline, for example when a connection does
/// not open.
pub(super) const SLOW_FAILURE: Duration = Duration::from_secs(2);

/// Guards one stage; all questions share it.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    stage: StageName,
    state: Mutex<BreakerState>,
}

#[derive(Debug)]
struct BreakerState {
    circuit: Circuit,
    /// Number of openings and closings so far.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
enum Circuit {
    /// The stage is asked.
    Closed {
        /// Slow failures since the last other result.
        slow_failures: u32,
    },
    /// The stage is not asked; from `until` on the next question probes it.
    Open { until: Instant },
    /// One question probes the stage, the others fail at once.
    HalfOpen,
}

impl CircuitBreaker {
    /// Creates a closed breaker for a stage.
    pub(super) fn new(stage: StageName) -> Self {
        let circuit = Circuit::Closed { slow_failures: 0 };
        Self { stage, state: Mutex::new(BreakerState { circuit, generation: 0 }) }
    }

    /// Admits an attempt, as the probe if the breaker has been open for [`OPEN_FOR`].
    ///
    /// # Errors
    ///
    /// Returns [`Error::CircuitOpen`] while the breaker is open, or while another question probes.
    pub(super) fn admit(&self) -> Result<Attempt<'_>, Error> {
        let mut state = self.lock();
        let left = match state.circuit {
            Circuit::Closed { .. } => {
                return Ok(Attempt { breaker: self, is_probe: false, generation: state.generation });
            }
            Circuit::Open { until } => until.saturating_duration_since(Instant::now()),
            Circuit::HalfOpen => SLOW_FAILURE,
        };
        if left.is_zero() {
            state.circuit = Circuit::HalfOpen;
            return Ok(Attempt { breaker: self, is_probe: true, generation: state.generation });
        }
        Err(Error::CircuitOpen { stage: self.stage, retry_after: left.max(SLOW_FAILURE) })
    }

    /// Locks the state. A panic under the lock leaves a state that is whole, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the breaker if it is not closed, and resets the count of slow failures.
    fn record_answer(&self) {
        let mut state = self.lock();
        if !matches!(state.circuit, Circuit::Closed { .. }) {
            state.generation += 1;
            tracing::info!(stage = self.stage.as_str(), "answers again");
            metrics::set_circuit_open(self.stage, false);
        }
        state.circuit = Circuit::Closed { slow_failures: 0 };
    }

    /// Counts a slow failure of an attempt of this `generation`, and opens the breaker after
    /// [`MAX_SLOW_FAILURES`] in a row, or at once if the attempt was the probe.
    fn record_slow_failure(&self, generation: u64) {
        let mut state = self.lock();
        if generation != state.generation {
            return;
        }
        if let Circuit::Closed { slow_failures } = &mut state.circuit {
            *slow_failures += 1;
            if *slow_failures < MAX_SLOW_FAILURES {
                return;
            }
        }
        tracing::warn!(
            stage = self.stage.as_str(),
            rest_ms = OPEN_FOR.as_millis(),
            "keeps missing its deadline: failing at once for a while"
        );
        metrics::set_circuit_open(self.stage, true);
        state.circuit = Circuit::Open { until: Instant::now() + OPEN_FOR };
        state.generation += 1;
    }

    /// Lets the next question probe now, as if the breaker had been open for [`OPEN_FOR`].
    #[cfg(test)]
    pub(super) fn expire(&self) {
        self.lock().circuit = Circuit::Open { until: Instant::now() };
    }
}

/// Holds one question's attempt at a stage. An attempt that is dropped without a result, because the reader has
/// disconnected, says nothing about the stage; if the attempt was the probe, the next question probes.
pub(super) struct Attempt<'a> {
    breaker: &'a CircuitBreaker,
    is_probe: bool,
    generation: u64,
}

impl Attempt<'_> {
    /// Reports the result of the attempt to the breaker. Every result except a slow failure counts as an
    /// answer.
    pub(super) fn finish(mut self, is_slow_failure: bool) {
        self.is_probe = false;
        if is_slow_failure {
            self.breaker.record_slow_failure(self.generation);
        } else {
            self.breaker.record_answer();
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut state = self.breaker.lock();
        if self.generation == state.generation {
            state.circuit = Circuit::Open { until: Instant::now() };
        }
    }
}

/// Returns true if a failure held the permit of its question for long. A refusal, a spent quota and a request
/// to wait are never slow: the dependency has answered.
pub(super) fn is_slow_failure(error: &Error, took: Duration, limit: Duration) -> bool {
    use provider::Error as P;
    use retrieval::Error as R;
    let is_an_answer = matches!(
        error,
        Error::Embedding(P::Refused(_) | P::QuotaSpent(_) | P::Busy { .. })
            | Error::Generation(P::Refused(_) | P::QuotaSpent(_) | P::Busy { .. })
            | Error::Retrieval(R::Refused(_) | R::Busy { .. })
    );
    !is_an_answer && took >= limit.min(SLOW_FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_breaker() -> CircuitBreaker {
        let breaker = CircuitBreaker::new(StageName::Embed);
        fail_slowly(&breaker, MAX_SLOW_FAILURES);
        breaker
    }

    fn fail_slowly(breaker: &CircuitBreaker, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap().finish(true);
        }
    }

    #[test]
    fn the_breaker_opens_after_slow_failures_in_a_row_and_says_when_to_ask_again() {
        let breaker = CircuitBreaker::new(StageName::Retrieve);
        fail_slowly(&breaker, MAX_SLOW_FAILURES - 1);
        breaker.admit().unwrap().finish(false);
        fail_slowly(&breaker, MAX_SLOW_FAILURES);
        let Err(Error::CircuitOpen { stage, retry_after }) = breaker.admit() else { panic!("admitted") };
        assert_eq!(stage, StageName::Retrieve);
        assert!(retry_after > SLOW_FAILURE && retry_after <= OPEN_FOR, "{retry_after:?}");
    }

    #[test]
    fn a_half_open_breaker_admits_one_probe_whose_result_decides() {
        for is_slow_failure in [true, false] {
            let breaker = open_breaker();
            breaker.expire();
            let probe = breaker.admit().unwrap();
            assert!(breaker.admit().is_err(), "a second question probes beside the first");
            probe.finish(is_slow_failure);
            assert_eq!(breaker.admit().is_err(), is_slow_failure);
        }
    }

    #[test]
    fn a_probe_whose_reader_left_lets_the_next_question_probe() {
        let breaker = open_breaker();
        breaker.expire();
        drop(breaker.admit().unwrap());
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_err());
        drop(probe);
    }

    #[test]
    fn failures_from_before_the_breaker_opened_do_not_open_it_again() {
        let breaker = CircuitBreaker::new(StageName::Embed);
        let late: Vec<_> = (0..MAX_SLOW_FAILURES).map(|_| breaker.admit().unwrap()).collect();
        fail_slowly(&breaker, MAX_SLOW_FAILURES);
        breaker.expire();
        breaker.admit().unwrap().finish(false);
        for attempt in late {
            attempt.finish(true);
        }
        assert!(breaker.admit().is_ok());
    }

    #[test]
    fn an_answer_from_before_the_breaker_opened_closes_it() {
        let breaker = CircuitBreaker::new(StageName::Embed);
        let late = breaker.admit().unwrap();
        fail_slowly(&breaker, MAX_SLOW_FAILURES);
        late.finish(false);
        assert!(breaker.admit().is_ok());
    }

    #[test]
    fn only_failures_that_hold_a_permit_for_long_are_slow() {
        let (hour, limit) = (Duration::from_secs(3_600), Duration::from_secs(10));
        let failed = Error::Embedding(provider::Error::Failed("reset".to_owned()));
        let refused = Error::Generation(provider::Error::Refused("key".to_owned()));
        let busy = Error::Embedding(provider::Error::Busy { retry_after: None, cause: "429".to_owned() });
        assert!(!is_slow_failure(&refused, hour, limit) && !is_slow_failure(&busy, hour, limit));
        for error in [&failed, &Error::AnswerTimeout] {
            assert!(is_slow_failure(error, SLOW_FAILURE, limit), "{error}");
            assert!(!is_slow_failure(error, SLOW_FAILURE / 2, limit), "{error}");
        }
    }
}
