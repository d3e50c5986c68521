//! `GET /v1/events`: what happens, as a stream of server-sent events.

use std::convert::Infallible;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::routes::{Shared, refuse};
use crate::api::{ErrorCode, Event, EventQuery};
use crate::events::Begin;

/// The header by which a client that lost its connection goes on ([HTML][1], section 9.2.4).
///
/// [1]: https://html.spec.whatwg.org/multipage/server-sent-events.html
const LAST_EVENT_ID: &str = "last-event-id";

pub(super) async fn events(
    State(gateway): State<Shared>,
    query: Result<Query<EventQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return refuse(ErrorCode::InvalidParameter, rejection.body_text()),
    };
    // A client that comes again asks as it did first, and the header says how far it got.
    let after = match headers.get(LAST_EVENT_ID) {
        None => query.after,
        Some(id) => match id.to_str().ok().and_then(|id| id.parse().ok()) {
            Some(id) => Some(id),
            None => {
                let text = "Last-Event-ID: not the id of an event; send one, or leave it out";
                return refuse(ErrorCode::InvalidParameter, text.into());
            }
        },
    };
    let begin = after.map_or(Begin::Oldest, Begin::After);
    let follower = gateway.events().follow(begin, query.kind.unwrap_or_default());
    let follow = query.follow.unwrap_or(true);
    let told = stream::unfold(follower, move |mut follower| async move {
        let event = if follow { follower.next().await } else { follower.kept() };
        event.map(|event| (Ok::<_, Infallible>(sent(&event)), follower))
    });
    Sse::new(told).keep_alive(KeepAlive::default()).into_response()
}

fn sent(event: &Event) -> Sent {
    // Cannot fail: strings and numbers, and no line's end between them.
    let data = serde_json::to_string(event).unwrap_or_default();
    Sent::default().id(event.id.to_string()).event(event.what.name()).data(data)
}
