//! `POST /chat`: validate, ground, answer, in the form the caller asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderValue};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use mime::Mime;
use serde::Serialize;
use tokio::time::timeout;

use super::accept::{Form, negotiate};
use super::client::{self, Peer};
use super::record::Record;
use super::{request, sse};
use crate::app::App;
use crate::chat::{AnswerEvent, Question, Source, Summary};
use crate::error::Error;
use crate::limits::{MAX_BODY_BYTES, MAX_DISCARDED_BYTES};
use crate::rag::AnswerStream;

/// The whole answer as one JSON object.
#[derive(Debug, Serialize)]
struct Answer {
    response: String,
    sources: Vec<Source>,
    #[serde(flatten)]
    summary: Summary,
    request_id: Arc<str>,
}

/// Answers a question.
pub(super) async fn chat(
    State(app): State<Arc<App>>,
    Extension(record): Extension<Arc<Record>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Error> {
    let asked = match asked(&app, peer, &headers, &mut body).await {
        Ok(asked) => asked,
        Err(error) => {
            discard(&mut body, app.limits.discard_timeout).await;
            return Err(error);
        }
    };
    let (form, question) = asked;
    let permit = app.permits.try_acquire().ok_or(Error::Overloaded("every permit is taken"))?;
    record.is_question();
    let grounded = unless_expired(&app, app.rag.ground(question, Arc::clone(&record.progress))).await?;
    let events = app.rag.answer(grounded);
    match form {
        Form::Stream => {
            Ok(sse::respond(events, record, permit, app.limits.heartbeat, app.drain.expired.clone()))
        }
        Form::Json => {
            let answer = unless_expired(&app, collect(events, &record)).await?;
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            Ok((no_store, Json(answer)).into_response())
        }
    }
}

/// What is asked, by a client that may, and the form of the answer.
async fn asked(app: &App, peer: Peer, headers: &HeaderMap, body: &mut Body) -> Result<(Form, Question), Error> {
    let client = client::address(peer, headers, app.limits.trusted_proxies);
    app.rate_limit.check(client).map_err(Error::RateLimited)?;
    let form = negotiate(headers)?;
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime: Option<Mime> = declared.and_then(|text| text.parse().ok());
    if mime.is_none_or(|mime| mime.essence_str() != "application/json") {
        return Err(Error::UnsupportedMediaType);
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(MAX_BODY_BYTES);
    if length > MAX_BODY_BYTES {
        return Err(Error::PayloadTooLarge);
    }
    let _room = app.bodies.try_acquire(length).ok_or(Error::Overloaded("too many bodies are being read"))?;
    let bytes = read_body(body, app.limits.body_timeout).await?;
    Ok((form, request::read(&bytes, &app.rag.site.filter_keys)?))
}

/// The body, if it is small enough and arrives in time.
async fn read_body(body: &mut Body, limit: Duration) -> Result<Vec<u8>, Error> {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|_| Error::MalformedJson("the body broke off".to_owned()))?.into_data();
            bytes.extend_from_slice(&data.unwrap_or_default());
            if bytes.len() > MAX_BODY_BYTES {
                return Err(Error::PayloadTooLarge);
            }
        }
        Ok(bytes)
    };
    let late = |_| Err(Error::MalformedJson("the body did not arrive in time".to_owned()));
    timeout(limit, reading).await.unwrap_or_else(late)
}

/// Takes what is left of the body of a refused request, within bounds: a client that is still sending when its connection
/// closes may never read why.
async fn discard(body: &mut Body, limit: Duration) {
    let taking = async {
        let mut left = MAX_DISCARDED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.into_data().unwrap_or_default().len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(limit, taking).await;
}

/// Joins the events of an answer. A failure is the request's: it still has a status.
async fn collect(mut events: AnswerStream, record: &Record) -> Result<Answer, Error> {
    let (mut response, mut sources) = (String::new(), Vec::new());
    while let Some(event) = events.next().await {
        match event? {
            AnswerEvent::Sources(found) => sources = found,
            AnswerEvent::Text(text) => response.push_str(&text),
            AnswerEvent::Done(summary) => {
                record.answered(&summary);
                return Ok(Answer { response, sources, summary, request_id: Arc::clone(&record.id) });
            }
        }
    }
    Err(Error::Internal("an answer ended without its summary".to_owned()))
}

/// Work that a shutdown ends once its grace is over.
async fn unless_expired<T>(app: &App, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        outcome = work => outcome,
        () = app.drain.expired.cancelled() => Err(Error::Overloaded("the shutdown's grace is over")),
    }
}
