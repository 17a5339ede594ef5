//! Reads a streamed answer off a socket, byte by byte as it comes.

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::wait::within;

/// Reads a chunked response as it comes.
pub struct Stream {
    pub socket: TcpStream,
    bytes: Vec<u8>,
    /// Bytes of `bytes` that were returned already.
    read: usize,
}

/// Holds one server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

impl Event {
    /// Returns the finish reason of a `done` event, or the code of an `error` event.
    pub fn outcome(&self) -> String {
        let key = if self.name == "done" { "finish_reason" } else { "code" };
        self.data[key].as_str().unwrap_or_else(|| panic!("no {key} in {self:?}")).to_owned()
    }
}

impl Stream {
    /// Reads the response to a request that was sent over `socket`.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, bytes: Vec::new(), read: 0 }
    }

    /// Returns status and headers, in lower case.
    pub async fn head(&mut self) -> String {
        self.read_until("\r\n\r\n").await.to_lowercase()
    }

    /// Returns the next event.
    ///
    /// # Panics
    /// When the body ends first.
    pub async fn event(&mut self) -> Event {
        self.next_event().await.expect("another event")
    }

    /// Returns the next event, or `None` at the end of the body.
    pub async fn next_event(&mut self) -> Option<Event> {
        let mut frame = String::new();
        while !frame.ends_with("\n\n") {
            frame.push_str(&self.chunk().await?);
        }
        Some(parse_event(&frame))
    }

    /// Returns all events of a response whose head was not read yet.
    pub async fn all_events(mut self) -> Vec<Event> {
        self.head().await;
        self.remaining_events().await
    }

    /// Returns the events up to the end of the body, which must be whole.
    pub async fn remaining_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next_event().await {
            events.push(event);
        }
        events
    }

    /// Returns one chunk of the chunked body as text, or `None` at its end.
    pub async fn chunk(&mut self) -> Option<String> {
        let size = self.read_until("\r\n").await;
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
        let chunk = self.read_count(size + 2).await;
        (size > 0).then(|| String::from_utf8(chunk[..size].to_vec()).unwrap())
    }

    async fn read_until(&mut self, end: &str) -> String {
        loop {
            let unread = &self.bytes[self.read..];
            if let Some(at) = unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let text = String::from_utf8(unread[..at + end.len()].to_vec()).unwrap();
                self.read += text.len();
                return text;
            }
            self.read_more().await;
        }
    }

    async fn read_count(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() - self.read < count {
            self.read_more().await;
        }
        self.read += count;
        self.bytes[self.read - count..self.read].to_vec()
    }

    async fn read_more(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let count = within(self.socket.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "the connection closed early, after {:?}", String::from_utf8_lossy(&self.bytes));
        self.bytes.extend_from_slice(&buffer[..count]);
    }
}

/// Reads one frame as our server writes it: an `event` line and a `data` line.
fn parse_event(frame: &str) -> Event {
    let frame: String =
        frame.lines().filter(|line| !line.starts_with(':')).map(|line| format!("{line}\n")).collect();
    let rest = frame.strip_prefix("event: ").unwrap_or_else(|| panic!("no event line in {frame:?}"));
    let (name, rest) = rest.split_once("\ndata: ").unwrap_or_else(|| panic!("no data line in {frame:?}"));
    let data = rest.strip_suffix("\n\n").unwrap_or_else(|| panic!("no end in {frame:?}"));
    Event { name: name.to_owned(), data: serde_json::from_str(data).unwrap() }
}

/// Returns the names of events, in order.
pub fn event_names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// Returns the texts of the `token` events, joined.
pub fn joined_text(events: &[Event]) -> String {
    let tokens = events.iter().filter(|event| event.name == "token");
    tokens.map(|event| event.data["text"].as_str().unwrap()).collect()
}
