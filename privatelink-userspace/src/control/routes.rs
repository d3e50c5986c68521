//! The routes of the control API: what each takes, and how it answers.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{MatchedPath, Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::body::{BodyError, BodyWriter, body};
use super::capture::{captured, end};
use super::change::{Asked, Outcome, change, parse, parse_none};
use super::{Flows, Gateway, GatewayError, events, resources};
use crate::api::{ErrorBody, ErrorCode, FlowQuery, Order, UsageQuery, write_listing};
use crate::capture::Form;
use crate::flows::Readings;
use crate::metrics::Format;

/// The gateway that all routes ask.
pub(super) type Shared = Arc<dyn Gateway>;

/// A route: method, path and handler.
pub(super) type Route = (Method, &'static str, MethodRouter<Shared>);

/// Every route.
fn table() -> Vec<Route> {
    let mut table = vec![
        (Method::GET, "/v1/status", get(status)),
        (Method::GET, "/v1/services", queried(<dyn Gateway>::services)),
        (Method::GET, "/v1/endpoints", listing(<dyn Gateway>::endpoints)),
        (Method::GET, "/v1/connections", queried(<dyn Gateway>::connections)),
        (Method::GET, "/v1/targets", listing(<dyn Gateway>::targets)),
        (Method::GET, "/v1/flows", get(flows)),
        (Method::GET, "/v1/drops", listing(<dyn Gateway>::drops)),
        (Method::GET, "/v1/totals", get(totals)),
        (Method::GET, "/v1/history", get(history)),
        (Method::GET, "/v1/usage", get(usage)),
        (Method::GET, "/metrics", get(metrics)),
        (Method::GET, "/v1/events", get(events::events)),
        (Method::GET, "/v1/capture", captured(Form::Pcapng)),
        (Method::DELETE, "/v1/capture", delete(end)),
        (Method::GET, "/v1/trace", captured(Form::Lines)),
        (Method::GET, "/v1/plan", listing(<dyn Gateway>::plan)),
        (Method::POST, "/v1/services/{id}/accept", order(Order::Accept)),
        (Method::POST, "/v1/services/{id}/reject", order(Order::Reject)),
        (Method::POST, "/v1/services/{id}/allow", order(Order::Allow)),
        (Method::POST, "/v1/services/{id}/revoke", order(Order::Revoke)),
        (Method::POST, "/v1/reload", post(reload)),
    ];
    table.extend(resources::routes());
    table
}

/// Every route: method and path, with `{id}` for what stands there.
pub fn routes() -> Vec<(Method, &'static str)> {
    table().into_iter().map(|(method, path, _)| (method, path)).collect()
}

pub(super) fn router(gateway: Shared) -> Router {
    let table = table().into_iter();
    table
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .fallback(async |uri: Uri| {
            let mut paths: Vec<_> = routes().into_iter().map(|(_, path)| path).collect();
            paths.sort_unstable();
            paths.dedup();
            let text =
                format!("no such route: {}; the routes are {}", uri.path(), paths.join(", "));
            refuse(ErrorCode::UnknownRoute, text)
        })
        .method_not_allowed_fallback(async |method: Method, matched: MatchedPath, uri: Uri| {
            let right = routes().into_iter().filter(|(_, path)| *path == matched.as_str());
            let right: Vec<_> = right.map(|(method, _)| method.to_string()).collect();
            let right = right.join(" or ");
            let text = format!("{method} is not possible on {}: use {right}", uri.path());
            refuse(ErrorCode::MethodNotAllowed, text)
        })
        .with_state(gateway)
}

async fn status(State(gateway): State<Shared>) -> Response {
    shown(gateway, <dyn Gateway>::status).await
}

/// Answers with one object.
pub(super) async fn shown<T: Serialize + 'static>(
    gateway: Shared,
    ask: impl FnOnce(&dyn Gateway) -> Result<T, GatewayError> + Send + 'static,
) -> Response {
    answer(gateway, |gateway, out| serde_json::to_writer(out, &ask(gateway)?).map_err(unwritten))
        .await
}

/// A listing that takes no query.
pub(super) fn listing<T: Serialize + 'static>(
    ask: impl Fn(&dyn Gateway) -> Result<Vec<T>, GatewayError> + Copy + Send + Sync + 'static,
) -> MethodRouter<Shared> {
    get(async move |State(gateway)| {
        answer(gateway, move |gateway, out| write_listing(out, ask(gateway)?).map_err(unwritten))
            .await
    })
}

/// A listing that takes a query.
fn queried<Q: DeserializeOwned + Send + 'static, T: Serialize + 'static>(
    ask: fn(&dyn Gateway, &Q) -> Result<Vec<T>, GatewayError>,
) -> MethodRouter<Shared> {
    get(async move |State(gateway), query: Result<Query<Q>, QueryRejection>| match query {
        Ok(Query(query)) => {
            answer(gateway, move |gateway, out| {
                write_listing(out, ask(gateway, &query)?).map_err(unwritten)
            })
            .await
        }
        Err(rejection) => refuse(ErrorCode::InvalidParameter, rejection.body_text()),
    })
}

/// What the web page may ask, besides the totals. Nothing here changes anything, and nothing else is to be had there.
const PAGE: [&str; 7] = [
    "/v1/services",
    "/v1/endpoints",
    "/v1/load-balancers",
    "/v1/targets",
    "/v1/flows",
    "/v1/drops",
    "/v1/history",
];

/// What the web page may ask, alone. Its server has one question answered at a time, so it takes no place from those who
/// read metrics.
pub fn page_router(gateway: Arc<dyn Gateway>) -> Router {
    let asked = table()
        .into_iter()
        .filter(|(method, path, _)| *method == Method::GET && PAGE.contains(path));
    let totals = get(async |State(gateway)| shown(gateway, <dyn Gateway>::totals).await);
    let router = Router::new().route("/v1/totals", totals);
    asked.fold(router, |router, (_, path, handler)| router.route(path, handler)).with_state(gateway)
}

/// Metrics alone.
pub fn metrics_router(gateway: Arc<dyn Gateway>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(gateway)
}

/// Who reads metrics at once. That goes through the whole flow table, which is work.
static READERS: Semaphore = Semaphore::const_new(2);

/// Whoever asks while others are being answered is to ask again.
fn others_read() -> Response {
    let text = "others read the metrics just now: ask again in a second";
    refuse(ErrorCode::Unavailable, text.into())
}

async fn totals(State(gateway): State<Shared>) -> Response {
    let Ok(_reader) = READERS.try_acquire() else {
        return others_read();
    };
    shown(gateway, <dyn Gateway>::totals).await
}

async fn history(State(gateway): State<Shared>) -> Response {
    shown(gateway, <dyn Gateway>::history).await
}

/// Not under `/v1`, but where whoever reads metrics looks for them.
async fn metrics(State(gateway): State<Shared>, headers: HeaderMap) -> Response {
    let Ok(_reader) = READERS.try_acquire() else {
        return others_read();
    };
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match tokio::task::spawn_blocking(move || gateway.metrics(format)).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Ok(Err(fault)) => error(&fault.into()),
        Err(_) => error(&panicked()),
    }
}

async fn flows(
    State(gateway): State<Shared>,
    query: Result<Query<FlowQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return refuse(ErrorCode::InvalidParameter, rejection.body_text()),
    };
    let before = match query.interval() {
        Some(interval) => match readings(&gateway, &query).await {
            // Here, not on a thread set aside: it ends when the client goes away or the daemon stops.
            Ok(readings) => {
                tokio::time::sleep(interval.duration()).await;
                Some(readings)
            }
            Err(fault) => return error(&fault),
        },
        None => None,
    };
    answer(gateway, move |gateway, out| {
        let mut written = Ok(());
        let mut take = |flows: Flows<'_>| written = write_listing(out, flows);
        gateway.flows(&query, before.as_ref(), &mut take)?;
        written.map_err(unwritten)
    })
    .await
}

async fn readings(gateway: &Shared, query: &FlowQuery) -> Result<Readings, ErrorBody> {
    let (gateway, query) = (gateway.clone(), query.clone());
    let reading = tokio::task::spawn_blocking(move || gateway.readings(&query));
    reading.await.map_or_else(|_| Err(panicked()), |read| read.map_err(ErrorBody::from))
}

async fn usage(
    State(gateway): State<Shared>,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return refuse(ErrorCode::InvalidParameter, rejection.body_text()),
    };
    // The flows that live are counted too.
    let Ok(_reader) = READERS.try_acquire() else {
        return others_read();
    };
    answer(gateway, move |gateway, out| {
        let mut broken = None;
        let rows = gateway.usage(&query)?;
        let rows = rows.map_while(|row| row.map_err(|error| broken = Some(error)).ok());
        write_listing(out, rows).map_err(unwritten)?;
        broken.map_or(Ok(()), Err)
    })
    .await
}

/// An order about a service, whose body is a `T`.
fn order<T: DeserializeOwned + Send + 'static>(make: fn(T) -> Order) -> MethodRouter<Shared> {
    post(async move |State(gateway), Path(service): Path<String>, asked: Asked| {
        change(gateway, asked, move |gateway, body| {
            let ordered = gateway.order(&service, &make(parse(body)?))?;
            let outcome = Outcome { flows_cut: ordered.flows_cut, dry_run: ordered.dry_run };
            Ok((ordered, outcome))
        })
        .await
    })
}

async fn reload(State(gateway): State<Shared>, asked: Asked) -> Response {
    change(gateway, asked, |gateway, body| {
        parse_none(body)?;
        let reloaded = gateway.reload()?;
        let outcome = Outcome { flows_cut: reloaded.flows_cut, dry_run: false };
        Ok((reloaded, outcome))
    })
    .await
}

/// Answers with what is written, or with the gateway's error.
///
/// Asking and writing run on a blocking thread: for a million flows they take long enough to hold up
/// whatever else the daemon's runtime does, and as long as the client likes to read.
async fn answer(
    gateway: Shared,
    write: impl FnOnce(&dyn Gateway, &mut BodyWriter) -> Result<(), GatewayError> + Send + 'static,
) -> Response {
    match body(move |out| write(&*gateway, out)).await {
        Ok(body) => json(StatusCode::OK, body),
        Err(BodyError::Gateway(fault)) => error(&fault.into()),
        Err(BodyError::Panic(_)) => error(&panicked()),
    }
}

/// What is answered when whoever should answer has panicked.
pub(super) fn panicked() -> ErrorBody {
    let text = "the daemon failed on this request: see its log";
    ErrorBody::new(ErrorCode::InternalFailure, text)
}

fn unwritten(error: impl Into<io::Error>) -> GatewayError {
    GatewayError::Failed(format!("the answer could not be written: {}", error.into()))
}

/// An error answer with these words.
pub(super) fn refuse(code: ErrorCode, text: String) -> Response {
    error(&ErrorBody::new(code, text))
}

/// An error answer.
pub(super) fn error(error: &ErrorBody) -> Response {
    let status = StatusCode::from_u16(error.code.status());
    object(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error)
}

/// An answer of one object.
pub(super) fn object(status: StatusCode, object: &impl Serialize) -> Response {
    match serde_json::to_vec(object) {
        Ok(text) => json(status, Body::from(text)),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn json(status: StatusCode, body: Body) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
