//! Chooses the form of an answer by the `Accept` header (RFC 9110, 12.5.1). No I/O.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use mime::Mime;

use crate::error::Error;

/// Names the forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerForm {
    /// Server-sent events.
    Stream,
    /// One JSON object.
    Json,
}

/// Returns the form with the higher quality; JSON on a tie, and for a request without `Accept`.
///
/// # Errors
///
/// [`Error::NotAcceptable`] when neither form is admitted.
pub(crate) fn choose_form(headers: &HeaderMap) -> Result<AnswerForm, Error> {
    let ranges: Vec<Range> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    if ranges.is_empty() {
        return Ok(AnswerForm::Json);
    }
    let stream = best_quality(&ranges, "text", "event-stream");
    let json = best_quality(&ranges, "application", "json");
    match (stream, json) {
        (0, 0) => Err(Error::NotAcceptable),
        (stream, json) if stream > json => Ok(AnswerForm::Stream),
        _ => Ok(AnswerForm::Json),
    }
}

/// Holds one media range with its quality in thousandths.
struct Range {
    kind: String,
    sub: String,
    quality: u16,
}

impl Range {
    /// Parses a media range; `None` for a malformed one, which is ignored.
    fn parse(text: &str) -> Option<Self> {
        let mime: Mime = text.trim().parse().ok()?;
        let quality = match mime.get_param("q") {
            Some(q) => q.as_str().parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))?,
            None => 1.0,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number is between 0 and 1000"
        )]
        let quality = (quality * 1_000.0).round() as u16;
        Some(Self { kind: mime.type_().to_string(), sub: mime.subtype().to_string(), quality })
    }

    /// Returns the exactness with which the range names a type, from 0 (`*/*`) to 2; `None` if the range does
    /// not cover the type.
    fn exactness(&self, kind: &str, sub: &str) -> Option<u8> {
        match (self.kind.as_str(), self.sub.as_str()) {
            (k, s) if k == kind && s == sub => Some(2),
            (k, "*") if k == kind => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }
}

/// Returns the quality of the most exact range that covers a type; 0 if no range does.
fn best_quality(ranges: &[Range], kind: &str, sub: &str) -> u16 {
    let covering = ranges.iter().filter_map(|range| Some((range.exactness(kind, sub)?, range.quality)));
    covering.max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Option<AnswerForm> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        choose_form(&headers).ok()
    }

    #[test]
    fn the_accept_header_chooses_the_form() {
        for (accept, expected) in [
            ("text/event-stream", Some(AnswerForm::Stream)),
            ("application/json", Some(AnswerForm::Json)),
            ("*/*", Some(AnswerForm::Json)),
            ("", Some(AnswerForm::Json)),
            ("text/event-stream, application/json", Some(AnswerForm::Json)),
            ("text/event-stream;q=0.9, application/json;q=0.8", Some(AnswerForm::Stream)),
            ("text/event-stream;q=0.8, application/json;q=0.9", Some(AnswerForm::Json)),
            ("text/event-stream, */*;q=0.1", Some(AnswerForm::Stream)),
            ("text/*", Some(AnswerForm::Stream)),
            ("application/*, text/event-stream;q=0.5", Some(AnswerForm::Json)),
            ("application/json;q=0, */*", Some(AnswerForm::Stream)),
            ("Text/Event-Stream; charset=utf-8", Some(AnswerForm::Stream)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("text/html, */*;q=0", None),
        ] {
            assert_eq!(form(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn no_header_means_json_and_several_headers_count_as_one() {
        assert_eq!(choose_form(&HeaderMap::new()).ok(), Some(AnswerForm::Json));
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "application/json;q=0.5".parse().unwrap());
        headers.append(ACCEPT, "text/event-stream".parse().unwrap());
        assert_eq!(choose_form(&headers).ok(), Some(AnswerForm::Stream));
    }
}
