//! Measures indexing and searching made-up documentation of a given size: time, memory, and the time of a
//! search with and without a filter, for sparse vectors made offline and for dense ones of 768 values with BM25
//! beside them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use docent::chat::{Filter, FilterValue, Vector};
use docent::config::OFFLINE_MODEL;
use docent::docs::{Docs, Folder, PagePassage, Root};
use docent::indexing::{passage_payload, survey};
use docent::provider::Task;
use docent::provider::offline;
use docent::retrieval::bm25::Analyzer;
use docent::retrieval::embedded::{Build, Embedded};
use docent::retrieval::payload::PayloadReader;
use docent::retrieval::{INDEX_VERSION, Index, Manifest, Point, Search};

use crate::print_percentiles;

/// Searches of each kind.
const SEARCHES: usize = 300;
/// Sections of a page.
const SECTIONS: usize = 10;
/// Size of the dense vectors.
const DIMENSIONS: usize = 768;
const DENSE_MODEL: &str = "made-up";

/// Measures documentation of about `passages` passages.
pub async fn measure(binary: &str, passages: usize) -> Result<()> {
    println!("\n{passages} passages");
    let folder = tempfile::tempdir()?;
    let (docs, data) = (folder.path().join("docs"), folder.path().join("data"));
    write_pages(&docs, passages)?;
    let (elapsed, anonymous) = run_index(binary, &docs, &data)?;
    println!(
        "{:<28} {:.1} s, {anonymous} MiB anonymous memory at most",
        "docent index, offline",
        elapsed.as_secs_f64()
    );
    let sparse = open(&data, OFFLINE_MODEL).await?;
    measure_searches("search, offline", &sparse, |text| Vector::Sparse(offline::embed(text, Task::Query)))
        .await?;
    let dense_data = folder.path().join("dense");
    let began = Instant::now();
    build_dense(&docs, &dense_data)?;
    println!("{:<28} {:.1} s", "build, dense + BM25", began.elapsed().as_secs_f64());
    let dense = open(&dense_data, DENSE_MODEL).await?;
    measure_searches("search, dense + BM25", &dense, |text| Vector::Dense(text_vector(text))).await
}

/// Generates numbers that look random and are equal in every run.
struct Numbers(u64);

impl Numbers {
    /// Returns the next number below `below`.
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// Returns `count` made-up words; few are frequent and many are rare, as in a language.
    fn words(&mut self, count: usize) -> String {
        let word = |numbers: &mut Self| {
            let range = [50, 500, 5_000, 50_000][numbers.next(4)];
            let number = numbers.next(range);
            let syllables = ["ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "ru"];
            number.to_string().bytes().map(|digit| syllables[usize::from(digit - b'0')]).collect::<String>()
        };
        (0..count).map(|_| word(self)).collect::<Vec<_>>().join(" ")
    }
}

/// Writes pages with about `passages` passages.
fn write_pages(docs: &Path, passages: usize) -> Result<()> {
    std::fs::create_dir_all(docs)?;
    let mut numbers = Numbers(7);
    for page in 0..passages.div_ceil(SECTIONS) {
        let language = if page % 2 == 0 { "en" } else { "de" };
        let mut text = format!("---\ntitle: {}\nlanguage_of: {language}\n---\n", numbers.words(3));
        for _ in 0..SECTIONS {
            text.push_str(&format!("\n## {}\n\n{}.\n", numbers.words(4), numbers.words(120)));
        }
        std::fs::write(docs.join(format!("page{page}.md")), text)?;
    }
    Ok(())
}

/// Runs `docent index`. Returns its time and its largest anonymous memory, in MiB.
fn run_index(binary: &str, docs: &Path, data: &Path) -> Result<(Duration, u64)> {
    let began = Instant::now();
    let mut child = Command::new(binary)
        .arg("index")
        .arg(docs)
        .env("EMBEDDING_MODEL", "offline")
        .env("FILTER_KEYS", "language_of")
        .env("DOCENT_DATA", data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut most = 0;
    while child.try_wait()?.is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        most = most.max(kib / 1024);
        std::thread::sleep(Duration::from_millis(10));
    }
    ensure!(child.wait()?.success(), "docent index failed");
    Ok((began.elapsed(), most))
}

/// Builds an index of dense vectors with BM25 beside them.
fn build_dense(docs: &Path, data: &Path) -> Result<()> {
    let root =
        Root { route_base: "/docs".to_owned(), filter_keys: vec!["language_of".to_owned()], ..Root::default() };
    let docs = Docs::Folder(Folder::open(docs).map_err(anyhow::Error::msg)?);
    let manifest = Manifest {
        index_version: INDEX_VERSION,
        model: DENSE_MODEL.to_owned(),
        dimensions: DIMENSIONS,
        languages: Default::default(),
        filter_keys: root.filter_keys.iter().cloned().collect(),
    };
    let mut build = Build::begin(data, manifest, Analyzer::ENGLISH, survey(&docs, &root).chunks)?;
    for page in docs.pages(&root, &[]) {
        let point = |passage: PagePassage| Point {
            id: passage.id,
            vector: Vector::Dense(text_vector(&passage.embedded.text)),
            payload: passage_payload(&root, &passage),
            text: passage.embedded.text,
        };
        build.add(page.passages(&root).into_iter().map(point).collect())?;
    }
    build.publish()?;
    Ok(())
}

/// Returns a dense vector that depends on the text alone.
fn text_vector(text: &str) -> Vec<f32> {
    let mut numbers = Numbers(text.bytes().fold(7, |hash, byte| hash * 31 % 1_000_000_007 + u64::from(byte)));
    (0..DIMENSIONS).map(|_| numbers.next(2_001) as f32 / 1_000.0 - 1.0).collect()
}

async fn open(data: &Path, model: &str) -> Result<Index> {
    Ok(Index::Embedded(Embedded::open(data, model, PayloadReader::default()).await?))
}

/// Measures searches without and with a filter, and prints their times.
async fn measure_searches(name: &str, index: &Index, embed: impl Fn(&str) -> Vector) -> Result<()> {
    let only = Filter::from([("language_of".to_owned(), vec![FilterValue::Text("de".to_owned())])]);
    for (kind, filter) in [("", Filter::new()), (", filtered", only)] {
        let mut numbers = Numbers(11);
        let mut times = Vec::new();
        for _ in 0..SEARCHES {
            let text = numbers.words(8);
            let search = Search { vector: embed(&text), text, top_k: 6, filter: filter.clone() };
            let began = Instant::now();
            let found = index.search(search).await.context("a search failed")?;
            times.push(began.elapsed());
            ensure!(!found.is_empty(), "a search found nothing");
        }
        print_percentiles(&format!("{name}{kind}"), &mut times);
    }
    Ok(())
}
