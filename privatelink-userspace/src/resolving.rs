//! The resolver in a task of its own: a resynchronisation that is cut short would begin anew.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::netlink::{self, Event, Hop, Resolver};

/// What the task is told. The hops' keys are target numbers.
enum Order {
    Watch(Vec<String>, BTreeMap<u32, Hop>),
    Doubt(u32),
}

/// A handle on the task.
pub struct Resolving {
    orders: mpsc::UnboundedSender<Order>,
    events: mpsc::Receiver<Event<u32>>,
    task: JoinHandle<netlink::Result<()>>,
}

impl Resolving {
    /// Changes that wait to be handled, at most; netlink itself buffers and recovers beyond that.
    pub const BACKLOG: usize = 256;

    /// Starts the task.
    pub fn start(mut resolver: Resolver<u32>) -> Self {
        let (orders, mut taken) = mpsc::unbounded_channel();
        let (report, events) = mpsc::channel(Self::BACKLOG);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = resolver.next_event() => {
                        // Nobody listens any more while the daemon stops.
                        let _ = report.send(event).await;
                    }
                    order = taken.recv() => match order {
                        Some(Order::Watch(interfaces, hops)) => {
                            resolver.watch(interfaces);
                            resolver.set_hops(hops);
                        }
                        Some(Order::Doubt(target)) => resolver.doubt(target),
                        None => return resolver.close().await,
                    },
                }
            }
        });
        Self { orders, events, task }
    }

    /// Replaces the interfaces to watch and the hops to resolve.
    pub fn watch(&self, interfaces: Vec<String>, hops: BTreeMap<u32, Hop>) {
        self.order(Order::Watch(interfaces, hops));
    }

    /// Asks anew where a target is that does not answer.
    pub fn doubt(&self, target: u32) {
        self.order(Order::Doubt(target));
    }

    fn order(&self, order: Order) {
        // The task ends only when this sender is gone.
        let _ = self.orders.send(order);
    }

    /// The next change if there is one already.
    pub fn waiting_event(&mut self) -> Option<Event<u32>> {
        self.events.try_recv().ok()
    }

    /// Waits for the next change; `None` if the task has failed.
    pub async fn next_event(&mut self) -> Option<Event<u32>> {
        self.events.recv().await
    }

    /// Ends the task, which removes the neighbour entries it had the kernel make.
    pub async fn close(self) {
        let Self { orders, events, task } = self;
        drop((orders, events));
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("a neighbour entry could not be removed: {error}"),
            Err(error) => log::error!("resolving next hops has failed: {error}"),
        }
    }
}
