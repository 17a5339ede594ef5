//! Shows the pages of a documentation folder as plain HTML, for the demo. Addresses and anchors are those of
//! the real site, so that a citation opens its heading.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::blocks::{Block, Links};
use super::folder::SkippedFile;
use super::page::{Root, choose_title, escaped_address};
use super::{Docs, mdx, routes};

/// Lists the pages of one root by their addresses.
#[derive(Debug, Clone)]
pub struct DemoSite {
    docs: Docs,
    /// Pages, in the order in which their files are read.
    pub pages: Vec<DemoPage>,
    /// Addresses of the pages by file.
    addresses: HashMap<String, String>,
}

/// Names a page of a [`DemoSite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoPage {
    /// Path of the page on the server.
    pub address: String,
    /// Title, as text.
    pub title: String,
    /// File of the page.
    pub file: String,
}

impl DemoSite {
    /// Reads every page once for its address and title; drafts, unlisted pages and files that cannot be read
    /// are left out.
    pub fn new(docs: Docs, root: &Root) -> Self {
        let page = |file: &&str| {
            let (front_matter, blocks) = docs.read_blocks(file, &Links::Drop).ok()?;
            let address = escaped_address(root, file, &front_matter);
            let title = choose_title(file, &front_matter, &blocks);
            (!front_matter.is_hidden).then(|| DemoPage { address, title, file: (*file).to_owned() })
        };
        let pages: Vec<DemoPage> = docs.files().iter().filter_map(page).collect();
        let addresses = pages.iter().map(|page| (page.file.clone(), page.address.clone())).collect();
        Self { docs, pages, addresses }
    }

    /// Finds the page at a path, which is escaped as a browser sends it.
    pub fn find(&self, path: &str) -> Option<&DemoPage> {
        let plain =
            |path: &str| percent_decode_str(path.trim_end_matches('/')).decode_utf8_lossy().into_owned();
        let wanted = plain(path);
        self.pages.iter().find(|page| plain(&page.address) == wanted)
    }

    /// Renders the content of a page as HTML, with the anchors that its passages name. Raw HTML and scripts are
    /// never part of the result.
    ///
    /// # Errors
    ///
    /// Returns the reason why the file cannot be read now.
    pub fn render_content(&self, page: &DemoPage) -> Result<String, SkippedFile> {
        let link =
            |target: &str| routes::rewrite_link(target, &page.file, |file| self.addresses.get(file).cloned());
        let (_, blocks) = self.docs.read_blocks(&page.file, &Links::Keep(&link))?;
        let has_title = matches!(blocks.first(), Some(Block::Heading { level: 1, .. }));
        let title = (!has_title).then(|| format!("<h1>{}</h1>\n", escape_html(&page.title)));
        Ok(title.into_iter().chain(blocks.iter().map(render_block)).collect())
    }
}

fn render_block(block: &Block) -> String {
    match block {
        Block::Heading { level: 1, text, .. } => format!("<h1>{}</h1>\n", escape_html(text)),
        Block::Heading { level, text, anchor } => {
            format!("<h{level} id=\"{}\">{}</h{level}>\n", escape_html(anchor), escape_html(text))
        }
        Block::Text(text) => {
            let html = mdx::to_html(text);
            format!("{html}\n")
        }
    }
}

/// Escapes a text for an element or an attribute of HTML.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::{Folder, ROUTE_BASE};
    use super::*;

    fn root() -> Root {
        Root { route_base: ROUTE_BASE.to_owned(), ..Root::default() }
    }

    #[test]
    fn every_link_within_the_handbook_leads_to_a_page_and_a_heading() {
        let site = DemoSite::new(Docs::Handbook, &root());
        for page in &site.pages {
            let html = site.render_content(page).unwrap();
            for target in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if target.starts_with("http") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { &page.address } else { path };
                let Some(there) = site.find(path) else {
                    panic!("{} links to {target}: no such page", page.file)
                };
                let there = site.render_content(there).unwrap();
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
        let site = DemoSite::new(Docs::Folder(Folder::open(folder.path()).unwrap()), &root());
        let html = site.render_content(site.find("/docs/a%20b/").unwrap()).unwrap();
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
