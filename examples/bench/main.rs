//! Measures a built binary: `cargo build --release --bins --examples && target/release/examples/bench
//! target/release/docent`.
//!
//! The program prints the binary's size, the time from the demo's start to a 200 of `/health`, the demo's
//! resident memory when idle and after the questions, and the time from a question to its `sources` event on a
//! fresh and on a kept connection; then the time and memory of indexing, and the time of a search. Compare
//! figures of one run only.

mod index;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;

/// Questions per kind of connection.
const QUESTIONS: usize = 300;
/// Passages of the made-up documentation that is indexed and searched.
const PASSAGES: [usize; 2] = [1_000, 20_000];
/// Starts of the binary.
const STARTS: usize = 10;

/// Holds a running demo, which is stopped when the value is dropped.
struct Demo {
    child: Child,
    url: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // SIGTERM lets the demo remove its temporary index.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let binary = std::env::args().nth(1).context("the path of a built docent as the argument")?;
    let size = std::fs::metadata(&binary).context("no such binary")?.len();
    println!("binary size                  {:.1} MiB", to_mib(size));
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(start_demo(&binary).await?.1);
    }
    print_percentiles("start to /health 200", &mut starts);
    let (demo, _) = start_demo(&binary).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("idle resident memory         {:.1} MiB", to_mib(resident_bytes(&demo)?));
    let kept = reqwest::Client::new();
    let fresh = || reqwest::Client::builder().pool_max_idle_per_host(0).build();
    let (mut on_kept, mut on_fresh) = (Vec::new(), Vec::new());
    for _ in 0..QUESTIONS {
        on_kept.push(time_to_sources(&kept, &demo.url).await?);
        on_fresh.push(time_to_sources(&fresh()?, &demo.url).await?);
    }
    print_percentiles("sources, kept connection", &mut on_kept);
    print_percentiles("sources, fresh connection", &mut on_fresh);
    println!("resident memory afterwards   {:.1} MiB", to_mib(resident_bytes(&demo)?));
    drop(demo);
    for passages in PASSAGES {
        index::measure(&binary, passages).await?;
    }
    Ok(())
}

/// Starts the demo on a free port and waits until it is healthy. Returns the demo and the time from its start
/// to then.
async fn start_demo(binary: &str) -> Result<(Demo, Duration)> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    let began = Instant::now();
    let child = Command::new(binary)
        .args(["demo", "--port", &port.to_string(), "--offline-token-delay-ms", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_remove("GEMINI_API_KEY")
        .env_remove("GOOGLE_API_KEY")
        .spawn()?;
    let demo = Demo { child, url };
    let http = reqwest::Client::new();
    while http.get(format!("{}/health", demo.url)).send().await.is_err() {
        ensure!(began.elapsed() < Duration::from_secs(30), "it does not become healthy");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok((demo, began.elapsed()))
}

/// Measures the time from sending a question to the first bytes of its answer, which are the `sources` event.
async fn time_to_sources(http: &reqwest::Client, url: &str) -> Result<Duration> {
    let body = serde_json::json!({ "query": "How do I put the chat on my Docusaurus site?" });
    let began = Instant::now();
    let request = http.post(format!("{url}/chat")).header("accept", "text/event-stream").json(&body);
    let mut frames = request.send().await?.bytes_stream();
    let first = frames.next().await.context("an empty stream")??;
    let elapsed = began.elapsed();
    ensure!(first.starts_with(b"event: sources\n"), "the stream does not begin with its sources");
    while frames.next().await.transpose()?.is_some() {}
    Ok(elapsed)
}

/// Prints the median and the 99th percentile of `times`.
fn print_percentiles(name: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    println!("{name:<28} p50 {:.1} ms, p99 {:.1} ms, n = {}", at(0.5), at(0.99), times.len());
}

/// Returns the bytes of resident memory, from Linux's `/proc`.
fn resident_bytes(demo: &Demo) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", demo.child.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024)
}

fn to_mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
