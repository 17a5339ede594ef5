//! Names and records the metrics. No label holds anything that comes from outside.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::chat::{StageName, Summary};

/// Upper bounds of the histogram buckets, in seconds: from a search in process to the longest answer.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0];

const REQUESTS: &str = "docent_requests_total";
const STAGE: &str = "docent_stage_duration_seconds";
const FIRST_TOKEN: &str = "docent_first_token_seconds";
const ANSWER: &str = "docent_answer_duration_seconds";
const TOKENS: &str = "docent_tokens_total";
const ANSWERS: &str = "docent_answers_total";
const INVALID_CITATIONS: &str = "docent_invalid_citations_total";
const RETRIES: &str = "docent_retries_total";
const FALLBACKS: &str = "docent_fallbacks_total";
const UPSTREAM_ERRORS: &str = "docent_upstream_errors_total";
const CANCELLATIONS: &str = "docent_cancellations_total";
const CACHE_HITS: &str = "docent_embedding_cache_hits_total";
const CACHE_MISSES: &str = "docent_embedding_cache_misses_total";
const CIRCUIT_OPEN: &str = "docent_stage_resting";
const OPEN_ANSWERS: &str = "docent_open_answers";
const MAX_OPEN_ANSWERS: &str = "docent_open_answers_max";
const READY: &str = "docent_ready";
const BUILD: &str = "docent_build_info";

/// Installs the recorder, once in a process; earlier counts are lost.
pub(crate) fn init() {
    let _ = prometheus_handle();
}

/// Returns all metrics in Prometheus's text format.
pub(crate) fn render() -> String {
    prometheus_handle().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds new measurements into the histograms; without this call the measurements pile up in memory until
/// somebody reads the metrics.
pub(crate) fn upkeep() {
    if let Some(handle) = prometheus_handle() {
        handle.run_upkeep();
    }
}

fn prometheus_handle() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, SECONDS).ok()?;
        let handle = builder.install_recorder().ok()?;
        describe_metrics();
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Some(handle)
    };
    HANDLE.get_or_init(install).as_ref()
}

fn describe_metrics() {
    describe_counter!(REQUESTS, "Requests that have ended, by route, status and problem code");
    describe_histogram!(STAGE, Unit::Seconds, "Time of a stage, retries included, by stage and outcome");
    describe_histogram!(FIRST_TOKEN, Unit::Seconds, "From a question's arrival to the first visible text");
    describe_histogram!(ANSWER, Unit::Seconds, "From a question's arrival to the end of its answer");
    describe_counter!(TOKENS, "Tokens of answers that ended without an error, by kind");
    describe_counter!(ANSWERS, "Answers that ended without an error, by status and finish reason");
    describe_counter!(INVALID_CITATIONS, "Citations that named no source and were dropped");
    describe_counter!(RETRIES, "Calls to Gemini that were tried again, by stage");
    describe_counter!(FALLBACKS, "Answers for which GENERATIVE_MODEL_FALLBACK was asked");
    describe_counter!(UPSTREAM_ERRORS, "Stages that failed, by stage and kind");
    describe_counter!(
        CANCELLATIONS,
        "Questions whose reader left before the end, by the stage of the question"
    );
    describe_counter!(CACHE_HITS, "Questions whose embedding was in the cache");
    describe_counter!(CACHE_MISSES, "Questions that had to be embedded while EMBED_CACHE is set");
    describe_gauge!(CIRCUIT_OPEN, "1 while a stage fails at once because it keeps missing its deadline");
    describe_gauge!(OPEN_ANSWERS, "Answers that are open now");
    describe_gauge!(MAX_OPEN_ANSWERS, "MAX_STREAMS");
    describe_gauge!(READY, "1 while a dependency answers, as /ready sees it");
    describe_gauge!(BUILD, "1, with the version");
}

/// Counts a request that has ended; `code` is its problem code, or `none`.
pub(crate) fn count_request(route: &str, status: u16, code: &'static str) {
    counter!(REQUESTS, "route" => route.to_owned(), "status" => status.to_string(), "code" => code)
        .increment(1);
}

/// Records how long a stage took and how it ended: `ok`, or a kind of error, which also counts as an upstream
/// error.
pub(crate) fn record_stage(stage: StageName, outcome: &'static str, took: Duration) {
    histogram!(STAGE, "stage" => stage.as_str(), "outcome" => outcome).record(took.as_secs_f64());
    if outcome != "ok" {
        count_upstream_error(stage, outcome);
    }
}

/// Counts a failure of the dependency behind a stage.
pub(crate) fn count_upstream_error(stage: StageName, kind: &'static str) {
    counter!(UPSTREAM_ERRORS, "stage" => stage.as_str(), "kind" => kind).increment(1);
}

/// Shows that the circuit breaker of a stage has opened or closed.
pub(crate) fn set_circuit_open(stage: StageName, is_open: bool) {
    gauge!(CIRCUIT_OPEN, "stage" => stage.as_str()).set(if is_open { 1.0 } else { 0.0 });
}

/// Records the time from a question's arrival to the first visible text of its answer.
pub(crate) fn record_first_token(after: Duration) {
    histogram!(FIRST_TOKEN).record(after.as_secs_f64());
}

/// Records an answer that has ended well: status, finish reason, duration, tokens and dropped citations.
pub(crate) fn record_answer(summary: &Summary) {
    let Summary { status, finish_reason, usage, timings, .. } = summary;
    counter!(ANSWERS, "status" => status.as_str(), "finish_reason" => finish_reason.as_str()).increment(1);
    counter!(INVALID_CITATIONS).increment(summary.invalid_citations as u64);
    histogram!(ANSWER).record(timings.total_ms / 1e3);
    if let Some(usage) = usage {
        counter!(TOKENS, "kind" => "prompt").increment(usage.prompt_tokens);
        counter!(TOKENS, "kind" => "completion").increment(usage.completion_tokens);
    }
}

/// Counts a question whose reader disconnected during a stage.
pub(crate) fn count_cancellation(stage: StageName) {
    counter!(CANCELLATIONS, "stage" => stage.as_str()).increment(1);
}

/// Counts a call to a provider that is tried again.
pub(crate) fn count_retry(stage: &'static str) {
    counter!(RETRIES, "stage" => stage).increment(1);
}

/// Counts an answer for which the second model is asked.
pub(crate) fn count_fallback() {
    counter!(FALLBACKS).increment(1);
}

/// Counts a lookup in the embedding cache.
pub(crate) fn count_cache_lookup(is_hit: bool) {
    counter!(if is_hit { CACHE_HITS } else { CACHE_MISSES }).increment(1);
}

/// Shows the number of open answers and the largest number allowed.
pub(crate) fn set_open_answers(open: usize, max: usize) {
    #[expect(clippy::cast_precision_loss, reason = "there are at most 100,000")]
    let (open, max) = (open as f64, max as f64);
    gauge!(OPEN_ANSWERS).set(open);
    gauge!(MAX_OPEN_ANSWERS).set(max);
}

/// Shows if a dependency answers.
pub(crate) fn set_dependency_ready(dependency: &'static str, is_ready: bool) {
    gauge!(READY, "dependency" => dependency).set(if is_ready { 1.0 } else { 0.0 });
}
