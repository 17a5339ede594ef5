//! Gemini over its REST API (v1beta): HTTP/1.1, one connection per open answer, no redirects, the key in
//! `x-goog-api-key` and nowhere else, bodies read through a bound.

mod answer;
mod events;
mod retry;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::config::{GeminiConfig, ProviderLimits};
use crate::provider::{DeltaStream, Document, Error, Prompt, Task};
use crate::text::log_safe;

use answer::{AFTER_EMPTY_FINISH, Answer};
use retry::{Fault, Retry, Schedule};
use wire::ApiError;

/// Bytes of an upstream's JSON body that Docent reads; a longer one is unusable.
/// A 3,072-dimension embedding takes about 64 KiB.
const MAX_UPSTREAM_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the JSON body of a batch of embeddings; a longer one is unusable. 100 embeddings of 3,072 values take 4 to
/// 8 MiB, depending on the white space.
const MAX_BATCH_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one call with a batch of passages may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of Gemini; clones share its connections.
#[derive(Clone)]
pub struct Gemini {
    http: reqwest::Client,
    config: Arc<GeminiConfig>,
    embed_budget: Duration,
    generate_budget: Duration,
    gap: Duration,
    after_empty_finish: Duration,
}

impl std::fmt::Debug for Gemini {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gemini").field("base_url", &self.config.base_url).finish_non_exhaustive()
    }
}

/// What a look at a model says about Gemini as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It answers, and nothing speaks against the key or the models.
    Ok,
    /// It answers that the key or a model cannot be used; the text names the setting.
    Refused(String),
    /// It is there, and does not answer as it should.
    Failing(String),
    /// No connection opens.
    Unreachable(String),
}

impl Gemini {
    /// A client for `config`; nothing is sent yet. Of `limits` it takes when trying again, or waiting, is no use.
    ///
    /// # Errors
    ///
    /// That the TLS roots of this machine cannot be read.
    pub fn new(config: GeminiConfig, limits: &ProviderLimits) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("docent/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let budget = |stage: Duration| limits.retry_budget.min(stage);
        Ok(Self {
            http,
            config: Arc::new(config),
            embed_budget: budget(limits.embed_timeout),
            generate_budget: budget(limits.first_token_timeout),
            gap: limits.gap_timeout,
            after_empty_finish: AFTER_EMPTY_FINISH.min(limits.first_token_timeout / 4),
        })
    }

    /// The model that embeds; `None` where questions are embedded offline.
    pub fn embedding_model(&self) -> Option<&str> {
        self.config.embedding_model.as_deref()
    }

    /// The model that writes.
    pub fn generative_model(&self) -> &str {
        &self.config.generative_model
    }

    /// The same client with `GENERATIVE_MODEL_FALLBACK` as the model that writes, where there is one.
    pub fn fallback(&self) -> Option<Self> {
        let model = self.config.fallback_model.clone()?;
        let config =
            GeminiConfig { generative_model: model, fallback_model: None, ..GeminiConfig::clone(&self.config) };
        Some(Self { config: Arc::new(config), ..self.clone() })
    }

    /// Where the API is.
    pub fn base_url(&self) -> &str {
        &self.config.base_url
    }

    /// Looks the models up, which spends no tokens: whether Gemini answers, and takes the key and the models.
    pub async fn reach(&self) -> Reach {
        match self.reach_to_embed().await {
            Reach::Ok => self.look_up("GENERATIVE_MODEL", self.generative_model()).await,
            other => other,
        }
    }

    /// The same, and that there is such a model as the fallback: for a start, where it can still be changed.
    pub async fn reach_all(&self) -> Reach {
        match (self.reach().await, &self.config.fallback_model) {
            (Reach::Ok, Some(model)) => self.look_up("GENERATIVE_MODEL_FALLBACK", model).await,
            (reach, _) => reach,
        }
    }

    /// The same for the model that embeds alone.
    pub async fn reach_to_embed(&self) -> Reach {
        match self.embedding_model() {
            Some(model) => self.look_up("EMBEDDING_MODEL", model).await,
            None => Reach::Ok,
        }
    }

    async fn look_up(&self, setting: &str, model: &str) -> Reach {
        let request = self.authorised(self.http.get(format!("{}/v1beta/models/{model}", self.config.base_url)));
        let response = match tokio::time::timeout(CONNECT_TIMEOUT * 2, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Reach::Unreachable(transport(&error)),
            Ok(Err(error)) => return Reach::Failing(transport(&error)),
            Err(_) => return Reach::Failing("no answer in time".to_owned()),
        };
        let status = response.status();
        let error = tokio::time::timeout(CONNECT_TIMEOUT, body(response, MAX_UPSTREAM_BODY_BYTES))
            .await
            .ok()
            .and_then(Result::ok);
        let error = error.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let error = error.as_ref().and_then(ApiError::from_value).unwrap_or_default();
        match (status.as_u16(), error.status.as_str()) {
            (
                400 | 401 | 403,
                "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "UNAUTHENTICATED" | "PERMISSION_DENIED",
            ) => Reach::Refused(format!("GEMINI_API_KEY is refused: {}", self.public(&error.message))),
            (404, "NOT_FOUND") if error.message.contains(model) => {
                Reach::Refused(format!("{setting} is refused: {}", self.public(&error.message)))
            }
            (500.., _) => Reach::Failing(format!("HTTP {status}")),
            // A gateway in front of Gemini need not offer this route.
            _ => Reach::Ok,
        }
    }

    /// Embeds one text; the caller checks the vector.
    ///
    /// # Errors
    ///
    /// What Gemini said, after the retries that could help.
    pub async fn embed(&self, text: &str, task: Task<'_>, dimensions: usize) -> Result<Vec<f32>, Error> {
        let model = self.embedding_model().unwrap_or_default();
        let body = wire::embed_request(model, text, task, dimensions);
        Schedule::new("embed", self.embed_budget).run(|| self.embed_once(&body)).await
    }

    /// Embeds passages in one call; it waits for as long as a quota per minute needs. The caller
    /// checks the vectors.
    ///
    /// # Errors
    ///
    /// What Gemini said, after the retries that could help.
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
        Schedule::patient().run(call).await
    }

    async fn embed_once(&self, request: &Value) -> Result<Vec<f32>, Fault> {
        let bytes = self.call("embedContent", request, MAX_UPSTREAM_BODY_BYTES).await?;
        let parsed: wire::EmbedResponse =
            serde_json::from_slice(&bytes).map_err(|_| Fault::unusable("a body that is no embedding"))?;
        Ok(parsed.embedding.into_vector())
    }

    async fn embed_batch_once(&self, request: &Value) -> Result<Vec<Vec<f32>>, Fault> {
        let bytes = self.call("batchEmbedContents", request, MAX_BATCH_BODY_BYTES).await?;
        let parsed: wire::BatchResponse =
            serde_json::from_slice(&bytes).map_err(|_| Fault::unusable("a body without embeddings"))?;
        Ok(parsed.embeddings.into_iter().map(wire::Values::into_vector).collect())
    }

    /// Calls a method of the embedding model and reads its answer, up to `max_bytes`.
    async fn call(&self, method: &str, request: &Value, max_bytes: usize) -> Result<Vec<u8>, Fault> {
        let url = self.url(self.embedding_model().unwrap_or_default(), method);
        let response = self.post(url, request).send().await.map_err(|error| Fault::transport(&error))?;
        match response.status() {
            StatusCode::OK => body(response, max_bytes).await,
            _ => Err(self.refusal(response).await),
        }
    }

    /// Opens an answer and waits for its first visible text, or its end; until then it may be asked again.
    ///
    /// # Errors
    ///
    /// What Gemini said, after the retries that could help.
    pub async fn generate(&self, prompt: &Prompt) -> Result<DeltaStream, Error> {
        let model = self.generative_model();
        let body = wire::generate_request(model, prompt, self.config.thinking.as_ref());
        let answer = Schedule::new("generate", self.generate_budget).run(|| self.open(&body)).await?;
        Ok(answer.into_stream(self.generative_model().to_owned()))
    }

    /// One attempt at an answer, as far as its first visible text or its end.
    async fn open(&self, request: &Value) -> Result<Answer, Fault> {
        let url = format!("{}?alt=sse", self.url(self.generative_model(), "streamGenerateContent"));
        let request = self.post(url, request).header(reqwest::header::ACCEPT, "text/event-stream");
        let response = request.send().await.map_err(|error| Fault::transport(&error))?;
        let mut answer = match response.status() {
            StatusCode::OK => Answer::new(self.clone(), response)?,
            _ => return Err(self.refusal(response).await),
        };
        answer.advance_to_text().await?;
        Ok(answer)
    }

    /// What a response other than 200 means.
    async fn refusal(&self, response: Response) -> Fault {
        let status = response.status();
        if status.is_redirection() {
            return Fault::refused("a redirect, which is not followed: the key would go along".to_owned());
        }
        // Google puts the wait into the body; a gateway in front of it may use the header.
        let header = response.headers().get(reqwest::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let header = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let parsed = body(response, MAX_UPSTREAM_BODY_BYTES)
            .await
            .ok()
            .and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let error = parsed.as_ref().and_then(ApiError::from_value).unwrap_or_default();
        let retry_after = error.retry_after.or(header);
        self.fault(&ApiError { code: status.as_u16(), retry_after, ..error })
    }

    /// What an error object means, whether it came with a status or inside a 200.
    fn fault(&self, error: &ApiError) -> Fault {
        let cause = format!("HTTP {} {}", error.code, self.public(&error.message)).trim_end().to_owned();
        match error.code {
            429 if error.quota_spent => Fault { error: Error::QuotaSpent(cause), retry: Retry::No },
            429 | 503 => Fault {
                error: Error::Busy { retry_after: error.retry_after, cause },
                retry: Retry::After(error.retry_after),
            },
            504 => Fault { error: Error::Timeout(cause), retry: Retry::Once },
            200..=299 => Fault::unusable("a success without an answer"),
            408 | 499 | 500..=599 => Fault { error: Error::Failed(cause), retry: Retry::After(None) },
            _ => Fault::refused(cause),
        }
    }

    /// An error object inside a 200: by its code, and whatever is not a request to wait has failed.
    fn in_stream(&self, error: &ApiError) -> Fault {
        let fault = self.fault(error);
        match fault.error {
            Error::Refused(cause) | Error::Timeout(cause) => {
                Fault { error: Error::Failed(cause), retry: Retry::No }
            }
            _ => fault,
        }
    }

    fn url(&self, model: &str, method: &str) -> String {
        format!("{}/v1beta/models/{model}:{method}", self.config.base_url)
    }

    fn post(&self, url: String, body: &Value) -> RequestBuilder {
        self.authorised(self.http.post(url)).json(body)
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        let mut key = reqwest::header::HeaderValue::from_str(self.config.api_key.expose_secret())
            .unwrap_or_else(|_| reqwest::header::HeaderValue::from_static(""));
        key.set_sensitive(true);
        request.header("x-goog-api-key", key)
    }

    /// Gemini's text, fit for a log line, and without the key.
    fn public(&self, text: &str) -> String {
        log_safe(&text.replace(self.config.api_key.expose_secret(), "[redacted]"))
    }
}

/// A body, as far as the bound lets it grow.
async fn body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::transport(&error))? {
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Fault::unusable("a body beyond its bound"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A transport error without its URL, down to its root.
fn transport(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    let kind = if error.is_connect() {
        "could not connect"
    } else if error.is_timeout() {
        "timed out"
    } else {
        "connection broke"
    };
    format!("{kind}: {}", log_safe(&text))
}

/// Decodes a stream's body whole and cut into pieces: both must give the same.
#[cfg(fuzzing)]
pub fn fuzz(body: &[u8], cuts: &[u8]) {
    fn read(pieces: Vec<bytes::Bytes>) -> (Vec<String>, bool, Option<crate::provider::End>) {
        let mut events = events::Events::new(futures::stream::iter(pieces.into_iter().map(Ok::<_, ()>)));
        let (mut decoder, mut texts) = (wire::Decoder::default(), Vec::new());
        let broken = futures::executor::block_on(async {
            while let Some(event) = events.next().await {
                match event.ok().and_then(|data| decoder.push(&data).ok()) {
                    Some(text) => texts.push(text),
                    None => return true,
                }
            }
            false
        });
        (texts, broken, decoder.end("model"))
    }
    let (mut pieces, mut left) = (Vec::new(), body);
    for cut in cuts {
        let (piece, after) = left.split_at(usize::from(*cut).min(left.len()));
        pieces.push(bytes::Bytes::copy_from_slice(piece));
        left = after;
    }
    pieces.push(bytes::Bytes::copy_from_slice(left));
    assert_eq!(read(pieces), read(vec![bytes::Bytes::copy_from_slice(body)]));
}
