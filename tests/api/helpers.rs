//! A running server, and a client that reads bytes off a socket.

use std::sync::Arc;
use std::time::Duration;

use docent::app::App;
use docent::config::{Config, DemoConfig, Vars};
use docent::http::serve::serve;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake_gemini::{FakeGemini, gate};
use crate::fake_qdrant::FakeQdrant;

/// How long a test waits for what must come; only a failing test gets here.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server under test.
pub struct TestApp {
    pub app: Arc<App>,
    pub address: String,
    pub http: reqwest::Client,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

/// The offline demo.
pub async fn spawn_demo() -> TestApp {
    spawn(Config::demo(&vars(&[]), demo(None)).unwrap()).await
}

/// A demo of a folder, or of the handbook.
pub fn demo(docs: Option<std::path::PathBuf>) -> DemoConfig {
    DemoConfig { docs, route_base: "/docs".to_owned(), language: None }
}

/// Production settings, against a fake Gemini and a fake Qdrant; `settings` come on top.
pub async fn spawn_app(gemini: &FakeGemini, qdrant: &FakeQdrant, settings: &[(&str, &str)]) -> TestApp {
    spawn(Config::serve(&production(gemini, qdrant, settings)).unwrap()).await
}

/// The settings of [`spawn_app`].
pub fn production(gemini: &FakeGemini, qdrant: &FakeQdrant, settings: &[(&str, &str)]) -> Vars {
    let (gemini, qdrant) = (gemini.url(), qdrant.url());
    let mut all = vec![
        ("GEMINI_API_KEY", "AIza-test-key"),
        ("GOOGLE_GEMINI_BASE_URL", gemini.as_str()),
        ("QDRANT_URL", qdrant.as_str()),
        ("QDRANT_COLLECTION_NAME", "docs"),
    ];
    all.extend(settings);
    vars(&all)
}

/// Settings, with an offline provider that does not pause.
pub fn vars(settings: &[(&str, &str)]) -> Vars {
    let mut all = vec![("OFFLINE_TOKEN_DELAY_MS", "0"), ("PORT", "0")];
    all.extend(settings);
    Vars::from_iter(all)
}

/// Builds and serves `config` on a free port of the loopback.
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
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `POST /chat` for JSON.
    pub async fn ask(&self, body: &Value) -> reqwest::Response {
        self.http.post(self.url("/chat")).json(body).send().await.unwrap()
    }

    /// `POST /chat` for JSON: status and body.
    pub async fn ask_json(&self, query: &str) -> (u16, Value) {
        let response = self.ask(&json!({ "query": query })).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// `POST /chat` for a stream, as bytes on a socket.
    pub async fn ask_stream(&self, query: &str) -> Stream {
        self.open(&json!({ "query": query })).await
    }

    /// The same with a whole body.
    pub async fn open(&self, body: &Value) -> Stream {
        let socket = TcpStream::connect(&self.address).await.unwrap();
        self.send(socket, body).await
    }

    /// The same from a reader whose socket takes little.
    pub async fn open_narrow(&self, body: &Value) -> Stream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        self.send(socket.connect(self.address.parse().unwrap()).await.unwrap(), body).await
    }

    /// A stream that has shown its sources and waits for the model, whose chunks come through the gate.
    pub async fn held(&self, gemini: &FakeGemini) -> (UnboundedSender<Vec<u8>>, Stream) {
        let (chunks, reply) = gate();
        gemini.on_generate(reply);
        let mut stream = self.ask_stream("How?").await;
        stream.head().await;
        stream.event().await;
        (chunks, stream)
    }

    async fn send(&self, mut socket: TcpStream, body: &Value) -> Stream {
        let body = body.to_string();
        let head = post(body.len(), "Accept: text/event-stream");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body.as_bytes()).await.unwrap();
        Stream { socket, bytes: Vec::new(), read: 0 }
    }

    /// Asks the server to stop, without waiting for it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the server has stopped.
    pub async fn stopped(self) {
        within(self.served).await.unwrap();
    }
}

/// The head of a question in JSON of so many bytes, with another header line.
pub fn post(length: usize, header: &str) -> String {
    format!(
        "POST /chat HTTP/1.1\r\nHost: x\r\n{header}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// A chunked response, read off the socket as it comes.
pub struct Stream {
    pub socket: TcpStream,
    bytes: Vec<u8>,
    read: usize,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

impl Stream {
    /// Status and headers, in lower case.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await.to_lowercase()
    }

    /// The next event; panics when the body ends first.
    pub async fn event(&mut self) -> Event {
        self.next_event().await.expect("another event")
    }

    /// The next event, or `None` at the end of the body.
    pub async fn next_event(&mut self) -> Option<Event> {
        let mut frame = String::new();
        while !frame.ends_with("\n\n") {
            frame.push_str(&self.chunk().await?);
        }
        Some(parse_event(&frame))
    }

    /// All events of a fresh response.
    pub async fn events(mut self) -> Vec<Event> {
        self.head().await;
        self.rest().await
    }

    /// Everything to the end of the body: the events, which must be whole.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        events
    }

    /// One chunk of the chunked body as text, or `None` at its end.
    pub async fn chunk(&mut self) -> Option<String> {
        let size = self.until("\r\n").await;
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        let chunk = self.take(size + 2).await;
        (size > 0).then(|| String::from_utf8(chunk[..size].to_vec()).unwrap())
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            let unread = &self.bytes[self.read..];
            if let Some(at) = unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let text = String::from_utf8(unread[..at + end.len()].to_vec()).unwrap();
                self.read += text.len();
                return text;
            }
            self.fill().await;
        }
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() - self.read < count {
            self.fill().await;
        }
        self.read += count;
        self.bytes[self.read - count..self.read].to_vec()
    }

    async fn fill(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let count = within(self.socket.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "the connection closed early, after {:?}", String::from_utf8_lossy(&self.bytes));
        self.bytes.extend_from_slice(&buffer[..count]);
    }
}

/// One frame as our server writes it: an `event` line and a `data` line.
fn parse_event(frame: &str) -> Event {
    let frame: String =
        frame.lines().filter(|line| !line.starts_with(':')).map(|line| format!("{line}\n")).collect();
    let rest = frame.strip_prefix("event: ").unwrap_or_else(|| panic!("no event line in {frame:?}"));
    let (name, rest) = rest.split_once("\ndata: ").unwrap_or_else(|| panic!("no data line in {frame:?}"));
    let data = rest.strip_suffix("\n\n").unwrap_or_else(|| panic!("no end in {frame:?}"));
    Event { name: name.to_owned(), data: serde_json::from_str(data).unwrap() }
}

/// The texts of `token` events, joined.
pub fn text(events: &[Event]) -> String {
    events
        .iter()
        .filter(|event| event.name == "token")
        .map(|event| event.data["text"].as_str().unwrap())
        .collect()
}

/// Waits for what must come.
#[track_caller]
pub fn within<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, work).await;
        outcome.unwrap_or_else(|_| panic!("{caller}: nothing came within {PATIENCE:?}"))
    }
}

/// Waits until `holds` does.
#[track_caller]
pub fn eventually(mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !holds().await {
            assert!(tokio::time::Instant::now() < until, "{caller}: it does not hold after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
