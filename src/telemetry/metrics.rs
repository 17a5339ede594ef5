//! What is counted, under which names. No label holds anything that comes from outside.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::chat::Summary;

/// Upper bounds of the histograms, in seconds: from a search in process to the longest answer.
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
const RESTING: &str = "docent_stage_resting";
const OPEN_ANSWERS: &str = "docent_open_answers";
const MAX_OPEN_ANSWERS: &str = "docent_open_answers_max";
const READY: &str = "docent_ready";
const BUILD: &str = "docent_build_info";

/// Starts to count, once in a process; what is counted before goes nowhere.
pub fn init() {
    let _ = handle();
}

/// Everything that was counted, in Prometheus's text format.
pub fn render() -> String {
    handle().map(PrometheusHandle::render).unwrap_or_default()
}

/// Packs what was measured since the last time; without it, measurements pile up until somebody reads them.
pub fn upkeep() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}

fn handle() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, SECONDS).ok()?;
        let handle = builder.install_recorder().ok()?;
        describe();
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Some(handle)
    };
    HANDLE.get_or_init(install).as_ref()
}

fn describe() {
    describe_counter!(REQUESTS, "Requests that have ended, by route, status and problem code");
    describe_histogram!(STAGE, Unit::Seconds, "Time of a stage, retries included, by stage and outcome");
    describe_histogram!(FIRST_TOKEN, Unit::Seconds, "From a question's arrival to the first visible text");
    describe_histogram!(ANSWER, Unit::Seconds, "From a question's arrival to the end of its answer");
    describe_counter!(TOKENS, "Tokens of answers that came to their end, by kind");
    describe_counter!(ANSWERS, "Answers that came to their end, by status and finish reason");
    describe_counter!(INVALID_CITATIONS, "Citations that named no source and were dropped");
    describe_counter!(RETRIES, "Calls to Gemini that were tried again, by stage");
    describe_counter!(FALLBACKS, "Answers for which GENERATIVE_MODEL_FALLBACK was asked");
    describe_counter!(UPSTREAM_ERRORS, "Stages that failed, by stage and kind");
    describe_counter!(CANCELLATIONS, "Questions whose reader left before the end, by the stage they were in");
    describe_counter!(CACHE_HITS, "Questions whose embedding was still known");
    describe_counter!(CACHE_MISSES, "Questions that had to be embedded while EMBED_CACHE is set");
    describe_gauge!(RESTING, "1 while a stage fails at once because it keeps missing its deadline");
    describe_gauge!(OPEN_ANSWERS, "Answers that are open now");
    describe_gauge!(MAX_OPEN_ANSWERS, "MAX_STREAMS");
    describe_gauge!(READY, "1 while a dependency answers, as /ready sees it");
    describe_gauge!(BUILD, "1, with the version");
}

/// A request has ended.
pub fn request(route: &str, status: u16, code: &'static str) {
    counter!(REQUESTS, "route" => route.to_owned(), "status" => status.to_string(), "code" => code)
        .increment(1);
}

/// A stage has ended: in `ok`, or in a kind of error, which counts as an upstream error.
pub fn stage(name: &'static str, outcome: &'static str, took: Duration) {
    histogram!(STAGE, "stage" => name, "outcome" => outcome).record(took.as_secs_f64());
    if outcome != "ok" {
        upstream_error(name, outcome);
    }
}

/// A dependency failed a question.
pub fn upstream_error(stage: &'static str, kind: &'static str) {
    counter!(UPSTREAM_ERRORS, "stage" => stage, "kind" => kind).increment(1);
}

/// A stage begins or ceases to fail at once.
pub fn resting(stage: &'static str, rests: bool) {
    gauge!(RESTING, "stage" => stage).set(if rests { 1.0 } else { 0.0 });
}

/// The first visible text of an answer has come, so long after its question.
pub fn first_token(after: Duration) {
    histogram!(FIRST_TOKEN).record(after.as_secs_f64());
}

/// An answer has come to its end.
pub fn answer(summary: &Summary) {
    let Summary { status, finish_reason, usage, timings, .. } = summary;
    counter!(ANSWERS, "status" => status.as_str(), "finish_reason" => finish_reason.as_str()).increment(1);
    counter!(INVALID_CITATIONS).increment(summary.invalid_citations as u64);
    histogram!(ANSWER).record(timings.total_ms / 1e3);
    if let Some(usage) = usage {
        counter!(TOKENS, "kind" => "prompt").increment(usage.prompt_tokens);
        counter!(TOKENS, "kind" => "completion").increment(usage.completion_tokens);
    }
}

/// A reader left while their question was in a stage.
pub fn cancellation(stage: &'static str) {
    counter!(CANCELLATIONS, "stage" => stage).increment(1);
}

/// A call to Gemini is tried again.
pub fn retry(stage: &'static str) {
    counter!(RETRIES, "stage" => stage).increment(1);
}

/// The second model is asked.
pub fn fallback() {
    counter!(FALLBACKS).increment(1);
}

/// A question's embedding was looked for among those that are kept.
pub fn cache(hit: bool) {
    counter!(if hit { CACHE_HITS } else { CACHE_MISSES }).increment(1);
}

/// How many answers are open, of how many that may be.
pub fn open_answers(open: usize, max: usize) {
    #[expect(clippy::cast_precision_loss, reason = "there are at most 100,000")]
    let (open, max) = (open as f64, max as f64);
    gauge!(OPEN_ANSWERS).set(open);
    gauge!(MAX_OPEN_ANSWERS).set(max);
}

/// Whether a dependency answers.
pub fn ready(dependency: &'static str, answers: bool) {
    gauge!(READY, "dependency" => dependency).set(if answers { 1.0 } else { 0.0 });
}
