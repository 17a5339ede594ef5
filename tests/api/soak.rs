//! Runs chaos: mixed load against the binary while its dependencies break at random and its readers come and go.
//!
//! `tests/soak.sh` runs it for ten minutes; among the other tests it takes ten seconds. `SOAK_SECONDS` and `SOAK_SEED` set
//! its length and its dice, `DOCENT_BIN` another binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::support::app::post_head;
use crate::support::binary::Binary;
use crate::support::fake_gemini::{FakeGemini, Reply, error, event, finish_event, gate, text_event};
use crate::support::fake_qdrant::FakeQdrant;
use crate::support::faulty_proxy::{Fault, FaultyProxy};
use crate::support::wait::eventually;

const PERMITS: usize = 64;
/// Readers at a time, more than there are permits.
const READERS: u64 = 96;
/// Longest a request may take: `ANSWER_TIMEOUT` below, and what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(25);
/// Memory that may be kept after the load: what allocators and pools do not give back.
const KEPT_BYTES: u64 = 32 << 20;

/// Dice that fall alike for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Everything that is under load.
struct World {
    server: Binary,
    gemini: FakeGemini,
    qdrant: FakeQdrant,
    to_gemini: FaultyProxy,
    to_qdrant: FaultyProxy,
    stop: AtomicBool,
    counts: Counts,
    /// The questions whose answers were read to the end.
    read: std::sync::Mutex<Vec<String>>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    shed: AtomicU64,
    left: AtomicU64,
    faults: AtomicU64,
    /// Milliseconds of the slowest failure.
    slowest: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

impl World {
    async fn new() -> Self {
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
            // As in examples/deploy: what the C library keeps for itself after a burst would hide a leak.
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

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn address(&self) -> &str {
        self.server.url.trim_start_matches("http://")
    }

    /// Anonymous memory and open files of the server.
    fn holds(&self) -> (u64, usize) {
        let process = format!("/proc/{}", self.server.child.id().unwrap());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        (kilobytes * 1024, std::fs::read_dir(format!("{process}/fd")).unwrap().count())
    }

    async fn open_answers(&self) -> usize {
        let text = reqwest::get(format!("{}/metrics", self.server.url)).await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with("docent_open_answers ")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Breaks one thing or another, now and then.
    async fn chaos(&self, mut dice: Dice) {
        let wire_faults = [
            Fault::Close,
            Fault::Reset,
            Fault::Stall,
            Fault::SlowHead,
            Fault::Bytes(b"HTTP/1.1 200 OK\r\n\r\nx"),
            Fault::Refuse,
        ];
        while !self.stopped() {
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
            count(&self.counts.faults);
            tokio::time::sleep(Duration::from_millis(100 + dice.roll(400))).await;
            self.heal().await;
            tokio::time::sleep(Duration::from_millis(100 + dice.roll(400))).await;
        }
        self.heal().await;
    }

    async fn heal(&self) {
        self.to_gemini.heal().await;
        self.to_qdrant.heal().await;
        self.qdrant.change(|behaviour| (behaviour.frozen, behaviour.query_error) = (false, None));
    }

    /// One reader after another, each as it likes.
    async fn readers(&self, number: u64, mut dice: Dice) {
        let mut question = 0;
        while !self.stopped() {
            question += 1;
            let nonce = format!("nonce-{number:03}{:05}", question % 100_000);
            count(&self.counts.requests);
            let began = Instant::now();
            match dice.roll(8) {
                0..=2 => self.read(&nonce, "application/json", began).await,
                3..=5 => self.read(&nonce, "text/event-stream", began).await,
                6 => self.leave(&nonce, &mut dice).await,
                _ => self.misbehave(&nonce, &mut dice).await,
            }
            assert!(began.elapsed() < LONGEST, "{nonce} took {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_millis(dice.roll(20))).await;
        }
    }

    async fn open(&self, nonce: &str, accept: &str) -> Option<TcpStream> {
        let mut socket = TcpStream::connect(self.address()).await.ok()?;
        let body = json!({"query": format!("How? {nonce}")}).to_string();
        let request =
            post_head(body.len(), &format!("Connection: close\r\nX-Request-Id: {nonce}\r\nAccept: {accept}"))
                + &body;
        socket.write_all(request.as_bytes()).await.ok()?;
        Some(socket)
    }

    /// Reads to the end: one clear outcome, and no other reader's words.
    async fn read(&self, nonce: &str, accept: &str, began: Instant) {
        let mut socket = self.open(nonce, accept).await.expect("the server takes connections");
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        self.read.lock().unwrap().push(nonce.to_owned());
        let response = String::from_utf8(bytes).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{nonce}: {response:?}"));
        let streams = head.contains("text/event-stream");
        let text = if streams { text_of(body) } else { body.to_owned() };
        for (at, _) in text.match_indices("nonce-") {
            assert!(text[at..].starts_with(nonce), "{nonce} got another's words: {response}");
        }
        let terminals = body.matches("event: done\n").count() + body.matches("event: error\n").count();
        assert_eq!(terminals, usize::from(streams), "{nonce}: {response}");
        let failed = if streams { body.contains("event: error\n") } else { !head.starts_with("HTTP/1.1 200") };
        assert!(failed || body.contains("\"finish_reason\""), "{nonce}: {response}");
        match (failed, body.contains("\"code\":\"overloaded\"")) {
            (false, _) => count(&self.counts.answered),
            (true, true) => count(&self.counts.shed),
            (true, false) => {
                count(&self.counts.failed);
                self.counts.slowest.fetch_max(began.elapsed().as_millis() as u64, Ordering::SeqCst);
            }
        }
    }

    /// Leaves in the middle, or reads nothing for a while first.
    async fn leave(&self, nonce: &str, dice: &mut Dice) {
        count(&self.counts.left);
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

    /// How long after its reader has left a question's call upstream is closed, as the fakes see it.
    async fn leaving(&self, stage: &str, accept: &str, number: usize) -> Duration {
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

    /// Sends what is no question.
    async fn misbehave(&self, nonce: &str, dice: &mut Dice) {
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

/// The texts of the `token` events of a stream, joined.
fn text_of(stream: &str) -> String {
    let tokens = stream.split("event: token\ndata: ").skip(1);
    let token = |frame: &str| serde_json::from_str::<Value>(frame.lines().next()?).ok();
    tokens.filter_map(token).filter_map(|token| token["text"].as_str().map(str::to_owned)).collect()
}

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

fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS").ok().map_or(10, |seconds| seconds.parse().unwrap())
}

fn seed() -> u64 {
    let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    std::env::var("SOAK_SEED").ok().map_or_else(clock, |seed| seed.parse().unwrap())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle and the 99th of a hundred.
fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    format!("p50 {:.1?}, p99 {:.1?}", times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_left_behind_whatever_breaks() {
    let (seconds, seed) = (seconds(), seed());
    println!("SOAK_SECONDS={seconds} SOAK_SEED={seed}");
    let world = Arc::new(World::new().await);
    world.read("nonce-warm-up0", "application/json", Instant::now()).await;
    let start = world.holds();
    let began = Instant::now();
    let peak = Arc::new(Mutex::new(start));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..READERS {
        let world = Arc::clone(&world);
        tasks.spawn(async move { world.readers(number, Dice(seed ^ (number << 32))).await });
    }
    tasks.spawn({
        let world = Arc::clone(&world);
        async move { world.chaos(Dice(seed)).await }
    });
    tasks.spawn({
        let (world, peak) = (Arc::clone(&world), Arc::clone(&peak));
        async move {
            while !world.stopped() {
                let (memory, files) = world.holds();
                let mut peak = peak.lock().await;
                *peak = (peak.0.max(memory), peak.1.max(files));
                drop(peak);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let mut course = Vec::new();
    let step = Duration::from_secs(seconds).div_f64(10.0);
    for tenth in 1..=10 {
        let until = began + step * tenth;
        tokio::select! {
            ended = tasks.join_next() => ended.unwrap().unwrap(),
            () = tokio::time::sleep_until(until.into()) => {}
        }
        let health = reqwest::get(format!("{}/health", world.server.url)).await.unwrap();
        assert_eq!(health.status(), 200);
        course.push(format!("{:.1}", mebibytes(world.holds().0)));
    }
    world.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    eventually(async || world.open_answers().await == 0).await;
    world.gemini.clear_scripts();
    eventually(async || {
        let question = reqwest::Client::new().post(format!("{}/chat", world.server.url));
        question.json(&json!({"query": "How? nonce-last-one"})).send().await.unwrap().status() == 200
    })
    .await;
    // What is left are connections that are kept for the next question; cut, they must all go.
    world.heal().await;
    eventually(async || world.holds().1 <= start.1 + 4).await;
    let (end, peak) = (world.holds(), *peak.lock().await);
    let of = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let Counts { requests, answered, failed, shed, left, faults, slowest } = &world.counts;
    println!(
        "{} requests: {} answered, {} failed, {} shed, {} left; {} faults; slowest failure {} ms",
        of(requests),
        of(answered),
        of(failed),
        of(shed),
        of(left),
        of(faults),
        of(slowest)
    );
    println!("memory at each tenth of the time, MiB: {}", course.join(", "));
    println!(
        "memory {:.1} MiB at the start, {:.1} at the peak, {:.1} at the end; open files {}, {}, {}",
        mebibytes(start.0),
        mebibytes(peak.0),
        mebibytes(end.0),
        start.1,
        peak.1,
        end.1
    );
    assert!(of(answered) > 0 && of(failed) > 0, "the load was no mixture");
    assert!(end.0 <= start.0 + KEPT_BYTES, "memory has grown from {} to {} bytes", start.0, end.0);
    let panics: Vec<String> =
        world.server.log_lines().into_iter().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{panics:?}");
    let mut logged: Vec<String> = Vec::new();
    for line in world.server.log_events().iter().filter(|line| line["route"] == "/chat") {
        logged.extend(line["request_id"].as_str().filter(|id| id.starts_with("nonce-")).map(str::to_owned));
    }
    let lines = logged.len();
    logged.sort_unstable();
    logged.dedup();
    assert_eq!(logged.len(), lines, "a request has two lines in the log");
    let mut read = world.read.lock().unwrap().clone();
    read.retain(|nonce| logged.binary_search(nonce).is_err());
    assert!(read.is_empty(), "requests without a line in the log: {read:?}");
}

/// Figures, not a promise: `tests/soak.sh` prints them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; tests/soak.sh runs it"]
async fn figures_of_leaving_and_of_shedding() {
    let world = Arc::new(World::new().await);
    let mut all = Vec::new();
    for stage in ["embed", "retrieve", "generate, before a token", "generate, after a token"] {
        for accept in ["application/json", "text/event-stream"] {
            let mut gone = Vec::new();
            for number in 0..100 {
                gone.push(world.leaving(stage, accept, number).await);
            }
            all.extend(&gone);
            println!("reader gone, upstream closed: {stage}, {accept}: {}", quantiles(&mut gone));
        }
    }
    println!("reader gone, upstream closed: {} times: {}", all.len(), quantiles(&mut all));

    world.gemini.set_pause(Duration::from_millis(50));
    for (name, readers) in [("at half the permits", PERMITS / 2), ("at 4 times the permits", PERMITS * 4)] {
        let asked = (0..readers).map(|reader| {
            let world = Arc::clone(&world);
            async move {
                let mut took = Vec::new();
                for round in 0..20 {
                    let began = Instant::now();
                    let nonce = format!("nonce-{reader:04}{round:04}");
                    let mut socket = world.open(&nonce, "application/json").await.unwrap();
                    let mut bytes = Vec::new();
                    socket.read_to_end(&mut bytes).await.unwrap();
                    let response = String::from_utf8(bytes).unwrap();
                    let body = response.split_once("\r\n\r\n").unwrap().1;
                    let body: Value = serde_json::from_str(body).unwrap();
                    took.push((body["code"] == "overloaded", body["status"] == "answered", began.elapsed()));
                }
                took
            }
        });
        let took: Vec<_> = futures::future::join_all(asked).await.concat();
        let mut admitted: Vec<Duration> =
            took.iter().filter(|(_, ok, _)| *ok).map(|(.., took)| *took).collect();
        let mut shed: Vec<Duration> = took.iter().filter(|(shed, ..)| *shed).map(|(.., took)| *took).collect();
        println!("{name}: {} asked, {} admitted, {}", took.len(), admitted.len(), quantiles(&mut admitted));
        if !shed.is_empty() {
            println!("{name}: {} shed, {}", shed.len(), quantiles(&mut shed));
        }
        assert_eq!(admitted.len() + shed.len(), took.len(), "{name}: something else came");
    }
}
