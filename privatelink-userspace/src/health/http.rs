//! One HTTP request, and the status of its answer.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Error, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::failure::Failure;
use crate::model::HttpCheck;

/// Bytes read of an answer at most, which is as little as hyper takes. The status comes first, the body is
/// not waited for.
const MAX_READ: usize = 8192;

/// Asks, and compares the status. The header `Host` is the target's address and port unless told otherwise.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    check: &HttpCheck,
    target: SocketAddr,
) -> Result<(), Failure> {
    let host = check.host.as_ref().map_or_else(|| target.to_string(), ToString::to_string);
    let request = Request::get(check.path.clone())
        .header(HOST, host)
        .header(USER_AGENT, "privatelink-health-check")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::internal(error.to_string()))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_READ)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failure(&error))?;
    let mut answer = pin!(sender.send_request(request));
    let connection = pin!(connection.without_shutdown());
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The connection knows that it has ended before the answer does.
        _ = connection => answer.await,
    };
    let status = answer.map_err(|error| failure(&error))?.status().as_u16();
    if check.matcher.matches(status) {
        return Ok(());
    }
    Err(Failure::status(format!("HTTP status {status}, wanted {}", check.matcher)))
}

fn failure(error: &Error) -> Failure {
    if error.is_incomplete_message() || error.is_canceled() {
        return Failure::of_target("connection closed before the answer");
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(lost) => Failure::lost(lost),
        None => Failure::of_target(format!("no HTTP answer: {error}")),
    }
}
