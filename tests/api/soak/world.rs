//! Holds the server under load, the chaos among its dependencies, and its readers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::post_head;
use crate::support::binary::Binary;
use crate::support::fake_gemini::{FakeGemini, Reply, error, event, finish_event, gate, text_event};
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::faulty_proxy::{Fault, FaultyProxy};
use crate::support::wait::eventually;

pub(super) const PERMITS: usize = 64;
/// Readers at a time; there are fewer permits.
pub(super) const READERS: u64 = 96;
/// Longest time of a request: `ANSWER_TIMEOUT` below, and the delays of a busy machine.
pub(super) const LONGEST: Duration = Duration::from_secs(25);
/// Memory that may be kept after the load: allocators and pools do not give everything back.
pub(super) const KEPT_BYTES: u64 = 32 << 20;

/// Rolls dice; the same seed gives the same numbers.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Holds the server under load, its dependencies and the counts.
pub(super) struct World {
    pub(super) server: Binary,
    pub(super) gemini: FakeGemini,
    pub(super) qdrant: FakeQdrant,
    pub(super) to_gemini: FaultyProxy,
    pub(super) to_qdrant: FaultyProxy,
    pub(super) stop: AtomicBool,
    pub(super) counts: Counts,
    /// Questions whose answers were read to the end.
    pub(super) read: std::sync::Mutex<Vec<String>>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) shed: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) faults: AtomicU64,
    /// Milliseconds of the slowest failure.
    pub(super) slowest: AtomicU64,
}

/// Adds one to a counter.
pub(super) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

impl World {
    pub(super) async fn new() -> Self {
        let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
        let (to_gemini, to_qdrant) = (FaultyProxy::start(&gemini.url()), FaultyProxy::start(&qdrant.url()));
        let permits = PERMITS.to_string();
        let settings = [
            ("MAX_STREAMS", permits.as_str()),
            ("EMBED_TIMEOUT", "1s"),
            ("RETRIEVE_TIMEOUT", "1s"),
            ("FIRST_TOKEN_TIMEOUT", "1s"),
            ("GAP_TIMEOUT", "1s"),
            ("ANSWER_TIMEOUT", "5s"),
            ("WRITE_TIMEOUT", "1s"),
            ("READY_INTERVAL", "1s"),
            // As in examples/deploy: memory that the C library keeps after a burst would hide a leak.
            ("MALLOC_ARENA_MAX", "2"),
            ("MALLOC_TRIM_THRESHOLD_", "262144"),
        ];
        let server = Binary::serve(&to_gemini.url(), &to_qdrant.url(), &settings).await;
        Self {
            server,
            gemini,
            qdrant,
            to_gemini,
            to_qdrant,
            stop: AtomicBool::new(false),
            counts: Counts::default(),
            read: std::sync::Mutex::default(),
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn address(&self) -> &str {
        self.server.url.trim_start_matches("http://")
    }

    /// Returns the anonymous memory and the number of open files of the server.
    pub(super) fn memory_and_files(&self) -> (u64, usize) {
        let process = format!("/proc/{}", self.server.child.id().unwrap());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        (kilobytes * 1024, std::fs::read_dir(format!("{process}/fd")).unwrap().count())
    }

    pub(super) async fn open_answers(&self) -> usize {
        let text = reqwest::get(format!("{}/metrics", self.server.url)).await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with("docent_open_answers ")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Breaks a dependency at random, now and then.
    pub(super) async fn break_things(&self, mut dice: Dice) {
        let wire_faults = [
            Fault::Close,
            Fault::Reset,
            Fault::Stall,
            Fault::SlowHead,
            Fault::Bytes(b"HTTP/1.1 200 OK\r\n\r\nx"),
            Fault::Refuse,
        ];
        while !self.is_stopped() {
            let fault = wire_faults[dice.roll(6) as usize];
            match dice.roll(8) {
                0 => self.to_gemini.break_for(":embedContent", fault).await,
                1 => self.to_gemini.break_for(":streamGenerateContent", fault).await,
                2 => self.to_qdrant.break_for("", fault).await,
                3 => self.qdrant.change(|behaviour| behaviour.frozen = true),
                4 => self.qdrant.change(|behaviour| behaviour.query_error = Some(tonic::Code::Internal)),
                _ => {
                    for _ in 0..8 {
                        self.gemini.on_embed(embed_reply(&mut dice));
                        self.gemini.on_generate(generate_reply(&mut dice));
                    }
                }
            }
            increment(&self.counts.faults);
            tokio::time::sleep(Duration::from_millis(100 + dice.roll(400))).await;
            self.heal().await;
            tokio::time::sleep(Duration::from_millis(100 + dice.roll(400))).await;
        }
        self.heal().await;
    }

    pub(super) async fn heal(&self) {
        self.to_gemini.heal().await;
        self.to_qdrant.heal().await;
        self.qdrant.change(|behaviour| (behaviour.frozen, behaviour.query_error) = (false, None));
    }

    /// Runs one reader after another, each of a random kind.
    pub(super) async fn run_readers(&self, number: u64, mut dice: Dice) {
        let mut question = 0;
        while !self.is_stopped() {
            question += 1;
            let nonce = format!("nonce-{number:03}{:05}", question % 100_000);
            increment(&self.counts.requests);
            let began = Instant::now();
            match dice.roll(8) {
                0..=2 => self.read(&nonce, "application/json", began).await,
                3..=5 => self.read(&nonce, "text/event-stream", began).await,
                6 => self.leave(&nonce, &mut dice).await,
                _ => self.send_garbage(&nonce, &mut dice).await,
            }
            assert!(began.elapsed() < LONGEST, "{nonce} took {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
        }
    }

    pub(super) async fn open(&self, nonce: &str, accept: &str) -> Option<TcpStream> {
        let mut socket = TcpStream::connect(self.address()).await.ok()?;
        let body = json!({"query": format!("How? {nonce}")}).to_string();
        let request =
            post_head(body.len(), &format!("Connection: close\r\nX-Request-Id: {nonce}\r\nAccept: {accept}"))
                + &body;
        socket.write_all(request.as_bytes()).await.ok()?;
        Some(socket)
    }

    /// Reads an answer to the end, and checks that it has one clear outcome and no other reader's words.
    pub(super) async fn read(&self, nonce: &str, accept: &str, began: Instant) {
        let mut socket = self.open(nonce, accept).await.expect("the server takes connections");
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        self.read.lock().unwrap().push(nonce.to_owned());
        let response = String::from_utf8(bytes).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{nonce}: {response:?}"));
        let streams = head.contains("text/event-stream");
        let text = if streams { joined_text(body) } else { body.to_owned() };
        for (at, _) in text.match_indices("nonce-") {
            assert!(text[at..].starts_with(nonce), "{nonce} got another's words: {response}");
        }
        let terminals = body.matches("event: done\n").count() + body.matches("event: error\n").count();
        assert_eq!(terminals, usize::from(streams), "{nonce}: {response}");
        let failed = if streams { body.contains("event: error\n") } else { !head.starts_with("HTTP/1.1 200") };
        assert!(failed || body.contains("\"finish_reason\""), "{nonce}: {response}");
        match (failed, body.contains("\"code\":\"overloaded\"")) {
            (false, _) => increment(&self.counts.answered),
            (true, true) => increment(&self.counts.shed),
            (true, false) => {
                increment(&self.counts.failed);
                self.counts.slowest.fetch_max(began.elapsed().as_millis() as u64, Ordering::SeqCst);
            }
        }
    }

    /// Leaves in the middle of an answer, after reading nothing for a while.
    async fn leave(&self, nonce: &str, dice: &mut Dice) {
        increment(&self.counts.left);
        let Some(mut socket) = self.open(nonce, "text/event-stream").await else { return };
        if dice.roll(2) == 0 {
            let _ = socket.write_all(b"\nstray").await;
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(300))).await;
        if dice.roll(4) == 0 {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        if dice.roll(4) == 0 {
            socket.set_zero_linger().unwrap();
        }
    }

    /// Returns the time from a reader's leaving to the end of the call upstream, as the fakes see it.
    pub(super) async fn time_to_close(&self, stage: &str, accept: &str, number: usize) -> Duration {
        let (chunks, reply) = gate();
        match stage {
            "embed" => _ = self.gemini.on_embed(Reply::Silence),
            "retrieve" => self.qdrant.change(|behaviour| behaviour.frozen = true),
            "generate, before a token" => _ = self.gemini.on_generate(Reply::Silence),
            _ => _ = self.gemini.on_generate(reply),
        }
        let reader = self.open(&format!("nonce-{number:08}"), accept).await.unwrap();
        let open = || self.gemini.open_streams() + self.qdrant.open_searches();
        eventually(async || open() == 1).await;
        if stage == "generate, after a token" {
            chunks.send(text_event("Hi")).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = Instant::now();
        drop(reader);
        while open() > 0 {
            assert!(left.elapsed() < LONGEST, "{stage}, {accept}: nobody noticed");
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        let took = left.elapsed();
        self.qdrant.change(|behaviour| behaviour.frozen = false);
        took
    }

    /// Sends bytes that are no question.
    async fn send_garbage(&self, nonce: &str, dice: &mut Dice) {
        let Ok(mut socket) = TcpStream::connect(self.address()).await else { return };
        let head = "POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let sent = match dice.roll(4) {
            0 => "\u{16}\u{3}\u{1} no HTTP\r\n\r\n".to_owned(),
            1 => format!("{head}Content-Length: 4\r\n\r\n{nonce}"),
            2 => format!("{head}Content-Length: 9999\r\n\r\n{{"),
            _ => format!("{head}X: {}", "x".repeat(100_000)),
        };
        let _ = socket.write_all(sent.as_bytes()).await;
        let mut answer = [0; 1024];
        let _ = tokio::time::timeout(Duration::from_millis(200), socket.read(&mut answer)).await;
    }
}

/// Returns the texts of the `token` events of a stream, joined.
fn joined_text(stream: &str) -> String {
    let tokens = stream.split("event: token\ndata: ").skip(1);
    let token = |frame: &str| serde_json::from_str::<Value>(frame.lines().next()?).ok();
    tokens.filter_map(token).filter_map(|token| token["text"].as_str().map(str::to_owned)).collect()
}

/// Picks an answer to an embedding, at random.
fn embed_reply(dice: &mut Dice) -> Reply {
    let plain = |body: &str| Reply::Plain(200, "application/json", body.as_bytes().to_vec());
    match dice.roll(6) {
        0 => error(503, "UNAVAILABLE", json!([])),
        1 => error(429, "RESOURCE_EXHAUSTED", json!([{"retryDelay": "30s"}])),
        2 => plain("{\"embedding\": {\"values\": [1"),
        3 => plain("{\"embedding\": {\"values\": [1]}}"),
        _ => Reply::Unscripted,
    }
}

/// Picks an answer to a generation, at random.
fn generate_reply(dice: &mut Dice) -> Reply {
    match dice.roll(12) {
        0 => error(503, "UNAVAILABLE", json!([])),
        1 => Reply::Cut(vec![text_event("Half ")]),
        2 => Reply::Chunks(vec![text_event("Half ")]),
        3 => Reply::Chunks(vec![text_event("Half "), b"data: {\"cand".to_vec()]),
        4 => Reply::Chunks(vec![
            text_event("Half "),
            event(&json!({"error": {"code": 503, "status": "UNAVAILABLE"}})),
        ]),
        5 => Reply::Chunks(vec![finish_event("STOP")]),
        6 => Reply::Chunks(vec![text_event(&"long ".repeat(20_000)); 20]),
        7 => Reply::Chunks(std::iter::repeat_n(vec![b'x'; 256 * 1024], 64).collect()),
        8 => {
            let (chunks, reply) = gate();
            let _ = chunks.send(text_event("Stalls "));
            tokio::spawn(async move { chunks.closed().await });
            reply
        }
        _ => Reply::Unscripted,
    }
}
