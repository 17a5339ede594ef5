//! Reads server-sent events from a body: whole lines first, then the events they make up.
//!
//! `eventsource-stream` reads its whole buffer again with every packet, moves it with every line, and holds
//! everything until a blank line, so a body that never ends a line or an event would take all time and memory.
//! Here the parser gets one whole line at a time, so that it reads each byte once, and an event has a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use eventsource_stream::Eventsource as _;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};

/// Bytes of one event and the comments before it; a larger event is unusable. Events with text are small, but
/// an event may carry a thought signature of some hundred kilobytes.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

const LINE_END: Bytes = Bytes::from_static(b"\n");
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Names the reason why no further event comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    /// The connection broke.
    #[error("the connection broke")]
    Connection,
    /// A line that is not UTF-8.
    #[error("an event that is not UTF-8")]
    Utf8,
    /// An event beyond its bound.
    #[error("an event beyond its bound")]
    TooLong,
}

/// Reads the data of each event of a body.
pub(crate) struct EventReader {
    data: BoxStream<'static, Result<String, SseError>>,
    /// Bytes that have come since the last event.
    pending_bytes: Arc<AtomicUsize>,
}

impl EventReader {
    /// Creates a reader of `body`.
    pub(crate) fn new<E: Send + 'static>(body: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self {
        let pending_bytes = Arc::new(AtomicUsize::new(0));
        let lines = Box::pin(split_lines(body, Arc::clone(&pending_bytes)));
        let data = lines.eventsource().map(|event| match event {
            Ok(event) => Ok(event.data),
            Err(eventsource_stream::EventStreamError::Transport(error)) => Err(error),
            Err(_) => Err(SseError::Utf8),
        });
        Self { data: data.boxed(), pending_bytes }
    }

    /// Returns the data of the next event; `None` at the end of the body. Half an event at the end is dropped.
    pub(crate) async fn next(&mut self) -> Option<Result<String, SseError>> {
        // A body may arrive faster than it is read: without this pause no deadline would ever be checked.
        tokio::task::coop::consume_budget().await;
        let next = self.data.next().await;
        self.pending_bytes.store(0, Ordering::Relaxed);
        next
    }
}

/// Cuts a body into lines; bytes after the last line end are dropped.
fn split_lines<E: Send>(
    body: impl Stream<Item = Result<Bytes, E>> + Send,
    pending_bytes: Arc<AtomicUsize>,
) -> impl Stream<Item = Result<Bytes, SseError>> + Send {
    async_stream::try_stream! {
        let mut body = Box::pin(body);
        let mut buffer = LineBuffer::default();
        // The parser drops a byte order mark at its very beginning and panics on a second one there. This line
        // end comes first, so that no mark is at the beginning.
        yield LINE_END;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|_| SseError::Connection)?;
            if pending_bytes.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > MAX_EVENT_BYTES {
                Err(SseError::TooLong)?;
            }
            buffer.bytes.extend_from_slice(&bytes);
            while let Some(line) = buffer.next_line()? {
                yield line;
                yield LINE_END;
            }
        }
    }
}

/// Holds the bytes of a body that do not make a whole line yet.
#[derive(Default)]
struct LineBuffer {
    bytes: BytesMut,
    /// Number of leading bytes that were searched already: no line ends in them.
    searched: usize,
    /// True once the first line was returned.
    has_begun: bool,
}

impl LineBuffer {
    /// Returns the next whole line, without its end.
    fn next_line(&mut self) -> Result<Option<Bytes>, SseError> {
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let Some(at) = self.bytes[self.searched..].iter().position(ends).map(|at| self.searched + at) else {
            self.searched = self.bytes.len();
            return Ok(None);
        };
        let end = match (self.bytes[at], self.bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => at + 2,
            // This byte may be the first half of a line end.
            (b'\r', None) => {
                self.searched = at;
                return Ok(None);
            }
            _ => at + 1,
        };
        self.searched = 0;
        let mut line = self.bytes.split_to(end).freeze().slice(..at);
        if !std::mem::replace(&mut self.has_begun, true) && line.starts_with(BYTE_ORDER_MARK) {
            line = line.slice(BYTE_ORDER_MARK.len()..);
        }
        match std::str::from_utf8(&line) {
            Ok(_) => Ok(Some(line)),
            Err(_) => Err(SseError::Utf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    async fn read(pieces: Vec<Vec<u8>>) -> (Vec<String>, Option<SseError>) {
        let body = stream::iter(pieces.into_iter().map(|piece| Ok::<_, ()>(Bytes::from(piece))));
        let mut events = EventReader::new(body);
        let mut read = Vec::new();
        loop {
            match events.next().await {
                Some(Ok(data)) => read.push(data),
                Some(Err(broken)) => return (read, Some(broken)),
                None => return (read, None),
            }
        }
    }

    #[tokio::test]
    async fn events_are_the_same_however_their_bytes_are_cut() {
        let body = "\u{feff}data: ä\r\n\r\n: a comment\ndata:b\n\nevent: x\rdata: c\rdata: d\r\rdata: half";
        let whole = read(vec![body.as_bytes().to_vec()]).await;
        assert_eq!(whole, (vec!["ä".to_owned(), "b".to_owned(), "c\nd".to_owned()], None));
        assert_eq!(read(body.bytes().map(|byte| vec![byte]).collect()).await, whole);
    }

    #[tokio::test]
    async fn an_event_of_any_lines_has_a_bound() {
        let long = "x".repeat(1_000);
        for filling in [format!("data: {long}\n"), format!(": {long}\n"), format!("{long}\r\n"), long] {
            let piece = filling.repeat(64).into_bytes();
            let pieces = MAX_EVENT_BYTES / piece.len() + 2;
            assert_eq!(
                read(vec![piece; pieces]).await,
                (vec![], Some(SseError::TooLong)),
                "{:?}",
                &filling[..8]
            );
        }
        let event = format!("data: {}\n\n", "x".repeat(MAX_EVENT_BYTES / 2)).into_bytes();
        assert_eq!(read(vec![event.clone(), event.clone(), event]).await.0.len(), 3);
    }

    #[tokio::test]
    async fn byte_order_marks_crash_nothing() {
        for marks in 1..4 {
            let body = format!("{}data: a\n\ndata: b\n\n", "\u{feff}".repeat(marks));
            let (events, broken) = read(vec![body.into_bytes()]).await;
            assert_eq!((events.last().map(String::as_str), broken), (Some("b"), None), "{marks}");
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_utf8_end_the_events_at_once() {
        let (events, broken) = read(vec![b"data: a\n\n".to_vec(), b"data: \xff\n".to_vec()]).await;
        assert_eq!((events.len(), broken), (1, Some(SseError::Utf8)));
    }
}
