//! Prepares a folder of pages, a fake Gemini that embeds them, and an index of either kind for them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use docent::app::App;
use docent::chat::{Filter, FilterValue, Passage};
use docent::config::{Config, Vars};
use docent::docs::{Docs, Folder, Root};
use docent::indexing::{Error, IndexJob, RunProgress, RunSummary, run};
use docent::provider::Task;
use docent::retrieval::{Index, Search};
use docent::startup::reach_embedding;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::support::app::test_vars;
use crate::support::edge_qdrant::EdgeQdrant;
use crate::support::fake_gemini::FakeGemini;

/// Lists the two kinds of index, which behave alike.
pub const BOTH: [Kind; 2] = [Kind::Embedded, Kind::Remote];

/// Names a kind of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Remote,
}

/// Holds the pages, the fakes and the settings of a run of indexing.
pub struct IndexFixture {
    pub kind: Kind,
    pub gemini: FakeGemini,
    pub qdrant: EdgeQdrant,
    pages: tempfile::TempDir,
    data: tempfile::TempDir,
    more_settings: Vec<(&'static str, &'static str)>,
}

impl IndexFixture {
    /// Starts the fakes, without a page.
    pub async fn start(kind: Kind) -> Self {
        let (pages, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (gemini, qdrant) = (FakeGemini::start().await, EdgeQdrant::start().await);
        Self { kind, gemini, qdrant, pages, data, more_settings: Vec::new() }
    }

    /// Adds a setting for the runs to come.
    pub fn set(&mut self, name: &'static str, value: &'static str) {
        self.more_settings.push((name, value));
    }

    /// Writes a page.
    pub fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.pages.path().join(file), text).unwrap();
    }

    /// Writes a page with `count` sections, each its own passage.
    pub fn write_sections(&self, file: &str, count: usize) {
        let sections = (0..count).map(|n| format!("## Part {n}\n\nIt is about word{n} alone.\n\n"));
        self.write(file, sections.collect::<String>());
    }

    /// Removes a page.
    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.pages.path().join(file)).unwrap();
    }

    /// Returns the folder of pages.
    pub fn pages(&self) -> &Path {
        self.pages.path()
    }

    /// Returns the folder of the index, `DOCENT_DATA`.
    pub fn data(&self) -> PathBuf {
        self.data.path().join("index")
    }

    /// Returns the variables that lead to the fixture's servers or folder.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let place = match self.kind {
            Kind::Embedded => ("DOCENT_DATA", self.data().display().to_string()),
            Kind::Remote => ("QDRANT_URL", self.qdrant.url()),
        };
        let key = ("GEMINI_API_KEY", "AIza-secret".to_owned());
        let more = self.more_settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        [key, ("GOOGLE_GEMINI_BASE_URL", self.gemini.url()), place].into_iter().chain(more).collect()
    }

    /// Returns [`Self::variables`] as settings.
    pub fn vars(&self) -> Vars {
        let variables = self.variables();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        test_vars(&variables)
    }

    /// Starts the binary's `index` over the pages; it dies with the test.
    pub fn spawn_binary(&self, stderr: Stdio) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docent"));
        command.arg("index").arg(self.pages()).env_clear().envs(self.variables()).current_dir(self.pages());
        command.stderr(stderr).kill_on_drop(true).spawn().unwrap()
    }

    /// Indexes the pages as [`root`].
    pub async fn run(&self) -> Result<RunSummary, Error> {
        self.run_as(&root()).await
    }

    /// Indexes the pages as this root.
    pub async fn run_as(&self, root: &Root) -> Result<RunSummary, Error> {
        self.run_until(root, &CancellationToken::new()).await
    }

    /// Indexes the pages as this root, until `stop`.
    pub async fn run_until(&self, root: &Root, stop: &CancellationToken) -> Result<RunSummary, Error> {
        self.run_over(self.pages(), root, stop).await
    }

    /// Indexes any folder as this root, until `stop`.
    pub async fn run_over(
        &self,
        pages: &Path,
        root: &Root,
        stop: &CancellationToken,
    ) -> Result<RunSummary, Error> {
        let config = Config::index(&self.vars()).unwrap();
        let docs = Docs::Folder(Folder::open(pages).unwrap());
        let embedding = reach_embedding(&config).await.unwrap();
        let job = IndexJob { docs: &docs, root, index: &config.index, embedding: &embedding };
        run(job, &mut RunProgress::Silent, stop).await
    }

    /// Returns the requests for embeddings that Gemini got, a batch for each call.
    pub fn batches(&self) -> Vec<Vec<Value>> {
        let sent = self.gemini.requests_to(":batchEmbedContents");
        sent.into_iter().map(|sent| sent.body["requests"].as_array().unwrap().clone()).collect()
    }

    /// Builds the state from which `serve` would answer.
    pub async fn app(&self) -> Arc<App> {
        App::build(Config::serve(&self.vars()).unwrap()).await.unwrap()
    }

    /// Returns the sentence with which `serve` refuses to start.
    pub async fn start_refusal(&self) -> String {
        App::build(Config::serve(&self.vars()).unwrap()).await.unwrap_err().to_string()
    }

    /// Returns the addresses of the passages that `serve` would find.
    pub async fn find(&self, text: &str, filter: &[(&str, &str)]) -> Vec<String> {
        let passages = search(&*self.app().await, text, filter).await;
        passages.into_iter().map(|passage| passage.url).collect()
    }
}

/// Returns the root that is indexed unless a test names another.
pub fn root() -> Root {
    let filter_keys = vec!["version".to_owned(), "language".to_owned()];
    Root { route_base: "/docs".to_owned(), filter_keys, ..Root::default() }
}

/// Returns the twenty best passages.
pub async fn search(app: &App, text: &str, filter: &[(&str, &str)]) -> Vec<Passage> {
    let value = |value: &str| vec![FilterValue::Text(value.to_owned())];
    let filter: Filter = filter.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect();
    let index = &app.rag.index;
    let vector = app.rag.provider.embedding.embed(text, Task::Query, index.dimensions()).await.unwrap();
    index.search(Search { text: text.to_owned(), vector, top_k: 20, filter }).await.unwrap()
}

/// Applies the changes of the index, as the background check of `/ready` does.
pub async fn refresh(index: &Index) {
    index.refresh(index.ping().await.unwrap().as_ref()).await;
}
