//! Checks what the fuzzer's targets (`tests/fuzz`) feed to functions that are private otherwise. Compiled with `--cfg fuzzing`
//! only.

use crate::docs::{DocPage, ROUTE_BASE, Root};

/// Reads any source as a page and checks that every passage has text and a path.
pub fn check_page(source: &str) {
    let root = Root { route_base: ROUTE_BASE.to_owned(), ..Root::default() };
    for file in ["a/page.md", "a/page.mdx"] {
        if let Ok(Some(page)) = DocPage::read(&root, file, source, &|_| Ok(None)) {
            for passage in page.passages(&root) {
                let is_whole = !passage.embedded.text.trim().is_empty() && !passage.path.is_empty();
                assert!(is_whole, "{passage:?}");
            }
        }
    }
}
