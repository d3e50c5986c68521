//! Metrics by TCP, for those who cannot read the control socket.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::control::metrics_router;
use crate::running::Running;

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
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, metrics_router(running)).await {
            log::error!("metrics are no longer served at {address}: {error}");
        }
    }))
}
