//! The events of a stream's body: whole lines first, then the events they spell.
//!
//! `eventsource-stream` reads its whole buffer again with every packet, moves it with every line, and holds whatever comes
//! until a blank line, so a body that never ends a line or an event would take all time and memory there is. Here it gets
//! one whole line at a time, which makes it read each byte once, and an event has a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use eventsource_stream::Eventsource as _;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};

/// Bytes of one event, its lines and the comments before it; a larger one is unusable. Events with text are small, but one
/// may carry a thought signature of some hundred kilobytes.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

const LINE_END: Bytes = Bytes::from_static(b"\n");
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why there is no further event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
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

/// The data of each event of a body.
pub(super) struct Events {
    data: BoxStream<'static, Result<String, Broken>>,
    /// Bytes that have come since the last event.
    since: Arc<AtomicUsize>,
}

impl Events {
    /// Reads `body`.
    pub(super) fn new<E: Send + 'static>(body: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self {
        let since = Arc::new(AtomicUsize::new(0));
        let lines = Box::pin(lines(body, Arc::clone(&since)));
        let data = lines.eventsource().map(|event| match event {
            Ok(event) => Ok(event.data),
            Err(eventsource_stream::EventStreamError::Transport(broken)) => Err(broken),
            Err(_) => Err(Broken::Utf8),
        });
        Self { data: data.boxed(), since }
    }

    /// The next event's data; `None` at the end of the body, where half an event counts as none.
    pub(super) async fn next(&mut self) -> Option<Result<String, Broken>> {
        // A body may come faster than it is read: without this, no deadline would ever be looked at.
        tokio::task::coop::consume_budget().await;
        let next = self.data.next().await;
        self.since.store(0, Ordering::Relaxed);
        next
    }
}

/// A body line by line; what follows its last line end is left out.
fn lines<E: Send>(
    body: impl Stream<Item = Result<Bytes, E>> + Send,
    since: Arc<AtomicUsize>,
) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    async_stream::try_stream! {
        let mut body = Box::pin(body);
        let mut held = Held::default();
        // The parser drops a byte order mark at its very beginning, and panics on a second one there: it has begun now.
        yield LINE_END;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|_| Broken::Connection)?;
            if since.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > MAX_EVENT_BYTES {
                Err(Broken::TooLong)?;
            }
            held.bytes.extend_from_slice(&bytes);
            while let Some(line) = held.line()? {
                yield line;
                yield LINE_END;
            }
        }
    }
}

/// What has come of a body and is no line yet.
#[derive(Default)]
struct Held {
    bytes: BytesMut,
    /// Bytes among them that have been looked at: no line ends there.
    seen: usize,
    begun: bool,
}

impl Held {
    /// The next whole line, without its end.
    fn line(&mut self) -> Result<Option<Bytes>, Broken> {
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let Some(at) = self.bytes[self.seen..].iter().position(ends).map(|at| self.seen + at) else {
            self.seen = self.bytes.len();
            return Ok(None);
        };
        let end = match (self.bytes[at], self.bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => at + 2,
            // It may be the first half of a line end.
            (b'\r', None) => {
                self.seen = at;
                return Ok(None);
            }
            _ => at + 1,
        };
        self.seen = 0;
        let mut line = self.bytes.split_to(end).freeze().slice(..at);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(BYTE_ORDER_MARK) {
            line = line.slice(BYTE_ORDER_MARK.len()..);
        }
        match std::str::from_utf8(&line) {
            Ok(_) => Ok(Some(line)),
            Err(_) => Err(Broken::Utf8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    async fn read(pieces: Vec<Vec<u8>>) -> (Vec<String>, Option<Broken>) {
        let body = stream::iter(pieces.into_iter().map(|piece| Ok::<_, ()>(Bytes::from(piece))));
        let mut events = Events::new(body);
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
    async fn an_event_has_a_bound_whatever_it_is_made_of() {
        let long = "x".repeat(1_000);
        for filling in [format!("data: {long}\n"), format!(": {long}\n"), format!("{long}\r\n"), long] {
            let piece = filling.repeat(64).into_bytes();
            let pieces = MAX_EVENT_BYTES / piece.len() + 2;
            assert_eq!(read(vec![piece; pieces]).await, (vec![], Some(Broken::TooLong)), "{:?}", &filling[..8]);
        }
        let event = format!("data: {}\n\n", "x".repeat(MAX_EVENT_BYTES / 2)).into_bytes();
        assert_eq!(read(vec![event.clone(), event.clone(), event]).await.0.len(), 3);
    }

    #[tokio::test]
    async fn byte_order_marks_bring_nothing_down() {
        for marks in 1..4 {
            let body = format!("{}data: a\n\ndata: b\n\n", "\u{feff}".repeat(marks));
            let (events, broken) = read(vec![body.into_bytes()]).await;
            assert_eq!((events.last().map(String::as_str), broken), (Some("b"), None), "{marks}");
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_utf8_end_the_events_at_once() {
        let (events, broken) = read(vec![b"data: a\n\n".to_vec(), b"data: \xff\n".to_vec()]).await;
        assert_eq!((events.len(), broken), (1, Some(Broken::Utf8)));
    }
}
