//! One check over a connection.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::http;
use super::tls::Tls;
use crate::model::{HealthCheck, HealthProtocol};

/// When a check has failed for want of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline<'c> {
    at: Instant,
    check: &'c HealthCheck,
}

impl<'c> Deadline<'c> {
    /// Of a check that begins now.
    pub(super) fn of(check: &'c HealthCheck) -> Self {
        Self { at: Instant::now() + check.timeout, check }
    }

    /// Waits for a part of the check; `missing` says what is not there at the deadline.
    pub(super) async fn wait<T>(
        self,
        missing: &str,
        part: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match timeout_at(self.at, part).await {
            Ok(result) => result,
            Err(_) => Err(Failure::timeout(missing, self.check.timeout)),
        }
    }
}

/// Asks what the check's protocol asks of a target that has accepted a connection.
pub(super) async fn probe<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: SocketAddr,
    deadline: Deadline<'_>,
    tls: &Tls,
) -> Result<(), Failure> {
    const NO_ANSWER: &str = "no HTTP answer";
    match &deadline.check.protocol {
        HealthProtocol::Tcp => Ok(()),
        HealthProtocol::Http(request) => {
            deadline.wait(NO_ANSWER, http::ask(stream, request, target)).await
        }
        HealthProtocol::Https(request, check) => {
            let handshake = tls.connect(stream, check, target.ip());
            let mut stream = deadline.wait("no TLS handshake", handshake).await?;
            deadline.wait(NO_ANSWER, http::ask(&mut stream, request, target)).await?;
            // A farewell: whether it arrives says nothing about the target's health.
            stream.get_mut().1.send_close_notify();
            let _ = timeout_at(deadline.at, stream.flush()).await;
            Ok(())
        }
    }
}
