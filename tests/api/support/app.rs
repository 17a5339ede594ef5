//! Runs the server under test in this process, and asks it as a client does.

use std::path::PathBuf;
use std::sync::Arc;

use docent::app::App;
use docent::config::{Config, DemoConfig, Vars};
use docent::http::serve::serve;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::fake_gemini::{FakeGemini, gate};
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::stream::{Event, Stream, event_names};
use crate::support::wait::within;

/// Holds a server under test, and a client.
pub struct TestApp {
    pub app: Arc<App>,
    pub address: String,
    pub http: reqwest::Client,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

/// Starts the offline demo.
pub async fn spawn_demo() -> TestApp {
    spawn_demo_with(|_| ()).await
}

/// Starts the offline demo with a change to its configuration.
pub async fn spawn_demo_with(change: impl FnOnce(&mut Config)) -> TestApp {
    let mut config = Config::demo(&test_vars(&[]), demo_config(None)).unwrap();
    change(&mut config);
    spawn(config).await
}

/// Describes a demo of a folder, or of the handbook.
pub fn demo_config(docs: Option<PathBuf>) -> DemoConfig {
    DemoConfig { docs, route_base: "/docs".to_owned(), language: None }
}

/// Starts a server with production settings, a new fake Gemini and a new fake Qdrant; `settings` come on top.
pub async fn spawn_with_fakes(settings: &[(&str, &str)]) -> (TestApp, FakeGemini, FakeQdrant) {
    let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
    (spawn_app(&gemini, &qdrant, settings).await, gemini, qdrant)
}

/// Starts a server with production settings against these fakes; `settings` come on top.
pub async fn spawn_app(gemini: &FakeGemini, qdrant: &FakeQdrant, settings: &[(&str, &str)]) -> TestApp {
    spawn(Config::serve(&production_vars(gemini, qdrant, settings)).unwrap()).await
}

/// Returns the settings of [`spawn_app`].
pub fn production_vars(gemini: &FakeGemini, qdrant: &FakeQdrant, settings: &[(&str, &str)]) -> Vars {
    let (gemini, qdrant) = (gemini.url(), qdrant.url());
    let mut all = vec![
        ("GEMINI_API_KEY", "AIza-test-key"),
        ("GOOGLE_GEMINI_BASE_URL", gemini.as_str()),
        ("QDRANT_URL", qdrant.as_str()),
        ("QDRANT_COLLECTION_NAME", "docs"),
    ];
    all.extend(settings);
    test_vars(&all)
}

/// Returns `settings` with a free port, and an offline provider that does not pause.
pub fn test_vars(settings: &[(&str, &str)]) -> Vars {
    let mut all = vec![("OFFLINE_TOKEN_DELAY_MS", "0"), ("PORT", "0")];
    all.extend(settings);
    Vars::from_iter(all)
}

/// Builds and serves `config` on a free port of the loopback; `TEST_LOG=1` shows the server's log.
pub async fn spawn(config: Config) -> TestApp {
    if std::env::var("TEST_LOG").is_ok() {
        let _ = docent::telemetry::init(&Vars::from_iter([("RUST_LOG", "debug,hyper=info")]));
    }
    let app = App::build(config).await.unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(Arc::clone(&app), listener, stop.clone().cancelled_owned()));
    TestApp { app, address, http: reqwest::Client::new(), stop, served }
}

impl TestApp {
    /// Returns the address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a `GET` and returns the response.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    /// Sends a body to `POST /chat` for JSON.
    pub async fn ask(&self, body: &Value) -> reqwest::Response {
        self.http.post(self.url("/chat")).json(body).send().await.unwrap()
    }

    /// Asks a question at `POST /chat` for JSON, and returns status and body.
    pub async fn ask_json(&self, query: &str) -> (u16, Value) {
        read_json(self.ask(&json!({ "query": query })).await).await
    }

    /// Asks a question at `POST /chat` for a stream.
    pub async fn ask_stream(&self, query: &str) -> Stream {
        self.open_stream(&json!({ "query": query })).await
    }

    /// Asks a question for a stream, checks its order and returns its last event: the only `done` or `error`.
    pub async fn ask_for_last_event(&self, query: &str) -> Event {
        let mut events = self.ask_stream(query).await.all_events().await;
        assert_eq!(events[0].name, "sources");
        let terminals = event_names(&events).into_iter().filter(|name| ["done", "error"].contains(name));
        assert_eq!(terminals.count(), 1, "{events:?}");
        events.pop().unwrap()
    }

    /// Sends a body to `POST /chat` for a stream.
    pub async fn open_stream(&self, body: &Value) -> Stream {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        self.send(socket, body).await
    }

    /// Sends a body to `POST /chat` for a stream, over a socket that buffers little.
    pub async fn open_narrow_stream(&self, body: &Value) -> Stream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        self.send(socket.connect(self.address.parse().unwrap()).await.unwrap(), body).await
    }

    /// Opens a stream that has shown its sources and waits for the model, whose chunks come through the gate.
    pub async fn open_gated_stream(&self, gemini: &FakeGemini) -> (UnboundedSender<Vec<u8>>, Stream) {
        let (chunks, reply) = gate();
        gemini.on_generate(reply);
        let mut stream = self.ask_stream("How?").await;
        stream.head().await;
        stream.event().await;
        (chunks, stream)
    }

    async fn send(&self, mut socket: TcpStream, body: &Value) -> Stream {
        let body = body.to_string();
        let head = post_head(body.len(), "Accept: text/event-stream");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body.as_bytes()).await.unwrap();
        Stream::new(socket)
    }

    /// Asks the server to stop, without waiting for it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the server has stopped.
    pub async fn wait_until_stopped(self) {
        within(self.served).await.unwrap();
    }
}

/// Returns status and body of a response in JSON.
pub async fn read_json(response: reqwest::Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Returns the head of a question in JSON of `length` bytes, with another header line.
pub fn post_head(length: usize, header: &str) -> String {
    format!(
        "POST /chat HTTP/1.1\r\nHost: x\r\n{header}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}
