//! Answers kept for a second, so that many browsers cost no more than one, and bounds to what may be asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::response::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use tokio::sync::Mutex;

use super::plain;
use crate::api::FlowQuery;

/// How long an answer is given again.
const FRESH: Duration = Duration::from_secs(1);
/// Answers kept at once, whatever is asked.
const MOST_KEPT: usize = 32;
/// Most flows in an answer.
const MOST_FLOWS: usize = 200;

/// Answers by method, path and query. Whoever works one out holds the lock: what the page asks is worked out one after the
/// other, however many ask.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<HashMap<String, Answer>>>);

#[derive(Clone)]
struct Answer {
    at: Instant,
    parts: Parts,
    body: Bytes,
}

/// Answers as somebody was answered a moment ago, or anew.
pub(super) async fn kept(State(answers): State<Answers>, request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), request.uri());
    let mut answers = answers.0.lock_owned().await;
    answers.retain(|_, answer| answer.at.elapsed() < FRESH);
    if let Some(Answer { parts, body, .. }) = answers.get(&asked).cloned() {
        return Response::from_parts(parts, Body::from(body));
    }
    if answers.len() >= MOST_KEPT {
        answers.clear();
    }
    // Of its own: who goes away before it is answered must not let the next one in while the work goes on.
    let working = tokio::spawn(async move {
        let (parts, body) = next.run(request).await.into_parts();
        let body = body.collect().await?.to_bytes();
        let answer = Answer { at: Instant::now(), parts: parts.clone(), body: body.clone() };
        answers.insert(asked, answer);
        Ok::<_, axum::Error>(Response::from_parts(parts, Body::from(body)))
    });
    match working.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Refuses queries for more flows than a page shows, and those that take time to answer.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    let query = Query::<FlowQuery>::try_from_uri(request.uri());
    let asks_for_flows = request.uri().path() == "/v1/flows";
    // A query that is wrong is refused where it is understood.
    if asks_for_flows && let Ok(Query(query)) = query {
        if query.limit.is_none_or(|limit| limit > MOST_FLOWS) {
            let text = format!("at most {MOST_FLOWS} flows here: add limit={MOST_FLOWS}");
            return plain(StatusCode::BAD_REQUEST, text);
        }
        if query.interval().is_some() {
            let text = "no rates here: ask twice, or ask at the control socket";
            return plain(StatusCode::BAD_REQUEST, text.into());
        }
    }
    next.run(request).await
}
