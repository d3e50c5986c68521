//! Metrics by TCP, for those who cannot read the control socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::control::metrics_router;
use crate::running::Running;

/// Connections at once; more are closed at once.
const CONNECTIONS: usize = 16;
/// How long one may last: a reader that keeps it connects anew.
const LONGEST_CONNECTION: Duration = Duration::from_secs(120);
/// Pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server, where there is to be one; it ends when dropped.
#[derive(Default)]
pub(super) struct MetricsServer {
    serving: Option<(SocketAddr, JoinHandle<()>)>,
}

impl MetricsServer {
    /// Serves at another address, or nowhere any more. On failure it serves where it did.
    pub(super) async fn follow(
        &mut self,
        wanted: Option<SocketAddr>,
        running: &Arc<Running>,
    ) -> Result<()> {
        if self.serving.as_ref().map(|(address, _)| *address) == wanted {
            return Ok(());
        }
        let serving = match wanted {
            None => None,
            Some(address) => Some((address, serve(address, running.clone()).await?)),
        };
        self.stop();
        self.serving = serving;
        Ok(())
    }

    fn stop(&mut self) {
        if let Some((_, task)) = self.serving.take() {
            task.abort();
        }
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(address: SocketAddr, running: Arc<Running>) -> Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("metrics cannot be served at {address}: choose another `listen` of [metrics]")
    })?;
    log::info!("metrics are at http://{address}/metrics");
    Ok(tokio::spawn(answer_all(listener, metrics_router(running))))
}

/// Answers who connects. Whoever can reach the address may: so there is a bound to the connections, and to how long one
/// lasts, lest it be the daemon that runs out of files.
async fn answer_all(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files just now, or the client is gone again.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let answering = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // What goes wrong on a connection is its client's business, and so is one that lasts for too long.
            let _ = tokio::time::timeout(LONGEST_CONNECTION, answering).await;
        });
    }
}
