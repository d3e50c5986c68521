//! Requests that change something: read within bounds, carried out to the end, and put on record.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::peer::Peer;
use super::routes::{Shared, error, object, panicked};
use super::{Gateway, GatewayError};
use crate::api::{ErrorBody, ErrorCode};
use crate::audit::Entry;

/// Longest body, bytes.
const BODY_MAX: usize = 64 << 10;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// A request to change something.
pub(super) struct Asked {
    peer: Peer,
    /// Method and path.
    request: String,
    body: Result<Bytes, ErrorBody>,
}

impl<S: Sync> FromRequest<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let peer = request.extensions().get::<ConnectInfo<Peer>>();
        let peer = peer.map(|ConnectInfo(peer)| *peer).unwrap_or_default();
        let name = format!("{} {}", request.method(), request.uri().path());
        let body = to_bytes(request.into_body(), BODY_MAX);
        let body = match tokio::time::timeout(BODY_PATIENCE, body).await {
            Ok(body) => body.map_err(|_| {
                let text =
                    format!("the body breaks off, or is longer than {BODY_MAX} bytes: send less");
                ErrorBody::new(ErrorCode::BodyTooLarge, text)
            }),
            Err(_) => {
                let text = format!("no whole body within {} s", BODY_PATIENCE.as_secs());
                Err(ErrorBody::new(ErrorCode::RequestTimeout, text))
            }
        };
        Ok(Self { peer, request: name, body })
    }
}

/// What a request came to, for the record.
pub(super) struct Outcome {
    pub(super) flows_cut: u64,
    pub(super) dry_run: bool,
}

/// Carries a request out, puts it on record, and answers.
///
/// In a task of its own: a client that goes away would take the handler with it, between the change and its record.
pub(super) async fn change<T: Serialize + Send + 'static>(
    gateway: Shared,
    asked: Asked,
    act: impl FnOnce(&dyn Gateway, &[u8]) -> Result<(T, Outcome), GatewayError> + Send + 'static,
) -> Response {
    let task = tokio::spawn(async move {
        let Asked { peer, request, body } = asked;
        let result = match body.clone() {
            Ok(body) => {
                let gateway = gateway.clone();
                // Blocks on locks, on the disk, and reading the configuration.
                let acting = tokio::task::spawn_blocking(move || act(&*gateway, &body));
                acting.await.map_or_else(|_| Err(panicked()), |done| done.map_err(ErrorBody::from))
            }
            Err(error) => Err(error),
        };
        let entry = Entry::new(peer, request).body(body.ok().as_deref());
        match result {
            Ok((answer, Outcome { flows_cut, dry_run })) => {
                gateway.audit(&entry.done(flows_cut, dry_run));
                object(StatusCode::OK, &answer)
            }
            Err(refused) => {
                gateway.audit(&entry.refused(&refused));
                error(&refused)
            }
        }
    });
    task.await.unwrap_or_else(|_| error(&panicked()))
}

/// Refuses a body where there is nothing to say.
///
/// # Errors
///
/// There is one.
pub(super) fn parse_none(body: &[u8]) -> Result<(), ErrorBody> {
    if body.is_empty() {
        return Ok(());
    }
    Err(ErrorBody::new(ErrorCode::MalformedBody, "a body where none belongs: send none"))
}

/// The body as a `T`.
///
/// # Errors
///
/// It is something else.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ErrorBody> {
    let malformed = |text: String| ErrorBody::new(ErrorCode::MalformedBody, text);
    // An array would be taken for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(malformed("no JSON object: send one as the body".into()));
    }
    serde_json::from_slice(body).map_err(|error| malformed(format!("the body: {error}")))
}
