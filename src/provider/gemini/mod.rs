//! Calls Gemini over its REST API (v1beta): HTTP/1.1, one connection per open answer, no redirects, the key in
//! `x-goog-api-key` and nowhere else, bodies read through a bound.

mod answer;
mod fault;
pub(crate) mod wire;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::Value;

use super::types::{BatchLimits, DeltaStream, Document, Error, Prompt, Reach, Service, Task};
use super::upstream::retry::Schedule;
use super::upstream::{Fault, Retry, read_body, transport_cause};
use crate::chat::StageName;
use crate::config::{GeminiConfig, ProviderLimits};

use answer::{FinishWaits, GeminiAnswer};
use fault::ApiKey;
use wire::ApiError;

/// Bytes of an upstream's JSON body that Docent reads; a longer body is unusable. An embedding of 3,072
/// dimensions takes about 64 KiB.
const MAX_UPSTREAM_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the JSON body of a batch of embeddings; a longer body is unusable. 100 embeddings of 3,072 values
/// take 4 to 8 MiB, depending on the white space.
const MAX_BATCH_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Tokens of one text that `gemini-embedding-001` reads; the model ignores further tokens.
pub(super) const MAX_INPUT_TOKENS: usize = 2_048;

/// Bounds of a call with a batch. Gemini refuses more than 100 texts, and a free key has 30,000 tokens a
/// minute, so a larger call would never succeed.
pub(super) const BATCH_LIMITS: BatchLimits = BatchLimits { max_items: 100, max_tokens: 24_000 };

/// Size of the vectors of a new index: the smallest of the three sizes that Google recommends.
pub(super) const NEW_INDEX_DIMENSIONS: usize = 768;

/// Prefix of the embedding models whose vector sizes Docent knows.
const KNOWN_EMBEDDING_MODELS: &str = "gemini-embedding";
/// Sizes of vectors that these models make; a collection of another size stops the start.
const DIMENSIONS: RangeInclusive<usize> = 128..=3_072;

/// Time for a connection to open; then the attempt fails.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for the head of the response when a model is looked up; then the service counts as failing.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(6);
/// Time for the body of that response; a later body is not read.
const LOOK_UP_BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for one call with a batch of passages; then the attempt fails.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls Gemini; clones share their connections.
#[derive(Clone)]
pub struct Gemini {
    http: reqwest::Client,
    config: Arc<GeminiConfig>,
    key: ApiKey,
    /// Setting that names the model that writes.
    generative_setting: &'static str,
    embed_budget: Duration,
    generate_budget: Duration,
    finish_waits: FinishWaits,
}

impl std::fmt::Debug for Gemini {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gemini").field("base_url", &self.config.base_url).finish_non_exhaustive()
    }
}

impl Gemini {
    /// Builds a client; nothing is sent yet. Retries end at the caller's deadlines, which are in `limits`.
    ///
    /// # Errors
    ///
    /// Returns an error if the TLS roots of this machine cannot be read.
    pub fn new(config: GeminiConfig, limits: &ProviderLimits) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("docent/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            key: ApiKey::new(config.api_key.clone()),
            config: Arc::new(config),
            generative_setting: "GENERATIVE_MODEL",
            embed_budget: limits.retry_budget.min(limits.embed_timeout),
            generate_budget: limits.retry_budget.min(limits.first_token_timeout),
            finish_waits: FinishWaits::new(limits),
        })
    }

    /// Returns the model that embeds; `None` if questions are embedded offline.
    pub fn embedding_model(&self) -> Option<&str> {
        self.config.embedding_model.as_deref()
    }

    /// Returns the model that writes.
    pub fn generative_model(&self) -> &str {
        &self.config.generative_model
    }

    /// Returns the same client with `GENERATIVE_MODEL_FALLBACK` as the model that writes, if there is one.
    pub fn fallback(&self) -> Option<Self> {
        let model = self.config.fallback_model.clone()?;
        let config =
            GeminiConfig { generative_model: model, fallback_model: None, ..GeminiConfig::clone(&self.config) };
        let generative_setting = "GENERATIVE_MODEL_FALLBACK";
        Some(Self { config: Arc::new(config), generative_setting, ..self.clone() })
    }

    /// Returns the name and the address of the API.
    pub fn service(&self) -> Service<'_> {
        Service { name: "Gemini", address: &self.config.base_url, setting: "GOOGLE_GEMINI_BASE_URL" }
    }

    /// Returns the sizes of vectors that the embedding model can make; `None` for a model that Docent does not
    /// know.
    pub fn dimension_range(&self) -> Option<RangeInclusive<usize>> {
        self.embedding_model().filter(|model| model.starts_with(KNOWN_EMBEDDING_MODELS)).map(|_| DIMENSIONS)
    }

    /// Looks up the model that embeds.
    pub async fn probe_embedding(&self) -> Reach {
        match self.embedding_model() {
            Some(model) => self.look_up("EMBEDDING_MODEL", model).await,
            None => Reach::Ok,
        }
    }

    /// Looks up the model that writes.
    pub async fn probe_generation(&self) -> Reach {
        self.look_up(self.generative_setting, self.generative_model()).await
    }

    /// Looks up a model, which spends no tokens, and reports if Gemini answers and accepts the key and the
    /// model.
    async fn look_up(&self, setting: &str, model: &str) -> Reach {
        let request =
            self.key.authorise(self.http.get(format!("{}/v1beta/models/{model}", self.config.base_url)));
        let response = match tokio::time::timeout(LOOK_UP_TIMEOUT, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Reach::Unreachable(transport_cause(&error)),
            Ok(Err(error)) => return Reach::Failing(transport_cause(&error)),
            Err(_) => return Reach::Failing("no answer in time".to_owned()),
        };
        let status = response.status();
        let error =
            tokio::time::timeout(LOOK_UP_BODY_TIMEOUT, read_api_error(response)).await.unwrap_or_default();
        match (status.as_u16(), error.status.as_str()) {
            (
                400 | 401 | 403,
                "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "UNAUTHENTICATED" | "PERMISSION_DENIED",
            ) => Reach::Refused(format!("GEMINI_API_KEY is refused: {}", self.key.redact(&error.message))),
            (404, "NOT_FOUND") if error.message.contains(model) => {
                Reach::Refused(format!("{setting} is refused: {}", self.key.redact(&error.message)))
            }
            (500.., _) => Reach::Failing(format!("HTTP {status}")),
            // A gateway in front of Gemini may not offer this route.
            _ => Reach::Ok,
        }
    }

    /// Embeds one text; the caller checks the vector.
    ///
    /// # Errors
    ///
    /// Returns Gemini's error after the last retry.
    pub async fn embed(&self, text: &str, task: Task<'_>, dimensions: usize) -> Result<Vec<f32>, Error> {
        let model = self.embedding_model().unwrap_or_default();
        let body = wire::embed_request(model, text, task, dimensions);
        Schedule::new(StageName::Embed, self.embed_budget).run(|| self.embed_once(&body)).await
    }

    /// Embeds passages in one call, which is repeated until a quota per minute has refilled. The caller checks
    /// the vectors.
    ///
    /// # Errors
    ///
    /// Returns Gemini's error after the last retry.
    pub async fn embed_batch(
        &self,
        documents: &[Document<'_>],
        dimensions: usize,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let model = self.embedding_model().unwrap_or_default();
        let body = wire::batch_request(model, documents, dimensions);
        let call = || async {
            let missed = |_| Fault {
                error: Error::Timeout("a batch of passages".to_owned()),
                retry: Retry::After(None),
            };
            tokio::time::timeout(BATCH_TIMEOUT, self.embed_batch_once(&body)).await.map_err(missed)?
        };
        Schedule::for_batch().run(call).await
    }

    async fn embed_once(&self, request: &Value) -> Result<Vec<f32>, Fault> {
        let bytes = self.call_embedding("embedContent", request, MAX_UPSTREAM_BODY_BYTES).await?;
        let parsed: wire::EmbedResponse =
            serde_json::from_slice(&bytes).map_err(|_| Fault::unusable("a body that is no embedding"))?;
        Ok(parsed.embedding.into_vector())
    }

    async fn embed_batch_once(&self, request: &Value) -> Result<Vec<Vec<f32>>, Fault> {
        let bytes = self.call_embedding("batchEmbedContents", request, MAX_BATCH_BODY_BYTES).await?;
        let parsed: wire::BatchResponse =
            serde_json::from_slice(&bytes).map_err(|_| Fault::unusable("a body without embeddings"))?;
        Ok(parsed.embeddings.into_iter().map(wire::Values::into_vector).collect())
    }

    /// Calls a method of the embedding model and reads the response, up to `max_bytes`.
    async fn call_embedding(&self, method: &str, request: &Value, max_bytes: usize) -> Result<Vec<u8>, Fault> {
        let url = self.method_url(self.embedding_model().unwrap_or_default(), method);
        let response = self.post(url, request).send().await.map_err(|error| Fault::transport(&error))?;
        match response.status() {
            StatusCode::OK => read_body(response, max_bytes).await,
            _ => Err(self.read_refusal(response).await),
        }
    }

    /// Opens an answer and waits for its first visible text or its end; until then the call may be repeated.
    ///
    /// # Errors
    ///
    /// Returns Gemini's error after the last retry.
    pub async fn generate(&self, prompt: &Prompt) -> Result<DeltaStream, Error> {
        let model = self.generative_model();
        let body = wire::generate_request(model, prompt, self.config.thinking.as_ref());
        let schedule = Schedule::new(StageName::Generate, self.generate_budget);
        let answer = schedule.run(|| self.open_answer(&body)).await?;
        Ok(answer.into_stream(self.generative_model().to_owned()))
    }

    /// Makes one attempt at an answer, up to its first visible text or its end.
    async fn open_answer(&self, request: &Value) -> Result<GeminiAnswer, Fault> {
        let url = format!("{}?alt=sse", self.method_url(self.generative_model(), "streamGenerateContent"));
        let request = self.post(url, request).header(header::ACCEPT, "text/event-stream");
        let response = request.send().await.map_err(|error| Fault::transport(&error))?;
        let mut answer = match response.status() {
            StatusCode::OK => GeminiAnswer::new(response, self.key.clone(), self.finish_waits)?,
            _ => return Err(self.read_refusal(response).await),
        };
        answer.advance_to_text().await?;
        Ok(answer)
    }

    /// Reads a response whose status is not 200.
    async fn read_refusal(&self, response: Response) -> Fault {
        let status = response.status();
        if status.is_redirection() {
            return Fault::refused("a redirect, which is not followed: the key would go along".to_owned());
        }
        // Google puts the wait into the body; a gateway in front of it may use the header.
        let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let from_header = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let error = read_api_error(response).await;
        let retry_after = error.retry_after.or(from_header);
        self.key.read_fault(&ApiError { code: status.as_u16(), retry_after, ..error })
    }

    fn method_url(&self, model: &str, method: &str) -> String {
        format!("{}/v1beta/models/{model}:{method}", self.config.base_url)
    }

    fn post(&self, url: String, body: &Value) -> RequestBuilder {
        self.key.authorise(self.http.post(url)).json(body)
    }
}

/// Reads the error object of a body; returns an empty one if there is none.
async fn read_api_error(response: Response) -> ApiError {
    let body = read_body(response, MAX_UPSTREAM_BODY_BYTES).await.ok();
    let value = body.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    value.as_ref().and_then(ApiError::from_value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ProviderConfig, Vars};

    fn gemini(pairs: &[(&str, &str)]) -> Gemini {
        let mut all = vec![("GEMINI_API_KEY", "AIza-1")];
        all.extend(pairs);
        let config = Config::serve(&Vars::from_iter(all)).unwrap();
        let ProviderConfig::Gemini(gemini) = config.provider else { panic!("a key selects Gemini") };
        Gemini::new(gemini, &config.provider_limits).unwrap()
    }

    #[test]
    fn sizes_are_known_for_googles_embedding_models_alone() {
        assert_eq!(gemini(&[]).dimension_range(), Some(128..=3_072));
        assert_eq!(gemini(&[("EMBEDDING_MODEL", "text-embedding-x")]).dimension_range(), None);
        assert_eq!(gemini(&[("EMBEDDING_MODEL", "offline")]).dimension_range(), None);
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", gemini(&[]));
        assert!(shown.contains("base_url") && !shown.contains("AIza-1"), "{shown}");
    }
}
