//! Fakes a Gemini across a socket: an HTTP server whose answers a test scripts and whose chunks wait on gates.
//! The fake records its requests, and notices when a client closes a connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use crate::support::word_vector::word_vector;

/// Size of the vectors that the fake gives, unless a test asks for another.
pub const DIMENSIONS: usize = 256;

/// Runs a fake Gemini as long as the test runs.
pub struct FakeGemini {
    address: String,
    state: Arc<Shared>,
}

/// Holds a request that the fake was sent.
#[derive(Debug, Clone)]
pub struct SentRequest {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// Names one scripted answer.
pub enum Reply {
    /// Status, content type, body.
    Plain(u16, &'static str, Vec<u8>),
    /// Status, a header, body.
    WithHeader(u16, (&'static str, &'static str), Vec<u8>),
    /// A 200 event stream of these chunks of bytes, each its own write; then the end.
    Chunks(Vec<Vec<u8>>),
    /// A 200 event stream of these chunks, whose connection breaks instead of ending.
    Cut(Vec<Vec<u8>>),
    /// A 200 event stream whose chunks come from a test, which ends it by dropping the sender.
    Gated(mpsc::UnboundedReceiver<Vec<u8>>),
    /// No answer at all, until the client goes.
    Silence,
    /// The answer that comes without a script; keeps a place in the queue.
    Unscripted,
}

#[derive(Default)]
struct Shared {
    sent: Mutex<Vec<SentRequest>>,
    /// Notified when a request arrives.
    arrived: Notify,
    embeds: Mutex<VecDeque<Reply>>,
    batches: Mutex<VecDeque<Reply>>,
    generates: Mutex<VecDeque<Reply>>,
    lookups: Mutex<VecDeque<Reply>>,
    pause: Mutex<Duration>,
    /// Number of answers that are open now.
    open: AtomicUsize,
    /// Notified when a stream closes.
    closed: Notify,
}

impl FakeGemini {
    /// Starts a fake. Without a script, its answer is "Hello [1]." or the question's nonce, and all embeddings
    /// of [`DIMENSIONS`] values are equal; embeddings of any other size are as alike as the words that their
    /// texts share.
    pub async fn start() -> Self {
        let state = Arc::new(Shared::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state }
    }

    /// Returns the fake's address, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Scripts the next answer to `embedContent`.
    pub fn on_embed(&self, reply: Reply) -> &Self {
        self.state.embeds.lock().unwrap().push_back(reply);
        self
    }

    /// Scripts the next answer to `batchEmbedContents`.
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "only runs of indexing embed in batches"))]
    pub fn on_batch(&self, reply: Reply) -> &Self {
        self.state.batches.lock().unwrap().push_back(reply);
        self
    }

    /// Scripts the next answer to `streamGenerateContent`.
    pub fn on_generate(&self, reply: Reply) -> &Self {
        self.state.generates.lock().unwrap().push_back(reply);
        self
    }

    /// Scripts the next answer to a `GET` of a model.
    pub fn on_model_lookup(&self, reply: Reply) -> &Self {
        self.state.lookups.lock().unwrap().push_back(reply);
        self
    }

    /// Removes the scripted answers that were not given yet.
    pub fn clear_scripts(&self) {
        for replies in [&self.state.embeds, &self.state.generates] {
            replies.lock().unwrap().clear();
        }
    }

    /// Makes answers without a script wait for `pause` before each chunk, from now on.
    pub fn set_pause(&self, pause: Duration) {
        *self.state.pause.lock().unwrap() = pause;
    }

    /// Returns the requests to a method, in order.
    pub fn requests_to(&self, method: &str) -> Vec<SentRequest> {
        self.state.sent.lock().unwrap().iter().filter(|sent| sent.path.contains(method)).cloned().collect()
    }

    /// Waits until `count` requests to a method have arrived.
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "only runs of indexing embed in batches"))]
    pub async fn wait_for_requests(&self, method: &str, count: usize) {
        loop {
            let arrived = self.state.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.requests_to(method).len() >= count {
                return;
            }
            arrived.await;
        }
    }

    /// Returns all requests, in order.
    pub fn all_requests(&self) -> Vec<SentRequest> {
        self.state.sent.lock().unwrap().clone()
    }

    /// Counts the answers that are open now.
    pub fn open_streams(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Waits until no answer is open.
    pub async fn wait_until_closed(&self) {
        loop {
            let closed = self.state.closed.notified();
            if self.open_streams() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// Returns a gate and the stream behind it: each message through the gate is a chunk of the stream.
pub fn gate() -> (mpsc::UnboundedSender<Vec<u8>>, Reply) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Reply::Gated(receiver))
}

/// Frames an event as Gemini does.
pub fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\r\n\r\n").into_bytes()
}

/// Makes an event with text and no finish reason.
pub fn text_event(text: &str) -> Vec<u8> {
    event(&json!({
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
        "modelVersion": "gemini-test-1",
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }))
}

/// Makes the last event of an answer, without text.
pub fn finish_event(reason: &str) -> Vec<u8> {
    event(&json!({
        "candidates": [{"content": {"role": "model"}, "finishReason": reason}],
        "modelVersion": "gemini-test-1",
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 4, "thoughtsTokenCount": 2, "totalTokenCount": 13},
    }))
}

/// Makes a whole answer of these texts.
pub fn whole_answer(pieces: &[&str]) -> Reply {
    let mut chunks: Vec<Vec<u8>> = pieces.iter().map(|piece| text_event(piece)).collect();
    chunks.push(finish_event("STOP"));
    Reply::Chunks(chunks)
}

/// Makes an error as Google writes it.
pub fn error(code: u16, status: &str, details: Value) -> Reply {
    let body = json!({"error": {"code": code, "message": "internal words of Google", "status": status, "details": details}});
    Reply::Plain(code, "application/json", serde_json::to_vec_pretty(&body).unwrap())
}

/// Makes an embedding of `values`.
pub fn embedding(values: &Value) -> Reply {
    Reply::Plain(200, "application/json", json!({"embedding": {"values": values}}).to_string().into_bytes())
}

/// Returns the unscripted answer to a `batchEmbedContents` with this body.
pub fn embeddings(body: &Value) -> Vec<u8> {
    let requests = body["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let embeddings: Vec<Value> =
        requests.iter().map(|request| json!({"values": embedding_values(request)})).collect();
    json!({ "embeddings": embeddings }).to_string().into_bytes()
}

/// Returns as many values as the request wants: all alike for [`DIMENSIONS`], or else a vector of the text's
/// words.
fn embedding_values(request: &Value) -> Vec<f32> {
    let size = usize::try_from(request["outputDimensionality"].as_u64().unwrap()).unwrap();
    if size == DIMENSIONS {
        return vec![0.5; size];
    }
    word_vector(request["content"]["parts"][0]["text"].as_str().unwrap(), size)
}

async fn answer(State(state): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    state.sent.lock().unwrap().push(SentRequest {
        method: parts.method.to_string(),
        path: path.clone(),
        headers: parts.headers,
        body: json.clone(),
    });
    state.arrived.notify_waiters();
    let scripted = |queue: &Mutex<VecDeque<Reply>>| {
        queue.lock().unwrap().pop_front().filter(|reply| !matches!(reply, Reply::Unscripted))
    };
    let reply = if path.contains(":embedContent") {
        scripted(&state.embeds).unwrap_or_else(|| embedding(&json!(embedding_values(&json))))
    } else if path.contains(":batchEmbedContents") {
        scripted(&state.batches).unwrap_or_else(|| Reply::Plain(200, "application/json", embeddings(&json)))
    } else if path.contains(":streamGenerateContent") {
        scripted(&state.generates).unwrap_or_else(|| unscripted_answer(&String::from_utf8_lossy(&body), &state))
    } else {
        let model = json!({"name": "models/x", "supportedGenerationMethods": ["generateContent"]});
        scripted(&state.lookups)
            .unwrap_or_else(|| Reply::Plain(200, "application/json", model.to_string().into_bytes()))
    };
    respond(reply, &state).await
}

/// Makes the answer without a script: "Hello [1].", or a question's own nonce, so that a test sees whose answer
/// came.
fn unscripted_answer(body: &str, state: &Shared) -> Reply {
    let reply = match body.split_once("nonce-") {
        Some((_, rest)) => whole_answer(&["nonce", "-", &rest[..8], " [1]."]),
        None => whole_answer(&["Hello ", "[1]."]),
    };
    let pause = *state.pause.lock().unwrap();
    match reply {
        Reply::Chunks(chunks) if !pause.is_zero() => {
            let (sender, reply) = gate();
            tokio::spawn(async move {
                for chunk in chunks {
                    tokio::time::sleep(pause).await;
                    let _ = sender.send(chunk);
                }
            });
            reply
        }
        reply => reply,
    }
}

async fn respond(reply: Reply, state: &Arc<Shared>) -> Response {
    match reply {
        Reply::Plain(status, kind, body) => plain(status, ("content-type", kind), body),
        Reply::WithHeader(status, header, body) => plain(status, header, body),
        Reply::Chunks(chunks) => stream(futures::stream::iter(chunks.into_iter().map(Ok)), state),
        Reply::Cut(chunks) => {
            let broken = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            // The server writes its bytes as soon as the stream is pending, so no chunk is lost with the break.
            let later = futures::stream::once(async {
                tokio::task::yield_now().await;
                broken
            });
            stream(futures::stream::iter(chunks.into_iter().map(Ok)).chain(later), state)
        }
        Reply::Gated(receiver) => {
            let chunks = futures::stream::unfold(receiver, async |mut receiver| {
                receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
            });
            stream(chunks, state)
        }
        Reply::Silence | Reply::Unscripted => {
            let _open = Open::new(state);
            std::future::pending().await
        }
    }
}

fn plain(status: u16, header: (&'static str, &'static str), body: Vec<u8>) -> Response {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header.0, header.1)
        .body(Body::from(body))
        .unwrap()
}

fn stream(
    chunks: impl futures::Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static,
    state: &Arc<Shared>,
) -> Response {
    let open = Open::new(state);
    let chunks = chunks.map(move |chunk| {
        let _ = &open;
        chunk.map(Bytes::from)
    });
    plain(200, ("content-type", "text/event-stream"), Vec::new()).map(|_| Body::from_stream(chunks))
}

/// Counts an answer while it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(state: &Arc<Shared>) -> Self {
        state.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.closed.notify_waiters();
    }
}
