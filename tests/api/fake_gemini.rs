//! A Gemini across a socket: an HTTP server whose answers a test scripts and whose chunks wait on gates. It records what
//! it was sent, and knows when a client has gone.

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

/// Size of the vectors it gives, unless a test says otherwise.
pub const DIMENSIONS: usize = 256;

/// The fake.
pub struct FakeGemini {
    address: String,
    state: Arc<Shared>,
}

/// What it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// One scripted answer.
pub enum Reply {
    /// Status, content type, body.
    Plain(u16, &'static str, Vec<u8>),
    /// Status, a header, body.
    WithHeader(u16, (&'static str, &'static str), Vec<u8>),
    /// A 200 event stream of these chunks of bytes, each its own write; then the end.
    Chunks(Vec<Vec<u8>>),
    /// The same, but the connection breaks instead of ending.
    Cut(Vec<Vec<u8>>),
    /// A 200 event stream whose chunks come from a test, which ends it by dropping the sender.
    Gated(mpsc::UnboundedReceiver<Vec<u8>>),
    /// No answer at all, until the client goes.
    Silence,
    /// What it answers unscripted; keeps a place in the queue.
    Unscripted,
}

#[derive(Default)]
struct Shared {
    sent: Mutex<Vec<Sent>>,
    /// Rung when something arrives.
    arrived: Notify,
    embeds: Mutex<VecDeque<Reply>>,
    batches: Mutex<VecDeque<Reply>>,
    generates: Mutex<VecDeque<Reply>>,
    looks: Mutex<VecDeque<Reply>>,
    pause: Mutex<Duration>,
    /// Streams of answers that are open now.
    open: AtomicUsize,
    /// Rung when one closes.
    closed: Notify,
}

impl FakeGemini {
    /// Starts it. Unscripted, it answers "Hello [1]." or with the question's nonce, and embeds everything alike where
    /// [`DIMENSIONS`] values are wanted; vectors of any other size are alike as far as their texts share words.
    pub async fn start() -> Self {
        let state = Arc::new(Shared::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state }
    }

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

    /// Scripts the next answer to a look at a model.
    pub fn on_look(&self, reply: Reply) -> &Self {
        self.state.looks.lock().unwrap().push_back(reply);
        self
    }

    /// Forgets what it was told to answer and has not answered yet.
    pub fn forget(&self) {
        for replies in [&self.state.embeds, &self.state.generates] {
            replies.lock().unwrap().clear();
        }
    }

    /// From now on, unscripted answers wait so long before each chunk.
    pub fn pace(&self, pause: Duration) {
        *self.state.pause.lock().unwrap() = pause;
    }

    /// What it was sent to a method, in order.
    pub fn sent(&self, method: &str) -> Vec<Sent> {
        self.state.sent.lock().unwrap().iter().filter(|sent| sent.path.contains(method)).cloned().collect()
    }

    /// Waits until it was sent so many requests to a method.
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "only runs of indexing embed in batches"))]
    pub async fn arrived(&self, method: &str, count: usize) {
        loop {
            let arrived = self.state.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.sent(method).len() >= count {
                return;
            }
            arrived.await;
        }
    }

    /// Everything it was sent.
    pub fn all_sent(&self) -> Vec<Sent> {
        self.state.sent.lock().unwrap().clone()
    }

    /// Streams of answers that are open now.
    pub fn open_streams(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Waits until no stream of an answer is open.
    pub async fn all_closed(&self) {
        loop {
            let closed = self.state.closed.notified();
            if self.open_streams() == 0 {
                return;
            }
            closed.await;
        }
    }
}

/// A gate: what is sent through it is a chunk of the stream.
pub fn gate() -> (mpsc::UnboundedSender<Vec<u8>>, Reply) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Reply::Gated(receiver))
}

/// One event as Gemini frames it.
pub fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\r\n\r\n").into_bytes()
}

/// An event with text and no finish reason.
pub fn text(text: &str) -> Vec<u8> {
    event(&json!({
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
        "modelVersion": "gemini-test-1",
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }))
}

/// The last event of an answer, without text.
pub fn finish(reason: &str) -> Vec<u8> {
    event(&json!({
        "candidates": [{"content": {"role": "model"}, "finishReason": reason}],
        "modelVersion": "gemini-test-1",
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 4, "thoughtsTokenCount": 2, "totalTokenCount": 13},
    }))
}

/// A whole answer.
pub fn answer_of(pieces: &[&str]) -> Reply {
    let mut chunks: Vec<Vec<u8>> = pieces.iter().map(|piece| text(piece)).collect();
    chunks.push(finish("STOP"));
    Reply::Chunks(chunks)
}

/// An error as Google writes it.
pub fn error(code: u16, status: &str, details: Value) -> Reply {
    let body = json!({"error": {"code": code, "message": "internal words of Google", "status": status, "details": details}});
    Reply::Plain(code, "application/json", serde_json::to_vec_pretty(&body).unwrap())
}

/// An embedding of `values`.
pub fn embedding(values: &Value) -> Reply {
    Reply::Plain(200, "application/json", json!({"embedding": {"values": values}}).to_string().into_bytes())
}

/// What it answers to a `batchEmbedContents` with this body.
pub fn embeddings(body: &Value) -> Vec<u8> {
    let requests = body["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let embeddings: Vec<Value> = requests.iter().map(|request| json!({"values": by_words(request)})).collect();
    json!({ "embeddings": embeddings }).to_string().into_bytes()
}

/// As many values as the request wants; texts with common words are alike.
fn by_words(request: &Value) -> Vec<f32> {
    let size = usize::try_from(request["outputDimensionality"].as_u64().unwrap()).unwrap();
    let mut values = vec![if size == DIMENSIONS { 0.5 } else { 0.01 }; size];
    if size != DIMENSIONS {
        let text = request["content"]["parts"][0]["text"].as_str().unwrap().to_lowercase();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let place = word.bytes().fold(7_usize, |hash, byte| (hash * 31 + usize::from(byte)) % size);
            values[place] += 1.0;
        }
    }
    values
}

async fn answer(State(state): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    state.sent.lock().unwrap().push(Sent {
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
        scripted(&state.embeds).unwrap_or_else(|| embedding(&json!(by_words(&json))))
    } else if path.contains(":batchEmbedContents") {
        scripted(&state.batches).unwrap_or_else(|| Reply::Plain(200, "application/json", embeddings(&json)))
    } else if path.contains(":streamGenerateContent") {
        scripted(&state.generates).unwrap_or_else(|| unscripted(&String::from_utf8_lossy(&body), &state))
    } else {
        let model = json!({"name": "models/x", "supportedGenerationMethods": ["generateContent"]});
        scripted(&state.looks)
            .unwrap_or_else(|| Reply::Plain(200, "application/json", model.to_string().into_bytes()))
    };
    respond(reply, &state).await
}

/// "Hello [1].", or a question's own nonce, so that a test sees whose answer it got.
fn unscripted(body: &str, state: &Shared) -> Reply {
    let reply = match body.split_once("nonce-") {
        Some((_, rest)) => answer_of(&["nonce", "-", &rest[..8], " [1]."]),
        None => answer_of(&["Hello ", "[1]."]),
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
            // The break waits until the chunks have left, so that they are not lost with it.
            let later = futures::stream::once(async {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
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

/// Counts a stream while it lives.
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
