//! The web page: its files, the few questions it may ask, and who is let in.

mod answers;
mod guard;

use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::answers::Answers;

/// A file of the page: where it is, its kind and its content.
type Asset = (&'static str, &'static str, &'static [u8]);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $kind:ident, $file:literal) => {
        ($path, $kind, include_bytes!(concat!("../assets/web/", $file)))
    };
}

const ASSETS: [Asset; 14] = [
    asset!("/", HTML, "index.html"),
    asset!("/style.css", CSS, "style.css"),
    asset!("/icon.svg", IMAGE, "icon.svg"),
    asset!("/app.js", SCRIPT, "app.js"),
    asset!("/api.js", SCRIPT, "api.js"),
    asset!("/charts.js", SCRIPT, "charts.js"),
    asset!("/dom.js", SCRIPT, "dom.js"),
    asset!("/drops.js", SCRIPT, "drops.js"),
    asset!("/flows.js", SCRIPT, "flows.js"),
    asset!("/format.js", SCRIPT, "format.js"),
    asset!("/graph.js", SCRIPT, "graph.js"),
    asset!("/rates.js", SCRIPT, "rates.js"),
    asset!("/table.js", SCRIPT, "table.js"),
    asset!("/topology.js", SCRIPT, "topology.js"),
];

/// The page served at `address`, with the questions that `api` answers.
pub fn router(api: Router, address: SocketAddr) -> Router {
    let files = ASSETS.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(async move || ([(CONTENT_TYPE, kind)], content)))
    });
    let api = api
        .layer(middleware::from_fn_with_state(Answers::default(), answers::kept))
        .layer(middleware::from_fn(answers::bounded));
    files
        .merge(api)
        .fallback(async |uri: Uri| {
            plain(StatusCode::NOT_FOUND, format!("nothing is at {}: the page is at /", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method| {
            let text = format!("{method} is not possible here: the page only reads");
            plain(StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .layer(middleware::from_fn_with_state(address, guard::only_hosts))
        .layer(middleware::map_response(guard::with_headers))
}

/// An answer of one line.
fn plain(status: StatusCode, line: String) -> Response {
    (status, line + "\n").into_response()
}

#[cfg(test)]
mod tests;
