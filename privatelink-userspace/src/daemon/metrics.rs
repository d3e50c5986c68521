//! Metrics by TCP, for those who cannot read the control socket.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;

use super::tcp_server::{Served, TcpServer};
use crate::control::metrics_router;
use crate::running::Running;

const METRICS: Served = Served { name: "metrics", table: "[metrics]", connections: 16 };

/// The server, where there is to be one; it ends when dropped.
pub(super) struct MetricsServer(TcpServer);

impl MetricsServer {
    /// A server that serves nowhere yet.
    pub(super) const fn new() -> Self {
        Self(TcpServer::new(METRICS))
    }

    /// Serves at another address, or nowhere any more. On failure it serves where it did.
    pub(super) async fn follow(
        &mut self,
        wanted: Option<SocketAddr>,
        running: &Arc<Running>,
    ) -> Result<()> {
        let moved = self.0.follow(wanted, |_| metrics_router(running.clone())).await?;
        if let Some(address) = wanted.filter(|_| moved) {
            log::info!("metrics are at http://{address}/metrics");
        }
        Ok(())
    }
}
