//! `GET /v1/capture` and `GET /v1/trace`: packets as they are handled, until a limit, the client or `DELETE` ends it.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use futures_util::stream;

use super::routes::{Shared, error, object, panicked, refuse};
use crate::api::{CaptureEnded, CaptureQuery, ErrorCode};
use crate::capture::{Capture, Form};

/// Answers in a form.
pub(super) fn captured(form: Form) -> MethodRouter<Shared> {
    get(async move |State(gateway), query: Result<Query<CaptureQuery>, QueryRejection>| match query
    {
        Ok(Query(query)) => capture(gateway, query, form).await,
        Err(rejection) => refuse(ErrorCode::InvalidParameter, rejection.body_text()),
    })
}

async fn capture(gateway: Shared, query: CaptureQuery, form: Form) -> Response {
    let started = tokio::task::spawn_blocking(move || gateway.capture(&query, form));
    let capture = match started.await {
        Ok(Ok(capture)) => capture,
        Ok(Err(fault)) => return error(&fault.into()),
        Err(_) => return error(&panicked()),
    };
    if let Err(fault) = capture.begun().await {
        return error(&fault.into());
    }
    let kind = match form {
        Form::Pcapng => "application/x-pcapng",
        Form::Lines => "application/x-ndjson",
    };
    let pieces = stream::unfold(capture, |mut capture: Capture| async {
        let piece = capture.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), capture))
    });
    ([(CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}

/// Ends the capture that runs.
pub(super) async fn end(State(gateway): State<Shared>) -> Response {
    if gateway.end_capture() {
        return object(StatusCode::OK, &CaptureEnded { ended: true });
    }
    refuse(ErrorCode::InvalidState, "no capture runs".into())
}
