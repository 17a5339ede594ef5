//! From Markdown pages to an index.
//!
//! ```text
//! Folder ─files─▶ Page (front matter, address, blocks, chunks) ─entries─▶ embedded in batches ─▶ Target (remote or embedded)
//! ```

mod chunks;
mod dialect;
mod folder;
mod markdown;
mod matter;
mod page;
mod parser;
mod progress;
mod routes;
mod run;
mod site;

use regex::Regex;

use markdown::{Block, Links};
use matter::Matter;

pub use folder::{Folder, Skipped};
pub use page::{Entry, Page, Root};
pub use progress::Progress;
pub use run::{Error, Job, Summary, run, survey};
pub use site::{Site, SitePage, escape};

/// The bundled handbook: file names and sources, in the order of its sidebar.
const HANDBOOK: &[(&str, &str)] = &[
    ("intro.md", include_str!("../../examples/docusaurus/docs/intro.md")),
    ("try-it.md", include_str!("../../examples/docusaurus/docs/try-it.md")),
    ("docusaurus.md", include_str!("../../examples/docusaurus/docs/docusaurus.md")),
    ("widget.md", include_str!("../../examples/docusaurus/docs/widget.md")),
    ("deploy.md", include_str!("../../examples/docusaurus/docs/deploy.md")),
    ("operate.md", include_str!("../../examples/docusaurus/docs/operate.md")),
    ("index-your-docs.md", include_str!("../../examples/docusaurus/docs/index-your-docs.md")),
    ("reindex-from-ci.md", include_str!("../../examples/docusaurus/docs/reindex-from-ci.md")),
    ("configure.md", include_str!("../../examples/docusaurus/docs/configure.md")),
    ("http-api.md", include_str!("../../examples/docusaurus/docs/http-api.md")),
    ("stream.md", include_str!("../../examples/docusaurus/docs/stream.md")),
    ("errors.md", include_str!("../../examples/docusaurus/docs/errors.md")),
    ("how-it-works.md", include_str!("../../examples/docusaurus/docs/how-it-works.md")),
    ("grounding.md", include_str!("../../examples/docusaurus/docs/grounding.md")),
];

/// Where pages are unless the operator says otherwise, as in Docusaurus.
pub const ROUTE_BASE: &str = "/docs";

/// Where pages come from.
#[derive(Debug, Clone)]
pub enum Docs {
    /// The handbook in the binary.
    Handbook,
    /// A folder.
    Folder(Folder),
}

impl Docs {
    /// The files, in the order in which they are read.
    pub fn files(&self) -> Vec<&str> {
        match self {
            Self::Handbook => HANDBOOK.iter().map(|(file, _)| *file).collect(),
            Self::Folder(folder) => folder.files.iter().map(String::as_str).collect(),
        }
    }

    /// A file's source.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn source(&self, file: &str) -> Result<String, Skipped> {
        match self {
            Self::Handbook => {
                let found = HANDBOOK.iter().find(|(name, _)| *name == file);
                let missing = || Skipped { file: file.to_owned(), cause: "it is not bundled".to_owned() };
                found.map(|(_, source)| (*source).to_owned()).ok_or_else(missing)
            }
            Self::Folder(folder) => folder.source(file),
        }
    }

    /// A file's page; `None` for one that readers are not led to.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn page(&self, root: &Root, file: &str) -> Result<Option<Page>, Skipped> {
        let (matter, blocks) = self.blocks(file, &Links::Drop)?;
        Ok(Page::new(root, file, &matter, blocks))
    }

    /// A file's front matter and the blocks of its page.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    fn blocks(&self, file: &str, links: &Links<'_>) -> Result<(Matter, Vec<Block>), Skipped> {
        let source = self.source(file)?;
        page::blocks(file, &source, &|file| self.imported(file), links)
            .map_err(|cause| Skipped { file: file.to_owned(), cause })
    }

    /// The source of a file that a page imports; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    fn imported(&self, file: &str) -> Result<Option<String>, Skipped> {
        match self {
            Self::Folder(folder) if folder.path.join(file).exists() => self.source(file).map(Some),
            _ => Ok(None),
        }
    }

    /// The pages one after the other, but for the `skipped` files.
    pub fn pages<'a>(&'a self, root: &'a Root, skipped: &'a [Skipped]) -> impl Iterator<Item = Page> + 'a {
        self.files_but(skipped).into_iter().filter_map(|file| self.page(root, file).ok().flatten())
    }

    /// The files but for the `skipped` ones.
    fn files_but(&self, skipped: &[Skipped]) -> Vec<&str> {
        let is_skipped = |file: &str| skipped.iter().any(|skipped| skipped.file == file);
        self.files().into_iter().filter(|file| !is_skipped(file)).collect()
    }
}

/// A pattern written in this room.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each")]
fn pattern(regex: &str) -> Regex {
    Regex::new(regex).expect("a valid pattern")
}

/// Reads any source as a page: its passages have text.
#[cfg(fuzzing)]
pub fn fuzz(source: &str) {
    let root = Root { route_base: ROUTE_BASE.to_owned(), ..Root::default() };
    for file in ["a/page.md", "a/page.mdx"] {
        if let Ok((matter, blocks)) = page::blocks(file, source, &|_| Ok(None), &Links::Drop)
            && let Some(page) = Page::new(&root, file, &matter, blocks)
        {
            for entry in page.entries(&root) {
                assert!(!entry.text.trim().is_empty() && entry.payload.contains_key("url"), "{entry:?}");
            }
        }
    }
}
