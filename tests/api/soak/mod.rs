//! Runs a mixed load against the binary while its dependencies break at random and its readers come and go.
//!
//! `tests/soak.sh` runs the load for ten minutes; among the other tests it takes ten seconds. `SOAK_SECONDS`
//! sets the length, `SOAK_SEED` the seed of the dice, and `DOCENT_BIN` another binary.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;

use crate::support::wait::eventually;
use world::{Counts, Dice, KEPT_BYTES, PERMITS, READERS, World};

/// Returns the length of the load, `SOAK_SECONDS` or 10.
fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS").ok().map_or(10, |seconds| seconds.parse().unwrap())
}

/// Returns the seed of the dice, `SOAK_SEED` or the time.
fn seed() -> u64 {
    let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    std::env::var("SOAK_SEED").ok().map_or_else(clock, |seed| seed.parse().unwrap())
}

/// Converts bytes to MiB.
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Returns the median and the 99th percentile.
fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    format!("p50 {:.1?}, p99 {:.1?}", times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_lost_or_left_open_whatever_breaks() {
    let (seconds, seed) = (seconds(), seed());
    println!("SOAK_SECONDS={seconds} SOAK_SEED={seed}");
    let world = Arc::new(World::new().await);
    world.read("nonce-warm-up0", "application/json", Instant::now()).await;
    let start = world.memory_and_files();
    let began = Instant::now();
    let peak = Arc::new(Mutex::new(start));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..READERS {
        let world = Arc::clone(&world);
        tasks.spawn(async move { world.run_readers(number, Dice(seed ^ (number << 32))).await });
    }
    tasks.spawn({
        let world = Arc::clone(&world);
        async move { world.break_things(Dice(seed)).await }
    });
    tasks.spawn({
        let (world, peak) = (Arc::clone(&world), Arc::clone(&peak));
        async move {
            while !world.is_stopped() {
                let (memory, files) = world.memory_and_files();
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
        course.push(format!("{:.1}", mebibytes(world.memory_and_files().0)));
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
    // The remaining connections are kept for the next question; once they are cut, all must go.
    world.heal().await;
    eventually(async || world.memory_and_files().1 <= start.1 + 4).await;
    let (end, peak) = (world.memory_and_files(), *peak.lock().await);
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

/// Prints figures, which are no promise; `tests/soak.sh` runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; tests/soak.sh runs it"]
async fn figures_of_leaving_and_of_shedding() {
    let world = Arc::new(World::new().await);
    let mut all = Vec::new();
    for stage in ["embed", "retrieve", "generate, before a token", "generate, after a token"] {
        for accept in ["application/json", "text/event-stream"] {
            let mut gone = Vec::new();
            for number in 0..100 {
                gone.push(world.time_to_close(stage, accept, number).await);
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
