//! Reads bounds and deadlines, one struct for each room that applies them.

use std::time::Duration;

use super::vars::Reader;

/// Longest silence of a stream: well under the 60 s after which proxies close an idle connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Time for a request's head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for a request's body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for reading the rest of a refused request's body.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Bounds what clients and connections may take.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Answers that may be open at once; further questions get 503 `overloaded`.
    pub max_streams: usize,
    /// Questions a minute per client; further ones get 429 `rate_limited`. 0 sets no limit.
    pub rate_limit: u32,
    /// Proxies in front of Docent; the client is the n-th entry of `X-Forwarded-For` from the right.
    pub trusted_proxies: usize,
    /// Time in which a reader must take some bytes of its answer; afterwards its connection is closed.
    pub write_timeout: Duration,
    /// Pause between two checks of the dependencies; each check also picks up a new generation of the index.
    pub ready_interval: Duration,
    /// Time for open answers to finish after SIGTERM; then they end with an error.
    pub shutdown_grace: Duration,
    /// Longest silence of a stream; then a comment line is sent. No setting: 15 s.
    pub heartbeat: Duration,
    /// Time for a request's head to arrive; then the connection is closed. No setting: 15 s.
    pub head_timeout: Duration,
    /// Time for a request's body to arrive; a slower one counts as cut off. No setting: 15 s.
    pub body_timeout: Duration,
    /// Time for reading the rest of a refused request's body; then the connection is closed. No setting: 2 s.
    pub discard_timeout: Duration,
}

/// Bounds the stages of an answer, and what a day's answers may cost.
#[derive(Debug, Clone)]
pub struct RagLimits {
    /// Time for embedding a question, retries included; then 504 `upstream_timeout`.
    pub embed_timeout: Duration,
    /// Time for searching the index; then 504 `upstream_timeout`.
    pub retrieve_timeout: Duration,
    /// Time to the first visible text, retries and the second model included; then `upstream_timeout`.
    pub first_token_timeout: Duration,
    /// Time between two pieces of visible text; then `upstream_timeout`.
    pub gap_timeout: Duration,
    /// Time for a whole request; then `upstream_timeout`.
    pub answer_timeout: Duration,
    /// Answers that a model writes in a day of UTC; further questions get only their sources. 0 sets no limit.
    pub daily_requests: u64,
    /// Tokens of a day's answers, prompts included; further questions get only their sources. 0 sets no limit.
    pub daily_tokens: u64,
    /// Questions whose embedding is kept in memory; the cache evicts others for a new one. 0 keeps none.
    pub embed_cache: u64,
}

/// Bounds a provider's retries, and repeats the deadlines of its callers: a retry after a deadline would be
/// useless.
#[derive(Debug, Clone)]
pub struct ProviderLimits {
    /// Time after the start of a stage in which a failed call may be repeated; later failures are final.
    pub retry_budget: Duration,
    /// Time the caller waits for the embedding of a question; no retry begins after it.
    pub embed_timeout: Duration,
    /// Time the caller waits for the first visible text; no retry begins after it.
    pub first_token_timeout: Duration,
    /// Time the caller waits for the next visible text; a stream that has finished is closed earlier than that.
    pub gap_timeout: Duration,
}

/// Completes "NAME must be …" for a count without an upper bound.
const COUNT: &str = "a whole number; 0 for no limit";

impl HttpLimits {
    /// Reads the settings of these limits.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            max_streams: reader.number_in("MAX_STREAMS", 1..=100_000),
            rate_limit: reader.number("RATE_LIMIT", COUNT).unwrap_or_default(),
            trusted_proxies: reader.number_in("TRUSTED_PROXIES", 0..=10),
            write_timeout: reader.duration("WRITE_TIMEOUT"),
            ready_interval: reader.duration("READY_INTERVAL"),
            shutdown_grace: reader.duration("SHUTDOWN_GRACE"),
            heartbeat: HEARTBEAT,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            discard_timeout: DISCARD_TIMEOUT,
        }
    }
}

impl RagLimits {
    /// Reads the settings of these limits.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            embed_timeout: reader.duration("EMBED_TIMEOUT"),
            retrieve_timeout: reader.duration("RETRIEVE_TIMEOUT"),
            first_token_timeout: reader.duration("FIRST_TOKEN_TIMEOUT"),
            gap_timeout: reader.duration("GAP_TIMEOUT"),
            answer_timeout: reader.duration("ANSWER_TIMEOUT"),
            daily_requests: reader.number("DAILY_REQUESTS", COUNT).unwrap_or_default(),
            daily_tokens: reader.number("DAILY_TOKENS", COUNT).unwrap_or_default(),
            embed_cache: reader.number_in("EMBED_CACHE", 0..=1_000_000),
        }
    }
}

impl ProviderLimits {
    /// Reads `RETRY_BUDGET`, and copies the deadlines of the callers.
    pub(super) fn read(reader: &mut Reader<'_>, rag: &RagLimits) -> Self {
        Self {
            retry_budget: reader.duration("RETRY_BUDGET"),
            embed_timeout: rag.embed_timeout,
            first_token_timeout: rag.first_token_timeout,
            gap_timeout: rag.gap_timeout,
        }
    }
}
