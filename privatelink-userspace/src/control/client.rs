//! The client: asks a running daemon over its control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::Question;
use crate::api::{ErrorBody, ErrorCode};

/// How long the daemon may stay silent within one answer, beyond what the question takes.
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
        patience.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
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
        /// What kind of error.
        code: ErrorCode,
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

    /// Asks, and parses the answer.
    ///
    /// # Errors
    /// As all asking: a [`ClientError`] that says what to do.
    pub async fn ask<T: DeserializeOwned>(&self, question: &Question<T>) -> Result<T, ClientError> {
        let mut answer = self.open(question).await?;
        let body = answer.rest().await?;
        serde_json::from_slice(&body).map_err(|source| self.malformed(source))
    }

    /// Asks, and leaves the answer to be read piece by piece.
    ///
    /// # Errors
    /// See [`Client::ask`]; an error that the daemon answers with is among them.
    pub async fn open<T>(&self, question: &Question<T>) -> Result<Answer, ClientError> {
        // HTTP/1.1 demands a Host; on a Unix socket it means nothing.
        let request = Request::builder()
            .method(question.method())
            .uri(question.target())
            .header(HOST, "localhost")
            .body(Full::new(Bytes::copy_from_slice(question.body())))
            .map_err(ClientError::Request)?;
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|e| connect_error(&self.socket, e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| http_error(&self.socket, source))?;
        // Its errors are those of the request as well.
        let connection = Connection(tokio::spawn(connection));
        let answering = sender.send_request(request);
        let response = within(PATIENCE + question.takes(), &self.socket, answering).await?;
        let (head, body) =
            response.map_err(|source| http_error(&self.socket, source))?.into_parts();
        let mut answer = Answer { socket: self.socket.clone(), body, _connection: connection };
        if head.status.is_success() {
            return Ok(answer);
        }
        let body = answer.rest().await?;
        let ErrorBody { code, error } =
            serde_json::from_slice(&body).map_err(|source| self.malformed(source))?;
        Err(ClientError::Refused { status: head.status.as_u16(), code, error })
    }

    fn malformed(&self, source: serde_json::Error) -> ClientError {
        ClientError::Malformed { path: self.socket.clone(), source }
    }
}

/// The daemon's answer, as far as it is read.
#[derive(Debug)]
pub struct Answer {
    socket: PathBuf,
    body: Incoming,
    _connection: Connection,
}

impl Answer {
    /// The next bytes, in pieces as they arrive; `None` after the last.
    ///
    /// # Errors
    /// A [`ClientError`] if the daemon breaks off or stays silent.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = patiently(&self.socket, self.body.frame()).await? {
            let frame = frame.map_err(|source| http_error(&self.socket, source))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    async fn rest(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// The task that moves the bytes; ended when dropped.
#[derive(Debug)]
struct Connection(JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn patiently<T>(socket: &Path, step: impl Future<Output = T>) -> Result<T, ClientError> {
    within(PATIENCE, socket, step).await
}

async fn within<T>(
    patience: Duration,
    socket: &Path,
    step: impl Future<Output = T>,
) -> Result<T, ClientError> {
    let silent = |_| ClientError::Silent { path: socket.to_owned(), patience };
    tokio::time::timeout(patience, step).await.map_err(silent)
}

fn http_error(path: &Path, source: hyper::Error) -> ClientError {
    ClientError::Http { path: path.to_owned(), source }
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
