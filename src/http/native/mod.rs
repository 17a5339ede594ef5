//! Speaks Docent's own protocol: `POST /chat` takes a question and answers with a stream or one JSON object.

pub(crate) mod negotiate;
pub(crate) mod request;
pub(crate) mod wire;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::encoder::Encoder;
use super::peer::Peer;
use super::request_log::RequestLog;
use super::{admission, pump};
use crate::app::App;
use crate::chat::Question;
use crate::error::Error;
use negotiate::{AnswerForm, negotiate};

/// Returns the routes of the protocol.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/chat", post(answer_question))
}

/// Answers a question, in the form the caller asked for.
pub(crate) async fn answer_question(
    State(app): State<Arc<App>>,
    Extension(log): Extension<Arc<RequestLog>>,
    Extension(encoder): Extension<Encoder>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let (form, question) = admit(&app, peer, &head.headers, body).await?;
    let answer = pump::open(&app, Arc::clone(&log), question).await?;
    match form {
        AnswerForm::Stream => Ok(answer.stream(encoder)),
        AnswerForm::Json => {
            let answer = answer.collect().await?;
            let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            Ok((no_store, Json(wire::AnswerBody::new(&answer, log.shown_id()))).into_response())
        }
    }
}

/// Admits a request and reads its question. The rest of a refused request's body is discarded.
async fn admit(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<(AnswerForm, Question), Error> {
    let admitted = async {
        admission::check_rate(app, peer, headers)?;
        let form = negotiate(headers)?;
        let body = admission::read_json_body(app, headers, &mut body).await?;
        Ok((form, request::read_question(&body.bytes, &app.rag.site.filter_keys)?))
    };
    let admitted = admitted.await;
    if admitted.is_err() {
        admission::discard_body(app, &mut body).await;
    }
    admitted
}
