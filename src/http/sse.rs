//! Writes server-sent events, for every protocol that streams.
//!
//! axum's `Sse` always ends a comment with a blank line, and a widely used client then delivers an empty
//! message. So this module writes the frames itself, and a heartbeat is a comment line alone.

use bytes::Bytes;
use serde::Serialize;

/// Heartbeat: a comment line, without a blank line after it.
pub(super) const HEARTBEAT_FRAME: Bytes = Bytes::from_static(b": hb\n");

/// Writes one event with a name. JSON escapes line breaks, so the data is one line.
pub(super) fn frame(event: &str, data: &impl Serialize) -> Bytes {
    let mut frame = format!("event: {event}\ndata: ").into_bytes();
    if serde_json::to_writer(&mut frame, data).is_err() {
        // No type here can fail to serialise; an empty object keeps the frame well-formed.
        frame.extend_from_slice(b"{}");
    }
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_event_whatever_its_text_holds() {
        let token = serde_json::json!({ "text": "a\n\nevent: done\r\ndata: x\u{2028}" });
        let frame = frame("token", &token);
        let text = std::str::from_utf8(&frame).unwrap();
        assert_eq!(text.matches('\n').count(), 3, "{text:?}");
        assert!(!text.contains('\r'));
        assert!(text.starts_with("event: token\ndata: {\"text\":\"a\\n\\nevent"), "{text}");
    }
}
