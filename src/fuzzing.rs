//! Checks functions that are private otherwise with the inputs of the fuzz targets (`tests/fuzz`). Compiled
//! only with `--cfg fuzzing`.

use bytes::Bytes;

use crate::chat::{MAX_HISTORY_MESSAGES, MAX_QUERY_CHARS, MAX_TOP_K};
use crate::docs::{DocPage, ROUTE_BASE, Root};
use crate::error::Error;
use crate::http::native::request::read_question;
use crate::provider::Finish;
use crate::provider::gemini::wire::Decoder;
use crate::provider::upstream::sse::EventReader;
use crate::rag::search_text;

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

/// Decodes the body of a Gemini stream whole and cut into pieces, and checks that both give the same result.
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

/// Returns the texts of a stream, true if the stream broke, and the reason why it finished.
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

/// Reads any bytes as the body of a request and checks that a question is within its bounds.
pub fn check_request(body: &[u8]) {
    let keys = ["version".to_owned(), "language".to_owned()];
    match read_question(body, &keys) {
        Ok(question) => {
            assert!((1..=MAX_QUERY_CHARS).contains(&question.query().chars().count()));
            assert!((1..=MAX_TOP_K).contains(&question.top_k()));
            assert!(question.history().len() <= MAX_HISTORY_MESSAGES);
            assert!(question.filter().keys().all(|key| keys.contains(key)));
            let _ = search_text::build(&question);
        }
        Err(Error::InvalidRequest(fields)) => assert!(!fields.is_empty()),
        Err(error) => assert!(matches!(error, Error::MalformedJson(_)), "{error}"),
    }
}
