//! HTTP by TCP, for those who cannot reach the control socket.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// How long a connection may last: a reader that keeps it connects anew.
const LONGEST_CONNECTION: Duration = Duration::from_secs(120);
/// How long the answer under way may take then.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served by TCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// What it is, as in "metrics".
    pub(super) name: &'static str,
    /// The table of the configuration that has its `listen`.
    pub(super) table: &'static str,
    /// Connections at once; more are closed at once.
    pub(super) connections: usize,
}

/// A server, where there is to be one; it ends when dropped.
pub(super) struct TcpServer {
    served: Served,
    serving: Option<(SocketAddr, JoinHandle<()>)>,
}

impl TcpServer {
    /// A server that serves nowhere yet.
    pub(super) const fn new(served: Served) -> Self {
        Self { served, serving: None }
    }

    /// Serves at another address, or nowhere any more; whether that has changed. On failure it serves where it did.
    pub(super) async fn follow(
        &mut self,
        wanted: Option<SocketAddr>,
        router: impl FnOnce(SocketAddr) -> Router,
    ) -> Result<bool> {
        if self.serving.as_ref().map(|(address, _)| *address) == wanted {
            return Ok(false);
        }
        let serving = match wanted {
            None => None,
            Some(address) => {
                let Served { name, table, connections } = self.served;
                let listener = TcpListener::bind(address).await.map_err(|cause| {
                    anyhow!("{name} cannot be served at {address} ({cause}): choose another `listen` of {table}")
                })?;
                let answering = answer_all(listener, router(address), connections);
                Some((address, tokio::spawn(answering)))
            }
        };
        self.stop();
        self.serving = serving;
        Ok(true)
    }

    fn stop(&mut self) {
        if let Some((_, task)) = self.serving.take() {
            task.abort();
        }
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers who connects. Whoever can reach the address may: so there is a bound to the connections, and to how long one
/// lasts, lest it be the daemon that runs out of files. With the server its connections end.
async fn answer_all(listener: TcpListener, router: Router, connections: usize) {
    let room = Arc::new(Semaphore::new(connections));
    let mut taken = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files just now, or the client is gone again.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        while taken.try_join_next().is_some() {}
        let service = TowerToHyperService::new(router.clone());
        taken.spawn(async move {
            let _place = place;
            let mut answering =
                pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            // What goes wrong on a connection is its client's business, and so is one that lasts for too long.
            if tokio::time::timeout(LONGEST_CONNECTION, answering.as_mut()).await.is_err() {
                answering.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LAST_ANSWER, answering).await;
            }
        });
    }
}
