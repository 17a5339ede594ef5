//! Reads documentation pages and cuts them into passages. The room knows no index and no provider.
//!
//! ```text
//! Docs ─file─▶ source ─front_matter─▶ body ─docusaurus_mdx, mdx, blocks─▶ headings and texts
//!      ─routes, chunks─▶ DocPage (address, title, chunks) ─▶ PagePassage, one for each chunk
//! ```
//!
//! [`site`] shows the same pages as HTML, for the demo.

mod blocks;
mod chunks;
mod docusaurus_mdx;
mod folder;
mod front_matter;
mod mdx;
mod page;
mod pattern;
mod routes;
pub mod site;

use blocks::{Block, Links};
use front_matter::FrontMatter;

pub use chunks::{MAX_PASSAGE_TOKENS, PageChunk};
pub use folder::{Folder, SkippedFile};
pub use page::{DocPage, EmbeddedText, ImportedSources, PagePassage, Root};

/// Bundled handbook: file names and sources, in the order of its sidebar.
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

/// Default path of the pages on a site, as in Docusaurus.
pub const ROUTE_BASE: &str = "/docs";

/// Selects the source of pages.
#[derive(Debug, Clone)]
pub enum Docs {
    /// The handbook in the binary.
    Handbook,
    /// A folder on disk.
    Folder(Folder),
}

impl Docs {
    /// Lists the files, in the order in which they are read.
    pub fn files(&self) -> Vec<&str> {
        match self {
            Self::Handbook => HANDBOOK.iter().map(|(file, _)| *file).collect(),
            Self::Folder(folder) => folder.files.iter().map(String::as_str).collect(),
        }
    }

    /// Lists the files without the `skipped` ones.
    pub fn files_except(&self, skipped: &[SkippedFile]) -> Vec<&str> {
        let is_skipped = |file: &str| skipped.iter().any(|skipped| skipped.file == file);
        self.files().into_iter().filter(|file| !is_skipped(file)).collect()
    }

    /// Reads the source of a file.
    ///
    /// # Errors
    ///
    /// Returns the reason why the file cannot be read.
    pub fn read_source(&self, file: &str) -> Result<String, SkippedFile> {
        match self {
            Self::Handbook => {
                let found = HANDBOOK.iter().find(|(name, _)| *name == file);
                let missing = || SkippedFile { file: file.to_owned(), cause: "it is not bundled".to_owned() };
                found.map(|(_, source)| (*source).to_owned()).ok_or_else(missing)
            }
            Self::Folder(folder) => folder.read_source(file),
        }
    }

    /// Reads the page of a file; `None` for a draft and an unlisted page, to which readers are not sent.
    ///
    /// # Errors
    ///
    /// Returns the reason why the file cannot be read.
    pub fn read_page(&self, root: &Root, file: &str) -> Result<Option<DocPage>, SkippedFile> {
        let (front_matter, blocks) = self.read_blocks(file, &Links::Drop)?;
        Ok(DocPage::new(root, file, &front_matter, blocks))
    }

    /// Reads the pages one after the other, without the `skipped` files and the files that cannot be read now.
    pub fn pages<'a>(
        &'a self,
        root: &'a Root,
        skipped: &'a [SkippedFile],
    ) -> impl Iterator<Item = DocPage> + 'a {
        self.files_except(skipped).into_iter().filter_map(|file| self.read_page(root, file).ok().flatten())
    }

    /// Reads the front matter of a file and the blocks of its page.
    ///
    /// # Errors
    ///
    /// Returns the reason why the file cannot be read.
    fn read_blocks(&self, file: &str, links: &Links<'_>) -> Result<(FrontMatter, Vec<Block>), SkippedFile> {
        let source = self.read_source(file)?;
        page::read_blocks(file, &source, &|file| self.read_imported(file), links)
            .map_err(|cause| SkippedFile { file: file.to_owned(), cause })
    }

    /// Reads the source of a file that a page imports; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// Returns the reason why the file cannot be read.
    fn read_imported(&self, file: &str) -> Result<Option<String>, SkippedFile> {
        match self {
            Self::Folder(folder) if folder.path.join(file).exists() => self.read_source(file).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_handbook_is_bundled() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/docusaurus/docs");
        let mut bundled: Vec<&str> = HANDBOOK.iter().map(|(file, _)| *file).collect();
        bundled.sort_unstable();
        assert_eq!(Folder::open(folder.as_ref()).unwrap().files, bundled);
    }

    #[test]
    fn a_file_that_is_not_bundled_is_named() {
        let refused = Docs::Handbook.read_source("none.md").unwrap_err();
        assert_eq!(refused.to_string(), "none.md: it is not bundled");
    }

    #[test]
    fn skipped_files_are_left_out_of_the_list() {
        let skipped = SkippedFile { file: "intro.md".to_owned(), cause: String::new() };
        let files = Docs::Handbook.files_except(&[skipped]);
        assert_eq!((files.len(), files.contains(&"intro.md")), (HANDBOOK.len() - 1, false));
    }
}
