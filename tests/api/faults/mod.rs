//! Checks the fault matrix: every fault of every stage's dependency ends in one clear way for the client.
//!
//! Each row runs twice, as JSON and as a stream, on a server of its own. These things hold for each run: there
//! is one terminal event, which says if and when to come back; the upstream connection closes; the client's
//! bytes hold no secret and no internal text; the next question is answered once the fault is gone.
//!
//! A failing run is reported by its name, after all others have run. `FAULT='embed: 429 per day'` runs one row,
//! and `FAULT=refused` the rows of this name at all stages:
//!
//! ```text
//! FAULT='embed: 429 per day' cargo test --test api faults
//! ```

mod causes;
mod rows;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use docent::config::Config;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{TestApp, post_head, production_vars, spawn};
use crate::support::fake_gemini::{FakeGemini, Reply};
use crate::support::fake_qdrant::{Behaviour, FakeQdrant};
use crate::support::faulty_proxy::{Fault, FaultyProxy};
use crate::support::wait::{PATIENCE, eventually, within};
use rows::MATRIX;

/// Texts that must never reach a client: keys, upstream's words and addresses, and the names of Docent's parts.
const SECRETS: &[&str] = &[
    "AIza",
    "qdrant-key",
    "internal words",
    "127.0.0.1",
    "tonic",
    "hyper",
    "reqwest",
    "os error",
    "src/",
    "panicked",
];

/// Forms of an answer, as `Accept` names them.
const FORMS: [&str; 2] = ["application/json", STREAM];
const STREAM: &str = "text/event-stream";

/// Deadlines of the stages.
const DEADLINES: [&str; 4] = ["EMBED_TIMEOUT", "RETRIEVE_TIMEOUT", "FIRST_TOKEN_TIMEOUT", "GAP_TIMEOUT"];

/// Rows that run at a time.
const CONCURRENT_RUNS: usize = 8;

/// Names a stage of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Embed,
    Retrieve,
    Generate,
}

/// Names the cause of a fault.
enum Cause {
    /// The connection to the dependency of the stage.
    Connection(Fault),
    /// The answers of Gemini, in this order.
    Replies(Vec<Reply>),
    /// The behaviour of Qdrant.
    Qdrant(fn(&mut Behaviour)),
}

/// Names the advice of a problem on coming back: `retryable`, `retry_after` and `Retry-After`.
#[derive(Debug, Clone, Copy)]
enum Retry {
    No,
    Yes,
    /// After so many seconds.
    After(u64),
}

/// Names the end of an answer.
#[derive(Debug, Clone, Copy)]
enum End {
    /// An answer with this finish reason.
    Finishes(&'static str),
    /// A problem; before the head its status is that of the response.
    Fails { status: u16, code: &'static str, retry: Retry },
}

/// Holds a row of the matrix.
struct Row {
    stage: Stage,
    fault: &'static str,
    cause: fn() -> Cause,
    end: End,
}

const fn row(stage: Stage, fault: &'static str, cause: fn() -> Cause, end: End) -> Row {
    Row { stage, fault, cause, end }
}

const fn finishes(reason: &'static str) -> End {
    End::Finishes(reason)
}

const fn fails(status: u16, code: &'static str, retry: Retry) -> End {
    End::Fails { status, code, retry }
}

impl Row {
    /// Returns the name that `FAULT` takes.
    fn name(&self) -> String {
        format!("{}: {}", format!("{:?}", self.stage).to_lowercase(), self.fault)
    }

    /// Returns the deadlines that must be short in this row, because the row waits for one of them.
    fn short_deadlines(&self) -> &'static [&'static str] {
        let times_out = matches!(self.end, End::Fails { code: "upstream_timeout", .. });
        match self.stage {
            _ if !times_out && !self.fault.contains("silence") => &[],
            Stage::Embed => &["EMBED_TIMEOUT"],
            Stage::Retrieve => &["RETRIEVE_TIMEOUT"],
            Stage::Generate => &["FIRST_TOKEN_TIMEOUT", "GAP_TIMEOUT"],
        }
    }

    /// Returns the method of Gemini that this row tests.
    fn method(&self) -> &'static str {
        if self.stage == Stage::Embed { ":embedContent" } else { ":streamGenerateContent" }
    }
}

/// Holds a server whose dependencies are behind proxies.
struct Rig {
    app: TestApp,
    gemini: FakeGemini,
    qdrant: FakeQdrant,
    to_gemini: FaultyProxy,
    to_qdrant: FaultyProxy,
}

impl Rig {
    async fn start(row: &Row) -> Self {
        let (gemini, qdrant) = (FakeGemini::start().await, FakeQdrant::start().await);
        let (to_gemini, to_qdrant) = (FaultyProxy::start(&gemini.url()), FaultyProxy::start(&qdrant.url()));
        let (gemini_url, qdrant_url) = (to_gemini.url(), to_qdrant.url());
        let mut settings = vec![
            ("GOOGLE_GEMINI_BASE_URL", gemini_url.as_str()),
            ("QDRANT_URL", qdrant_url.as_str()),
            ("QDRANT_API_KEY", "qdrant-key"),
            ("READY_INTERVAL", "1h"),
            ("ANSWER_TIMEOUT", "10m"),
        ];
        // A busy machine takes long for 200,000 events; only a row that waits for a deadline has a short one.
        let short = row.short_deadlines();
        let deadline = |name| (name, if short.contains(&name) { "700ms" } else { "10m" });
        settings.extend(DEADLINES.map(deadline));
        let app = spawn(Config::serve(&production_vars(&gemini, &qdrant, &settings)).unwrap()).await;
        Self { app, gemini, qdrant, to_gemini, to_qdrant }
    }

    /// Causes a fault; returns the number of scripted answers of Gemini.
    async fn break_stage(&self, row: &Row, cause: Cause) -> Option<usize> {
        match (row.stage, cause) {
            (Stage::Retrieve, Cause::Connection(fault)) => self.to_qdrant.break_for("", fault).await,
            (Stage::Embed, Cause::Connection(Fault::Refuse)) => {
                self.to_gemini.break_for("", Fault::Refuse).await;
            }
            // The port closes after the embedding.
            (Stage::Generate, Cause::Connection(Fault::Refuse)) => {
                self.to_gemini.break_for(":embedContent", Fault::Refuse).await;
            }
            (_, Cause::Connection(fault)) => self.to_gemini.break_for(row.method(), fault).await,
            (stage, Cause::Replies(replies)) => {
                let count = replies.len();
                for reply in replies {
                    if stage == Stage::Embed {
                        self.gemini.on_embed(reply)
                    } else {
                        self.gemini.on_generate(reply)
                    };
                }
                return Some(count);
            }
            (_, Cause::Qdrant(change)) => self.qdrant.change(change),
        }
        None
    }

    /// Ends all faults.
    async fn heal(&self) {
        self.to_gemini.heal().await;
        self.to_qdrant.heal().await;
        self.gemini.clear_scripts();
        self.qdrant.change(|behaviour| *behaviour = Behaviour::default());
    }

    /// Returns the bytes of a response.
    async fn exchange(&self, form: &str) -> String {
        let mut socket = TcpStream::connect(&self.app.address).await.unwrap();
        let body = json!({"query": "How?"}).to_string();
        let request = post_head(body.len(), &format!("Connection: close\r\nAccept: {form}")) + &body;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// Returns the last event of a stream, which must be its only terminal one, or the one object of any other
/// body.
fn terminal_event(head: &str, body: &str) -> Value {
    let data = if head.contains(STREAM) {
        let frames: Vec<&str> = body.lines().filter(|line| line.starts_with("event: ")).collect();
        let ends = |frame: &&&str| ["event: done", "event: error"].contains(*frame);
        assert_eq!(frames[0], "event: sources", "{frames:?}");
        assert_eq!(frames.iter().filter(ends).count(), 1, "{frames:?}");
        assert!(ends(&frames.last().unwrap()), "{frames:?}");
        body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap()
    } else {
        body.lines().max_by_key(|line| line.len()).unwrap()
    };
    serde_json::from_str(data).unwrap()
}

/// Checks the status, the headers and the end of a whole response in either form.
fn assert_end(row: &Row, form: &str, response: &str) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let wait = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
    let terminal = terminal_event(&head, body);
    match row.end {
        End::Finishes(reason) => {
            assert_eq!(status, 200, "the status of {terminal}");
            assert_eq!(terminal["finish_reason"], reason, "the finish reason of {terminal}");
        }
        End::Fails { status: failure, code, retry } => {
            let after_the_head = form == STREAM && row.stage == Stage::Generate;
            let expected = match retry {
                Retry::After(seconds) => Some(seconds),
                Retry::No | Retry::Yes => None,
            };
            assert_eq!(status, if after_the_head { 200 } else { failure }, "the status of {terminal}");
            assert_eq!(terminal["code"], code, "the code of {terminal}");
            assert_eq!(terminal["status"], failure, "the status in {terminal}");
            assert_eq!(terminal["retryable"], !matches!(retry, Retry::No), "retryable in {terminal}");
            assert_eq!(terminal["retry_after"].as_u64(), expected, "retry_after in {terminal}");
            if !after_the_head {
                let expected = expected.map(|seconds| seconds.to_string());
                assert_eq!(wait, expected.as_deref(), "Retry-After of {terminal}");
                assert!(head.contains("content-type: application/problem+json"), "{head}");
            }
        }
    }
}

/// Runs one row in one form, and returns how long its response took.
async fn run(row: &Row, form: &str) -> Duration {
    let rig = Rig::start(row).await;
    let cause = (row.cause)();
    let breaks_connection = matches!(cause, Cause::Connection(_));
    let scripted = rig.break_stage(row, cause).await;
    let began = Instant::now();
    let exchanged = tokio::time::timeout(10 * PATIENCE, rig.exchange(form)).await;
    let response = exchanged.expect("the response has no end");
    let took = began.elapsed();
    assert_end(row, form, &response);
    for secret in SECRETS {
        assert!(!response.contains(secret), "{secret:?} in {response}");
    }
    within(rig.gemini.wait_until_closed()).await;
    if let Some(scripted) = scripted {
        let asked = rig.gemini.requests_to(row.method()).len();
        let passed = matches!(row.end, End::Finishes(_)) && asked == scripted + 1;
        assert!(asked == scripted || passed, "{asked} calls of {}", row.method());
    }
    // A connection may be kept after a whole answer, and may not be kept after a broken one.
    let broken = if row.stage == Stage::Retrieve { &rig.to_qdrant } else { &rig.to_gemini };
    let open = || if breaks_connection { broken.open_connections() } else { 0 };
    eventually(async || rig.app.app.permits.taken() + open() == 0).await;
    rig.heal().await;
    eventually(async || rig.app.ask_json("How?").await.0 == 200).await;
    took
}

/// Returns the rows that `FAULT` names, or all.
fn selected_rows() -> Vec<&'static Row> {
    let Ok(name) = std::env::var("FAULT") else { return MATRIX.iter().collect() };
    let rows: Vec<&Row> = MATRIX.iter().filter(|row| row.name() == name || row.fault == name).collect();
    let names: Vec<String> = MATRIX.iter().map(Row::name).collect();
    assert!(!rows.is_empty(), "FAULT={name:?} is none of these:\n{}", names.join("\n"));
    rows
}

/// Runs one row in one form; returns the message of a failed assertion as an error, so that other rows still
/// run.
async fn run_apart(row: &Row, form: &str) -> Result<Duration, String> {
    AssertUnwindSafe(run(row, form)).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_stage_ends_in_one_clear_way() {
    let rows = selected_rows();
    let cells = rows.iter().flat_map(|row| FORMS.map(|form| (*row, form)));
    let runs = futures::stream::iter(cells).map(async |(row, form)| (run_apart(row, form).await, row, form));
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    for (outcome, row, form) in runs.buffer_unordered(CONCURRENT_RUNS).collect::<Vec<_>>().await {
        match outcome {
            Ok(took) => times.push((took, row.name(), form)),
            Err(message) => failures.push(format!("{}, {form}: {message}", row.name())),
        }
    }
    times.sort_by_key(|(took, ..)| std::cmp::Reverse(*took));
    for (took, name, form) in times.iter().take(5) {
        println!("{took:>10.0?}  {name}, {form}");
    }
    println!("{} faults in two forms", rows.len());
    let (failed, all) = (failures.len(), rows.len() * FORMS.len());
    assert!(failures.is_empty(), "{failed} of {all} runs failed:\n\n{}", failures.join("\n\n"));
}

#[test]
fn no_two_faults_have_one_name() {
    let mut names: Vec<String> = MATRIX.iter().map(Row::name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), MATRIX.len());
}
