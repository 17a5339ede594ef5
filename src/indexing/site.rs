//! The pages of a documentation folder as the demo serves them: plain, but with the addresses and anchors of the real site,
//! so that a citation opens its heading.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::markdown::{Block, Links};
use super::page::{address, title};
use super::{Docs, Root, Skipped, parser, routes};

/// The pages of one root.
#[derive(Debug, Clone)]
pub struct Site {
    docs: Docs,
    /// Its pages, in the order in which their files are read.
    pub pages: Vec<SitePage>,
    /// Addresses by file.
    addresses: HashMap<String, String>,
}

/// A page of a [`Site`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePage {
    /// Its path on the server.
    pub address: String,
    /// Its title, as text.
    pub title: String,
    /// The file it is made of.
    pub file: String,
}

impl Site {
    /// Finds out which page is where; files that cannot be read are left out.
    pub fn new(docs: Docs, root: &Root) -> Self {
        let page = |file: &&str| {
            let (matter, blocks) = docs.blocks(file, &Links::Drop).ok()?;
            let (address, title) = (address(root, file, &matter), title(file, &matter, &blocks));
            (!matter.hidden).then(|| SitePage { address, title, file: (*file).to_owned() })
        };
        let pages: Vec<SitePage> = docs.files().iter().filter_map(page).collect();
        let addresses = pages.iter().map(|page| (page.file.clone(), page.address.clone())).collect();
        Self { docs, pages, addresses }
    }

    /// The page at a path as a browser sends it.
    pub fn find(&self, path: &str) -> Option<&SitePage> {
        let plain =
            |path: &str| percent_decode_str(path.trim_end_matches('/')).decode_utf8_lossy().into_owned();
        let wanted = plain(path);
        self.pages.iter().find(|page| plain(&page.address) == wanted)
    }

    /// A page's content as HTML, with the anchors that its passages name. Raw HTML and scripts are never passed on.
    ///
    /// # Errors
    ///
    /// Why the file cannot be read now.
    pub fn html(&self, page: &SitePage) -> Result<String, Skipped> {
        let link = |target: &str| routes::link(target, &page.file, |file| self.addresses.get(file).cloned());
        let (_, blocks) = self.docs.blocks(&page.file, &Links::Keep(&link))?;
        let has_title = matches!(blocks.first(), Some(Block::Heading { level: 1, .. }));
        let title = (!has_title).then(|| format!("<h1>{}</h1>\n", escape(&page.title)));
        Ok(title.into_iter().chain(blocks.iter().map(block)).collect())
    }
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading { level: 1, text, .. } => format!("<h1>{}</h1>\n", escape(text)),
        Block::Heading { level, text, anchor } => {
            format!("<h{level} id=\"{}\">{}</h{level}>\n", escape(anchor), escape(text))
        }
        Block::Text(text) => {
            let html = parser::html(text);
            format!("{html}\n")
        }
    }
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::{Folder, HANDBOOK, ROUTE_BASE};
    use super::*;

    fn root() -> Root {
        Root { route_base: ROUTE_BASE.to_owned(), ..Root::default() }
    }

    #[test]
    fn every_page_of_the_handbook_is_bundled() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/docusaurus/docs");
        let mut bundled: Vec<&str> = HANDBOOK.iter().map(|(file, _)| *file).collect();
        bundled.sort_unstable();
        assert_eq!(Folder::open(folder.as_ref()).unwrap().files, bundled);
    }

    #[test]
    fn every_link_within_the_handbook_leads_to_a_page_and_a_heading() {
        let site = Site::new(Docs::Handbook, &root());
        for page in &site.pages {
            let html = site.html(page).unwrap();
            for target in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if target.starts_with("http") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { &page.address } else { path };
                let Some(there) = site.find(path) else {
                    panic!("{} links to {target}: no such page", page.file)
                };
                let there = site.html(there).unwrap();
                assert!(
                    anchor.is_empty() || there.contains(&format!("id=\"{anchor}\"")),
                    "{} links to {target}: no such heading",
                    page.file
                );
            }
        }
    }

    #[test]
    fn a_page_has_the_anchors_of_its_passages_and_nothing_that_runs() {
        let folder = tempfile::tempdir().unwrap();
        let source = "---\ntitle: A & B\n---\n## Set up {#own}\n\n[x](y.md#z) [e](javascript:alert(1)) <b>hi</b>\n\n<script>alert(1)</script>\n\n\
            | a |\n|--:|\n| `b` |\n";
        std::fs::write(folder.path().join("a b.md"), source).unwrap();
        std::fs::write(folder.path().join("y.md"), "## Z\n\nx").unwrap();
        let site = Site::new(Docs::Folder(Folder::open(folder.path()).unwrap()), &root());
        let html = site.html(site.find("/docs/a%20b/").unwrap()).unwrap();
        assert!(html.starts_with("<h1>A &amp; B</h1>\n<h2 id=\"own\">Set up</h2>"), "{html}");
        assert!(html.contains("href=\"/docs/y#z\"") && html.contains("hi"), "{html}");
        assert!(
            !html.contains("<script") && !html.contains("javascript:") && !html.contains("style="),
            "{html}"
        );
        assert!(html.contains("<code>b</code></td>"), "{html}");
        assert!(site.find("/docs/none").is_none());
    }
}
