//! The client: asks a running daemon over its control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{
    DropRow, EndpointRow, ErrorBody, FlowQuery, FlowRow, ServiceRow, Status, TargetRow,
};

/// How long the daemon may stay silent within one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error(
        "no privatelink daemon answers at {}: start it with `privatelink run --config FILE`, or name its socket with --socket",
        path.display()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What connecting to it said.
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error(
        "permission denied on {}: run as root, or as a member of the socket's group",
        path.display()
    )]
    PermissionDenied {
        /// The socket.
        path: PathBuf,
        /// What connecting to it said.
        source: io::Error,
    },
    /// Connecting failed in some other way.
    #[error("cannot connect to {} ({source}): check --socket", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What connecting to it said.
        source: io::Error,
    },
    /// Something listens but says nothing.
    #[error(
        "the daemon at {} stayed silent for {} s: see its log",
        path.display(),
        PATIENCE.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke, or the peer does not speak HTTP.
    #[error("the daemon at {} broke off: see its log", path.display())]
    Http {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The daemon answered with an error.
    #[error("{error}")]
    Refused {
        /// HTTP status, 4xx or 5xx.
        status: u16,
        /// The daemon's text.
        error: String,
    },
    /// The request has a form HTTP does not allow.
    #[error("cannot ask the daemon: {0}")]
    Request(#[source] hyper::http::Error),
    /// The answer is not what this version expects.
    #[error(
        "the answer of the daemon at {} makes no sense: is it of another version?",
        path.display()
    )]
    Malformed {
        /// The socket.
        path: PathBuf,
        /// What does not fit.
        source: serde_json::Error,
    },
}

/// Asks the daemon at one socket; each question is a connection of its own.
///
/// Needs a tokio runtime with I/O and time.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon that serves `socket`; does not connect yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// State of the daemon and its interfaces.
    ///
    /// # Errors
    /// As all questions: a [`ClientError`] that says what to do.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// Every endpoint service.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn services(&self) -> Result<Vec<ServiceRow>, ClientError> {
        self.get("/v1/services").await
    }

    /// Every endpoint.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn endpoints(&self) -> Result<Vec<EndpointRow>, ClientError> {
        self.get("/v1/endpoints").await
    }

    /// Every target of every target group.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn targets(&self) -> Result<Vec<TargetRow>, ClientError> {
        self.get("/v1/targets").await
    }

    /// The flows the query asks for, in its order.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn flows(&self, query: &FlowQuery) -> Result<Vec<FlowRow>, ClientError> {
        self.get(&with_query("/v1/flows", query)).await
    }

    /// Drops by interface and reason.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn drops(&self) -> Result<Vec<DropRow>, ClientError> {
        self.get("/v1/drops").await
    }

    async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        let (status, body) = self.exchange(target).await?;
        let malformed = |source| ClientError::Malformed { path: self.socket.clone(), source };
        if status.is_success() {
            serde_json::from_slice(&body).map_err(malformed)
        } else {
            let ErrorBody { error } = serde_json::from_slice(&body).map_err(malformed)?;
            Err(ClientError::Refused { status: status.as_u16(), error })
        }
    }

    async fn exchange(&self, target: &str) -> Result<(StatusCode, Vec<u8>), ClientError> {
        // HTTP/1.1 demands a Host; on a Unix socket it means nothing.
        let request = Request::get(target)
            .header(HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(ClientError::Request)?;
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|e| connect_error(&self.socket, e))?;
        let http = |source| ClientError::Http { path: self.socket.clone(), source };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        // Its errors are those of the request as well.
        let connection = tokio::spawn(connection);
        let answer = async {
            let response = self.patiently(sender.send_request(request)).await?.map_err(http)?;
            self.collect(response).await
        }
        .await;
        connection.abort();
        answer
    }

    async fn collect(
        &self,
        response: Response<Incoming>,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = self.patiently(body.frame()).await? {
            let frame =
                frame.map_err(|source| ClientError::Http { path: self.socket.clone(), source })?;
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
        }
        Ok((head.status, bytes))
    }

    async fn patiently<T>(&self, step: impl Future<Output = T>) -> Result<T, ClientError> {
        let silent = |_| ClientError::Silent { path: self.socket.clone() };
        tokio::time::timeout(PATIENCE, step).await.map_err(silent)
    }
}

fn connect_error(path: &Path, source: io::Error) -> ClientError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { path, source },
        io::ErrorKind::PermissionDenied => ClientError::PermissionDenied { path, source },
        _ => ClientError::Connect { path, source },
    }
}

/// Appends the fields of `query` that are set.
fn with_query(route: &str, query: &impl Serialize) -> String {
    let mut target = route.to_owned();
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) else {
        return target;
    };
    for (index, (name, value)) in fields.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        match value {
            serde_json::Value::String(text) => percent_encode(text, &mut target),
            other => percent_encode(&other.to_string(), &mut target),
        }
    }
    target
}

/// Leaves only the unreserved characters of RFC 3986 section 2.3 as they are.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FlowSort;

    #[test]
    fn only_the_set_fields_go_into_the_query() {
        let query = |query: &FlowQuery| with_query("/v1/flows", query);
        assert_eq!(query(&FlowQuery::default()), "/v1/flows");
        let endpoint = FlowQuery { endpoint: Some("vpce-1".into()), ..FlowQuery::default() };
        assert_eq!(query(&endpoint), "/v1/flows?endpoint=vpce-1");
        let two = FlowQuery { sort: Some(FlowSort::Bytes), limit: Some(5), ..FlowQuery::default() };
        assert_eq!(query(&two), "/v1/flows?limit=5&sort=bytes");
    }

    #[test]
    fn what_has_a_meaning_in_a_query_is_encoded() {
        let odd = FlowQuery { state: Some("a&b=c d+%/ü".into()), ..FlowQuery::default() };
        assert_eq!(with_query("/v1/flows", &odd), "/v1/flows?state=a%26b%3Dc%20d%2B%25%2F%C3%BC");
    }
}
