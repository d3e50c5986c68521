//! The web page by TCP, and the samples for its charts.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::tcp_server::{Served, TcpServer};
use crate::control::page_router;
use crate::history;
use crate::running::Running;
use crate::web;

/// A browser opens up to six connections.
const WEB: Served = Served { name: "the web page", table: "[web]", connections: 64 };

/// The server, where there is to be one; it ends when dropped.
pub(super) struct WebServer {
    server: TcpServer,
    sampling: Option<Sampling>,
}

impl WebServer {
    /// A server that serves nowhere yet.
    pub(super) const fn new() -> Self {
        Self { server: TcpServer::new(WEB), sampling: None }
    }

    /// Serves at another address, or nowhere any more. On failure it serves where it did.
    pub(super) async fn follow(
        &mut self,
        wanted: Option<SocketAddr>,
        running: &Arc<Running>,
    ) -> Result<()> {
        let router = |address| web::router(page_router(running.clone()), address);
        let moved = self.server.follow(wanted, router).await?;
        let Some(address) = wanted else {
            self.sampling = None;
            return Ok(());
        };
        self.sampling.get_or_insert_with(|| Sampling::start(running.clone()));
        if moved {
            log::info!("the web page is at http://{address}/");
        }
        if moved && !address.ip().is_loopback() {
            log::warn!(
                "whoever reaches {address} may read the web page: clients' addresses, endpoints, services, targets"
            );
        }
        Ok(())
    }
}

/// The task that takes samples; once it is dropped they are forgotten.
struct Sampling {
    running: Arc<Running>,
    task: JoinHandle<()>,
}

impl Sampling {
    fn start(running: Arc<Running>) -> Self {
        let task = tokio::spawn(sample_for_ever(running.clone()));
        Self { running, task }
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.task.abort();
        self.running.forget_history();
    }
}

async fn sample_for_ever(running: Arc<Running>) {
    let mut steps = tokio::time::interval(history::STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        let sampled = running.clone();
        match tokio::task::spawn_blocking(move || sampled.sample()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::error!("no sample for the web page: {error}"),
            Err(error) => log::error!("sampling for the web page has failed: {error}"),
        }
    }
}
