//! Speaks Docent's own protocol: `POST /chat` takes a question and answers with a stream or one JSON object.

pub(crate) mod request;
pub(crate) mod wire;

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};

use super::accept::{AnswerForm, choose_form};
use super::admission::Call;
use super::encoder::Encoder;
use super::pump;
use crate::app::App;
use crate::error::Error;

/// Returns the routes of the protocol.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/chat", post(answer_question))
}

/// Answers a question, in the form the caller asked for.
pub(crate) async fn answer_question(
    Extension(encoder): Extension<Encoder>,
    call: Call,
) -> Result<Response, Error> {
    let read = |app: &App, body: &[u8]| request::read_question(body, &app.rag.site.filter_keys);
    let (admitted, form, question) = call.admit(choose_form, read).await?;
    let answer = pump::open(admitted, question).await?;
    match form {
        AnswerForm::Stream => Ok(answer.stream(encoder)),
        AnswerForm::Json => {
            let (answer, log) = answer.collect().await?;
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            Ok((no_store, Json(wire::AnswerBody::new(&answer, log.shown_id()))).into_response())
        }
    }
}
