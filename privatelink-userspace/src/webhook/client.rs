//! One POST.

use std::error::Error;
use std::path::Path;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;

use super::secret;
use crate::api::Event;
use crate::health::{roots_of_host, trusting};
use crate::model::Webhook;

/// Bytes of an answer that are read, so that the connection can be used again; of a longer one nothing is wanted.
const MAX_ANSWER: usize = 64 << 10;

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be taken later.
    Passing(String),
    /// It will never be taken.
    Refused(String),
}

/// Posts to one server.
pub(super) struct Poster {
    webhook: Webhook,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Poster {
    /// One that trusts whom this host trusts.
    pub(super) fn new(webhook: Webhook) -> Self {
        let is_safe = webhook.url.scheme_str() == Some("https");
        let roots = if is_safe { roots_of_host() } else { RootCertStore::empty() };
        Self::trusting(webhook, roots)
    }

    /// One that trusts these roots.
    pub(super) fn trusting(webhook: Webhook, roots: RootCertStore) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trusting(roots))
            .https_or_http()
            .enable_http1()
            .build();
        Self { webhook, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Posts an event and waits for the answer.
    pub(super) async fn post(&self, event: &Event) -> Result<(), Failure> {
        let posted = tokio::time::timeout(self.webhook.timeout, self.try_to_post(event));
        posted.await.unwrap_or_else(|_| {
            let limit = self.webhook.timeout.as_secs_f64();
            Err(Failure::Passing(format!("no answer within {limit} s")))
        })
    }

    async fn try_to_post(&self, event: &Event) -> Result<(), Failure> {
        let request = self.request(event).await?;
        let answer = self.client.request(request).await.map_err(|error| {
            // What went wrong is the innermost error; the others say where.
            let mut why: &dyn Error = &error;
            while let Some(source) = why.source() {
                why = source;
            }
            Failure::Passing(why.to_string())
        })?;
        let verdict = verdict(answer.status());
        read_to_its_end(answer).await;
        verdict
    }

    async fn request(&self, event: &Event) -> Result<Request<Full<Bytes>>, Failure> {
        // Cannot fail: strings and numbers.
        let body = serde_json::to_vec(event).unwrap_or_default();
        let mut request = Request::post(self.webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("privatelink/", env!("CARGO_PKG_VERSION")))
            .header("privatelink-event", event.what.name());
        if let Some(path) = &self.webhook.secret_file {
            let secret = read_secret(path).await?;
            request = request.header("privatelink-signature", secret::signature(&secret, &body));
        }
        // Cannot fail either: all parts are checked.
        request.body(Full::new(body.into())).map_err(|error| Failure::Refused(error.to_string()))
    }
}

/// Reads it anew each time: a secret is changed by writing the file.
async fn read_secret(path: &Path) -> Result<Vec<u8>, Failure> {
    let unread = |why: &dyn std::fmt::Display| {
        Failure::Passing(format!("its secret in {} cannot be read ({why})", path.display()))
    };
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || secret::read(&path)).await;
    read.map_err(|error| unread(&error))?.map_err(|error| unread(&error))
}

/// What a status says. "Too many requests" and errors of the server pass; a redirection is not followed.
fn verdict(status: StatusCode) -> Result<(), Failure> {
    let said = format!("HTTP status {}", status.as_u16());
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::TOO_MANY_REQUESTS => Err(Failure::Passing(said)),
        _ if status.is_server_error() => Err(Failure::Passing(said)),
        _ => Err(Failure::Refused(said)),
    }
}

async fn read_to_its_end(answer: Response<Incoming>) {
    // An error means that the next event needs another connection.
    let _ = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again() {
        for (statuses, expected) in [
            (&[200, 201, 202, 204][..], "taken"),
            (&[429, 500, 502, 503, 504], "later"),
            (&[301, 302, 307, 400, 401, 403, 404, 405, 410, 413, 422], "never"),
        ] {
            for &status in statuses {
                let found = match verdict(StatusCode::from_u16(status).unwrap()) {
                    Ok(()) => "taken",
                    Err(Failure::Passing(_)) => "later",
                    Err(Failure::Refused(_)) => "never",
                };
                assert_eq!(found, expected, "{status}");
            }
        }
    }
}
