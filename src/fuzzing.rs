//! Checks what the fuzzer's targets (`tests/fuzz`) feed to functions that are private otherwise. Compiled only
//! with `--cfg fuzzing`.

use bytes::Bytes;

use crate::docs::{DocPage, ROUTE_BASE, Root};
use crate::provider::Finish;
use crate::provider::gemini::wire::Decoder;
use crate::provider::upstream::sse::EventReader;

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

/// Decodes the body of a Gemini stream whole and cut into pieces, and checks that both give the same.
///
/// # Panics
///
/// Two readings that differ.
pub fn check_gemini_stream(body: &[u8], cuts: &[u8]) {
    let (mut pieces, mut left) = (Vec::new(), body);
    for cut in cuts {
        let (piece, after) = left.split_at(usize::from(*cut).min(left.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        left = after;
    }
    pieces.push(Bytes::copy_from_slice(left));
    assert_eq!(decode_gemini(pieces), decode_gemini(vec![Bytes::copy_from_slice(body)]));
}

/// Returns the texts of a stream, if it broke, and how it ended.
fn decode_gemini(pieces: Vec<Bytes>) -> (Vec<String>, bool, Option<Finish>) {
    let mut events = EventReader::new(futures::stream::iter(pieces.into_iter().map(Ok::<_, ()>)));
    let (mut decoder, mut texts) = (Decoder::default(), Vec::new());
    let broken = futures::executor::block_on(async {
        while let Some(event) = events.next().await {
            match event.ok().and_then(|data| decoder.push(&data).ok()) {
                Some(text) => texts.push(text),
                None => return true,
            }
        }
        false
    });
    (texts, broken, decoder.finish("model"))
}
