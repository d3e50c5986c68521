//! The resolver in a task of its own: a resynchronisation that is cut short would begin anew.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::netlink::{self, Event, Hop, Resolver};

/// Changes that wait to be handled, at most; netlink itself buffers and recovers beyond that.
const BACKLOG: usize = 256;

/// A handle on the task. The hops' keys are target numbers.
pub struct Resolving {
    hops: mpsc::UnboundedSender<BTreeMap<u32, Hop>>,
    events: mpsc::Receiver<Event<u32>>,
    task: JoinHandle<netlink::Result<()>>,
}

impl Resolving {
    /// Starts the task.
    pub fn start(mut resolver: Resolver<u32>) -> Self {
        let (hops, mut new_hops) = mpsc::unbounded_channel();
        let (report, events) = mpsc::channel(BACKLOG);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = resolver.next_event() => {
                        // Nobody listens any more while the daemon stops.
                        let _ = report.send(event).await;
                    }
                    hops = new_hops.recv() => match hops {
                        Some(hops) => resolver.set_hops(hops),
                        None => return resolver.close().await,
                    },
                }
            }
        });
        Self { hops, events, task }
    }

    /// Replaces the hops to resolve.
    pub fn set_hops(&self, hops: BTreeMap<u32, Hop>) {
        // The task ends only when this sender is gone.
        let _ = self.hops.send(hops);
    }

    /// Waits for the next change; `None` if the task has failed.
    pub async fn next_event(&mut self) -> Option<Event<u32>> {
        self.events.recv().await
    }

    /// Ends the task, which removes the neighbour entries it had the kernel make.
    pub async fn close(self) {
        let Self { hops, events, task } = self;
        drop((hops, events));
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("a neighbour entry could not be removed: {error}"),
            Err(error) => log::error!("resolving next hops has failed: {error}"),
        }
    }
}
